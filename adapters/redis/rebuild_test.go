package redis_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bankforge/adapters/redis"
	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/rebuild"
)

func (b *branch) config() rebuild.Config {
	return rebuild.Config{
		Source: b.log, Handler: router.RedisBalancesHandler, Topic: bank.AccountsTopic, Partitions: 1,
		View: redis.NewView(b.db),
	}
}

func (b *branch) rebuilt() rebuild.Report {
	b.Helper()
	r, err := rebuild.Run(b.Context(), b.config(), b.handlers)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// check is what a check finds.
func (b *branch) check() []app.Difference {
	b.Helper()
	found, err := rebuild.NewCheck(b.handlers, b.config()).Compare(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	return found
}

// base is how the keys of the view in use begin.
func (b *branch) base() string {
	b.Helper()
	build, err := b.raw.Get(b.Context(), b.prefix+"build").Result()
	if err != nil {
		return b.prefix
	}
	return b.prefix + "build-" + build + ":"
}

// keys are those of the bank.
func (b *branch) keys() []string {
	b.Helper()
	keys, err := b.raw.Keys(b.Context(), b.prefix+"*").Result()
	if err != nil {
		b.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}

// onlyInUse fails the test if anything is left of a build that is not in use.
func (b *branch) onlyInUse() {
	b.Helper()
	base := b.base()
	for _, key := range b.keys() {
		if key != b.prefix+"build" && (!strings.HasPrefix(key, base) || base == b.prefix && strings.Contains(key, "build-")) {
			b.Errorf("%s is left; in use is what begins with %s", key, base)
		}
	}
}

// accounts are those that the log tells of, in some order.
func (b *branch) accounts() []string {
	b.Helper()
	all, err := b.model.Accounts(b.Context(), app.AccountFilter{Page: app.Page{Limit: 1000}})
	if err != nil || len(all) < 4 {
		b.Fatal(len(all), err)
	}
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = all[i].ID.String()
	}
	return ids
}

// spoil makes four damages: a field, a version that never was, an account that is gone, and one that never was.
func (b *branch) spoil() (spoilt []string) {
	b.Helper()
	ctx, ids, base := b.Context(), b.accounts(), b.base()+"account:"
	first, err := b.raw.HGetAll(ctx, base+ids[0]).Result()
	if err != nil {
		b.Fatal(err)
	}
	second, err := b.raw.HGet(ctx, base+ids[1], "s").Result()
	nobody := bank.MakeID[bank.Account]([16]byte{1}).String()
	for _, err := range []error{
		err,
		b.raw.HSet(ctx, base+ids[0], "o", strings.ToUpper(first["o"])+"x").Err(),
		b.raw.HSet(ctx, base+ids[1], "s", strings.Repeat("f", 16)+second[16:]).Err(),
		b.raw.Del(ctx, base+ids[2]).Err(),
		b.raw.HSet(ctx, base+nobody, first).Err(),
	} {
		if err != nil {
			b.Fatal(err)
		}
	}
	return []string{ids[0], ids[1], ids[2], nobody}
}

func subjects(found []app.Difference) (out []string) {
	for _, d := range found {
		if !slices.Contains(out, d.Subject) {
			out = append(out, d.Subject)
		}
	}
	slices.Sort(out)
	return out
}

// growing is a log that goes on whenever it is read, and handlers with it, until they are held up.
type growing struct {
	*memory
	grow  func()
	await func()
	reads atomic.Int64
}

func (g *growing) Read(ctx context.Context, after bank.Seq, limit int) ([]app.Recorded, error) {
	events, err := g.memory.Read(ctx, after, limit)
	g.grow()
	if g.reads.Add(1) <= 3 { // what the view must be, what it is further, and all that followed
		g.await()
	}
	return events, err
}

// A bank goes on, and readers find one of both views all the time.
func TestARebuildBesideARunningBank(t *testing.T) {
	t.Parallel()
	url := servers.Redis(t)
	b := newBranch(t, url)
	b.goOn(300)
	b.await(both...)
	b.awaitServed(true)
	if found := b.check(); len(found) > 0 {
		t.Fatalf("nothing is wrong, and found is %v", found)
	}
	known, misses := b.accounts(), b.misses()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	read := make(chan error, 1)
	var reads atomic.Int64
	go func() {
		versions := map[string]bank.Version{}
		for ctx.Err() == nil {
			for _, id := range known {
				parsed, _ := bank.ParseID[bank.Account](id)
				a, ok, err := b.balances.Account(t.Context(), parsed)
				if err != nil || !ok || a.Version < versions[id] {
					read <- errors.Join(err, errors.New("an account was not there, or went back in time"))
					return
				}
				versions[id] = a.Version
				reads.Add(1)
			}
		}
		read <- nil
	}()
	for range 5 {
		c := b.config()
		log := &growing{
			memory: b.log, grow: func() { b.goOn(min(9, len(b.events))) }, await: func() { b.await(both...) },
		}
		c.Source = log
		r, err := rebuild.Run(t.Context(), c, b.handlers)
		if err != nil || len(r.Differences) > 0 || log.reads.Load() < 4 {
			t.Errorf("%+v, %v; the log was read %d times", r, err, log.reads.Load())
		}
		b.await(both...)
		if err := b.same(); err != nil {
			t.Error(err)
		}
	}
	stop()
	if err := <-read; err != nil || reads.Load() == 0 {
		t.Errorf("%d reads, %v", reads.Load(), err)
	}
	if n := b.misses(); n != misses {
		t.Errorf("the store was read %d times: %v", n-misses, b.fellBack)
	}
	b.nothingParked()
	b.onlyInUse()
}

func TestARebuildTellsWhatWasWrongAndMendsIt(t *testing.T) {
	t.Parallel()
	url := servers.Redis(t)
	b := newBranch(t, url)
	b.goOn(300)
	b.await(both...)
	b.awaitServed(true)
	for range 2 { // from the first build, and from a later one
		spoilt := b.spoil()
		slices.Sort(spoilt)
		before := b.keys()
		if found := subjects(b.check()); !slices.Equal(found, spoilt) {
			t.Errorf("found are %v, and spoilt are %v", found, spoilt)
		}
		if after := b.keys(); !slices.Equal(after, before) {
			t.Errorf("a check leaves %v instead of %v", after, before)
		}
		r := b.rebuilt()
		if found := subjects(r.Differences); !slices.Equal(found, spoilt) || r.Omitted != 0 || r.Through != 300 {
			t.Errorf("found are %v, and spoilt are %v: %+v", found, spoilt, r)
		}
		if found := b.check(); len(found) > 0 {
			t.Errorf("afterwards: %v", found)
		}
		b.awaitServed(true)
		b.onlyInUse()
	}
	b.goOn(100)
	b.await(both...)
	if served, err := b.served(); !served || err != nil {
		t.Errorf("served: %t, %v", served, err)
	}
	b.nothingParked()
}

// failing is a log that does something when it is read from an event on.
type failing struct {
	*memory
	at    bank.Seq
	then  func() error
	times atomic.Int64
}

func (f *failing) Read(ctx context.Context, after bank.Seq, limit int) ([]app.Recorded, error) {
	if after+bank.Seq(limit) >= f.at && f.times.Add(1) == 1 {
		if err := f.then(); err != nil {
			return nil, err
		}
	}
	return f.memory.Read(ctx, after, limit)
}

// unswitched is a view whose builds cannot be put in use.
type unswitched struct{ rebuild.View }

type stuck struct{ rebuild.Build }

var errStuck = errors.New("it does not switch")

func (stuck) Switch(context.Context, router.Mark) error { return errStuck }

func (u unswitched) Begin(ctx context.Context, s []router.Stream, m router.Mark) (rebuild.Build, error) {
	b, err := u.View.Begin(ctx, s, m)
	return stuck{b}, err
}

func TestARebuildThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	url := servers.Redis(t)
	for name, spoil := range map[string]func(b *branch, c *rebuild.Config, s *rebuild.Store){
		"the log is away": func(b *branch, c *rebuild.Config, _ *rebuild.Store) {
			c.Source = &failing{memory: b.log, at: 200, then: func() error { return errors.New("away") }}
		},
		"the build is lost": func(b *branch, c *rebuild.Config, _ *rebuild.Store) {
			c.Source = &failing{memory: b.log, at: 200, then: func() error { return forget(b.raw, b.prefix+"build-") }}
		},
		"it does not switch": func(_ *branch, c *rebuild.Config, _ *rebuild.Store) { c.View = unswitched{c.View} },
		"the log is another one": func(b *branch, c *rebuild.Config, _ *rebuild.Store) {
			c.Source = &turning{memory: b.log}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBranch(t, url)
			b.goOn(200)
			b.await(both...)
			b.awaitServed(true)
			spoilt, base, store := b.spoil(), b.base(), rebuild.Store(b.handlers)
			c := b.config()
			spoil(b, &c, &store)
			if r, err := rebuild.Run(t.Context(), c, store); err == nil {
				t.Errorf("it says that it was done: %+v", r)
			}
			if b.base() != base {
				t.Error("another one is in use")
			}
			b.onlyInUse()
			if found := subjects(b.check()); len(found) != len(spoilt) {
				t.Errorf("found are %v, and spoilt are %v", found, spoilt)
			}
			b.rebuilt()
			b.goOn(50)
			b.await(both...)
			b.awaitServed(true)
			b.nothingParked()
		})
	}
}

