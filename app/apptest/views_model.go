package apptest

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"bankforge/app"
	"bankforge/app/bank"
)

// MemoryViews are the views in memory, made in the simplest way: from whole events, and every list by looking
// at everything. They say what other views must say, and serve fast tests. The zero value is empty; it
// is not safe for concurrent use.
type MemoryViews struct {
	state        *bank.State
	accounts     []bank.Account
	transactions []keyed
	holds        []bank.Hold
	entries      []app.EntryRow
}

// keyed is a transaction with what only filters see.
type keyed struct {
	bank.Transaction
	payer bank.CustomerID
	key   string
}

// Evolve takes one event in. Events must come in order, each once.
func (m *MemoryViews) Evolve(r app.Recorded) {
	if m.state == nil {
		m.state = bank.NewState()
	}
	m.state.Evolve(r.Event)
	m.accounts = slices.Collect(m.state.Accounts())
	if r.Hold != nil {
		set(&m.holds, *r.Hold, func(h *bank.Hold) bank.HoldID { return h.ID })
	}
	for i := range r.Transactions {
		m.setTransaction(&r, &r.Transactions[i])
	}
	for i := range r.Legs {
		if l := &r.Legs[i]; l.Amount != 0 {
			t := &r.Transactions[0]
			m.entries = append(m.entries, app.EntryRow{
				Account: l.Account, Currency: l.Currency, Version: l.After.Version, Amount: l.Amount,
				BalanceAfter: l.After.Balance, PostedAt: r.Time, Transaction: t.ID, Kind: t.Kind,
				Reference: t.Reference, Description: t.Description, ValueDate: t.ValueDate,
			})
		}
	}
}

func (m *MemoryViews) setTransaction(r *app.Recorded, t *bank.Transaction) {
	k := keyed{Transaction: *t, key: r.Meta.IdempotencyKey}
	for _, l := range r.Legs {
		if l.Account == t.From {
			k.payer = l.Customer
		}
	}
	for _, old := range m.transactions {
		if old.ID == t.ID {
			k.key = old.key
		}
	}
	set(&m.transactions, k, func(k *keyed) bank.TransactionID { return k.ID })
}

// set replaces the row with the same id, or adds one.
func set[T any, ID comparable](rows *[]T, row T, id func(*T) ID) {
	for i := range *rows {
		if id(&(*rows)[i]) == id(&row) {
			(*rows)[i] = row
			return
		}
	}
	*rows = append(*rows, row)
}

// Account implements app.Balances.
func (m *MemoryViews) Account(_ context.Context, id bank.AccountID) (bank.Account, bool, error) {
	a, ok := find(m.accounts, func(a *bank.Account) bool { return a.ID == id })
	return a, ok, nil
}

// Transaction implements app.History.
func (m *MemoryViews) Transaction(_ context.Context, id bank.TransactionID) (bank.Transaction, bool, error) {
	k, ok := find(m.transactions, func(k *keyed) bool { return k.ID == id })
	return k.Transaction, ok, nil
}

// Hold implements app.History.
func (m *MemoryViews) Hold(_ context.Context, id bank.HoldID) (bank.Hold, bool, error) {
	h, ok := find(m.holds, func(h *bank.Hold) bool { return h.ID == id })
	return h, ok, nil
}

func find[T any](rows []T, is func(*T) bool) (none T, ok bool) {
	for i := range rows {
		if is(&rows[i]) {
			return rows[i], true
		}
	}
	return none, false
}

// Accounts implements app.Balances.
func (m *MemoryViews) Accounts(_ context.Context, f app.AccountFilter) ([]bank.Account, error) {
	return page(m.accounts, f.Page, accountPlace, func(a *bank.Account) bool {
		return wants(f.Customer, a.Customer) && wants(f.Status, a.Status) && wants(f.Currency, a.Currency) &&
			(f.ExternalID == "" || a.Details != nil && a.Details.ExternalID == f.ExternalID)
	}), nil
}

