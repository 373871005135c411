package repair_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"bankforge/adapters/postgres"
	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/repair"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is all that a place of handlers gives.
type store interface {
	router.Store
	router.Controls
	repair.Store
	router.Fronts
	ops.Lot
}

// stores are the real ones.
var stores = map[string]func(testing.TB) store{
	"sqlite": func(tb testing.TB) store {
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
		return sqlite.NewHandlerStore(db)
	},
	"postgres": func(tb testing.TB) store {
		tb.Helper()
		db, err := postgres.Open(tb.Context(), servers.Postgres(tb), postgres.Options{
			Prefix: servers.Name() + "_", MaxConns: 12,
		})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() {
			if err := db.Drop(context.Background()); err != nil {
				tb.Error(err)
			}
		})
		return postgres.NewHandlerStore(db.Derived())
	},
}

// ledger is a router.Source in memory.
type ledger struct {
	hints *router.Hints

	mu       sync.Mutex
	events   []app.Recorded
	versions map[int]bank.Version
}

func newLedger() *ledger { return &ledger{hints: router.NewHints(), versions: map[int]bank.Version{}} }

// Read is a Source's.
func (l *ledger) Read(_ context.Context, after bank.Seq, limit int) ([]app.Recorded, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := min(int(after)+limit, len(l.events))
	if int(after) >= end {
		return nil, nil
	}
	return slices.Clone(l.events[after:end]), nil
}

// Head is a Source's.
func (l *ledger) Head(context.Context) (app.Head, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return app.Head{Incarnation: "inc1", Seq: bank.Seq(len(l.events))}, nil
}

func (l *ledger) head() bank.Seq {
	h, _ := l.Head(context.Background())
	return h.Seq
}