// turning is a log that is restored from a backup in the middle.
type turning struct {
	*memory
	asked atomic.Int64
}

func (l *turning) Head(ctx context.Context) (app.Head, error) {
	h, err := l.memory.Head(ctx)
	if l.asked.Add(1) > 1 {
		h.Incarnation = "second"
	}
	return h, err
}

// uncommitted is a store whose commit fails once the view is switched.
type uncommitted struct{ rebuild.Store }

var errCommit = errors.New("the commit failed")

func (u uncommitted) InTx(ctx context.Context, fn func(context.Context) error) error {
	return u.Store.InTx(ctx, func(ctx context.Context) error { return errors.Join(fn(ctx), errCommit) })
}

// The view is switched and its checkpoint is not moved: that is the state after a crash between both.
func TestACrashBetweenTheSwitchAndTheCheckpoint(t *testing.T) {
	t.Parallel()
	url := servers.Redis(t)
	b := newBranch(t, url)
	b.goOn(200)
	b.await(both...)
	b.awaitServed(true)
	b.spoil()
	base := b.base()
	if _, err := rebuild.Run(t.Context(), b.config(), uncommitted{b.handlers}); !errors.Is(err, errCommit) {
		t.Errorf("%v", err)
	}
	if b.base() == base {
		t.Error("it is not switched: the test shows nothing")
	}
	b.goOn(100)
	b.await(both...)
	b.awaitServed(true)
	b.nothingParked()
	if r := b.rebuilt(); len(r.Differences) > 0 {
		t.Errorf("%v", r.Differences)
	}
	b.onlyInUse()
}

