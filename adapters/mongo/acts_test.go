package mongo_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"bankforge/adapters/mongo"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/repair"
)

// What is discarded leaves a gap, behind which nothing is written, until the key is written anew from the log: beside
// a handler that goes on, and readers who never see less than before.
func TestADiscardInMongoIsRepairedByARebuild(t *testing.T) {
	t.Parallel()
	for _, view := range inMongo {
		t.Run(view, func(t *testing.T) {
			t.Parallel()
			c := openCounter(t, nil)
			key := c.broken(view)
			if found := c.check(); len(found) > 0 { // without what waits it is what the log says
				t.Logf("%d differences, as %+v", len(found), found[0])
			}
			stop := c.read(key)
			again := c.act(repair.Act{Kind: ops.SequenceRebuild, Handler: view, Key: key})
			c.until("it is rebuilt", func() bool {
				c.goOn(min(len(c.events), 1))
				again = c.executed(again.ID)
				return again.Status != ops.ActPending
			})
			if again.Status != ops.ActDone {
				t.Fatalf("%+v", again)
			}
			c.goOn(len(c.events))
			c.right()
			stop()
		})
	}
}

// Whatever is missing, wrong or strange of a key is put right, and nothing else is looked at.
func TestARebuildMendsAKey(t *testing.T) {
	t.Parallel()
	c := openCounter(t, nil)
	c.goOn(300)
	c.await(inMongo...)
	c.becomesSame()
	key, other := c.held()
	for range 2 { // in the first build, and in a later one
		c.damage(router.MongoHistoryHandler, key)
		c.damage(router.MongoHistoryHandler, other)
		c.mended(router.MongoHistoryHandler, key)
		found := subjects(c.check())
		if slices.Contains(found, key) || !slices.Contains(found, other) {
			t.Errorf("%s is mended and %s is not, but found are %q", key, other, found)
		}
		c.mended(router.MongoHistoryHandler, other)
		c.right()
		c.rebuilt()
		c.becomesSame()
	}
	c.goOn(len(c.events))
	c.right()
}

func TestARebuildMendsATransaction(t *testing.T) {
	t.Parallel()
	c := openCounter(t, nil)
	key, from := c.busiest(router.MongoTransactionsHandler)
	for _, n := range []int{from, 1, len(c.events) - from - 21} { // the first two versions come alone
		c.goOn(n)
		c.await(inMongo...)
	}
	c.becomesSame()
	c.damage(router.MongoTransactionsHandler, key)
	if found := subjects(c.check()); !slices.Equal(found, []string{key}) {
		t.Errorf("damaged is %s, and found are %q", key, found)
	}
	c.mended(router.MongoTransactionsHandler, key)
	c.goOn(len(c.events))
	c.right()
}

// dying fails in one of its steps, as a process that ends there: what it has written stays.
type dying struct {
	router.Mending
	left *atomic.Int64
}

var errDead = handlers.As(handlers.Unavailable, errors.New("the process is dead"))

func (d dying) Take(ctx context.Context, facts []handlers.Fact) error {
	if d.left.Add(-1) == 0 {
		return errors.Join(d.Mending.Take(ctx, facts[:len(facts)/2]), errDead)
	}
	return d.Mending.Take(ctx, facts)
}

func (d dying) End(ctx context.Context, last bank.Version, find router.Find) error {
	if d.left.Add(-1) == 0 {
		return errDead
	}
	err := d.Mending.End(ctx, last, find)
	if d.left.Add(-1) == 0 {
		return errors.Join(err, errDead)
	}
	return err
}

// A rebuild is done by another process where one has left it, whatever that has written.
func TestARebuildInMongoOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	for step := range int64(3) {
		t.Run(strconv.FormatInt(step, 10), func(t *testing.T) {
			t.Parallel()
			var left atomic.Int64
			c := openCounter(t, func(_ context.Context, m router.Mending) router.Mending { return dying{m, &left} })
			key := c.broken(router.MongoHistoryHandler)
			left.Store(step + 1)
			c.mended(router.MongoHistoryHandler, key)
			if left.Load() >= 0 {
				t.Error("nothing has died")
			}
			c.goOn(len(c.events))
			c.right()
		})
	}
}

// plain only adds what is missing, as the handler does.
type plain struct {
	router.Mending
	handle handlers.Func
}

func (p plain) Take(ctx context.Context, facts []handlers.Fact) error { return p.handle(ctx, facts) }

// endless leaves what is not in the log.
type endless struct{ router.Mending }

func (endless) End(context.Context, bank.Version, router.Find) error { return nil }

// idle does nothing at all, and says that all is well.
type idle struct{ router.Mending }

func (idle) Take(context.Context, []handlers.Fact) error          { return nil }
func (idle) End(context.Context, bank.Version, router.Find) error { return nil }

// What is checked above is not given by itself.
func TestBrokenMendingIsFound(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]func(*counter, context.Context, router.Mending) router.Mending{
		"it only adds": func(c *counter, ctx context.Context, m router.Mending) router.Mending {
			f, _ := router.FenceOf(ctx)
			handle := mongo.NewView(c.db).Entries()
			return plain{m, func(ctx context.Context, facts []handlers.Fact) error {
				return handle(router.WithFence(ctx, f), facts)
			}}
		},
		"it takes nothing away": func(_ *counter, _ context.Context, m router.Mending) router.Mending { return endless{m} },
		"it does nothing":       func(_ *counter, _ context.Context, m router.Mending) router.Mending { return idle{m} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c *counter
			c = openCounter(t, func(ctx context.Context, m router.Mending) router.Mending { return breaks(c, ctx, m) })
			c.goOn(300)
			c.await(inMongo...)
			c.becomesSame()
			key, _ := c.held()
			c.damage(router.MongoHistoryHandler, key)
			c.mended(router.MongoHistoryHandler, key)
			if found := subjects(c.check()); len(found) == 0 {
				t.Error("nobody has noticed")
			}
		})
	}
}

