package mongo_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"bankforge/adapters/mongo"
	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/apptest/rebuilds"
	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/rebuild"
)

func TestARebuildTellsWhatWasWrongAndMendsIt(t *testing.T) {
	t.Parallel()
	b := newBranch(t, servers.Mongo(t), false)
	b.goOn(150)
	b.await(inMongo...)
	b.becomesSame()
	for range 2 { // from the first build, and from a later one
		if found := b.check(); len(found) > 0 {
			t.Errorf("nothing is wrong, and found is %v", found)
		}
		spoilt, before := b.spoil(), b.collections()
		if found := b.check(); !slices.Equal(subjects(found), spoilt) {
			t.Errorf("found are %v, and spoilt are %v", found, spoilt)
		}
		if after := b.collections(); !slices.Equal(after, before) {
			t.Errorf("a check leaves %v instead of %v", after, before)
		}
		if found := b.rebuilt(); !slices.Equal(subjects(found), spoilt) {
			t.Errorf("found are %v, and spoilt are %v", found, spoilt)
		}
		b.becomesSame()
		b.onlyInUse()
	}
	b.goOn(50)
	b.await(inMongo...)
	b.becomesSame()
	if found := b.check(); len(found) > 0 {
		t.Errorf("afterwards: %v", found)
	}
}

// A bank goes on. Nobody reads from the store here: there is none.
func TestARebuildBesideARunningBank(t *testing.T) {
	t.Parallel()
	b := newBranch(t, servers.Mongo(t), false)
	b.goOn(100)
	b.await(inMongo...)
	b.becomesSame()
	known := bank.CashAccount(mustCurrency(t, b))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	read := make(chan error, 1)
	var reads atomic.Int64
	go func() {
		for had := 0; ctx.Err() == nil; reads.Add(1) {
			rows, err := b.history.Entries(t.Context(), app.EntryFilter{Account: known, Limit: 1000})
			if err != nil || len(rows) < had {
				read <- errors.Join(err, errors.New("entries were not there, or are gone"))
				return
			}
			had = len(rows)
		}
		read <- nil
	}()
	for range 2 {
		for _, c := range b.configs() {
			log := &rebuilds.GrowingLog{
				Source: b.log, Grow: func() { b.goOn(min(4, len(b.events))) }, Await: func() { b.await(inMongo...) },
			}
			c.Source = log
			r, err := rebuild.Run(t.Context(), c, b.kept)
			if err != nil || len(r.Differences) > 0 || log.Reads.Load() < 4 {
				t.Errorf("%+v, %v; the log was read %d times", r, err, log.Reads.Load())
			}
			b.await(inMongo...)
		}
	}
	stop()
	if err := <-read; err != nil || reads.Load() == 0 {
		t.Errorf("%d reads, %v", reads.Load(), err)
	}
	b.becomesSame()
	b.onlyInUse()
}

func mustCurrency(t *testing.T, b *branch) bank.Currency {
	t.Helper()
	all, err := b.model.Transactions(t.Context(), app.TransactionFilter{Page: app.Page{Limit: 1}})
	if err != nil || len(all) == 0 {
		t.Fatal(err)
	}
	return all[0].Amount.Currency()
}

func TestARebuildThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBranch(t, servers.Mongo(t), false)
	b.goOn(120)
	b.await(inMongo...)
	b.becomesSame()
	spoilt, before := b.spoil(), b.collections()
	for name, spoil := range map[string]func(c *rebuild.Config){
		"the log is away": func(c *rebuild.Config) {
			c.Source = &rebuilds.FailingLog{Source: b.log, At: 120, Then: func() error { return errors.New("away") }}
		},
		"the build's marks are lost": func(c *rebuild.Config) {
			c.Source = &rebuilds.FailingLog{Source: b.log, At: 120, Then: func() error {
				_, err := b.raw.Collection("mark").DeleteMany(t.Context(), bson.M{"build": bson.M{"$exists": true}})
				return err
			}}
		},
		"it does not switch": func(c *rebuild.Config) { c.View = rebuilds.StuckView{View: c.View} },
	} {
		for _, c := range b.configs() {
			spoil(&c)
			if r, err := rebuild.Run(t.Context(), c, b.kept); err == nil {
				t.Errorf("%s: it says that it was done: %+v", name, r)
			}
		}
		if after := b.collections(); !slices.Equal(after, before) {
			t.Errorf("%s: there is %v instead of %v", name, after, before)
		}
		if found := b.check(); !slices.Equal(subjects(found), spoilt) {
			t.Errorf("%s: found are %v, and spoilt are %v", name, found, spoilt)
		}
	}
	// Switched, and the checkpoint not moved: the state after a crash between both.
	for _, c := range b.configs() {
		_, err := rebuild.Run(t.Context(), c, rebuilds.UncommittedStore{Store: b.kept})
		if !errors.Is(err, rebuilds.ErrCommit) {
			t.Errorf("%v", err)
		}
	}
	b.goOn(30)
	b.await(inMongo...)
	b.becomesSame()
	if found := b.rebuilt(); len(found) > 0 {
		t.Errorf("%v", found)
	}
	b.becomesSame()
	b.onlyInUse()
}

