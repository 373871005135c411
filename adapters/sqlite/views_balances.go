package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers/projection"
)

var (
	// Of an account that is there only what may change is replaced.
	accounts = table{name: "account", columns: 16, upsert: ` ON CONFLICT DO UPDATE SET version = excluded.version,
		status = excluded.status, balance = excluded.balance, held = excluded.held,
		overdraft_limit = excluded.overdraft_limit, daily_debit_limit = excluded.daily_debit_limit,
		review_above = excluded.review_above, day = excluded.day, debited_today = excluded.debited_today,
		details_version = excluded.details_version, updated_at = excluded.updated_at`}
	details = table{name: "account_details", columns: 4, upsert: ` ON CONFLICT DO UPDATE
		SET label = excluded.label, external_id = excluded.external_id, metadata = excluded.metadata`}
)

const (
	selectStatuses = `SELECT id, version, status FROM account WHERE id IN `
	forgetDetails  = `DELETE FROM account_details WHERE account = ?`

	selectAccounts = `SELECT a.id, a.version, a.customer, a.currency, a.type, a.status, a.balance, a.held,
		a.overdraft_limit, a.daily_debit_limit, a.review_above, a.day, a.debited_today, a.details_version,
		a.opened_at, a.updated_at, d.label, d.external_id, d.metadata
		FROM account a LEFT JOIN account_details d ON d.account = a.id`
)

// accountRow is what changes of an account when money moves.
type accountRow struct {
	bank.AccountState
	updatedAt bank.Time
}

// The names are those of the columns.
func (r *accountRow) fields(p *packing) {
	version, details := versionOf(r.Version), versionOf(r.DetailsVersion)
	status, day, at := int64(r.Status), int64(r.Day), int64(r.updatedAt)
	overdraft, daily, review := int64(r.OverdraftLimit), int64(r.DailyDebitLimit), int64(r.ReviewAbove)
	p.number("version", &version)
	p.number("status", &status)
	p.number("balance", &r.Balance)
	p.number("held", &r.Held)
	p.number("overdraft_limit", &overdraft)
	p.number("daily_debit_limit", &daily)
	p.number("review_above", &review)
	p.number("day", &day)
	p.number("debited_today", &r.DebitedToday)
	p.number("details_version", &details)
	p.number("updated_at", &at)
	if p.reading {
		r.Version, r.DetailsVersion = bank.Version(version), bank.Version(details)
		r.Status, r.Day, r.updatedAt = bank.AccountStatus(status), bank.Date(day), bank.Time(at)
		r.OverdraftLimit, r.DailyDebitLimit, r.ReviewAbove = bank.Limit(overdraft), bank.Limit(daily), bank.Limit(review)
	}
}

// AccountVersions implements projection.Store.
func (v *Views) AccountVersions(
	ctx context.Context, ids []bank.AccountID,
) (map[bank.AccountID]bank.Version, error) {
	out := make(map[bank.AccountID]bank.Version, len(ids))
	err := v.accounts.lookUp(ctx, v, ids, selectStatuses,
		func(row *accountRow) []any { return []any{&row.Version, &row.Status} },
		func(id bank.AccountID, row *accountRow) { out[id] = row.Version })
	if err != nil {
		return nil, fmt.Errorf("read versions of accounts: %w", err)
	}
	return out, nil
}

// SaveAccounts implements projection.Store. What accounts are listed by, and what never changes, must be in the table.
func (v *Views) SaveAccounts(ctx context.Context, updates []projection.Update) error {
	v.db.recent.change(updates)
	changes := make([]changed[accountRow], len(updates))
	opened := map[accountKey]*projection.Update{}
	var described []*projection.Update
	for i := range updates {
		u := &updates[i]
		changes[i] = changed[accountRow]{keyOf(u.Account), accountRow{u.State, u.UpdatedAt}}
		if u.Opening != nil {
			opened[changes[i].key] = u
		}
		if u.Details != nil {
			described = append(described, u)
		}
	}
	must := func(i int, was *accountRow) bool {
		u := &updates[i]
		return u.Opening != nil || u.Details != nil || was == nil || was.Status != u.State.Status
	}
	err := v.accounts.save(ctx, changes, must, func(ctx context.Context, rows []changed[accountRow]) error {
		return v.db.writeAccounts(ctx, rows, opened)
	})
	if err != nil {
		return err
	}
	return v.saveDetails(ctx, described)
}

// writeAccounts writes rows to the table. Of an account that is there it leaves out what never changes.
func (d *DB) writeAccounts(
	ctx context.Context, rows []changed[accountRow], opened map[accountKey]*projection.Update,
) error {
	return d.insertRows(ctx, accounts, len(rows), func(args []any, i int) []any {
		key, s := rows[i].key, &rows[i].row
		var o bank.Opening
		var at bank.Time
		if u := opened[key]; u != nil {
			o, at = *u.Opening, u.OpenedAt
		}
		return append(args, key.String(), versionOf(s.Version), o.Customer.String(), o.Currency.String(),
			int64(o.Type), int64(s.Status), s.Balance, s.Held, int64(s.OverdraftLimit), int64(s.DailyDebitLimit),
			int64(s.ReviewAbove), int64(s.Day), s.DebitedToday, versionOf(s.DetailsVersion),
			int64(at), int64(s.updatedAt))
	})
}

