package history_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/history"
)

// view is a history.EntryStore and history.TransactionStore in memory. It counts what is written.
type view struct {
	entries      []history.Entry
	holds        map[bank.HoldID]bank.Hold
	transactions map[bank.TransactionID]history.Transaction
	writes       int
}

func newView() *view {
	return &view{holds: map[bank.HoldID]bank.Hold{}, transactions: map[bank.TransactionID]history.Transaction{}}
}

func (v *view) LastEntries(_ context.Context, ids []bank.AccountID) (map[bank.AccountID]history.Last, error) {
	out := map[bank.AccountID]history.Last{}
	for _, e := range v.entries {
		if slices.Contains(ids, e.Account) {
			out[e.Account] = history.Last{Version: e.Version, Balance: e.BalanceAfter}
		}
	}
	return out, nil
}

func (v *view) AddEntries(_ context.Context, entries []history.Entry) error {
	v.entries = append(v.entries, entries...)
	v.writes += len(entries)
	return nil
}

func (v *view) HoldVersions(_ context.Context, ids []bank.HoldID) (map[bank.HoldID]bank.Version, error) {
	out := map[bank.HoldID]bank.Version{}
	for _, id := range ids {
		if h, ok := v.holds[id]; ok {
			out[id] = h.Version
		}
	}
	return out, nil
}

func (v *view) SaveHolds(_ context.Context, holds []bank.Hold) error {
	for _, h := range holds {
		v.holds[h.ID] = h
	}
	v.writes += len(holds)
	return nil
}

func (v *view) TransactionVersions(
	_ context.Context, ids []bank.TransactionID,
) (map[bank.TransactionID]bank.Version, error) {
	out := map[bank.TransactionID]bank.Version{}
	for _, id := range ids {
		if t, ok := v.transactions[id]; ok {
			out[id] = t.Version
		}
	}
	return out, nil
}

func (v *view) SaveTransactions(_ context.Context, rows []history.Transaction) error {
	for _, t := range rows {
		old, known := v.transactions[t.ID]
		if known && t.New && t.Version == 1 {
			v.writes-- // left out
			continue
		}
		if known == t.New {
			return errors.New("what is new is not said right")
		}
		if known {
			t.IdempotencyKey = old.IdempotencyKey
		}
		v.transactions[t.ID] = t
	}
	v.writes += len(rows)
	return nil
}

func randomEvents(t *rapid.T) []app.Recorded {
	pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }
	return apptest.RandomHistory(pick, rapid.IntRange(1, 60).Draw(t, "commands"))
}

func facts(topic bank.Topic, events []app.Recorded) []handlers.Fact {
	var out []handlers.Fact
	for _, told := range apptest.Tell(topic, events) {
		out = append(out, handlers.Fact{Change: told.Change, IdempotencyKey: told.Meta.IdempotencyKey})
	}
	return out
}

// take gives all facts in deliveries of random sizes.
func take(t *rapid.T, handle handlers.Func, facts []handlers.Fact) {
	for len(facts) > 0 {
		n := rapid.IntRange(1, len(facts)).Draw(t, "delivery")
		if err := handle(context.Background(), facts[:n]); err != nil {
			t.Fatal(err)
		}
		facts = facts[n:]
	}
}

func TestViewsAreWhatTheLogSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		events := randomEvents(t)
		accounts, transactions := facts(bank.AccountsTopic, events), facts(bank.TransactionsTopic, events)
		v := newView()
		take(t, history.Entries(v), accounts)
		take(t, history.Transactions(v), transactions)
		same(t, v, events)

		v.writes = 0
		take(t, history.Entries(v), accounts[rapid.IntRange(0, len(accounts)).Draw(t, "again from"):])
		take(t, history.Transactions(v), transactions[rapid.IntRange(0, len(transactions)).Draw(t, "again from"):])
		if v.writes > 0 {
			t.Fatalf("what came again was written: %d", v.writes)
		}
	})
}

