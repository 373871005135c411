package router_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// ledger is a router.Source in memory.
type ledger struct {
	hints *router.Hints

	mu          sync.Mutex
	events      []app.Recorded
	versions    map[bank.AccountID]bank.Version
	incarnation string
}

func newLedger() *ledger {
	return &ledger{hints: router.NewHints(), versions: map[bank.AccountID]bank.Version{}, incarnation: "inc1"}
}

func (l *ledger) Read(_ context.Context, after bank.Seq, limit int) ([]app.Recorded, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := min(int(after)+limit, len(l.events))
	if int(after) >= end {
		return nil, nil
	}
	return slices.Clone(l.events[after:end]), nil
}

func (l *ledger) Head(context.Context) (app.Head, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return app.Head{Incarnation: l.incarnation, Seq: bank.Seq(len(l.events))}, nil
}

func eur() bank.Currency {
	c, err := bank.ParseCurrency("EUR")
	if err != nil {
		panic(err)
	}
	return c
}

func account(i int) bank.AccountID {
	return bank.MakeID[bank.Account]([16]byte{14: byte(i >> 8), 15: byte(i)})
}

// credit appends one event that credits the accounts, and wakes the tails.
func (l *ledger) credit(accounts ...int) {
	l.mu.Lock()
	seq := bank.Seq(len(l.events) + 1)
	e := bank.Event{Seq: seq, Type: bank.TransactionMade, Time: bank.Time(1_700_000_000_000_000 + int64(seq))}
	for _, i := range accounts {
		id := account(i)
		l.versions[id]++
		e.Legs = append(e.Legs, bank.Leg{Account: id, Currency: eur(), Amount: 1, After: bank.AccountState{
			Version: l.versions[id], Status: bank.Active, Balance: int64(l.versions[id]),
			DailyDebitLimit: bank.NoLimit, ReviewAbove: bank.NoLimit,
		}})
	}
	l.events = append(l.events, app.Recorded{Event: e, Meta: app.Meta{CorrelationID: fmt.Sprint("cor-", seq)}})
	l.mu.Unlock()
	l.hints.Wake()
}

func (l *ledger) head() bank.Seq {
	h, _ := l.Head(context.Background())
	return h.Seq
}

// book is a handler that counts for each account, in its own transaction, that every version comes once and
// in order. fail may refuse a fact.
type book struct {
	store router.Store
	mu    sync.Mutex
	fail  func(f *handlers.Fact) error
	calls int
	wrong []string
}

func page(key string) router.Stream { return router.Stream{Handler: "book", Topic: bank.Topic(key)} }

func (b *book) handle(ctx context.Context, facts []handlers.Fact) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	for i := range facts {
		f := &facts[i]
		if b.fail != nil {
			if err := b.fail(f); err != nil {
				return err
			}
		}
		c, err := b.store.Checkpoint(ctx, page(f.Key()))
		if err != nil {
			return err
		}
		if bank.Version(c.Position.Seq)+1 != f.Version() {
			b.wrong = append(b.wrong, fmt.Sprintf("%s: version %d came behind %d", f.Key(), f.Version(), c.Position.Seq))
		}
		next := router.Checkpoint{Position: handlers.Position{Seq: bank.Seq(f.Version())}}
		if err := b.store.Advance(ctx, page(f.Key()), next); err != nil {
			return err
		}
	}
	return nil
}

// setFail replaces fail.
func (b *book) setFail(fail func(f *handlers.Fact) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = fail
}

// at is how many versions of the account have been taken in.
func (b *book) at(t tb, i int) bank.Version {
	t.Helper()
	c, err := b.store.Checkpoint(context.Background(), page(account(i).String()))
	if err != nil {
		t.Fatal(err)
	}
	return bank.Version(c.Position.Seq)
}

// check fails the test if something came twice, or out of order.
func (b *book) check(t tb) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.wrong {
		t.Error(w)
	}
}

// tb is what tests and properties have in common.
type tb interface {
	Helper()
	Cleanup(release func())
	Error(args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func openStore(tb testing.TB) *sqlite.HandlerStore {
	tb.Helper()
	return openStoreIn(tb, tb.TempDir())
}

func openStoreIn(t tb, dir string) *sqlite.HandlerStore {
	t.Helper()
	db, err := sqlite.Open(context.Background(), filepath.Join(dir, "views.db"), sqlite.ViewsFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return sqlite.NewHandlerStore(db)
}

// quick is a policy without real waiting.
func quick() router.Policy {
	p := router.DefaultPolicy()
	p.Backoff = router.Backoff{First: time.Microsecond, Most: time.Millisecond}
	p.Hold = router.Backoff{First: time.Millisecond, Most: 5 * time.Millisecond}
	return p
}

const handlerName = "test"

// bench is a router with one handler, the book.
type bench struct {
	*router.Router
	name     string
	ledger   *ledger
	store    router.Store
	book     *book
	progress *router.Progress
}

func newBench(t tb, l *ledger, s router.Store, p router.Policy) *bench {
	t.Helper()
	return newBenchNamed(t, handlerName, l, s, p)
}

func newBenchNamed(t tb, name string, l *ledger, s router.Store, p router.Policy) *bench {
	t.Helper()
	b := &bench{name: name, ledger: l, store: s, book: &book{store: s}, progress: router.NewProgress()}
	var err error
	b.Router, err = router.New("", []router.Route{
		{Name: name, Topic: bank.AccountsTopic, Handler: b.book.handle, Store: s},
	}, router.Config{
		Source: l, Hints: l.hints, Progress: b.progress, Policy: p, Batch: 16, Classify: []router.Classifier{sqlite.Classify},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// start runs the router until stop is called, or the test ends.
func (b *bench) start(t tb) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// await waits until the handler has taken in the whole log.
func (b *bench) await(t tb) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if !b.progress.Await(ctx, b.name, b.ledger.head()) {
		t.Fatalf("the handler stands at %d of %d: %+v", b.progress.At(b.name), b.ledger.head(), b.status(t))
	}
}

func (b *bench) status(t tb) router.HandlerStatus {
	t.Helper()
	all, err := b.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

// awaitState polls: states are told to metrics, and to whoever asks.
func (b *bench) awaitState(t tb, want router.State) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for b.status(t).State != want {
		if time.Now().After(deadline) {
			t.Fatalf("the handler does not become %s: %+v", want, b.status(t))
		}
		<-time.After(time.Millisecond)
	}
}

// head is what waits first for an account.
func (b *bench) head(t tb, i int) (p router.Parked, ok bool) {
	t.Helper()
	err := b.store.InTx(context.Background(), func(ctx context.Context) (err error) {
		p, ok, err = b.store.Head(ctx, b.name, account(i).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, ok
}
