package mongo_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	driver "go.mongodb.org/mongo-driver/v2/mongo"

	"bankforge/adapters/mongo"
	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/history"
	"bankforge/router"
)

// branch is a bank's history in MongoDB, with the handlers that keep it, and in a store too if it has one.
type branch struct {
	*testing.T
	log      *memory
	model    *apptest.MemoryViews
	events   []app.Recorded // that are not in the log yet
	raw      *driver.Database
	db       *mongo.DB
	history  *mongo.History
	progress *router.Progress
	router   *router.Router
	kept     *sqlite.HandlerStore
	stop     func()
	change   func(*router.Route) // of what writes to MongoDB; nil: nothing
}

func newBranch(t *testing.T, address string, withStore bool, change ...func(*router.Route)) *branch {
	t.Helper()
	source := rand.New(rand.NewPCG(7, 8)) // the same each time
	b := &branch{
		T: t, log: &memory{incarnation: "first"}, model: &apptest.MemoryViews{},
		events: apptest.RandomHistory(source.IntN, 500),
	}
	file, err := sqlite.Open(t.Context(), t.TempDir()+"/views.db", sqlite.ViewsFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	b.kept = sqlite.NewHandlerStore(file)
	if len(change) > 0 {
		b.change = change[0]
	}
	var db *mongo.DB
	db, b.raw = openAt(t, address)
	b.db = db
	var store app.History
	var reactions router.Reactions
	if withStore {
		views, err := sqlite.NewViews(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		store, reactions.Entries, reactions.Transactions = views, history.Entries(views), history.Transactions(views)
	}
	b.begin(db, store, reactions)
	return b
}

// begin runs the handlers.
func (b *branch) begin(db *mongo.DB, store app.History, reactions router.Reactions) {
	b.Helper()
	view := mongo.NewView(db)
	reactions.MongoEntries, reactions.MongoTransactions = view.Entries(), view.Transactions()
	b.progress = router.NewProgress()
	b.history = mongo.NewHistory(db, 1, store, b.progress, nil)
	policy := router.DefaultPolicy()
	policy.Hold = router.Backoff{First: time.Millisecond, Most: 20 * time.Millisecond}
	routes := router.Routes(reactions, router.Stores{Views: b.kept, MongoHistory: view, Mend: view.Mends()})
	for i := range routes {
		if b.change != nil && routes[i].Outside != nil {
			b.change(&routes[i])
		}
	}
	var err error
	b.router, err = router.New("", routes,
		router.Config{
			Source: b.log, Versions: b.log, Progress: b.progress, Poll: 20 * time.Millisecond, Batch: 64, Policy: policy,
			Classify: []router.Classifier{sqlite.Classify},
		})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.router.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
		b.stop = func() {}
	}
	b.Cleanup(func() { b.stop() })
}

// goOn appends some events.
func (b *branch) goOn(n int) {
	for _, e := range b.events[:n] {
		b.model.Evolve(e)
	}
	b.log.append(b.events[:n]...)
	b.events = b.events[n:]
}

var inMongo = []string{router.MongoHistoryHandler, router.MongoTransactionsHandler}

// await waits until the handlers have everything.
func (b *branch) await(which ...string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 60*time.Second)
	defer cancel()
	head, _ := b.log.Head(ctx)
	for _, handler := range which {
		if !b.progress.Await(ctx, handler, head.Seq) {
			status, _ := b.router.Status(context.Background())
			b.Fatalf("%s stands at %d of %d: %+v", handler, b.progress.At(handler), head.Seq, status)
		}
	}
}

