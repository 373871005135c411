package redis_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"bankforge/adapters/redis"
	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/projection"
	"bankforge/router"
)

// branch is a bank's view of accounts, in a store and in Redis, with the handlers that keep both.
type branch struct {
	*testing.T
	log      *memory
	model    *apptest.MemoryViews
	events   []app.Recorded // that are not in the log yet
	raw      *goredis.Client
	db       *redis.DB
	prefix   string
	store    *sqlite.Views
	balances *redis.Balances
	progress *router.Progress
	router   *router.Router
	handlers *sqlite.HandlerStore
	mu       sync.Mutex
	fellBack map[string]int
}

func newBranch(t *testing.T, url string) *branch {
	t.Helper()
	return newBranchWith(t, url, patience, asItIs)
}

func asItIs(h handlers.Func) handlers.Func { return h }

// newBranchWith has something around the handler that writes to Redis, and gives up reading from Redis after within.
func newBranchWith(
	t *testing.T, url string, within time.Duration, around func(handlers.Func) handlers.Func,
) *branch {
	t.Helper()
	source := rand.New(rand.NewPCG(7, 8)) // the same each time
	b := &branch{
		T: t, log: &memory{incarnation: "first"}, model: &apptest.MemoryViews{},
		events: apptest.RandomHistory(source.IntN, 1500), progress: router.NewProgress(), fellBack: map[string]int{},
	}
	var db *redis.DB
	db, b.raw, b.prefix = openAt(t, url, within)
	b.db = db
	file, views := openStore(t)
	b.store, b.handlers = views, sqlite.NewHandlerStore(file)
	b.balances = redis.NewBalances(db, views, b.progress, func(reason string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.fellBack[reason]++
	})
	view, kept := redis.NewView(db), b.handlers
	routes := router.Routes(
		router.Reactions{Balances: projection.Balances(views), RedisBalances: around(projection.Balances(view))},
		router.Stores{Views: kept, RedisBalances: view, Mend: router.Mends{RedisBalances: view.Mend}})
	policy := router.DefaultPolicy()
	policy.Hold = router.Backoff{First: time.Millisecond, Most: 20 * time.Millisecond}
	var err error
	b.router, err = router.New("", routes, router.Config{
		Source: b.log, Progress: b.progress, Poll: 5 * time.Millisecond, Batch: 64, Policy: policy,
		Classify: []router.Classifier{sqlite.Classify}, Versions: b.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.router.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return b
}

// goOn appends some events.
func (b *branch) goOn(n int) {
	for _, e := range b.events[:n] {
		b.model.Evolve(e)
	}
	b.log.append(b.events[:n]...)
	b.events = b.events[n:]
}

// await waits until the handlers have everything.
func (b *branch) await(which ...string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	head, _ := b.log.Head(ctx)
	for _, handler := range which {
		if !b.progress.Await(ctx, handler, head.Seq) {
			status, _ := b.router.Status(context.Background())
			b.Fatalf("%s stands at %d of %d: %+v", handler, b.progress.At(handler), head.Seq, status)
		}
	}
}

// same reads all accounts, and compares them.
func (b *branch) same() error {
	all, err := b.model.Accounts(b.Context(), app.AccountFilter{Page: app.Page{Limit: 1000}})
	if err != nil {
		return err
	}
	for _, want := range all {
		got, ok, err := b.balances.Account(b.Context(), want.ID)
		if err != nil || !ok {
			return fmt.Errorf("account %s: %t, %w", want.ID, ok, err)
		}
		if got.AccountState != want.AccountState || got.Opening != want.Opening || got.UpdatedAt != want.UpdatedAt ||
			!reflect.DeepEqual(got.Details, want.Details) {
			return fmt.Errorf("account %s is %+v, not %+v", want.ID, got, want)
		}
	}
	return nil
}

// served reports whether the reads of same come from Redis alone, and whether they are right.
func (b *branch) served() (bool, error) {
	before := b.misses()
	err := b.same()
	return b.misses() == before, err
}

func (b *branch) misses() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, times := range b.fellBack {
		n += times
	}
	return n
}

func (b *branch) missed(reason string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fellBack[reason]
}

// awaitServed polls until Redis serves, and insists that everything is right all the time.
func (b *branch) awaitServed(want bool) {
	b.Helper()
	for deadline := time.Now().Add(patience); ; <-time.After(5 * time.Millisecond) {
		served, err := b.served()
		switch {
		case err != nil:
			b.Fatal(err)
		case served == want:
			return
		case time.Now().After(deadline):
			b.Fatalf("served by Redis: %t; fell back: %v", served, b.fellBack)
		}
	}
}

// nothingParked fails the test if a handler has parked something.
func (b *branch) nothingParked() {
	b.Helper()
	all, err := b.model.Accounts(b.Context(), app.AccountFilter{Page: app.Page{Limit: 1000}})
	if err != nil {
		b.Fatal(err)
	}
	for _, a := range all {
		parked, err := b.progress.Parked(b.Context(), router.RedisBalancesHandler, a.ID.String())
		if parked || err != nil {
			b.Errorf("account %s is parked: %t, %v", a.ID, parked, err)
		}
	}
}

var both = []string{app.BalancesHandler, router.RedisBalancesHandler}

func TestARedisThatIsEmptyIsFilledAndThenServes(t *testing.T) {
	t.Parallel()
	url := servers.Redis(t)
	b := newBranch(t, url)
	b.goOn(200)
	b.await(both...)
	b.awaitServed(true)
	if got := b.balances.Handler(app.BalancesHandler); got != router.RedisBalancesHandler {
		t.Errorf("%s keeps what is read", got)
	}
	b.goOn(100)
	b.await(both...)
	if served, err := b.served(); !served || err != nil {
		t.Errorf("served: %t, %v", served, err)
	}
	b.nothingParked()
}

func TestWhatRedisLosesIsBuiltFromTheLog(t *testing.T) {
	t.Parallel()
	url := servers.Redis(t)
	for name, more := range map[string]int{"in silence": 0, "while the bank goes on": 100} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBranch(t, url)
			b.goOn(200)
			b.await(both...)
			b.awaitServed(true)
			if err := forget(b.raw, b.prefix); err != nil { // as FLUSHALL, but for others
				t.Fatal(err)
			}
			if err := b.same(); err != nil {
				t.Errorf("right after the loss: %v", err)
			}
			b.goOn(more)
			b.await(both...)
			b.awaitServed(true)
			b.nothingParked()
		})
	}
}