// Transactions implements app.History.
func (m *MemoryViews) Transactions(_ context.Context, f app.TransactionFilter) ([]bank.Transaction, error) {
	place := func(k *keyed) (bank.Time, string) { return transactionPlace(&k.Transaction) }
	rows := page(m.transactions, f.Page, place, func(k *keyed) bool {
		return (f.Account.IsZero() || k.touches(f.Account)) && (f.Customer.IsZero() || k.concerns(f.Customer)) &&
			wants(f.Kind, k.Kind) && wants(f.Status, k.Status) && wants(f.Reference, k.Reference) &&
			wants(f.Hold, k.Hold) && wants(f.CorrelationID, k.CorrelationID) && wants(f.IdempotencyKey, k.key)
	})
	out := make([]bank.Transaction, len(rows))
	for i := range rows {
		out[i] = rows[i].Transaction
	}
	return out, nil
}

func (k *keyed) touches(id bank.AccountID) bool {
	on := func(e bank.Entry) bool { return e.Account == id }
	return k.From == id || k.To == id || slices.ContainsFunc(k.Entries, on)
}

func (k *keyed) concerns(id bank.CustomerID) bool {
	return k.payer == id || slices.ContainsFunc(k.Entries, func(e bank.Entry) bool { return e.Customer == id })
}

// Holds implements app.History.
func (m *MemoryViews) Holds(_ context.Context, f app.HoldFilter) ([]bank.Hold, error) {
	return page(m.holds, f.Page, holdPlace, func(h *bank.Hold) bool {
		return wants(f.Account, h.Account) && wants(f.Customer, h.Customer) && wants(f.Status, h.Status)
	}), nil
}

// Entries implements app.History.
func (m *MemoryViews) Entries(_ context.Context, f app.EntryFilter) ([]app.EntryRow, error) {
	var out []app.EntryRow
	for _, e := range m.entries {
		beyond := f.AfterVersion == 0 || f.Ascending == (e.Version > f.AfterVersion) && e.Version != f.AfterVersion
		if e.Account == f.Account && beyond && within(e.PostedAt, f.From, f.To) {
			out = append(out, e)
		}
	}
	if !f.Ascending {
		slices.Reverse(out)
	}
	return out[:min(f.Limit, len(out))], nil
}

func accountPlace(a *bank.Account) (bank.Time, string) { return a.OpenedAt, a.ID.String() }
func holdPlace(h *bank.Hold) (bank.Time, string)       { return h.CreatedAt, h.ID.String() }

func transactionPlace(t *bank.Transaction) (bank.Time, string) {
	if t.PostedAt == 0 {
		return t.CreatedAt, t.ID.String()
	}
	return t.PostedAt, t.ID.String()
}

// wants reports whether a filter that is not set, or equal, lets a value through.
func wants[T comparable](filter, value T) bool {
	var none T
	return filter == none || filter == value
}

func within(t, from, to bank.Time) bool { return t >= from && (to == 0 || t < to) }

// page is what a list shows of rows.
func page[T any](rows []T, p app.Page, place func(*T) (bank.Time, string), keep func(*T) bool) []T {
	direction := -1
	if p.Ascending {
		direction = 1
	}
	compare := func(at bank.Time, aid string, bt bank.Time, bid string) int {
		return direction * cmp.Or(cmp.Compare(at, bt), strings.Compare(aid, bid))
	}
	var out []T
	for i := range rows {
		t, id := place(&rows[i])
		behind := p.AfterTime == 0 && p.AfterID == "" || compare(t, id, p.AfterTime, p.AfterID) > 0
		if keep(&rows[i]) && behind && within(t, p.From, p.To) {
			out = append(out, rows[i])
		}
	}
	slices.SortFunc(out, func(a, b T) int {
		at, aid := place(&a)
		bt, bid := place(&b)
		return compare(at, aid, bt, bid)
	})
	return out[:min(p.Limit, len(out))]
}
