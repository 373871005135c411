package sqlite_test

import (
	"context"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/handlers"
)

// spread is a history with so many other events in between that it goes over many segments, some of them empty.
func spread(seed uint64, commands int) (*log, *apptest.MemoryViews) {
	const apart = 9973
	l := newLog(seed, commands)
	model := &apptest.MemoryViews{}
	for i := range l.events {
		e := &l.events[i]
		e.Seq *= apart
		e.Transactions = slices.Clone(e.Transactions)
		for j := range e.Transactions {
			e.Transactions[j].Seq *= apart
		}
		model.Evolve(*e)
	}
	return l, model
}

func TestListsGoOverSegments(t *testing.T) {
	t.Parallel()
	t.Run("written at once", func(t *testing.T) {
		t.Parallel()
		db, v := openViews(t)
		goOverSegments(t, db, v)
	})
	t.Run("noted", func(t *testing.T) {
		t.Parallel()
		db, v := openViews(t)
		v.NoteUntil(1 << 20)
		goOverSegments(t, db, v)
	})
}

func goOverSegments(t *testing.T, db *sqlite.DB, v *sqlite.Views) {
	t.Helper()
	l, model := spread(8, 300)
	facts := map[bank.Topic][]handlers.Fact{}
	for _, topic := range []bank.Topic{bank.AccountsTopic, bank.TransactionsTopic} {
		for _, told := range apptest.Tell(topic, l.events) {
			facts[topic] = append(facts[topic], handlers.Fact{Change: told.Change, IdempotencyKey: told.Meta.IdempotencyKey})
		}
	}
	for _, h := range all(v) {
		for part := range slices.Chunk(facts[h.Topic], 50) {
			if err := db.InTx(t.Context(), func(ctx context.Context) error { return h.handle(ctx, part) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	random := rand.New(rand.NewPCG(8, 8))
	accounts, err := model.Accounts(t.Context(), app.AccountFilter{Page: app.Page{Limit: 1000}})
	if err != nil || len(accounts) < 5 {
		t.Fatal(accounts, err)
	}
	for range 150 {
		a := accounts[random.IntN(len(accounts))]
		at := func() bank.Time { return l.events[random.IntN(len(l.events))].Time + bank.Time(random.IntN(2)) }
		p := app.Page{Limit: 1 + random.IntN(9), Ascending: random.IntN(2) == 0}
		if random.IntN(2) == 0 {
			p.From, p.To = at(), at()
		}
		sameEntriesOf(t, v, model, app.EntryFilter{
			Account: a.ID, AfterVersion: bank.Version(random.IntN(9)), Limit: p.Limit, Ascending: p.Ascending,
			From: p.From, To: p.To,
		})
		f := app.TransactionFilter{Page: p}
		switch random.IntN(5) {
		case 0:
			f.Account = a.ID
		case 1:
			f.Customer = a.Customer
		case 2:
			f.CorrelationID = "correlation-3"
		case 3:
			f.Kind = bank.TransactionKind(1 + random.IntN(5))
		}
		samePagesOf(t, v, model, f)
	}
}

func sameEntriesOf(t *testing.T, v *sqlite.Views, model app.History, f app.EntryFilter) {
	t.Helper()
	got, err := v.Entries(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	want, err := model.Entries(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v:\n%+v\ninstead of\n%+v", f, got, want)
	}
}

// samePagesOf walks over all pages.
func samePagesOf(t *testing.T, v *sqlite.Views, model app.History, f app.TransactionFilter) {
	t.Helper()
	for {
		got, err := v.Transactions(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		want, err := model.Transactions(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		same := func(a, b bank.Transaction) bool { return a.ID == b.ID && a.Version == b.Version && a.Seq == b.Seq }
		if !slices.EqualFunc(got, want, same) {
			t.Fatalf("%+v:\n%+v\ninstead of\n%+v", f, got, want)
		}
		if len(got) < f.Limit {
			return
		}
		last := got[len(got)-1]
		f.AfterID, f.AfterTime = last.ID.String(), last.PostedAt
		if f.AfterTime == 0 {
			f.AfterTime = last.CreatedAt
		}
	}
}