// An account that Redis has must not be shown while others of its partition are missing.
func TestHalfAViewIsNotShown(t *testing.T) {
	t.Parallel()
	db, _, _ := open(t)
	view := redis.NewView(db)
	told := apptest.Tell(bank.AccountsTopic, apptest.RandomHistory(func(int) int { return 0 }, 5))
	half := router.Mark{
		Checkpoint: router.Checkpoint{Incarnation: "first", Position: handlers.End(1)}, Target: handlers.End(9),
	}
	if err := view.Move(t.Context(), stream, router.Mark{}, half); err != nil {
		t.Fatal(err)
	}
	fenced := router.WithFence(t.Context(), router.Fence{Stream: stream, Mark: half})
	if err := projection.Balances(view)(fenced, factsOf(told)); err != nil {
		t.Fatal(err)
	}
	_, store := openStore(t)
	read := func() bool {
		_, ok, err := redis.NewBalances(db, store, nil, nil).Account(t.Context(), told[0].Leg.Account)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if read() {
		t.Error("half a view is shown")
	}
	whole, other := half, half
	whole.Position = whole.Target
	if err := view.Move(t.Context(), stream, half, whole); err != nil || !read() {
		t.Errorf("the whole view is not shown: %v", err)
	}
	other.Incarnation, other.Position = "second", other.Target
	if err := view.Move(t.Context(), stream, whole, other); err != nil || read() {
		t.Errorf("what another incarnation said is shown: %v", err)
	}
}

// A handler that was left behind writes nothing any more, and versions never go back.
func TestWritesAreFencedAndCompareVersions(t *testing.T) {
	t.Parallel()
	db, _, _ := open(t)
	view := redis.NewView(db)
	told := apptest.Tell(bank.AccountsTopic, apptest.RandomHistory(func(n int) int { return (n - 1) / 2 }, 60))
	facts := factsOf(told)
	mark := router.Mark{Checkpoint: router.Checkpoint{Incarnation: "first"}}
	if err := view.Move(t.Context(), stream, router.Mark{}, mark); err != nil {
		t.Fatal(err)
	}
	fenced := router.WithFence(t.Context(), router.Fence{Stream: stream, Mark: mark})
	if err := projection.Balances(view)(fenced, facts); err != nil {
		t.Fatal(err)
	}
	last := facts[len(facts)-1].Leg
	older := projection.Update{Account: last.Account, State: last.After}
	older.State.Version--
	older.State.Balance = -1
	if err := view.SaveAccounts(fenced, []projection.Update{older}); err != nil {
		t.Fatal(err)
	}
	next := mark
	next.Position = handlers.End(60)
	if err := view.Move(t.Context(), stream, mark, next); err != nil {
		t.Fatal(err)
	}
	newer := older
	newer.State.Version = last.After.Version + 1
	if err := view.SaveAccounts(fenced, []projection.Update{newer}); !errors.Is(err, router.ErrMoved) {
		t.Errorf("under an old mark: %v", err)
	}
	if _, err := view.AccountVersions(fenced, []bank.AccountID{last.Account}); !errors.Is(err, router.ErrMoved) {
		t.Errorf("asked under an old mark: %v", err)
	}
	if err := view.Move(t.Context(), stream, mark, next); !errors.Is(err, router.ErrMoved) {
		t.Errorf("moved from where it is not: %v", err)
	}
	if err := view.SaveAccounts(t.Context(), []projection.Update{newer}); err == nil {
		t.Error("taken without a fence")
	}
	_, store := openStore(t)
	a, ok, err := redis.NewBalances(db, store, nil, nil).Account(t.Context(), last.Account)
	if err != nil || !ok || a.AccountState != last.After {
		t.Errorf("%+v, %t, %v; want %+v", a, ok, err, last.After)
	}
}

// TestRedisGoesAndComesBack stops a server of its own, also for good of its data.
func TestRedisGoesAndComesBack(t *testing.T) {
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
	b := newBranchWith(t, do("up", "redis")["BANKFORGE_REDIS"], redis.ReadTimeout, asItIs)
	b.goOn(200)
	b.await(both...)
	b.awaitServed(true)
	for what, c := range map[string]struct{ away, back func() }{
		"stopped": {func() { do("stop", "redis") }, func() { do("start", "redis") }},
		"killed":  {func() { do("kill", "redis") }, func() { do("start", "redis") }},
		"paused":  {func() { do("pause", "redis") }, func() { do("resume", "redis") }},
	} {
		c.away()
		began, tried := time.Now(), b.missed("unavailable")
		if err := b.same(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		// Not each read waits for its own timeout: after one, Redis is left alone for half a second.
		n, took := b.missed("unavailable")-tried, time.Since(began)
		if n > 1+int(took/(500*time.Millisecond)) || took > patience/2 {
			t.Errorf("%s: %d reads were in vain in %s", what, n, took)
		}
		b.goOn(50)
		b.await(app.BalancesHandler)
		if served, err := b.served(); served || err != nil {
			t.Errorf("%s: served %t, %v", what, served, err)
		}
		c.back()
		b.await(both...)
		b.awaitServed(true)
	}
	if err := b.raw.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	b.goOn(50)
	b.await(both...)
	b.awaitServed(true)
	b.nothingParked()
	if b.missed("unavailable") == 0 || b.missed("resting") == 0 {
		t.Errorf("fell back: %v", b.fellBack)
	}
}