// Nothing keeps rebuilds apart here. Whoever is overtaken fails, and the view is right.
func TestRebuildsAtOnce(t *testing.T) {
	t.Parallel()
	url := servers.Redis(t)
	b := newBranch(t, url)
	b.goOn(400)
	b.await(both...)
	b.awaitServed(true)
	ends := make(chan error)
	for range 4 {
		go func() {
			_, err := rebuild.Run(t.Context(), b.config(), b.handlers)
			ends <- err
		}()
	}
	done := 0
	for range 4 {
		if err := <-ends; err == nil {
			done++
		} else if !errors.Is(err, router.ErrMoved) {
			t.Error(err)
		}
	}
	if done == 0 {
		t.Error("none was done")
	}
	b.goOn(100)
	b.await(both...)
	b.awaitServed(true)
	b.nothingParked()
	b.rebuilt()
	b.onlyInUse()
}

// What was parked is in the new view, and waits no more.
func TestARebuildTakesInWhatWasParked(t *testing.T) {
	t.Parallel()
	url := servers.Redis(t)
	b := newBranch(t, url)
	b.goOn(200)
	b.await(both...)
	id := b.accounts()[0]
	key := b.base() + "account:" + id
	state, err := b.raw.HGet(t.Context(), key, "s").Result()
	if err == nil { // an earlier version: the next one is a gap
		err = b.raw.HSet(t.Context(), key, "s", strings.Repeat("0", 16)+state[16:]).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	parked := func() bool {
		is, err := b.progress.Parked(t.Context(), router.RedisBalancesHandler, id)
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	for n := 0; !parked(); n++ {
		if n == 20 {
			t.Fatal("it is not parked")
		}
		b.goOn(20)
		b.await(both...)
	}
	if found := subjects(b.check()); !slices.Equal(found, []string{id}) {
		t.Errorf("found is %v, spoilt is %s", found, id)
	}
	r := b.rebuilt()
	if r.Parked != 1 || !slices.Equal(subjects(r.Differences), []string{id}) || parked() {
		t.Errorf("%+v, parked: %t", r, parked())
	}
	b.goOn(100)
	b.await(both...)
	b.awaitServed(true)
	b.nothingParked()
	if found := b.check(); len(found) > 0 {
		t.Errorf("afterwards: %v", found)
	}
}

// A handler that has begun before the switch writes nothing after it.
func TestAHandlerIsFencedByTheSwitch(t *testing.T) {
	t.Parallel()
	db, _, _ := open(t)
	view := redis.NewView(db)
	old := router.Mark{Checkpoint: router.Checkpoint{Incarnation: "first", Position: handlers.End(3)}}
	if err := view.Move(t.Context(), stream, router.Mark{}, old); err != nil {
		t.Fatal(err)
	}
	b, err := view.Begin(t.Context(), []router.Stream{stream}, old)
	if err == nil {
		err = b.Switch(t.Context(), old) // the very same mark, but of another build
	}
	if err != nil {
		t.Fatal(err)
	}
	fenced := router.WithFence(t.Context(), router.Fence{Stream: stream, Mark: old})
	if _, err := view.AccountVersions(fenced, []bank.AccountID{{}}); !errors.Is(err, router.ErrMoved) {
		t.Errorf("it writes: %v", err)
	}
	if err := view.Move(t.Context(), stream, old, old); !errors.Is(err, router.ErrMoved) {
		t.Errorf("it moves: %v", err)
	}
	if err := b.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	m, err := view.Mark(t.Context(), stream)
	if err != nil || m.Build == "" || m.Position != old.Position {
		t.Errorf("what is in use was dropped: %+v, %v", m, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := view.Sweep(ctx, stream.Handler); err != nil {
		t.Fatal(err)
	}
}

// What a rebuild has left that was killed disturbs nobody, and the next one removes it.
func TestARebuildThatWasKilled(t *testing.T) {
	t.Parallel()
	b := newBranch(t, servers.Redis(t))
	b.goOn(200)
	b.await(both...)
	b.awaitServed(true)
	c := b.config()
	streams := []router.Stream{{Handler: c.Handler, Topic: c.Topic}}
	mark := router.Mark{Checkpoint: router.Checkpoint{Incarnation: "first"}, Target: handlers.End(200)}
	build, err := c.View.Begin(t.Context(), streams, mark)
	if err == nil {
		told := apptest.Tell(bank.AccountsTopic, b.log.events)
		fenced := router.WithFence(t.Context(), router.Fence{Stream: streams[0]})
		err = build.Handle(fenced, factsOf(told[:len(told)/2]))
	}
	if err != nil {
		t.Fatal(err)
	}
	if served, err := b.served(); !served || err != nil {
		t.Errorf("served: %t, %v", served, err)
	}
	b.goOn(50)
	b.await(both...)
	if r := b.rebuilt(); len(r.Differences) > 0 {
		t.Errorf("%v", r.Differences)
	}
	b.onlyInUse()
	if err := build.Switch(t.Context(), mark); !errors.Is(err, router.ErrMoved) {
		t.Errorf("what was removed is put in use: %v", err)
	}
	if served, err := b.served(); !served || err != nil {
		t.Errorf("served: %t, %v", served, err)
	}
}