func account(i int) bank.AccountID {
	return bank.MakeID[bank.Account]([16]byte{13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
}

// credit appends one event for each account, and wakes the tails.
func (l *ledger) credit(accounts ...int) {
	eur, err := bank.ParseCurrency("EUR")
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	for _, i := range accounts {
		l.versions[i]++
		v := l.versions[i]
		seq := bank.Seq(len(l.events) + 1)
		l.events = append(l.events, app.Recorded{
			Event: bank.Event{
				Seq: seq, Type: bank.TransactionMade, Time: bank.Time(1_700_000_000_000_000 + int64(seq)),
				Legs: []bank.Leg{{Account: account(i), Currency: eur, Amount: 1, After: bank.AccountState{
					Version: v, Status: bank.Active, Balance: int64(v),
					DailyDebitLimit: bank.NoLimit, ReviewAbove: bank.NoLimit,
				}}},
			},
			Meta: app.Meta{CorrelationID: fmt.Sprint("cor-", seq)},
		})
	}
	l.mu.Unlock()
	l.hints.Wake()
}

var errBoom = errors.New("boom")

// book is a handler that sees in its own transaction that every version of an account comes once and in order.
type book struct {
	store   router.Store
	name    string
	fails   sync.Map // account's text → error
	dice    func(f *handlers.Fact) error
	handled atomic.Int64

	mu    sync.Mutex
	wrong []string
}

func (b *book) page(key string) router.Stream {
	return router.Stream{Handler: "book of " + b.name, Topic: bank.Topic(key)}
}

func (b *book) handle(ctx context.Context, facts []handlers.Fact) error {
	for i := range facts {
		f := &facts[i]
		if err, ok := b.fails.Load(f.Key()); ok {
			return err.(error)
		}
		if b.dice != nil {
			if err := b.dice(f); err != nil {
				return err
			}
		}
		c, err := b.store.Checkpoint(ctx, b.page(f.Key()))
		if err != nil {
			return err
		}
		if bank.Version(c.Position.Seq)+1 != f.Version() {
			b.mu.Lock()
			b.wrong = append(b.wrong, fmt.Sprintf("%s: version %d came behind %d", f.Key(), f.Version(), c.Position.Seq))
			b.mu.Unlock()
		}
		next := router.Checkpoint{Position: handlers.Position{Seq: bank.Seq(f.Version())}}
		if err := b.store.Advance(ctx, b.page(f.Key()), next); err != nil {
			return err
		}
	}
	b.handled.Add(int64(len(facts)))
	return nil
}

// at is how many versions of an account have been taken in.
func (b *book) at(ctx context.Context, i int) (bank.Version, error) {
	c, err := b.store.Checkpoint(ctx, b.page(account(i).String()))
	return bank.Version(c.Position.Seq), err
}

// mortal is a store whose process can die: from then on nothing is committed, and no claim is given back.
type mortal struct {
	store
	dead     atomic.Bool
	refusing atomic.Pointer[func()] // is called before a rebuild is refused
}

func (m *mortal) Refuse(ctx context.Context, handler, key string, r repair.Refusal) error {
	if first := m.refusing.Load(); first != nil {
		(*first)()
	}
	return m.store.Refuse(ctx, handler, key, r)
}

var errDead = handlers.As(handlers.Unavailable, errors.New("the process is dead"))

func (m *mortal) InTx(ctx context.Context, fn func(context.Context) error) error {
	return m.store.InTx(ctx, func(ctx context.Context) error {
		err := fn(ctx)
		if m.dead.Load() {
			return errDead
		}
		return err
	})
}

func (m *mortal) Release(ctx context.Context, handler, key, owner string) error {
	if m.dead.Load() {
		return errDead
	}
	return m.store.Release(ctx, handler, key, owner)
}

func (m *mortal) Settle(
	ctx context.Context, replay string, all []repair.Settled, owner string, at time.Time,
) error {
	if m.dead.Load() {
		return errDead
	}
	return m.store.Settle(ctx, replay, all, owner, at)
}

// quick is a policy without real waiting.
func quick() router.Policy {
	p := router.DefaultPolicy()
	p.Backoff = router.Backoff{First: time.Microsecond, Most: time.Millisecond}
	p.Hold = router.Backoff{First: time.Millisecond, Most: 5 * time.Millisecond}
	p.Again = []time.Duration{time.Millisecond, 5 * time.Millisecond}
	p.Outage = 1_000_000
	return p
}

// process runs the handler, and a replayer for it.
type process struct {
	*router.Router
	life     *mortal
	progress *router.Progress
	stop     func() error
}

// start begins a process.
func start(l *ledger, b *book, s store, p router.Policy, owner string, claim time.Duration) (*process, error) {
	return run(s, router.Config{Source: l, Hints: l.hints, Policy: p, Process: owner}, claim,
		func(life *mortal) []router.Route {
			return []router.Route{{Name: b.name, Topic: bank.AccountsTopic, Handler: b.handle, Store: life}}
		})
}

// run begins a process with handlers that write to the store as long as it lives.
func run(
	s store, c router.Config, claim time.Duration, routes func(*mortal) []router.Route,
) (out *process, err error) {
	out = &process{life: &mortal{store: s}, progress: router.NewProgress()}
	c.Progress, c.Batch, c.Poll, c.Controls = out.progress, 64, 20*time.Millisecond, s
	c.Classify = []router.Classifier{sqlite.Classify, postgres.Classify}
	if out.Router, err = router.New("", routes(out.life), c); err != nil {
		return nil, err
	}
	again := repair.New(repair.Config{
		Router: out.Router, Store: out.life, Owner: c.Process, Poll: 2 * time.Millisecond, Claim: claim, Workers: 2,
		Hold: 5 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- out.Run(ctx) }()
	go func() { done <- again.Run(ctx) }()
	out.stop = sync.OnceValue(func() error {
		cancel()
		return errors.Join(<-done, <-done)
	})
	return out, nil
}

// operator executes acts as they come from the log.
type operator struct {
	store store
	n     atomic.Int64
}

func (o *operator) act(ctx context.Context, a repair.Act) (ops.Executed, error) {
	n := o.n.Add(1)
	a.ID = bank.MakeID[bank.Act]([16]byte{12: byte(n >> 24), 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)}).String()
	a.Seq, a.Reason, a.Actor = bank.Seq(n), "because", "olga"
	a.At = time.Now().UTC().Truncate(time.Microsecond)
	err := o.store.InTx(ctx, func(ctx context.Context) error { return o.store.Execute(ctx, a) })
	if err != nil {
		return ops.Executed{}, err
	}
	done, ok, err := o.store.Act(ctx, a.ID)
	if err == nil && !ok {
		err = errors.New("an act was executed, and left no trace")
	}
	return done, err
}

// eventually polls until ok, and says what is missing if that does not come.
func eventually(ctx context.Context, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		is, err := ok()
		if err != nil || is {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.New("it never happened: " + what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