// same compares some of everything with what it should be.
func (b *branch) same(h app.History) error {
	ctx, all := b.Context(), app.Page{Limit: 1000}
	want, err := b.model.Transactions(ctx, app.TransactionFilter{Page: all})
	if err != nil {
		return err
	}
	got, err := h.Transactions(ctx, app.TransactionFilter{Page: all})
	if err != nil {
		return err
	}
	if err := equal(got, want); err != nil {
		return fmt.Errorf("transactions: %w", err)
	}
	wantHolds, err := b.model.Holds(ctx, app.HoldFilter{Page: all})
	if err != nil {
		return err
	}
	holds, err := h.Holds(ctx, app.HoldFilter{Page: all})
	if err != nil {
		return err
	}
	if err := equal(holds, wantHolds); err != nil {
		return fmt.Errorf("holds: %w", err)
	}
	f := app.EntryFilter{Account: bank.CashAccount(want[0].Amount.Currency()), Limit: 1000}
	wantEntries, err := b.model.Entries(ctx, f)
	if err != nil {
		return err
	}
	entries, err := h.Entries(ctx, f)
	if err != nil {
		return err
	}
	return equal(entries, wantEntries)
}

func equal[T any](got, want []T) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d rows instead of %d", len(got), len(want))
	}
	for i := range got {
		if !reflect.DeepEqual(got[i], want[i]) && fmt.Sprint(got[i]) != fmt.Sprint(want[i]) { // nil or empty
			return fmt.Errorf("row %d is %+v, not %+v", i, got[i], want[i])
		}
	}
	return nil
}

// becomesSame polls until everything is shown, and insists that nothing else is shown before.
func (b *branch) becomesSame() {
	b.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; <-time.After(20 * time.Millisecond) {
		err := b.same(b.history)
		if err == nil {
			break
		}
		if !away(err) || time.Now().After(deadline) {
			b.Fatal(err)
		}
	}
	for _, handler := range inMongo {
		for _, key := range b.keys() {
			if parked, err := b.progress.Parked(b.Context(), handler, key); parked || err != nil {
				b.Errorf("%s has parked %s: %v", handler, key, err)
			}
		}
	}
}

func (b *branch) keys() (keys []string) {
	for _, topic := range []bank.Topic{bank.AccountsTopic, bank.TransactionsTopic} {
		for _, told := range apptest.Tell(topic, b.log.events) {
			keys = append(keys, told.Key())
		}
	}
	return keys[:min(50, len(keys))]
}

// away reports whether err says that MongoDB cannot tell now, rather than something wrong.
func away(err error) bool {
	for _, rowsDiffer := range []string{"rows instead of", ", not "} {
		if strings.Contains(err.Error(), rowsDiffer) {
			return false
		}
	}
	return true
}

func TestWhatMongoLosesIsBuiltFromTheLog(t *testing.T) {
	t.Parallel()
	address := servers.Mongo(t)
	for name, lose := range map[string]func(*branch) error{
		"everything": func(b *branch) error { return b.raw.Drop(b.Context()) },
		"the marks":  func(b *branch) error { return b.raw.Collection("mark").Drop(b.Context()) },
		"forgotten": func(b *branch) error {
			return errors.Join(mongo.NewView(b.db).Forget(b.Context(), router.MongoHistoryHandler),
				mongo.NewView(b.db).Forget(b.Context(), router.MongoTransactionsHandler))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBranch(t, address, false)
			b.goOn(150)
			b.await(inMongo...)
			b.becomesSame()
			if err := lose(b); err != nil {
				t.Fatal(err)
			}
			b.becomesSame() // in silence
			if err := lose(b); err != nil {
				t.Fatal(err)
			}
			b.goOn(50)
			b.await(inMongo...)
			b.becomesSame()
		})
	}
}

