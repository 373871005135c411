package mongo_test

import (
	"context"
	"slices"
	"testing"

	"bankforge/adapters/mongo"
	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/history"
	"bankforge/router"
)

var (
	entriesStream = router.Stream{Handler: router.MongoHistoryHandler, Topic: bank.AccountsTopic, Partition: 3}
	changesStream = router.Stream{Handler: router.MongoTransactionsHandler, Topic: bank.TransactionsTopic, Partition: 3}
)

func factsOf(told []apptest.Told) []handlers.Fact {
	facts := make([]handlers.Fact, len(told))
	for i, m := range told {
		facts[i] = handlers.Fact{Change: m.Change, IdempotencyKey: m.Meta.IdempotencyKey}
	}
	return facts
}

// stores are what the handlers write to.
type stores struct {
	history.EntryStore
	history.TransactionStore
}

// under tests views with what breaks does to them.
func under(t *testing.T, breaks func(*stores)) apptest.HistoryUnderTest {
	t.Helper()
	db, _ := open(t)
	view := mongo.NewView(db)
	write := stores{view, view}
	breaks(&write)
	mark := router.Mark{Checkpoint: router.Checkpoint{Incarnation: "first"}}
	take := func(s router.Stream, handle handlers.Func) apptest.Take {
		if err := view.Move(t.Context(), s, router.Mark{}, mark); err != nil {
			t.Fatal(err)
		}
		return func(ctx context.Context, told []apptest.Told) error {
			return handle(router.WithFence(ctx, router.Fence{Stream: s, Mark: mark}), factsOf(told))
		}
	}
	return apptest.HistoryUnderTest{
		History:          mongo.NewHistory(db, 1, nil, nil, nil),
		TakeAccounts:     take(entriesStream, history.Entries(write)),
		TakeTransactions: take(changesStream, history.Transactions(write)),
	}
}

func TestHistoryKeepsItsPromises(t *testing.T) {
	t.Parallel()
	err := apptest.TestHistory(t.Context(), func() (apptest.HistoryUnderTest, error) {
		return under(t, func(*stores) {}), nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Broken ones, each of which the suite must refuse.
type (
	firstEntryOnly struct{ history.EntryStore }       // of each call
	newHoldsOnly   struct{ history.EntryStore }       // later versions are lost
	knowsNoEntry   struct{ history.EntryStore }       // so that gaps are not seen
	newOnly        struct{ history.TransactionStore } // later versions are lost
)

func (s firstEntryOnly) AddEntries(ctx context.Context, entries []history.Entry) error {
	return s.EntryStore.AddEntries(ctx, entries[:1])
}

func (s newHoldsOnly) SaveHolds(ctx context.Context, holds []bank.Hold) error {
	fresh := slices.DeleteFunc(slices.Clone(holds), func(h bank.Hold) bool { return h.Version > 1 })
	return s.EntryStore.SaveHolds(ctx, fresh)
}

func (s knowsNoEntry) LastEntries(
	ctx context.Context, ids []bank.AccountID,
) (map[bank.AccountID]history.Last, error) {
	last, err := s.EntryStore.LastEntries(ctx, ids)
	for id := range last {
		last[id] = history.Last{}
	}
	return last, err
}

func (s newOnly) SaveTransactions(ctx context.Context, all []history.Transaction) error {
	fresh := slices.DeleteFunc(slices.Clone(all), func(t history.Transaction) bool { return !t.New })
	return s.TransactionStore.SaveTransactions(ctx, fresh)
}

func TestBrokenHistoryIsRejected(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]func(*stores){
		"entries are lost":                  func(s *stores) { s.EntryStore = firstEntryOnly{s.EntryStore} },
		"versions of holds are lost":        func(s *stores) { s.EntryStore = newHoldsOnly{s.EntryStore} },
		"the last entries are not asked":    func(s *stores) { s.EntryStore = knowsNoEntry{s.EntryStore} },
		"versions of transactions are lost": func(s *stores) { s.TransactionStore = newOnly{s.TransactionStore} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := apptest.TestHistoryKept(t.Context(), func() (apptest.HistoryUnderTest, error) {
				return under(t, breaks), nil
			})
			if err == nil {
				t.Error("it is taken")
			}
		})
	}
}

var _ app.History = (*mongo.History)(nil)
