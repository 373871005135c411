package apptest

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/history"
	"bankforge/handlers/projection"
)

// rightViews are views that keep their promises, to be broken one by one.
type rightViews struct {
	*sqlite.Views
	db *sqlite.DB
}

func openRight(t *testing.T) rightViews {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "views.db"), sqlite.ViewsFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	v, err := sqlite.NewViews(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return rightViews{v, db}
}

func (v rightViews) take(f handlers.Func) Take {
	return func(ctx context.Context, told []Told) error {
		return v.db.InTx(ctx, func(ctx context.Context) error { return f(ctx, facts(told)) })
	}
}

func facts(told []Told) []handlers.Fact {
	out := make([]handlers.Fact, len(told))
	for i, m := range told {
		out[i] = handlers.Fact{Change: m.Change, IdempotencyKey: m.Meta.IdempotencyKey}
	}
	return out
}

func (v rightViews) balances() BalancesUnderTest {
	return BalancesUnderTest{Balances: v, Take: v.take(projection.Balances(v))}
}

func (v rightViews) history() HistoryUnderTest {
	return HistoryUnderTest{
		History: v, TakeAccounts: v.take(history.Entries(v)), TakeTransactions: v.take(history.Transactions(v)),
	}
}

// brokenBalances answers with other filters than it was asked.
type brokenBalances struct {
	app.Balances
	filter func(*app.AccountFilter)
}

func (b brokenBalances) Accounts(ctx context.Context, f app.AccountFilter) ([]bank.Account, error) {
	b.filter(&f)
	return b.Balances.Accounts(ctx, f)
}

// anything is a store that says of each account that the version before the message's is there.
type anything struct {
	projection.Store
	told *[]handlers.Fact
}

func (a anything) AccountVersions(
	ctx context.Context, ids []bank.AccountID,
) (map[bank.AccountID]bank.Version, error) {
	have, err := a.Store.AccountVersions(ctx, ids)
	for _, f := range slices.Backward(*a.told) {
		if l := f.Leg; have[l.Account] > 0 {
			have[l.Account] = l.After.Version - 1
		}
	}
	return have, err
}

// ignoring makes a handler's gaps pass as if the messages did not exist.
func ignoring(f handlers.Func) handlers.Func {
	return func(ctx context.Context, facts []handlers.Fact) error {
		for i := range facts {
			var gap *handlers.GapError
			if err := f(ctx, facts[i:i+1]); err != nil && !errors.As(err, &gap) {
				return err
			}
		}
		return nil
	}
}