// With a store beside it, nobody notices.
func TestAStoreAnswersWhileMongoIsBuilt(t *testing.T) {
	t.Parallel()
	address := servers.Mongo(t)
	b := newBranch(t, address, true)
	b.goOn(150)
	b.await(append([]string{app.HistoryHandler, app.TransactionsHandler}, inMongo...)...)
	for range 2 {
		if err := b.same(b.history); err != nil {
			t.Error(err)
		}
		if err := b.raw.Drop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.same(b.history); err != nil {
		t.Error(err)
	}
}

// Another incarnation begins anew, and what the old one left is dropped.
func TestAnotherIncarnationOfTheLog(t *testing.T) {
	t.Parallel()
	address := servers.Mongo(t)
	b := newBranch(t, address, false)
	b.goOn(100)
	b.await(inMongo...)
	b.becomesSame()
	b.stop()
	source := rand.New(rand.NewPCG(9, 9)) // the same each time
	b.log, b.model = &memory{incarnation: "second"}, &apptest.MemoryViews{}
	b.events = apptest.RandomHistory(source.IntN, 200)
	db, err := mongo.Open(withDatabase(t, address, b.raw.Name()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	b.goOn(60)
	b.begin(db, nil, router.Reactions{})
	b.await(inMongo...)
	b.becomesSame()
	names, err := b.raw.ListCollectionNames(t.Context(), map[string]any{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.Contains(name, "-first") {
			t.Errorf("%s is still there", name)
		}
	}
	b.stop()
}

// TestMongoGoesAndComesBack stops a server of its own.
func TestMongoGoesAndComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	do := func(args ...string) map[string]string {
		t.Helper()
		exports, err := servers.Script(append([]string{"--dir", dir, "--ports", "auto"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return exports
	}
	t.Cleanup(func() {
		if _, err := servers.Script("--dir", dir, "down"); err != nil {
			t.Error(err)
		}
	})
	b := newBranch(t, do("up", "mongo")["BANKFORGE_MONGO"], false)
	b.goOn(100)
	b.await(inMongo...)
	b.becomesSame()
	for what, c := range map[string]struct{ away, back string }{
		"killed": {"kill", "start"}, "paused": {"pause", "resume"},
	} {
		do(c.away, "mongo")
		began := time.Now()
		for range 20 {
			if err := b.same(b.history); err == nil || !away(err) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if took := time.Since(began); took > 8*time.Second { // a timeout or two, and not one for each read
			t.Errorf("%s: reading took %s", what, took)
		}
		b.goOn(20)
		do(c.back, "mongo")
		b.await(inMongo...)
		b.becomesSame()
	}
}

// A replay in another process leaves what is remembered here outdated; that is no gap.
func TestAReplayElsewhereIsNoGap(t *testing.T) {
	t.Parallel()
	db, _ := open(t)
	here, there := mongo.NewView(db), mongo.NewView(db)
	mark := router.Mark{Checkpoint: router.Checkpoint{Incarnation: "first", Position: handlers.End(1)}}
	if err := here.Move(t.Context(), entriesStream, router.Mark{}, mark); err != nil {
		t.Fatal(err)
	}
	var facts []handlers.Fact
	for _, f := range transfers(t, 12, 2)[bank.AccountsTopic] {
		if f.Leg.Amount > 0 && (len(facts) == 0 || f.Leg.Account == facts[0].Leg.Account) {
			facts = append(facts, f)
		}
	}
	facts[0].Leg.After.Balance = facts[0].Leg.Amount
	for i := 1; i < 3; i++ {
		facts[i].Leg.After.Balance = facts[i-1].Leg.After.Balance + facts[i].Leg.Amount
	}
	fenced := router.WithFence(t.Context(), router.Fence{Stream: entriesStream, Mark: mark})
	for i, view := range []*mongo.View{here, there, here} {
		if err := view.Entries()(fenced, facts[i:i+1]); err != nil {
			t.Errorf("entry %d: %v", i, err)
		}
	}
	var gap *handlers.GapError
	facts[2].Leg.After.Version += 9
	facts[2].Leg.After.Balance += 9
	if err := here.Entries()(fenced, facts[2:3]); !errors.As(err, &gap) {
		t.Errorf("a gap that nothing fills: %v", err)
	}
	if err := here.AddEntries(t.Context(), nil); err == nil {
		t.Error("taken without a fence")
	}
	if err := here.Move(t.Context(), entriesStream, router.Mark{}, mark); !errors.Is(err, router.ErrMoved) {
		t.Errorf("moved from where it is not: %v", err)
	}
	other := mark
	other.Position = handlers.End(5)
	if err := here.Move(t.Context(), entriesStream, other, mark); !errors.Is(err, router.ErrMoved) {
		t.Errorf("moved from where it is not: %v", err)
	}
}
