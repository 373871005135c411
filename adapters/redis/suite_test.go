package redis_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"bankforge/adapters/redis"
	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/projection"
	"bankforge/router"
)

var stream = router.Stream{Handler: router.RedisBalancesHandler, Topic: bank.AccountsTopic, Partition: 3}

func openStore(tb testing.TB) (*sqlite.DB, *sqlite.Views) {
	tb.Helper()
	db, err := sqlite.Open(tb.Context(), filepath.Join(tb.TempDir(), "views.db"), sqlite.ViewsFile)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	v, err := sqlite.NewViews(tb.Context(), db)
	if err != nil {
		tb.Fatal(err)
	}
	return db, v
}

// onlyLists is a store that answers for no account that exists: those must come from Redis.
type onlyLists struct{ app.Balances }

func (o onlyLists) Account(ctx context.Context, id bank.AccountID) (bank.Account, bool, error) {
	a, ok, err := o.Balances.Account(ctx, id)
	if ok {
		return a, ok, errors.New("the store was asked for an account that exists")
	}
	return a, ok, err
}

func factsOf(told []apptest.Told) []handlers.Fact {
	facts := make([]handlers.Fact, len(told))
	for i, m := range told {
		facts[i] = handlers.Fact{Change: m.Change, IdempotencyKey: m.Meta.IdempotencyKey}
	}
	return facts
}

// under tests a view with what write does to it: nothing, or something that breaks it. Messages go to Redis and
// to the store, which shows lists.
func under(t *testing.T, write func(projection.Store) projection.Store) apptest.BalancesUnderTest {
	t.Helper()
	db, _, _ := open(t)
	file, store := openStore(t)
	view := redis.NewView(db)
	mark := router.Mark{Checkpoint: router.Checkpoint{Incarnation: "first"}}
	if err := view.Move(t.Context(), stream, router.Mark{}, mark); err != nil {
		t.Fatal(err)
	}
	handle, keep := projection.Balances(write(view)), projection.Balances(store)
	return apptest.BalancesUnderTest{
		Balances: redis.NewBalances(db, onlyLists{store}, nil, nil),
		Take: func(ctx context.Context, told []apptest.Told) error {
			fenced := router.WithFence(ctx, router.Fence{Stream: stream, Mark: mark})
			err := file.InTx(ctx, func(ctx context.Context) error { return keep(ctx, factsOf(told)) })
			return errors.Join(err, handle(fenced, factsOf(told)))
		},
	}
}

func TestBalancesKeepTheirPromises(t *testing.T) {
	t.Parallel()
	err := apptest.TestBalances(t.Context(), func() (apptest.BalancesUnderTest, error) {
		return under(t, func(s projection.Store) projection.Store { return s }), nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Broken ones, each of which the suite must refuse.
type (
	forgetsDetails struct{ projection.Store }
	forgetsOpening struct{ projection.Store }
	believesAll    struct{ projection.Store } // says of no account that it is there
	writesHalf     struct{ projection.Store }
)

func (s forgetsDetails) SaveAccounts(ctx context.Context, updates []projection.Update) error {
	for i := range updates {
		updates[i].Details = nil
	}
	return s.Store.SaveAccounts(ctx, updates)
}

func (s forgetsOpening) SaveAccounts(ctx context.Context, updates []projection.Update) error {
	for i := range updates {
		updates[i].Opening, updates[i].OpenedAt = nil, 0
	}
	return s.Store.SaveAccounts(ctx, updates)
}

func (s believesAll) AccountVersions(context.Context, []bank.AccountID) (map[bank.AccountID]bank.Version, error) {
	return map[bank.AccountID]bank.Version{}, nil
}

func (s writesHalf) SaveAccounts(ctx context.Context, updates []projection.Update) error {
	return s.Store.SaveAccounts(ctx, updates[:(len(updates)+1)/2])
}

func TestBrokenBalancesAreRejected(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]func(projection.Store) projection.Store{
		"details are not written": func(s projection.Store) projection.Store { return forgetsDetails{s} },
		"openings are not kept":   func(s projection.Store) projection.Store { return forgetsOpening{s} },
		"versions are not asked":  func(s projection.Store) projection.Store { return believesAll{s} },
		"half of it is written":   func(s projection.Store) projection.Store { return writesHalf{s} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := apptest.TestBalances(t.Context(), func() (apptest.BalancesUnderTest, error) {
				return under(t, breaks), nil
			})
			if err == nil {
				t.Error("it is taken")
			}
		})
	}
}
