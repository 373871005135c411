package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers/history"
)

var (
	entries = table{name: "entry", columns: 11}
	holds   = table{name: "hold", columns: 12, upsert: ` ON CONFLICT (id) DO UPDATE SET version = excluded.version,
		captured = excluded.captured, remaining = excluded.remaining, status = excluded.status`}
)

const (
	selectLastEntry = `SELECT version, balance_after FROM entry WHERE account = ? ORDER BY version DESC LIMIT 1`
	selectEntries   = `SELECT account, version, currency, amount, balance_after, posted_at, txn, kind,
		reference, description, value_date FROM entry`
	selectNextEntry = `SELECT version, posted_at FROM entry WHERE account = ? AND version >= ? ORDER BY version LIMIT 1`

	selectHoldVersions = `SELECT id, version FROM hold WHERE id IN `
	selectHolds        = `SELECT id, version, account, customer, currency, amount, captured, remaining, status,
		reference, created_at, expires_at FROM hold`
)

// LastEntries implements history.EntryStore.
func (v *Views) LastEntries(
	ctx context.Context, accounts []bank.AccountID,
) (map[bank.AccountID]history.Last, error) {
	s, err := v.stmt(ctx, selectLastEntry)
	if err != nil {
		return nil, err
	}
	out := make(map[bank.AccountID]history.Last, len(accounts))
	for _, id := range accounts {
		var last history.Last
		err := s.QueryRowContext(ctx, id.String()).Scan(&last.Version, &last.Balance)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the last entry of account %s: %w", id, err)
		}
		out[id] = last
	}
	return out, nil
}

// AddEntries implements history.EntryStore.
func (v *Views) AddEntries(ctx context.Context, rows []history.Entry) error {
	return v.insert(ctx, entries, len(rows), func(args []any, i int) []any {
		e := &rows[i]
		return append(args, e.Account.String(), versionOf(e.Version), e.Currency.String(), e.Amount, e.BalanceAfter,
			int64(e.PostedAt), e.Transaction.String(), int64(e.Kind), e.Reference, e.Description, int64(e.ValueDate))
	})
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
	return v.insert(ctx, holds, len(rows), func(args []any, i int) []any {
		h := &rows[i]
		return append(args, h.ID.String(), versionOf(h.Version), h.Account.String(), h.Customer.String(),
			h.Amount.Currency().String(), h.Amount.Minor(), h.Captured, h.Remaining, int64(h.Status), h.Reference,
			int64(h.CreatedAt), int64(h.ExpiresAt))
	})
}

// Entries implements app.History. Time never goes back from version to version: so a time is turned into a version by
// halving, and no index by time is needed.
func (v *Views) Entries(ctx context.Context, f app.EntryFilter) ([]app.EntryRow, error) {
	q := &query{text: selectEntries, order: " ORDER BY version DESC", limit: f.Limit}
	q.and("account = ?", f.Account.String())
	if f.From != 0 {
		first, err := v.firstEntry(ctx, f.Account, f.From)
		if err != nil {
			return nil, fmt.Errorf("list entries of account %s: %w", f.Account, err)
		}
		q.and("version >= ?", versionOf(first))
	}
	if f.To != 0 {
		end, err := v.firstEntry(ctx, f.Account, f.To)
		if err != nil {
			return nil, fmt.Errorf("list entries of account %s: %w", f.Account, err)
		}
		q.and("version < ?", versionOf(end))
	}
	beyond := "version < ?"
	if f.Ascending {
		q.order, beyond = " ORDER BY version", "version > ?"
	}
	if f.AfterVersion != 0 {
		q.and(beyond, versionOf(f.AfterVersion))
	}
	out, err := list(ctx, v, q, scanEntry)
	if err != nil {
		return nil, fmt.Errorf("list entries of account %s: %w", f.Account, err)
	}
	return out, nil
}

// firstEntry is the version of the first entry at the time or after it; behind the last one when there is none.
func (v *Views) firstEntry(ctx context.Context, id bank.AccountID, at bank.Time) (bank.Version, error) {
	q := v.db.querier(ctx)
	var last bank.Version
	err := q.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM entry WHERE account = ?`, id.String()).
		Scan(&last)
	if err != nil {
		return 0, err
	}
	low, high := bank.Version(1), last+1 // what is looked for is from low to high
	for low < high {
		var version bank.Version
		var posted bank.Time
		middle := low + (high-low)/2
		err := q.QueryRowContext(ctx, selectNextEntry, id.String(), versionOf(middle)).Scan(&version, &posted)
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
