package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers/history"
)

var (
	entries = table{name: "entry", columns: 12}
	ends    = table{name: "entry_end", columns: 4, upsert: ` ON CONFLICT DO UPDATE
		SET segment = excluded.segment, version = excluded.version, balance = excluded.balance`}
	holds = table{name: "hold", columns: 12, upsert: ` ON CONFLICT (id) DO UPDATE SET version = excluded.version,
		captured = excluded.captured, remaining = excluded.remaining, status = excluded.status`}
)

const (
	selectEnds    = `SELECT account, version, balance FROM entry_end WHERE account IN `
	selectEnd     = `SELECT segment, version FROM entry_end WHERE account = ?`
	selectEntries = `SELECT account, version, currency, amount, balance_after, posted_at, txn, kind,
		reference, description, value_date FROM entry`
	selectFirstSegment = `SELECT coalesce(min(segment), 0) FROM entry`
	selectNextEntry    = `SELECT version, posted_at FROM entry WHERE segment = ? AND account = ? AND version >= ?
		ORDER BY version LIMIT 1`
	selectLastEntry = `SELECT version, posted_at FROM entry WHERE segment = ? AND account = ?
		ORDER BY version DESC LIMIT 1`

	selectHoldVersions = `SELECT id, version FROM hold WHERE id IN `
	selectHolds        = `SELECT id, version, account, customer, currency, amount, captured, remaining, status,
		reference, created_at, expires_at FROM hold`
)

