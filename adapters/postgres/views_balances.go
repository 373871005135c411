package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers/projection"
)

const (
	selectAccountVersions = `SELECT k.n, a.version FROM unnest($1::text[]) WITH ORDINALITY AS k (id, n)
		CROSS JOIN LATERAL (SELECT version FROM account WHERE account.id = k.id LIMIT 1) AS a`
	// Of an account that is there only what may change is replaced.
	saveAccounts = `INSERT INTO account (id, version, customer, currency, type, status, balance, held, overdraft_limit,
		daily_debit_limit, review_above, day, debited_today, details_version, opened_at, updated_at)
		SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::smallint[], $6::smallint[],
			$7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::int[], $13::bigint[], $14::bigint[],
			$15::bigint[], $16::bigint[])
		ON CONFLICT (id) DO UPDATE SET version = excluded.version,
		status = excluded.status, balance = excluded.balance, held = excluded.held,
		overdraft_limit = excluded.overdraft_limit, daily_debit_limit = excluded.daily_debit_limit,
		review_above = excluded.review_above, day = excluded.day, debited_today = excluded.debited_today,
		details_version = excluded.details_version, updated_at = excluded.updated_at`
	saveDetails = `INSERT INTO account_details (account, label, external_id, metadata)
		SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
		ON CONFLICT (account) DO UPDATE
		SET label = excluded.label, external_id = excluded.external_id, metadata = excluded.metadata`
	forgetDetails = `DELETE FROM account_details WHERE account = ANY ($1)`

	selectAccounts = `SELECT a.id, a.version, a.customer, a.currency, a.type, a.status, a.balance, a.held,
		a.overdraft_limit, a.daily_debit_limit, a.review_above, a.day, a.debited_today, a.details_version,
		a.opened_at, a.updated_at, coalesce(d.label, ''), coalesce(d.external_id, ''), coalesce(d.metadata, '')
		FROM account AS a LEFT JOIN account_details AS d ON d.account = a.id`
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

// accountColumns are the rows of account.
type accountColumns struct {
	ids, customers, currencies                           []string
	versions, balances, held, overdrafts, limits, review []int64
	types, statuses                                      []int16
	days                                                 []int32
	debited, details, opened, updated                    []int64
}

// add leaves out what never changes when the account is not new: its row is there, and keeps it.
func (c *accountColumns) add(u *projection.Update) {
	s := &u.State
	var o bank.Opening
	if u.Opening != nil {
		o = *u.Opening
	}
	c.ids, c.versions = append(c.ids, u.Account.String()), append(c.versions, int64(s.Version))
	c.customers, c.currencies = append(c.customers, o.Customer.String()), append(c.currencies, o.Currency.String())
	c.types, c.statuses = append(c.types, int16(o.Type)), append(c.statuses, int16(s.Status))
	c.balances, c.held = append(c.balances, s.Balance), append(c.held, s.Held)
	c.overdrafts = append(c.overdrafts, int64(s.OverdraftLimit))
	c.limits = append(c.limits, int64(s.DailyDebitLimit))
	c.review, c.days = append(c.review, int64(s.ReviewAbove)), append(c.days, int32(s.Day))
	c.debited, c.details = append(c.debited, s.DebitedToday), append(c.details, int64(s.DetailsVersion))
	c.opened, c.updated = append(c.opened, int64(u.OpenedAt)), append(c.updated, int64(u.UpdatedAt))
}

// SaveAccounts implements projection.Store.
func (v *Views) SaveAccounts(ctx context.Context, updates []projection.Update) error {
	sorted := make([]*projection.Update, 0, len(updates))
	for i := range updates {
		sorted = append(sorted, &updates[i])
	}
	// Always in the same order, so that two who write the same accounts wait for each other in one direction only.
	slices.SortFunc(sorted, func(a, b *projection.Update) int {
		return strings.Compare(a.Account.String(), b.Account.String())
	})
	var c accountColumns
	for _, u := range sorted {
		c.add(u)
	}
	_, err := v.write(ctx, "account", saveAccounts, columns{
		c.ids, c.versions, c.customers, c.currencies, c.types, c.statuses, c.balances, c.held, c.overdrafts, c.limits,
		c.review, c.days, c.debited, c.details, c.opened, c.updated,
	})
	if err != nil {
		return err
	}
	return v.saveDetails(ctx, sorted)
}

func (v *Views) saveDetails(ctx context.Context, updates []*projection.Update) error {
	var gone, accounts, labels, externals, metadata []string
	for _, u := range updates {
		if u.Details == nil {
			continue
		}
		text, err := encodeMetadata(u.Details.Metadata)
		if err != nil {
			return fmt.Errorf("metadata of account %s: %w", u.Account, err)
		}
		if u.Details.Label == "" && u.Details.ExternalID == "" && text == "" {
			gone = append(gone, u.Account.String())
			continue
		}
		accounts, metadata = append(accounts, u.Account.String()), append(metadata, text)
		labels, externals = append(labels, u.Details.Label), append(externals, u.Details.ExternalID)
	}
	if len(gone) > 0 {
		if _, err := v.write(ctx, "account_details", forgetDetails, columns{gone}); err != nil {
			return err
		}
	}
	if len(accounts) == 0 {
		return nil
	}
	_, err := v.write(ctx, "account_details", saveDetails, columns{accounts, labels, externals, metadata})
	return err
}

// Account implements app.Balances.
func (v *Views) Account(ctx context.Context, id bank.AccountID) (bank.Account, bool, error) {
	return one(ctx, v, selectAccounts+` WHERE a.id = $1`, id, scanAccount)
}

// Accounts implements app.Balances.
func (v *Views) Accounts(ctx context.Context, f app.AccountFilter) ([]bank.Account, error) {
	q := accountsQuery(f)
	out, err := list(ctx, v, scanAccount, q.String(), q.args...)
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
		q.and(`a.status = ?`, int16(f.Status))
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
	var id, customer, currency, metadata string
	var d bank.Details
	err = scan(&id, &a.Version, &customer, &currency, &a.Type, &a.Status, &a.Balance, &a.Held,
		&a.OverdraftLimit, &a.DailyDebitLimit, &a.ReviewAbove, &a.Day, &a.DebitedToday, &a.DetailsVersion,
		&a.OpenedAt, &a.UpdatedAt, &d.Label, &d.ExternalID, &metadata)
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
	if d.Metadata, err = decodeMetadata(metadata); err != nil {
		return bank.Account{}, err
	}
	if d.Label != "" || d.ExternalID != "" || len(d.Metadata) > 0 {
		a.Details = &d
	}
	return a, nil
}