// oneByOne gives up the transaction around a batch.
func oneByOne(take Take) Take {
	return func(ctx context.Context, told []Told) error {
		for i := range told {
			if err := take(ctx, told[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	}
}

func ignore[F any](field string) func(*F) {
	return func(f *F) { reflect.ValueOf(f).Elem().FieldByName(field).SetZero() }
}

func TestBrokenBalancesAreRejected(t *testing.T) {
	t.Parallel()
	filter := func(f func(*app.AccountFilter)) func(*testing.T, rightViews, *BalancesUnderTest) {
		return func(_ *testing.T, _ rightViews, b *BalancesUnderTest) { b.Balances = brokenBalances{b.Balances, f} }
	}
	const list = "lists show"
	for name, c := range map[string]struct {
		breaks func(*testing.T, rightViews, *BalancesUnderTest)
		at     string // the promise that it breaks
	}{
		"wrong order":         {filter(func(f *app.AccountFilter) { f.Ascending = !f.Ascending }), list},
		"ignores the limit":   {filter(func(f *app.AccountFilter) { f.Limit = 1 << 20 }), list},
		"ignores the cursor":  {filter(func(f *app.AccountFilter) { f.AfterTime, f.AfterID = 0, "" }), list},
		"cursor without id":   {filter(cursorWithoutID), list},
		"ignores from":        {filter(ignore[app.AccountFilter]("From")), list},
		"ignores to":          {filter(ignore[app.AccountFilter]("To")), list},
		"ignores customer":    {filter(ignore[app.AccountFilter]("Customer")), list},
		"ignores status":      {filter(ignore[app.AccountFilter]("Status")), list},
		"ignores currency":    {filter(ignore[app.AccountFilter]("Currency")), list},
		"ignores external id": {filter(ignore[app.AccountFilter]("ExternalID")), list},
		"skips the version check": {func(_ *testing.T, v rightViews, b *BalancesUnderTest) {
			b.Take = func(ctx context.Context, told []Told) error {
				all := facts(told)
				return v.take(projection.Balances(anything{v, &all}))(ctx, told)
			}
		}, "what comes again"},
		"accepts a gap": {func(_ *testing.T, v rightViews, b *BalancesUnderTest) {
			b.Take = v.take(ignoring(projection.Balances(v)))
		}, "a version that does not follow"},
		"no transaction": {func(_ *testing.T, _ rightViews, b *BalancesUnderTest) {
			b.Take = oneByOne(b.Take)
		}, "leaves no trace"},
		"loses messages": {func(_ *testing.T, _ rightViews, b *BalancesUnderTest) {
			b.Take = func(context.Context, []Told) error { return nil }
		}, "as its newest version"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checks := slices.DeleteFunc(slices.Clone(balancesChecks), func(check viewCheck[BalancesUnderTest]) bool {
				return !strings.Contains(check.promise, c.at)
			})
			err := runChecks(t.Context(), checks, func() (BalancesUnderTest, error) {
				v := openRight(t)
				b := v.balances()
				c.breaks(t, v, &b)
				return b, nil
			})
			if err == nil {
				t.Fatalf("it keeps %q", c.at)
			}
		})
	}
}

func cursorWithoutID(f *app.AccountFilter) {
	if f.AfterID != "" && f.Ascending {
		f.AfterID = ""
	}
}

// brokenHistory answers with other filters than it was asked.
type brokenHistory struct {
	app.History
	transactions func(*app.TransactionFilter)
	holds        func(*app.HoldFilter)
	entries      func(*app.EntryFilter)
}

func (b brokenHistory) Transactions(ctx context.Context, f app.TransactionFilter) ([]bank.Transaction, error) {
	if b.transactions != nil {
		b.transactions(&f)
	}
	return b.History.Transactions(ctx, f)
}

func (b brokenHistory) Holds(ctx context.Context, f app.HoldFilter) ([]bank.Hold, error) {
	if b.holds != nil {
		b.holds(&f)
	}
	return b.History.Holds(ctx, f)
}

func (b brokenHistory) Entries(ctx context.Context, f app.EntryFilter) ([]app.EntryRow, error) {
	if b.entries != nil {
		b.entries(&f)
	}
	return b.History.Entries(ctx, f)
}

type brokenHistoryCase struct {
	breaks func(rightViews, *HistoryUnderTest)
	at     string // the promise that it breaks
}

// ignoringFields are views that do not look at one field of a filter.
func ignoringFields() map[string]brokenHistoryCase {
	cases := map[string]brokenHistoryCase{}
	for _, field := range []string{
		"From", "To", "AfterTime", "AfterID", "Ascending", "Account", "Customer", "Kind", "Status", "Reference", "Hold",
		"CorrelationID", "IdempotencyKey",
	} {
		cases["transactions ignore "+field] = brokenHistoryCase{func(v rightViews, h *HistoryUnderTest) {
			h.History = brokenHistory{History: v, transactions: ignore[app.TransactionFilter](field)}
		}, "lists of transactions"}
	}
	for _, field := range []string{"From", "To", "AfterTime", "AfterID", "Ascending", "Account", "Customer", "Status"} {
		cases["holds ignore "+field] = brokenHistoryCase{func(v rightViews, h *HistoryUnderTest) {
			h.History = brokenHistory{History: v, holds: ignore[app.HoldFilter](field)}
		}, "lists of holds"}
	}
	for _, field := range []string{"From", "To", "AfterVersion", "Ascending", "Account"} {
		cases["entries ignore "+field] = brokenHistoryCase{func(v rightViews, h *HistoryUnderTest) {
			h.History = brokenHistory{History: v, entries: ignore[app.EntryFilter](field)}
		}, "lists of entries"}
	}
	return cases
}

func TestBrokenHistoryIsRejected(t *testing.T) {
	t.Parallel()
	cases := ignoringFields()
	cases["entries accept a gap"] = brokenHistoryCase{func(v rightViews, h *HistoryUnderTest) {
		h.TakeAccounts = v.take(ignoring(history.Entries(v)))
	}, "go on where the last one ended"}
	cases["transactions accept a gap"] = brokenHistoryCase{func(v rightViews, h *HistoryUnderTest) {
		h.TakeTransactions = v.take(ignoring(history.Transactions(v)))
	}, "a version of a transaction"}
	cases["holds accept a gap"] = brokenHistoryCase{func(v rightViews, h *HistoryUnderTest) {
		h.TakeAccounts = v.take(ignoring(history.Entries(v)))
	}, "a version of a hold"}
	cases["entries without a transaction"] = brokenHistoryCase{func(_ rightViews, h *HistoryUnderTest) {
		h.TakeAccounts = oneByOne(h.TakeAccounts)
	}, "leaves no trace"}
	cases["the key of a later command"] = brokenHistoryCase{func(_ rightViews, h *HistoryUnderTest) {
		take := h.TakeTransactions
		h.TakeTransactions = func(ctx context.Context, told []Told) error {
			for i := range told {
				told[i].Meta.IdempotencyKey = told[len(told)-1].Meta.IdempotencyKey
			}
			return take(ctx, told)
		}
	}, "lists of transactions"}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checks := slices.DeleteFunc(slices.Clone(historyChecks), func(check viewCheck[HistoryUnderTest]) bool {
				return !strings.Contains(check.promise, c.at)
			})
			err := runChecks(t.Context(), checks, func() (HistoryUnderTest, error) {
				v := openRight(t)
				h := v.history()
				c.breaks(v, &h)
				return h, nil
			})
			if err == nil {
				t.Fatalf("it keeps %q", c.at)
			}
		})
	}
}

// What the suites are fed must have some of everything, or else they show little.
func TestRandomHistoryHasSomeOfEverything(t *testing.T) {
	t.Parallel()
	have := map[any]int{}
	ties := 0
	events := RandomHistory(rand.New(rand.NewPCG(3, 6)).IntN, 300)
	for i, e := range events {
		have[e.Type]++
		for _, tr := range e.Transactions {
			have[tr.Status]++
			have[tr.Kind]++
		}
		if e.Hold != nil {
			have[e.Hold.Status]++
		}
		if i > 0 && e.Time == events[i-1].Time {
			ties++
		}
	}
	for e := bank.AccountOpened; e <= bank.OperatorActed; e++ {
		if have[e] == 0 {
			t.Errorf("no event of type %d", e)
		}
	}
	for s := bank.Posted; s <= bank.Reversed; s++ {
		if have[s] == 0 {
			t.Errorf("no transaction that is %s", s)
		}
	}
	for k := bank.DepositKind; k <= bank.ReversalKind; k++ {
		if have[k] == 0 {
			t.Errorf("no %s", k)
		}
	}
	for s := bank.HoldActive; s <= bank.HoldExpired; s++ {
		if have[s] == 0 {
			t.Errorf("no hold that is %s", s)
		}
	}
	if ties < len(events)/10 {
		t.Errorf("only %d of %d events happen at the time of the one before", ties, len(events))
	}
}
