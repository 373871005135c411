package postgres

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"bankforge/app"
	"bankforge/app/bank"
)

// pages are the ways in which a list is walked over.
var pages = []app.Page{
	{Limit: 50},
	{Limit: 50, Ascending: true},
	{Limit: 50, AfterTime: 5, AfterID: "x"},
	{Limit: 50, AfterTime: 5, AfterID: "x", Ascending: true},
	{Limit: 50, From: 3, To: 9, AfterTime: 5, AfterID: "x"},
	{Limit: 50, From: 3, To: 9, Ascending: true},
}

// plan says how PostgreSQL goes about a statement in a transaction.
func plan(ctx context.Context, t *testing.T, q querier, sql string, args ...any) string {
	t.Helper()
	var steps []string
	err := each(ctx, q, func(scan func(...any) error) error {
		var step string
		err := scan(&step)
		steps = append(steps, step)
		return err
	}, "EXPLAIN "+sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return strings.Join(steps, "\n")
}

// sorts is a step that reads everything that was found before it gives the first row. One that sorts those of the same
// time among themselves does not.
func sorts(plan string) bool {
	for line := range strings.Lines(plan) {
		step := strings.TrimLeft(line, " ->")
		if strings.HasPrefix(step, "Sort  (") || strings.HasPrefix(step, "Seq Scan") {
			return true
		}
	}
	return false
}

// Lists stay fast however much there is: they read an index in the order that is asked for, and stop at the limit.
// Plans are those of a new bank, of which the server has no statistics, and of a large one.
func TestListsNeverSort(t *testing.T) {
	t.Parallel()
	db := openOnly(t, viewsSchema)
	s := db.views
	// What many rows have in common may be found in the list of all just as well; only statistics tell what that is.
	check := func(t *testing.T, when string, known bool) {
		t.Helper()
		tx, err := s.pool.BeginTx(t.Context(), pgx.TxOptions{AccessMode: pgx.ReadOnly})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback(t.Context()) }()
		for _, p := range pages {
			for index, q := range lists(t, p) {
				index, _, _ = strings.Cut(index, " ")
				got := plan(t.Context(), t, tx, q.String(), q.args...)
				if !known && !strings.Contains(got, "using "+index+" ") || sorts(got) {
					t.Errorf("%s, %+v: want %s and no sorting, got\n%s\nfor %s", when, p, index, got, q)
				}
			}
			for indexes, f := range transactionLists(p) {
				sql, args := transactionsQuery(f)
				got := plan(t.Context(), t, tx, sql, args...)
				for index := range strings.SplitSeq(indexes, " ") {
					if !known && !strings.Contains(got, "using "+index+" ") || sorts(got) {
						t.Errorf("%s, %+v: want %s and no sorting, got\n%s\nfor %s", when, f, index, got, sql)
					}
				}
			}
		}
	}
	check(t, "without statistics", false)
	l := someLog(2000)
	if err := l.feed(t.Context(), db, nil, bank.Seq(len(l.events)), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.pool.Exec(t.Context(), `ANALYZE account, account_details, entry, hold, txn`); err != nil {
		t.Fatal(err)
	}
	check(t, "with statistics", true)
}

// lists are by the index that each needs; what stands behind a blank tells two of the same apart.
func lists(t *testing.T, p app.Page) map[string]*query {
	t.Helper()
	account, customer := bank.CashAccount(euro(t)), bank.MakeID[bank.Customer]([16]byte{1})
	return map[string]*query{
		"account_opened":        accountsQuery(app.AccountFilter{Page: p}),
		"account_opened active": accountsQuery(app.AccountFilter{Page: p, Status: bank.Active}),
		"account_customer":      accountsQuery(app.AccountFilter{Page: p, Customer: customer}),
		"account_inactive":      accountsQuery(app.AccountFilter{Page: p, Status: bank.Frozen}),

		"hold_created":  holdsQuery(app.HoldFilter{Page: p}),
		"hold_account":  holdsQuery(app.HoldFilter{Page: p, Account: account}),
		"hold_customer": holdsQuery(app.HoldFilter{Page: p, Customer: customer}),

		"entry_pkey":      entriesQuery(app.EntryFilter{Account: account, Limit: 50, Ascending: p.Ascending}),
		"entry_pkey time": entriesQuery(app.EntryFilter{Account: account, Limit: 50, From: 3, To: 9}),
	}
}

func transactionLists(p app.Page) map[string]app.TransactionFilter {
	account, _ := bank.ParseID[bank.Account]("@cash:EUR")
	customer, hold := bank.MakeID[bank.Customer]([16]byte{1}), bank.MakeID[bank.Hold]([16]byte{1})
	return map[string]app.TransactionFilter{
		"txn_time":                              {Page: p},
		"txn_payer txn_payee":                   {Page: p, Account: account},
		"txn_payer_customer txn_payee_customer": {Page: p, Customer: customer},
		"txn_correlation":                       {Page: p, CorrelationID: "c"},
		"txn_key":                               {Page: p, IdempotencyKey: "k"},
		"txn_hold":                              {Page: p, Hold: hold},
	}
}
