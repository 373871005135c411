package postgres

import (
	"context"
	"fmt"
	"strconv"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers/history"
)

const (
	selectLastEntries = `SELECT k.n, e.version, e.balance_after FROM unnest($1::text[]) WITH ORDINALITY AS k (id, n)
		CROSS JOIN LATERAL (SELECT version, balance_after FROM entry WHERE account = k.id ORDER BY version DESC LIMIT 1) AS e`
	addEntries = `INSERT INTO entry (account, version, posted_at, amount, balance_after, currency, transaction, kind,
		reference, description, value_date)
		SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[],
			$8::smallint[], $9::text[], $10::text[], $11::int[])`
	selectEntries = `SELECT account, version, posted_at, amount, balance_after, currency, transaction, kind, reference,
		description, value_date FROM entry`

	selectHoldVersions = `SELECT k.n, h.version FROM unnest($1::text[]) WITH ORDINALITY AS k (id, n)
		CROSS JOIN LATERAL (SELECT version FROM hold WHERE hold.id = k.id LIMIT 1) AS h`
	saveHolds = `INSERT INTO hold (id, version, account, customer, currency, amount, captured, remaining, status,
		reference, created_at, expires_at)
		SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
			$8::bigint[], $9::smallint[], $10::text[], $11::bigint[], $12::bigint[])
		ON CONFLICT (id) DO UPDATE SET version = excluded.version,
		captured = excluded.captured, remaining = excluded.remaining, status = excluded.status`
	selectHolds = `SELECT id, version, account, customer, currency, amount, captured, remaining, status,
		reference, created_at, expires_at FROM hold`
)

// LastEntries implements history.EntryStore.
func (v *Views) LastEntries(
	ctx context.Context, accounts []bank.AccountID,
) (map[bank.AccountID]history.Last, error) {
	tx, err := v.s.tx(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[bank.AccountID]history.Last, len(accounts))
	err = each(ctx, tx, func(scan func(...any) error) error {
		var n int
		var last history.Last
		err := scan(&n, &last.Version, &last.Balance)
		if err == nil {
			out[accounts[n-1]] = last
		}
		return err
	}, selectLastEntries, texts(accounts))
	if err != nil {
		return nil, fmt.Errorf("read the last entries of accounts: %w", err)
	}
	return out, nil
}

// AddEntries implements history.EntryStore.
func (v *Views) AddEntries(ctx context.Context, rows []history.Entry) error {
	n := len(rows)
	accounts, currencies, transactions := make([]string, n), make([]string, n), make([]string, n)
	references, descriptions := make([]string, n), make([]string, n)
	versions, posted := make([]int64, n), make([]int64, n)
	amounts, balances := make([]int64, n), make([]int64, n)
	kinds, dates := make([]int16, n), make([]int32, n)
	for i := range rows {
		e := &rows[i]
		accounts[i], currencies[i], transactions[i] = e.Account.String(), e.Currency.String(), e.Transaction.String()
		references[i], descriptions[i] = e.Reference, e.Description
		versions[i], posted[i] = int64(e.Version), int64(e.PostedAt)
		amounts[i], balances[i] = e.Amount, e.BalanceAfter
		kinds[i], dates[i] = int16(e.Kind), int32(e.ValueDate)
	}
	_, err := v.write(ctx, "entry", addEntries, columns{
		accounts, versions, posted, amounts, balances, currencies, transactions, kinds, references, descriptions, dates,
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
	n := len(rows)
	ids, accounts, customers := make([]string, n), make([]string, n), make([]string, n)
	currencies, references := make([]string, n), make([]string, n)
	versions, amounts := make([]int64, n), make([]int64, n)
	captured, remaining := make([]int64, n), make([]int64, n)
	created, expires, statuses := make([]int64, n), make([]int64, n), make([]int16, n)
	for i := range rows {
		h := &rows[i]
		ids[i], accounts[i], customers[i] = h.ID.String(), h.Account.String(), h.Customer.String()
		currencies[i], references[i] = h.Amount.Currency().String(), h.Reference
		versions[i], amounts[i] = int64(h.Version), h.Amount.Minor()
		captured[i], remaining[i] = h.Captured, h.Remaining
		created[i], expires[i], statuses[i] = int64(h.CreatedAt), int64(h.ExpiresAt), int16(h.Status)
	}
	_, err := v.write(ctx, "hold", saveHolds, columns{
		ids, versions, accounts, customers, currencies, amounts, captured, remaining, statuses, references, created, expires,
	})
	return err
}

// Entries implements app.History.
func (v *Views) Entries(ctx context.Context, f app.EntryFilter) ([]app.EntryRow, error) {
	q := entriesQuery(f)
	out, err := list(ctx, v, scanEntry, q.String(), q.args...)
	if err != nil {
		return nil, fmt.Errorf("list entries of account %s: %w", f.Account, err)
	}
	return out, nil
}

func entriesQuery(f app.EntryFilter) *query {
	q := &query{text: selectEntries, order: " ORDER BY version DESC", limit: max(f.Limit, 0)}
	if f.Ascending {
		q.order = " ORDER BY version"
	}
	account := f.Account.String()
	q.and("account = ?", account)
	switch {
	case f.AfterVersion == 0:
	case f.Ascending:
		q.and("version > ?", clamp(uint64(f.AfterVersion)))
	default:
		q.and("version < ?", clamp(uint64(f.AfterVersion)))
	}
	// Each is asked for once, and not for each row; none means that all are before.
	if f.From != 0 {
		q.and("version >= (SELECT first_entry(?, ?))", account, int64(f.From))
	}
	if f.To != 0 {
		q.and("version < (SELECT coalesce(first_entry(?, ?), "+strconv.FormatInt(clamp(^uint64(0)), 10)+"))",
			account, int64(f.To))
	}
	return q
}

func scanEntry(scan func(...any) error) (e app.EntryRow, err error) {
	var account, currency, transaction string
	err = scan(&account, &e.Version, &e.PostedAt, &e.Amount, &e.BalanceAfter, &currency, &transaction, &e.Kind,
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
	return one(ctx, v, selectHolds+` WHERE id = $1`, id, scanHold)
}

// Holds implements app.History.
func (v *Views) Holds(ctx context.Context, f app.HoldFilter) ([]bank.Hold, error) {
	q := holdsQuery(f)
	out, err := list(ctx, v, scanHold, q.String(), q.args...)
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
		q.and("status = ?", int16(f.Status))
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