// LastEntries implements history.EntryStore.
func (v *Views) LastEntries(
	ctx context.Context, accounts []bank.AccountID,
) (map[bank.AccountID]history.Last, error) {
	out := make(map[bank.AccountID]history.Last, len(accounts))
	err := lookUp(ctx, v, selectEnds, accounts, func(scan func(...any) error, id map[string]bank.AccountID) error {
		var text string
		var last history.Last
		err := scan(&text, &last.Version, &last.Balance)
		out[id[text]] = last
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the last entries of accounts: %w", err)
	}
	return out, nil
}

// AddEntries implements history.EntryStore.
func (v *Views) AddEntries(ctx context.Context, rows []history.Entry) error {
	// In the order of their keys, so that what belongs on one page comes together. The order of versions is that of
	// the log, also for segments.
	slices.SortStableFunc(rows, func(a, b history.Entry) int {
		return cmp.Or(cmp.Compare(a.Account.String(), b.Account.String()), cmp.Compare(a.Version, b.Version))
	})
	_, err := v.insert(ctx, entries, len(rows), func(args []any, i int) []any {
		e := &rows[i]
		return append(args, segmentOf(e.Seq), e.Account.String(), versionOf(e.Version), e.Currency.String(), e.Amount,
			e.BalanceAfter, int64(e.PostedAt), e.Transaction.String(), int64(e.Kind), e.Reference, e.Description,
			int64(e.ValueDate))
	})
	if err != nil {
		return err
	}
	last := make([]*history.Entry, 0, len(rows))
	for i := range rows {
		if i+1 == len(rows) || rows[i+1].Account != rows[i].Account {
			last = append(last, &rows[i])
		}
	}
	_, err = v.insert(ctx, ends, len(last), func(args []any, i int) []any {
		e := last[i]
		return append(args, e.Account.String(), segmentOf(e.Seq), versionOf(e.Version), e.BalanceAfter)
	})
	return err
}

// HoldVersions implements history.EntryStore.
func (v *Views) HoldVersions(ctx context.Context, ids []bank.HoldID) (map[bank.HoldID]bank.Version, error) {
	out, err := versionsOf(ctx, v, selectHoldVersions, ids)
	if err != nil {
		return nil, fmt.Errorf("read versions of holds: %w", err)
	}
	return out, nil
}

// SaveHolds implements history.EntryStore.
func (v *Views) SaveHolds(ctx context.Context, rows []bank.Hold) error {
	_, err := v.insert(ctx, holds, len(rows), func(args []any, i int) []any {
		h := &rows[i]
		return append(args, h.ID.String(), versionOf(h.Version), h.Account.String(), h.Customer.String(),
			h.Amount.Currency().String(), h.Amount.Minor(), h.Captured, h.Remaining, int64(h.Status), h.Reference,
			int64(h.CreatedAt), int64(h.ExpiresAt))
	})
	return err
}

// Entries implements app.History. It looks into one segment of the log after the other, as far as the account has some.
func (v *Views) Entries(ctx context.Context, f app.EntryFilter) (out []app.EntryRow, err error) {
	err = v.db.atOnce(ctx, func(ctx context.Context) error {
		out, err = v.entries(ctx, f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list entries of account %s: %w", f.Account, err)
	}
	return out, nil
}

func (v *Views) entries(ctx context.Context, f app.EntryFilter) ([]app.EntryRow, error) {
	s, err := v.segmentsOf(ctx, f.Account)
	if err != nil || s.from == s.to {
		return nil, err
	}
	q := func() *query { return &query{text: selectEntries, order: " ORDER BY version DESC", limit: f.Limit} }
	beyond := "version < ?"
	if f.Ascending {
		beyond = "version > ?"
	}
	var first, end bank.Version
	if f.From != 0 {
		if first, err = v.firstEntry(ctx, f.Account, s, f.From); err != nil {
			return nil, err
		}
	}
	if f.To != 0 {
		if end, err = v.firstEntry(ctx, f.Account, s, f.To); err != nil {
			return nil, err
		}
	}
	var out []app.EntryRow
	for i := s.from; i < s.to && len(out) < f.Limit; i++ {
		q := q()
		segment := s.to - 1 - (i - s.from)
		if f.Ascending {
			q.order, segment = " ORDER BY version", i
		}
		q.limit = f.Limit - len(out)
		q.and("segment = ? AND account = ?", segment, f.Account.String())
		if f.From != 0 {
			q.and("version >= ?", versionOf(first))
		}
		if f.To != 0 {
			q.and("version < ?", versionOf(end))
		}
		if f.AfterVersion != 0 {
			q.and(beyond, versionOf(f.AfterVersion))
		}
		rows, err := list(ctx, v, q, scanEntry)
		if err != nil {
			return nil, err
		}
		out = append(out, rows...)
	}
	return out, nil
}

// segmentsOf are those that may have entries of the account.
func (v *Views) segmentsOf(ctx context.Context, id bank.AccountID) (s span, err error) {
	var last bank.Version
	q := v.db.querier(ctx)
	err = q.QueryRowContext(ctx, selectEnd, id.String()).Scan(&s.to, &last)
	if errors.Is(err, sql.ErrNoRows) {
		return span{}, nil
	}
	if err != nil {
		return span{}, err
	}
	s.to++
	return s, q.QueryRowContext(ctx, selectFirstSegment).Scan(&s.from)
}

// firstEntry is the version of the first entry at the time or after it; behind the last one when there is none. Time
// never goes back from version to version: so a time is turned into a version by halving, and no index by time
// is needed.
func (v *Views) firstEntry(ctx context.Context, id bank.AccountID, s span, at bank.Time) (bank.Version, error) {
	q := v.db.querier(ctx)
	var low, high bank.Version // what is looked for is from low to high
	segment := s.from
	for ; segment < s.to; segment++ {
		var posted bank.Time
		err := q.QueryRowContext(ctx, selectLastEntry, segment, id.String()).Scan(&high, &posted)
		if err == nil && posted >= at {
			break
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return 0, err
		}
		low = high + 1
	}
	if segment == s.to {
		return low, nil
	}
	for low < high {
		var version bank.Version
		var posted bank.Time
		middle := low + (high-low)/2
		err := q.QueryRowContext(ctx, selectNextEntry, segment, id.String(), versionOf(middle)).Scan(&version, &posted)
		if err != nil {
			return 0, err
		}
		if posted < at {
			low = version + 1
		} else {
			high = middle
		}
	}
	return low, nil
}

func scanEntry(scan func(...any) error) (e app.EntryRow, err error) {
	var account, currency, transaction string
	err = scan(&account, &e.Version, &currency, &e.Amount, &e.BalanceAfter, &e.PostedAt, &transaction, &e.Kind,
		&e.Reference, &e.Description, &e.ValueDate)
	if err != nil {
		return app.EntryRow{}, err
	}
	if e.Account, err = bank.ParseID[bank.Account](account); err != nil {
		return app.EntryRow{}, err
	}
	if e.Currency, err = bank.ParseCurrency(currency); err != nil {
		return app.EntryRow{}, err
	}
	e.Transaction, err = bank.ParseID[bank.Transaction](transaction)
	return e, err
}

// Hold implements app.History.
func (v *Views) Hold(ctx context.Context, id bank.HoldID) (bank.Hold, bool, error) {
	return one(ctx, v, selectHolds+` WHERE id = ?`, id, scanHold)
}

// Holds implements app.History.
func (v *Views) Holds(ctx context.Context, f app.HoldFilter) ([]bank.Hold, error) {
	out, err := list(ctx, v, holdsQuery(f), scanHold)
	if err != nil {
		return nil, fmt.Errorf("list holds: %w", err)
	}
	return out, nil
}

func holdsQuery(f app.HoldFilter) *query {
	q := &query{text: selectHolds}
	if !f.Account.IsZero() {
		q.and("account = ?", f.Account.String())
	}
	if !f.Customer.IsZero() {
		q.and("customer = ? AND customer <> ''", f.Customer.String())
	}
	if f.Status != 0 {
		q.and("status = ?", int64(f.Status))
	}
	q.page(f.Page, "created_at", "id")
	return q
}

func scanHold(scan func(...any) error) (h bank.Hold, err error) {
	var id, account, customer, currency string
	var amount int64
	err = scan(&id, &h.Version, &account, &customer, &currency, &amount, &h.Captured, &h.Remaining, &h.Status,
		&h.Reference, &h.CreatedAt, &h.ExpiresAt)
	if err != nil {
		return bank.Hold{}, err
	}
	if h.ID, err = bank.ParseID[bank.Hold](id); err != nil {
		return bank.Hold{}, err
	}
	if h.Account, err = bank.ParseID[bank.Account](account); err != nil {
		return bank.Hold{}, err
	}
	if h.Customer, err = optionalID(bank.ParseID[bank.Customer], customer); err != nil {
		return bank.Hold{}, err
	}
	h.Amount, err = amountOf(amount, currency)
	return h, err
}

func amountOf(minor int64, currency string) (bank.Amount, error) {
	c, err := bank.ParseCurrency(currency)
	if err != nil {
		return bank.Amount{}, err
	}
	return bank.NewAmount(minor, c)
}