func (v *Views) saveDetails(ctx context.Context, updates []*projection.Update) error {
	written := updates[:0]
	texts := make([]string, 0, len(updates))
	for _, u := range updates {
		d := u.Details
		text, err := encodeMetadata(d.Metadata)
		if err != nil {
			return fmt.Errorf("metadata of account %s: %w", u.Account, err)
		}
		if d.Label == "" && d.ExternalID == "" && text == "" {
			s, err := v.stmt(ctx, forgetDetails)
			if err == nil {
				_, err = s.ExecContext(ctx, u.Account.String())
			}
			if err != nil {
				return fmt.Errorf("forget details of account %s: %w", u.Account, err)
			}
			continue
		}
		written, texts = append(written, u), append(texts, text)
	}
	return v.db.insertRows(ctx, details, len(written), func(args []any, i int) []any {
		u := written[i]
		return append(args, u.Account.String(), u.Details.Label, u.Details.ExternalID, texts[i])
	})
}

// Account implements app.Balances.
func (v *Views) Account(ctx context.Context, id bank.AccountID) (bank.Account, bool, error) {
	if _, err := v.db.tx(ctx); err == nil {
		return v.readAccount(ctx, id) // a transaction sees what it has written
	}
	a, ok, now := v.db.recent.account(id)
	if ok {
		return a, true, nil
	}
	a, ok, err := v.readAccount(ctx, id)
	if err == nil && ok {
		v.db.recent.keep(now, a)
	}
	return a, ok, err
}

func (v *Views) readAccount(ctx context.Context, id bank.AccountID) (bank.Account, bool, error) {
	row, noted, err := v.accounts.peek(ctx, id)
	if err != nil {
		return bank.Account{}, false, err
	}
	a, ok, err := one(ctx, v, selectAccounts+` WHERE a.id = ?`, id, scanAccount)
	if noted && ok {
		row.renew(&a)
	}
	return a, ok, err
}

// renew has the account be as r says, if that is newer.
func (r *accountRow) renew(a *bank.Account) {
	if r.Version > a.Version {
		a.AccountState, a.UpdatedAt = r.AccountState, r.updatedAt
	}
}

// Accounts implements app.Balances.
func (v *Views) Accounts(ctx context.Context, f app.AccountFilter) ([]bank.Account, error) {
	for {
		before := v.accounts.dropped()
		out, err := list(ctx, v, accountsQuery(f), scanAccount)
		for i := 0; err == nil && i < len(out); i++ {
			var row accountRow
			var noted bool
			if row, noted, err = v.accounts.peek(ctx, out[i].ID); noted {
				row.renew(&out[i])
			}
		}
		if err != nil {
			return nil, fmt.Errorf("list accounts: %w", err)
		}
		if v.accounts.dropped() == before {
			return out, nil
		}
	}
}

func accountsQuery(f app.AccountFilter) *query {
	q := &query{text: selectAccounts}
	if !f.Customer.IsZero() {
		q.and(`a.customer = ? AND a.customer <> ''`, f.Customer.String())
	}
	if f.Status != 0 {
		q.and(`a.status = ?`, int64(f.Status))
		if f.Status != bank.Active {
			q.and(`a.status <> 1`)
		}
	}
	if !f.Currency.IsZero() {
		q.and(`a.currency = ?`, f.Currency.String())
	}
	if f.ExternalID != "" {
		q.and(`d.external_id = ? AND d.external_id <> ''`, f.ExternalID)
	}
	q.page(f.Page, "a.opened_at", "a.id")
	return q
}

func scanAccount(scan func(...any) error) (a bank.Account, err error) {
	var id, customer, currency string
	var label, external, metadata sql.NullString
	err = scan(&id, &a.Version, &customer, &currency, &a.Type, &a.Status, &a.Balance, &a.Held,
		&a.OverdraftLimit, &a.DailyDebitLimit, &a.ReviewAbove, &a.Day, &a.DebitedToday, &a.DetailsVersion,
		&a.OpenedAt, &a.UpdatedAt, &label, &external, &metadata)
	if err != nil {
		return bank.Account{}, err
	}
	if a.ID, err = bank.ParseID[bank.Account](id); err != nil {
		return bank.Account{}, err
	}
	if a.Customer, err = optionalID(bank.ParseID[bank.Customer], customer); err != nil {
		return bank.Account{}, err
	}
	if a.Currency, err = bank.ParseCurrency(currency); err != nil {
		return bank.Account{}, err
	}
	if label.Valid {
		a.Details = &bank.Details{Label: label.String, ExternalID: external.String}
		a.Details.Metadata, err = decodeMetadata(metadata.String)
	}
	return a, err
}