// Nothing keeps rebuilds apart here. Whoever is overtaken fails, and the view is right.
func TestRebuildsAtOnce(t *testing.T) {
	t.Parallel()
	b := newBranch(t, servers.Mongo(t), false)
	b.goOn(100)
	b.await(inMongo...)
	b.becomesSame()
	ends := make(chan error)
	for range 3 {
		go func() {
			_, err := rebuild.Run(t.Context(), b.configs()[1], b.kept)
			ends <- err
		}()
	}
	done := 0
	for range 3 {
		if err := <-ends; err == nil {
			done++
		}
	}
	if done == 0 {
		t.Error("none was done")
	}
	b.goOn(50)
	b.await(inMongo...)
	b.becomesSame()
	b.rebuilt()
	b.becomesSame()
	b.onlyInUse()
}

// A handler that has begun before the switch goes on with nothing after it.
func TestAHandlerIsFencedByTheSwitch(t *testing.T) {
	t.Parallel()
	db, _ := open(t)
	view := mongo.NewView(db)
	old := router.Mark{Checkpoint: router.Checkpoint{Incarnation: "first", Position: handlers.End(3)}}
	if err := view.Move(t.Context(), entriesStream, router.Mark{}, old); err != nil {
		t.Fatal(err)
	}
	b, err := view.Begin(t.Context(), []router.Stream{entriesStream}, old)
	if err == nil {
		err = b.Switch(t.Context(), old) // the very same mark, but of another build
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := view.Move(t.Context(), entriesStream, old, old); !errors.Is(err, router.ErrMoved) {
		t.Errorf("it moves: %v", err)
	}
	if err := b.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	m, err := view.Mark(t.Context(), entriesStream)
	if err != nil || m.Build == "" || m.Position != old.Position {
		t.Errorf("what is in use was dropped: %+v, %v", m, err)
	}
	if err := view.Sweep(t.Context(), entriesStream.Handler); err != nil {
		t.Fatal(err)
	}
	// What somebody takes for lost who has looked before the switch is not begun again there.
	gone := router.Mark{Checkpoint: router.Checkpoint{Incarnation: "first"}}
	if err := view.Move(t.Context(), entriesStream, router.Mark{}, gone); !errors.Is(err, router.ErrMoved) {
		t.Errorf("it begins again: %v", err)
	}
}

// What a rebuild has left that was killed disturbs nobody, and the next one removes it.
func TestARebuildThatWasKilled(t *testing.T) {
	t.Parallel()
	b := newBranch(t, servers.Mongo(t), false)
	b.goOn(100)
	b.await(inMongo...)
	b.becomesSame()
	c := b.configs()[1]
	streams := []router.Stream{{Handler: c.Handler, Topic: c.Topic}}
	mark := router.Mark{Checkpoint: router.Checkpoint{Incarnation: "first"}, Target: handlers.End(100)}
	build, err := c.View.Begin(t.Context(), streams, mark)
	if err == nil {
		told := apptest.Tell(bank.TransactionsTopic, b.log.events)
		fenced := router.WithFence(t.Context(), router.Fence{Stream: streams[0]})
		err = build.Handle(fenced, factsOf(told[:len(told)/2]))
	}
	if err != nil {
		t.Fatal(err)
	}
	b.goOn(30)
	b.await(inMongo...)
	b.becomesSame()
	if found := b.rebuilt(); len(found) > 0 {
		t.Errorf("%v", found)
	}
	b.onlyInUse()
	if err := build.Switch(t.Context(), mark); !errors.Is(err, router.ErrMoved) {
		t.Errorf("what was removed is put in use: %v", err)
	}
	b.becomesSame()
}
