package mongo_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"bankforge/adapters/mongo"
	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/rebuild"
)

// configs are the views of the branch.
func (b *branch) configs() []rebuild.Config {
	c := rebuild.Config{Source: b.log, Partitions: 1, View: mongo.NewView(b.db)}
	entries, transactions := c, c
	entries.Handler, entries.Topic = router.MongoHistoryHandler, bank.AccountsTopic
	transactions.Handler, transactions.Topic = router.MongoTransactionsHandler, bank.TransactionsTopic
	return []rebuild.Config{entries, transactions}
}

func (b *branch) rebuilt() (found []app.Difference) {
	b.Helper()
	for _, c := range b.configs() {
		r, err := rebuild.Run(b.Context(), c, b.kept)
		if err != nil || r.Omitted > 0 {
			b.Fatal(r, err)
		}
		found = append(found, r.Differences...)
	}
	return found
}

func (b *branch) check() []app.Difference {
	b.Helper()
	found, err := rebuild.NewCheck(b.kept, b.configs()...).Compare(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	return found
}

// used is the collection that is in use; name is how it begins.
func (b *branch) used(name string) string {
	b.Helper()
	handler := router.MongoHistoryHandler
	if name == "transaction" {
		handler = router.MongoTransactionsHandler
	}
	var d struct{ Build string }
	err := b.raw.Collection("mark").FindOne(b.Context(), bson.M{"_id": handler}).Decode(&d)
	if err != nil || d.Build == "" {
		return name + "-first"
	}
	return name + "-first~" + d.Build
}

func (b *branch) collections() []string {
	b.Helper()
	names, err := b.raw.ListCollectionNames(b.Context(), bson.M{})
	if err != nil {
		b.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// onlyInUse fails the test if anything is left of a build that is not in use.
func (b *branch) onlyInUse() {
	b.Helper()
	want := []string{b.used("entry"), b.used("hold"), "mark", b.used("transaction")}
	if got := b.collections(); !slices.Equal(got, want) {
		b.Errorf("there is %v, and in use is %v", got, want)
	}
	n, err := b.raw.Collection("mark").CountDocuments(b.Context(), bson.M{"topic": bson.M{"$exists": true}})
	if n != 2 || err != nil {
		b.Errorf("%d marks: %v", n, err)
	}
}

// spoil makes a damage of each kind, and says what it is about.
func (b *branch) spoil() (subjects []string) {
	b.Helper()
	ctx := b.Context()
	var entry, gone, transaction, hold bson.M
	newest := func(name string, skip bson.M, into *bson.M) {
		if err := b.raw.Collection(b.used(name)).FindOne(ctx, skip).Decode(into); err != nil {
			b.Fatal(err)
		}
	}
	newest("entry", bson.M{}, &entry)
	newest("entry", bson.M{"account": bson.M{"$ne": entry["account"]}}, &gone)
	newest("transaction", bson.M{"version": int64(1), "status": int32(bank.Posted)}, &transaction)
	newest("hold", bson.M{"later": true}, &hold)
	nobody := bank.MakeID[bank.Account]([16]byte{1}).String()
	entries := b.raw.Collection(b.used("entry"))
	_, err1 := entries.DeleteOne(ctx, bson.M{"_id": gone["_id"]})
	_, err2 := entries.UpdateOne(ctx, bson.M{"_id": entry["_id"]}, bson.M{"$set": bson.M{"at": int64(7)}})
	entry["_id"], entry["account"] = nobody+"/0000000000000001", nobody
	_, err3 := entries.InsertOne(ctx, entry)
	_, err4 := b.raw.Collection(b.used("transaction")).DeleteOne(ctx, bson.M{"_id": transaction["_id"]})
	_, err5 := b.raw.Collection(b.used("hold")).UpdateOne(ctx, bson.M{"_id": hold["_id"]},
		bson.M{"$set": bson.M{"status": int32(9)}})
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		b.Fatal(err)
	}
	was, _, _ := strings.Cut(entryID(b), "/")
	out := []string{was, gone["account"].(string), nobody, transaction["transaction"].(string), hold["hold"].(string)}
	slices.Sort(out)
	return out
}

// entryID is the entry that spoil has set to another time.
func entryID(b *branch) string {
	var d bson.M
	err := b.raw.Collection(b.used("entry")).FindOne(b.Context(), bson.M{"at": int64(7)}).Decode(&d)
	if err != nil {
		b.Fatal(err)
	}
	return d["_id"].(string)
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
			log := &growing{
				memory: b.log, grow: func() { b.goOn(min(4, len(b.events))) }, await: func() { b.await(inMongo...) },
			}
			c.Source = log
			r, err := rebuild.Run(t.Context(), c, b.kept)
			if err != nil || len(r.Differences) > 0 || log.reads.Load() < 4 {
				t.Errorf("%+v, %v; the log was read %d times", r, err, log.reads.Load())
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

// failing is a log that does something once it is read from an event on.
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

// stuck is a build that is not put in use.
type stuck struct{ rebuild.Build }

var errStuck = errors.New("it does not switch")

func (stuck) Switch(context.Context, router.Mark) error { return errStuck }

type unswitched struct{ rebuild.View }

func (u unswitched) Begin(ctx context.Context, s []router.Stream, m router.Mark) (rebuild.Build, error) {
	b, err := u.View.Begin(ctx, s, m)
	return stuck{b}, err
}

// uncommitted is a store whose commit fails once the view is switched.
type uncommitted struct{ rebuild.Store }

var errCommit = errors.New("the commit failed")

func (u uncommitted) InTx(ctx context.Context, fn func(context.Context) error) error {
	return u.Store.InTx(ctx, func(ctx context.Context) error { return errors.Join(fn(ctx), errCommit) })
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
			c.Source = &failing{memory: b.log, at: 120, then: func() error { return errors.New("away") }}
		},
		"the build's marks are lost": func(c *rebuild.Config) {
			c.Source = &failing{memory: b.log, at: 120, then: func() error {
				_, err := b.raw.Collection("mark").DeleteMany(t.Context(), bson.M{"build": bson.M{"$exists": true}})
				return err
			}}
		},
		"it does not switch": func(c *rebuild.Config) { c.View = unswitched{c.View} },
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
		if _, err := rebuild.Run(t.Context(), c, uncommitted{b.kept}); !errors.Is(err, errCommit) {
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
