package repair_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"bankforge/adapters/postgres"
	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/app/codec"
	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/handlers/history"
	"bankforge/handlers/projection"
	"bankforge/router"
	"bankforge/router/repair"
)

// annals are the log of a bank at which some of everything happens; some of it has not happened yet.
type annals struct {
	all   []app.Recorded
	hints *router.Hints

	mu sync.Mutex
	n  int
}

func newAnnals(seed uint64, commands int) *annals {
	source := rand.New(rand.NewPCG(seed, 11))
	return &annals{all: apptest.RandomHistory(source.IntN, commands), hints: router.NewHints()}
}

// goOn has events happen, up to the n-th.
func (l *annals) goOn(n int) {
	l.mu.Lock()
	l.n = min(max(n, l.n), len(l.all))
	l.mu.Unlock()
	l.hints.Wake()
}

func (l *annals) events() []app.Recorded {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[:l.n:l.n]
}

// Read is a Source's.
func (l *annals) Read(_ context.Context, after bank.Seq, limit int) ([]app.Recorded, error) {
	events := l.events()
	from := min(int(after), len(events))
	return events[from:min(from+limit, len(events))], nil
}

// Head is a Source's.
func (l *annals) Head(context.Context) (app.Head, error) {
	return app.Head{Incarnation: "inc1", Seq: bank.Seq(len(l.events()))}, nil
}

// Versions implements router.Versions.
func (l *annals) Versions(_ context.Context, subject string, after bank.Version, limit int) (rows []app.Row, _ error) {
	for _, e := range l.events() {
		for _, c := range e.Changes() {
			if c.Key() == subject && c.Version() > after && len(rows) < limit {
				rows = append(rows, app.Row{Seq: e.Seq, Data: codec.Encode(nil, &e.Event, e.Meta)})
			}
		}
	}
	return rows, nil
}

// seat is where handlers keep their views.
type seat struct {
	store
	views interface { //nolint:interfacebloat // it is one thing that many read and write
		app.Balances
		app.History
		projection.Store
		history.EntryStore
		history.TransactionStore
		Forgets() router.Forgets
	}
	check func(router.Source) app.ViewCheck
}

// seats are the real ones.
var seats = map[string]func(testing.TB) *seat{
	"sqlite": func(tb testing.TB) *seat {
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
		views, err := sqlite.NewViews(tb.Context(), db)
		if err != nil {
			tb.Fatal(err)
		}
		scratch := tb.TempDir()
		return &seat{sqlite.NewHandlerStore(db), views, func(log router.Source) app.ViewCheck {
			return sqlite.NewViewsCheck(db, log, scratch)
		}}
	},
	"postgres": func(tb testing.TB) *seat {
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
		return &seat{postgres.NewHandlerStore(db.Derived()), db.Views(), func(log router.Source) app.ViewCheck {
			return postgres.NewViewsCheck(db, log, nil)
		}}
	},
}

var viewNames = []string{app.BalancesHandler, app.HistoryHandler, app.TransactionsHandler}

func topicOf(view string) bank.Topic {
	if view == app.TransactionsHandler {
		return bank.TransactionsTopic
	}
	return bank.AccountsTopic
}

// scene is a bank with its views, and processes that run their handlers.
type scene struct {
	*seat
	log    *annals
	op     *operator
	claim  time.Duration
	fails  sync.Map                          // view, space, key → error
	forget func(router.Forget) router.Forget // around those of the views; nil: as they are

	mu      sync.Mutex
	only    string // the key that handlers may be handed something of; "": any
	strange []string
}

// soon is when a claim runs out of a process that dies.
const soon = 100 * time.Millisecond

func newScene(s *seat, log *annals) *scene {
	return &scene{seat: s, log: log, op: &operator{store: s}, claim: time.Minute}
}

