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
	"bankforge/app/apptest"
	"bankforge/app/apptest/rebuilds"
	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/rebuild"
)

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
	known, lacks := b.accounts(), b.lacks()
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
		log := &rebuilds.GrowingLog{
			Source: b.log, Grow: func() { b.goOn(min(9, len(b.events))) }, Await: func() { b.await(both...) },
		}
		c.Source = log
		r, err := rebuild.Run(t.Context(), c, b.handlers)
		if err != nil || len(r.Differences) > 0 || log.Reads.Load() < 4 {
			t.Errorf("%+v, %v; the log was read %d times", r, err, log.Reads.Load())
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
	if n := b.lacks(); n != lacks {
		t.Errorf("half a view was seen %d times: %v", n-lacks, b.fellBack)
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

func TestARebuildThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	url := servers.Redis(t)
	for name, spoil := range map[string]func(b *branch, c *rebuild.Config){
		"the log is away": func(b *branch, c *rebuild.Config) {
			c.Source = &rebuilds.FailingLog{Source: b.log, At: 200, Then: func() error { return errors.New("away") }}
		},
		"the build is lost": func(b *branch, c *rebuild.Config) {
			c.Source = &rebuilds.FailingLog{Source: b.log, At: 200, Then: func() error {
				return forget(b.raw, b.prefix+"build-")
			}}
		},
		"it does not switch": func(_ *branch, c *rebuild.Config) { c.View = rebuilds.StuckView{View: c.View} },
		"the log is another one": func(b *branch, c *rebuild.Config) {
			c.Source = &rebuilds.TurningLog{Source: b.log}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBranch(t, url)
			b.goOn(200)
			b.await(both...)
			b.awaitServed(true)
			spoilt, base := b.spoil(), b.base()
			c := b.config()
			spoil(b, &c)
			if r, err := rebuild.Run(t.Context(), c, b.handlers); err == nil {
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
	_, err := rebuild.Run(t.Context(), b.config(), rebuilds.UncommittedStore{Store: b.handlers})
	if !errors.Is(err, rebuilds.ErrCommit) {
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