// same compares a view with the simplest way to say what must be in it.
func same(t *rapid.T, v *view, events []app.Recorded) {
	var entries []history.Entry
	holds := map[bank.HoldID]bank.Hold{}
	transactions := map[bank.TransactionID]history.Transaction{}
	for _, e := range events {
		for i, l := range e.Legs {
			if l.Amount != 0 {
				tr := e.Transactions[0]
				entries = append(entries, history.Entry{
					Account: l.Account, Version: l.After.Version, At: handlers.Position{Seq: e.Seq, N: i},
					Currency: l.Currency, Amount: l.Amount, BalanceAfter: l.After.Balance,
					PostedAt: e.Time, Transaction: tr.ID, Kind: tr.Kind,
					Reference: tr.Reference, Description: tr.Description, ValueDate: tr.ValueDate,
				})
			}
		}
		if e.Hold != nil {
			holds[e.Hold.ID] = *e.Hold
		}
		for _, tr := range e.Transactions {
			was, known := transactions[tr.ID]
			if !known {
				was.IdempotencyKey = e.Meta.IdempotencyKey
			}
			was.Transaction = tr
			transactions[tr.ID] = was
		}
	}
	if !slices.EqualFunc(v.entries, entries, func(a, b history.Entry) bool { return a == b }) {
		t.Fatalf("entries are\n%+v, not\n%+v", v.entries, entries)
	}
	if !reflect.DeepEqual(v.holds, holds) {
		t.Fatalf("holds are\n%+v, not\n%+v", v.holds, holds)
	}
	for id, want := range transactions {
		got := v.transactions[id]
		if !reflect.DeepEqual(got.Transaction, want.Transaction) || got.IdempotencyKey != want.IdempotencyKey {
			t.Fatalf("transaction %s is\n%+v, not\n%+v", id, got, want)
		}
	}
	if len(v.transactions) != len(transactions) {
		t.Fatalf("%d transactions, not %d", len(v.transactions), len(transactions))
	}
}

func TestGapsArePoison(t *testing.T) {
	t.Parallel()
	id := bank.CashAccount(currency(t))
	leg := func(v bank.Version, amount, balance int64) *bank.Leg {
		return &bank.Leg{Account: id, Amount: amount, After: bank.AccountState{Version: v, Balance: balance}}
	}
	hold := func(v bank.Version) *bank.Hold {
		return &bank.Hold{ID: bank.MakeID[bank.Hold]([16]byte{1}), Account: id, Version: v}
	}
	for name, c := range map[string]struct {
		handle func(*view) handlers.Func
		facts  []bank.Change
	}{
		"an entry that does not begin at zero": {entries, []bank.Change{
			{Leg: leg(5, 3, 7), Transaction: &bank.Transaction{}},
		}},
		"an entry behind a missing one": {entries, []bank.Change{
			{Leg: leg(2, 5, 5), Transaction: &bank.Transaction{}}, {Leg: leg(4, 1, 9), Transaction: &bank.Transaction{}},
		}},
		"an entry without a transaction":    {entries, []bank.Change{{Leg: leg(2, 5, 5)}}},
		"a hold that begins with version 2": {entries, []bank.Change{{Leg: leg(2, 0, 0), Hold: hold(2)}}},
		"a hold of which one is missing": {entries, []bank.Change{
			{Leg: leg(2, 0, 0), Hold: hold(1)}, {Leg: leg(3, 0, 0), Hold: hold(3)},
		}},
		"a transaction that begins with version 2": {func(v *view) handlers.Func { return history.Transactions(v) },
			[]bank.Change{{Transaction: &bank.Transaction{Version: 2}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all []handlers.Fact
			for _, change := range c.facts {
				all = append(all, handlers.Fact{Change: change})
			}
			err := c.handle(newView())(t.Context(), all)
			if class, _ := handlers.ClassOf(err); class != handlers.Poison {
				t.Fatalf("the error is %v", err)
			}
		})
	}
}

func entries(v *view) handlers.Func { return history.Entries(v) }

func currency(t *testing.T) bank.Currency {
	t.Helper()
	c, err := bank.ParseCurrency("EUR")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What one topic says is nothing to the handler of the other.
func TestOtherTopicsAreNotLookedAt(t *testing.T) {
	t.Parallel()
	ledger := func(t *rapid.T) {
		events := randomEvents(t)
		v := newView()
		take(t, history.Entries(v), facts(bank.TransactionsTopic, events))
		take(t, history.Transactions(v), facts(bank.AccountsTopic, events))
		if v.writes > 0 {
			t.Fatalf("%d writes", v.writes)
		}
	}
	rapid.Check(t, ledger)
}

// The other leg of a capture says the same of the hold, but has another key, so that it may come out of order.
func TestHoldsAreReadOnTheirOwnAccountOnly(t *testing.T) {
	t.Parallel()
	mine, other := bank.MakeID[bank.Account]([16]byte{1}), bank.MakeID[bank.Account]([16]byte{2})
	h := &bank.Hold{ID: bank.MakeID[bank.Hold]([16]byte{1}), Account: mine, Version: 1}
	v := newView()
	for account, want := range map[bank.AccountID]int{other: 0, mine: 1} {
		fact := handlers.Fact{Change: bank.Change{Leg: &bank.Leg{Account: account}, Hold: h}}
		v.writes = 0
		if err := history.Entries(v)(t.Context(), []handlers.Fact{fact}); err != nil || v.writes != want {
			t.Errorf("a leg on %s: %d writes, %v", account, v.writes, err)
		}
	}
}