// What a handler has written that is in the midst of its step is of the log, and stays; what the log does not have
// goes.
func TestAMendingLeavesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	db, raw := open(t)
	view := mongo.NewView(db)
	source := rand.New(rand.NewPCG(7, 8)) // the same each time
	log := &memory{incarnation: "first", events: apptest.RandomHistory(source.IntN, 300)}
	mark := router.Mark{Checkpoint: router.Checkpoint{Incarnation: "first", Position: handlers.End(1)}}
	if err := view.Move(t.Context(), entriesStream, router.Mark{}, mark); err != nil {
		t.Fatal(err)
	}
	fenced := router.WithFence(t.Context(), router.Fence{Stream: entriesStream, Mark: mark})
	all := factsOf(apptest.Tell(bank.AccountsTopic, log.events))
	of := map[string][]handlers.Fact{}
	var key string
	for _, f := range all {
		k := f.Key()
		if of[k] = append(of[k], f); len(of[k]) > len(of[key]) && !bank.IsInternal(f.Leg.Account) {
			key = k
		}
	}
	for i := range of[key] { // each version by itself
		if err := view.Entries()(fenced, of[key][i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	count := func() (n int64) {
		for _, name := range []string{"entry-first", "hold-first"} {
			m, err := raw.Collection(name).CountDocuments(t.Context(), bson.M{"account": key})
			if err != nil {
				t.Fatal(err)
			}
			n += m
		}
		return n
	}
	before, half := count(), of[key][:len(of[key])/2]
	mend := func() {
		t.Helper()
		m, known, err := view.Mends().MongoEntries(fenced, key)
		if err == nil && known {
			err = m.Take(fenced, half)
		}
		if err == nil {
			err = m.End(fenced, bank.Version(len(half)), log.find)
		}
		if err != nil {
			t.Fatal(known, err)
		}
	}
	if mend(); count() != before {
		t.Errorf("of %d documents %d are left", before, count())
	}
	log.events = log.events[:half[len(half)-1].Seq]
	if mend(); count() >= before {
		t.Errorf("%d documents are left, though the log has half of them", count())
	}
	if _, known, err := view.Mends().MongoEntries(fenced, "no account\xff"); known || err != nil {
		t.Errorf("what no log can have: %t, %v", known, err)
	}
	if _, _, err := view.Mends().MongoEntries(t.Context(), key); err == nil {
		t.Error("taken without a fence")
	}
}

// What one process remembers of an account that another one has mended holds up nothing.
func TestWhatWasTakenAwayIsNotRemembered(t *testing.T) {
	t.Parallel()
	c := openCounter(t, nil)
	c.goOn(250)
	c.await(inMongo...)
	c.becomesSame()
	key, _ := c.held()
	c.damage(router.MongoHistoryHandler, key) // version 255 is there
	c.stop()                                  // what is remembered is forgotten
	c.begin(c.db, nil, router.Reactions{})
	c.goOn(100)
	c.until("the handler has seen it", func() bool { return len(c.log.events) == 350 && c.progressed() })
	elsewhere := mongo.NewView(c.db)
	stream := router.Stream{Handler: router.MongoHistoryHandler, Topic: bank.AccountsTopic}
	mark, err := elsewhere.Mark(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	fenced := router.WithFence(t.Context(), router.Fence{Stream: stream, Mark: mark})
	m, _, err := elsewhere.Mends().MongoEntries(fenced, key)
	if err != nil {
		t.Fatal(err)
	}
	var facts []handlers.Fact
	for _, f := range factsOf(apptest.Tell(bank.AccountsTopic, c.log.events)) {
		if f.Key() == key {
			facts = append(facts, f)
		}
	}
	err = m.Take(fenced, facts)
	if err == nil {
		err = m.End(fenced, bank.Version(len(facts)), c.log.find)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.goOn(len(c.events))
	c.right()
}

// Whatever fails, is given up and rebuilt, with processes that die in the midst of it: once all that was touched is
// rebuilt, the views are what the log says.
func TestWhateverIsRebuiltInMongoTheViewsAreRight(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 5))
			var left atomic.Int64
			c := openCounter(t, func(_ context.Context, m router.Mending) router.Mending { return dying{m, &left} })
			touched := map[[2]string]bool{}
			c.goOn(40)
			for len(c.events) > 0 {
				c.goOn(min(len(c.events), 1+random.IntN(15)))
				view := inMongo[random.IntN(len(inMongo))]
				key := c.someKey(view, random)
				touched[[2]string{view, key}] = true
				left.Store(random.Int64N(8))
				c.operate(random.IntN(9), view, key)
			}
			c.fails.Clear()
			left.Store(0)
			for of := range touched {
				c.act(repair.Act{Kind: ops.SequenceResume, Handler: of[0], Key: of[1]})
			}
			c.await(inMongo...)
			for of := range touched {
				c.mended(of[0], of[1])
			}
			c.right()
			t.Logf("%d keys touched, %d acts", len(touched), c.acts)
		})
	}
}
