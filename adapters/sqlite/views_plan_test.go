package sqlite

import (
	"strings"
	"testing"

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

// plan says how SQLite goes about a statement: one line a step.
func plan(t *testing.T, db *DB, q *query) string {
	t.Helper()
	rows, err := db.read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+q.String(), q.params()...)
	if err != nil {
		t.Fatalf("%s: %v", q.String(), err)
	}
	var steps []string
	err = eachRow(rows, func(scan func(...any) error) error {
		var id, parent, unused int
		var step string
		err := scan(&id, &parent, &unused, &step)
		steps = append(steps, step)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(steps, "\n")
}

// Lists stay fast however much there is: they read an index in the order that is asked for, and stop at
// the limit. What nearly all rows have in common is looked for in the list of all.
func TestListsNeverSort(t *testing.T) {
	t.Parallel()
	db := open(t, ViewsFile)
	var (
		account  = bank.CashAccount(mustCurrency(t, "EUR"))
		customer = bank.MakeID[bank.Customer]([16]byte{1})
	)
	for _, p := range pages {
		for want, q := range map[string]*query{
			"USING INDEX account_opened":   accountsQuery(app.AccountFilter{Page: p}),
			"USING INDEX account_customer": accountsQuery(app.AccountFilter{Page: p, Customer: customer}),
			"USING INDEX account_inactive": accountsQuery(app.AccountFilter{Page: p, Status: bank.Frozen}),
			"USING INDEX account_currency": accountsQuery(app.AccountFilter{Page: p, Currency: mustCurrency(t, "EUR")}),
			"SCAN a USING INDEX account_opened|SEARCH a USING INDEX account_opened": accountsQuery(
				app.AccountFilter{Page: p, Status: bank.Active}),

			"USING INDEX hold_created":  holdsQuery(app.HoldFilter{Page: p}),
			"USING INDEX hold_account":  holdsQuery(app.HoldFilter{Page: p, Account: account}),
			"USING INDEX hold_customer": holdsQuery(app.HoldFilter{Page: p, Customer: customer}),
			"USING INDEX hold_status":   holdsQuery(app.HoldFilter{Page: p, Status: bank.HoldActive}),
		} {
			got := plan(t, db, q)
			found := false
			for w := range strings.SplitSeq(want, "|") {
				found = found || strings.Contains(got, w)
			}
			if !found || strings.Contains(got, "TEMP B-TREE") {
				t.Errorf("%+v: want %s and no sorting, got\n%s\nfor %s", p, want, got, q)
			}
		}
	}
}

// Transactions are looked for in one segment of the log after the other, and read in the order of the log.
func TestListsOfTransactionsNeverSort(t *testing.T) {
	t.Parallel()
	db := open(t, ViewsFile)
	customer, hold := bank.MakeID[bank.Customer]([16]byte{1}), bank.MakeID[bank.Hold]([16]byte{1})
	account := bank.CashAccount(mustCurrency(t, "EUR"))
	const all = "SEARCH t USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"
	const indexed = "SEARCH i USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)\n" +
		"SEARCH t USING INTEGER PRIMARY KEY (rowid=?)"
	for _, up := range []bool{false, true} {
		for f, want := range map[app.TransactionFilter]string{
			{}:                        all,
			{Kind: bank.TransferKind}: all,
			{Status: bank.Posted}:     all,
			{Account: account}:        indexed,
			{Customer: customer}:      indexed,
			{Account: account, Customer: customer, Kind: bank.TransferKind}: indexed,
			{CorrelationID: "c"}:         indexed,
			{IdempotencyKey: "k"}:        indexed,
			{Reference: "r"}:             indexed,
			{Hold: hold}:                 indexed,
			{Kind: bank.ReversalKind}:    indexed,
			{Status: bank.PendingReview}: indexed,
		} {
			f.Ascending = up
			if got := plan(t, db, transactionsQuery(f, span{1, 9})); got != want {
				t.Errorf("%+v: want\n%s, got\n%s", f, want, got)
			}
		}
	}
}

// An external id is nearly always one account's: what is sorted is what has been found.
func TestExternalIDsAreLookedUp(t *testing.T) {
	t.Parallel()
	db := open(t, ViewsFile)
	for _, p := range pages {
		got := plan(t, db, accountsQuery(app.AccountFilter{Page: p, ExternalID: "e"}))
		if !strings.Contains(got, "USING INDEX account_external") || strings.Contains(got, "SCAN") {
			t.Errorf("%+v:\n%s", p, got)
		}
	}
}

func mustCurrency(t *testing.T, code string) bank.Currency {
	t.Helper()
	c, err := bank.ParseCurrency(code)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
