package projection_test

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/projection"
)

// view is a projection.Store in memory. It counts what is written.
type view struct {
	accounts map[bank.AccountID]bank.Account
	writes   int
	broken   error
}

func (v *view) AccountVersions(
	_ context.Context, ids []bank.AccountID,
) (map[bank.AccountID]bank.Version, error) {
	have := map[bank.AccountID]bank.Version{}
	for _, id := range ids {
		if a, ok := v.accounts[id]; ok {
			have[id] = a.Version
		}
	}
	return have, v.broken
}

func (v *view) SaveAccounts(_ context.Context, updates []projection.Update) error {
	for _, u := range updates {
		a := v.accounts[u.Account]
		a.ID, a.AccountState, a.UpdatedAt = u.Account, u.State, u.UpdatedAt
		if u.Opening != nil {
			a.Opening, a.OpenedAt = *u.Opening, u.OpenedAt
		}
		if u.Details != nil {
			a.Details = u.Details
		}
		v.accounts[u.Account] = a
		v.writes++
	}
	return v.broken
}

// history is what a random bank has done, as facts about accounts, and the accounts at the end.
func history(t *rapid.T) ([]handlers.Fact, map[bank.AccountID]bank.Account) {
	pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }
	events := apptest.RandomHistory(pick, rapid.IntRange(1, 60).Draw(t, "commands"))
	return factsOf(events), accountsOf(events)
}

func factsOf(events []app.Recorded) []handlers.Fact {
	var facts []handlers.Fact
	for _, told := range apptest.Tell(bank.AccountsTopic, events) {
		facts = append(facts, handlers.Fact{Change: told.Change})
	}
	return facts
}

func accountsOf(events []app.Recorded) map[bank.AccountID]bank.Account {
	s := bank.NewState()
	for _, e := range events {
		s.Evolve(e.Event)
	}
	out := map[bank.AccountID]bank.Account{}
	for a := range s.Accounts() {
		out[a.ID] = a
	}
	return out
}

// take gives all facts in deliveries of random sizes.
func take(t *rapid.T, v *view, facts []handlers.Fact) {
	handle := projection.Balances(v)
	for len(facts) > 0 {
		n := rapid.IntRange(1, len(facts)).Draw(t, "delivery")
		if err := handle(context.Background(), facts[:n]); err != nil {
			t.Fatal(err)
		}
		facts = facts[n:]
	}
}

func same(t *rapid.T, v *view, want map[bank.AccountID]bank.Account) {
	for id, w := range want {
		g := v.accounts[id]
		if described(g.Details) != described(w.Details) {
			t.Fatalf("details of %s are %+v, not %+v", id, g.Details, w.Details)
		}
		g.Details, w.Details = nil, nil
		if !reflect.DeepEqual(g, w) {
			t.Fatalf("account %s is\n%+v, not\n%+v", id, g, w)
		}
	}
	if len(v.accounts) != len(want) {
		t.Fatalf("%d accounts, not %d", len(v.accounts), len(want))
	}
}

// described is comparable.
func described(d *bank.Details) (out [4]string) {
	if d != nil {
		out = [4]string{d.Label, d.ExternalID, d.Metadata["purpose"], d.Metadata["empty"]}
	}
	return out
}

func TestViewIsWhatTheLogSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		facts, want := history(t)
		v := &view{accounts: map[bank.AccountID]bank.Account{}}
		take(t, v, facts)
		same(t, v, want)
		if len(facts) == 0 {
			return
		}
		before := maps.Clone(v.accounts)
		v.writes = 0
		take(t, v, facts[rapid.IntRange(0, len(facts)-1).Draw(t, "again from"):])
		if v.writes > 0 || !reflect.DeepEqual(v.accounts, before) {
			t.Fatalf("what came again wrote %d accounts", v.writes)
		}
	})
}

func TestOneWriteForEachAccountOfABatch(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		facts, want := history(t)
		v := &view{accounts: map[bank.AccountID]bank.Account{}}
		if err := projection.Balances(v)(context.Background(), facts); err != nil {
			t.Fatal(err)
		}
		same(t, v, want)
		if v.writes != len(want) {
			t.Fatalf("%d writes for %d accounts", v.writes, len(want))
		}
	})
}

func TestGapIsPoisonAndWritesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		facts, _ := history(t)
		var later []int // facts that follow another of the same account
		for i := range facts {
			if facts[i].Leg.After.Version > 1 {
				later = append(later, i)
			}
		}
		if len(later) == 0 {
			return
		}
		i := rapid.SampledFrom(later).Draw(t, "without the one before")
		missing := i - 1
		for facts[missing].Leg.Account != facts[i].Leg.Account {
			missing--
		}
		v := &view{accounts: map[bank.AccountID]bank.Account{}}
		take(t, v, facts[:missing])
		v.writes = 0
		err := projection.Balances(v)(context.Background(), facts[missing+1:i+1])
		var gap *handlers.GapError
		if !errors.As(err, &gap) || gap.Got != facts[i].Leg.After.Version || gap.Key != facts[i].Key() {
			t.Fatalf("the error is %v", err)
		}
		if class, _ := handlers.ClassOf(err); class != handlers.Poison || v.writes > 0 {
			t.Fatalf("class %s, %d writes", class, v.writes)
		}
	})
}

func TestBeginningWithoutOpeningIsPoison(t *testing.T) {
	t.Parallel()
	fact := handlers.Fact{Change: bank.Change{Seq: 1, Leg: &bank.Leg{After: bank.AccountState{Version: 1}}}}
	err := projection.Balances(&view{})(t.Context(), []handlers.Fact{fact})
	if class, _ := handlers.ClassOf(err); class != handlers.Poison {
		t.Fatalf("the error is %v", err)
	}
}

func TestErrorsOfTheStoreAreReturned(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	v := &view{accounts: map[bank.AccountID]bank.Account{}, broken: boom}
	if err := projection.Balances(v)(t.Context(), nil); !errors.Is(err, boom) {
		t.Fatalf("the error is %v", err)
	}
}
