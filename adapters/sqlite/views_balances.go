package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

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
	selectAccountVersions = `SELECT id, version FROM account WHERE id IN `
	forgetDetails         = `DELETE FROM account_details WHERE account = ?`

	selectAccounts = `SELECT a.id, a.version, a.customer, a.currency, a.type, a.status, a.balance, a.held,
		a.overdraft_limit, a.daily_debit_limit, a.review_above, a.day, a.debited_today, a.details_version,
		a.opened_at, a.updated_at, d.label, d.external_id, d.metadata
		FROM account a LEFT JOIN account_details d ON d.account = a.id`
)

// AccountVersions implements projection.Store.
func (v *Views) AccountVersions(
	ctx context.Context, ids []bank.AccountID,
) (map[bank.AccountID]bank.Version, error) {
	out, err := versionsOf(ctx, v, selectAccountVersions, ids)
	if err != nil {
		return nil, fmt.Errorf("read versions of accounts: %w", err)
	}
	return out, nil
}

// SaveAccounts implements projection.Store.
func (v *Views) SaveAccounts(ctx context.Context, updates []projection.Update) error {
	v.db.recent.change(updates)
	sorted := make([]*projection.Update, 0, len(updates))
	var described []*projection.Update
	for i := range updates {
		u := &updates[i]
		sorted = append(sorted, u)
		if u.Details != nil {
			described = append(described, u)
		}
	}
	// In the order of the table, so that what belongs on one page comes together.
	slices.SortFunc(sorted, func(a, b *projection.Update) int {
		return strings.Compare(a.Account.String(), b.Account.String())
	})
	err := v.insert(ctx, accounts, len(sorted), func(args []any, i int) []any { return appendAccount(args, sorted[i]) })
	if err != nil {
		return err
	}
	return v.saveDetails(ctx, described)
}

// appendAccount leaves out what never changes when the account is not new: its row is there, and keeps it.
func appendAccount(args []any, u *projection.Update) []any {
	s := &u.State
	var o bank.Opening
	if u.Opening != nil {
		o = *u.Opening
	}
	return append(args, u.Account.String(), versionOf(s.Version), o.Customer.String(), o.Currency.String(),
		int64(o.Type), int64(s.Status), s.Balance, s.Held, int64(s.OverdraftLimit), int64(s.DailyDebitLimit),
		int64(s.ReviewAbove), int64(s.Day), s.DebitedToday, versionOf(s.DetailsVersion),
		int64(u.OpenedAt), int64(u.UpdatedAt))
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
	return v.insert(ctx, details, len(written), func(args []any, i int) []any {
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
	return one(ctx, v, selectAccounts+` WHERE a.id = ?`, id, scanAccount)
}

// Accounts implements app.Balances.
func (v *Views) Accounts(ctx context.Context, f app.AccountFilter) ([]bank.Account, error) {
	out, err := list(ctx, v, accountsQuery(f), scanAccount)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return out, nil
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