func (s *scene) routes(life *mortal) []router.Route {
	forgets := s.views.Forgets()
	routes := router.Routes(router.Reactions{
		Balances: projection.Balances(s.views), Entries: history.Entries(s.views),
		Transactions: history.Transactions(s.views),
	}, router.Stores{Views: life, Forget: forgets})
	for i := range routes {
		r := &routes[i]
		r.Handler = s.failing(r.Name, r.Handler)
		if s.forget != nil {
			r.Forget = s.forget(r.Forget)
		}
	}
	return routes
}

func (s *scene) failing(view string, handle handlers.Func) handlers.Func {
	return func(ctx context.Context, facts []handlers.Fact) error {
		for i := range facts {
			key := facts[i].Key()
			s.mu.Lock()
			if s.only != "" && s.only != key {
				s.strange = append(s.strange, key)
			}
			s.mu.Unlock()
			if err, ok := s.fails.Load(view + " " + key); ok {
				return err.(error)
			}
		}
		return handle(ctx, facts)
	}
}

// begin starts a process.
func (s *scene) begin(owner string) (*process, error) {
	return run(s.store, router.Config{
		Source: s.log, Hints: s.log.hints, Versions: s.log, Policy: quick(), Process: owner,
	}, s.claim, s.routes)
}

func (s *scene) start(t *testing.T, owner string) *process {
	t.Helper()
	p, err := s.begin(owner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// caughtUp reports whether all handlers have come to the end of the log.
func (s *scene) caughtUp(ctx context.Context) (bool, error) {
	for _, view := range viewNames {
		c, err := s.Checkpoint(ctx, router.Stream{Handler: view, Topic: topicOf(view)})
		if err != nil || c.Position.Whole() < bank.Seq(len(s.log.events())) {
			return false, err
		}
	}
	return true, nil
}

// come has the bank go on to the n-th event, and waits for the views.
func (s *scene) come(t *testing.T, n int) {
	t.Helper()
	s.log.goOn(n)
	err := eventually(t.Context(), "the views are there", func() (bool, error) { return s.caughtUp(t.Context()) })
	if err != nil {
		t.Fatal(err)
	}
}

// wants has an act executed, and waits for its end.
func (s *scene) wants(t *testing.T, a repair.Act) (done ops.Executed) {
	t.Helper()
	done, err := s.op.act(t.Context(), a)
	if err == nil {
		err = eventually(t.Context(), a.Kind+" ends", func() (bool, error) {
			done, _, err = s.Act(t.Context(), done.ID)
			return done.Status != ops.ActPending, err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// whole expects the views to be what the log says, all of them and in every list, and nothing to wait.
func (s *scene) whole(ctx context.Context) error {
	found, err := s.differences(ctx)
	if len(found) > 0 {
		err = errors.Join(err, fmt.Errorf("%d differences, as %+v", len(found), found[0]))
	}
	waits, ill := s.Sequences(ctx, ops.SequenceFilter{Page: ops.Page{Limit: 10}})
	if len(waits) > 0 {
		err = errors.Join(err, fmt.Errorf("something waits: %+v", waits))
	}
	return errors.Join(err, ill, apptest.SameViews(ctx, s.views, s.views, s.log.events()))
}

func (s *scene) differences(ctx context.Context) ([]app.Difference, error) {
	return s.check(s.log).Compare(ctx, nil)
}

// plot is a key of a view, and where something may happen to it.
type plot struct {
	key  string
	from int // events before its second change
	half int // of all events: its last change but those is there
}

// plotOf finds the key of which most is told in the first half of the log. By its second change money moves.
func (l *annals) plotOf(view string) (best plot) {
	best.half = len(l.all) / 2
	second, count := map[string]int{}, map[string]int{}
	for i := range l.all[:best.half] {
		for _, c := range l.all[i].Changes() {
			key := c.Key()
			if c.Topic() != topicOf(view) {
				continue
			}
			if count[key]++; count[key] == 2 && (c.Leg == nil || c.Leg.Amount != 0) {
				second[key] = i
			}
			if at, moves := second[key]; moves && count[key] > count[best.key] {
				best.key, best.from = key, at
			}
		}
	}
	return best
}
