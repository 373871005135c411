package mongo_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/repair"
)

// counter is a branch where an operator acts.
type counter struct {
	*branch
	fails sync.Map                                             // view, space, key → error
	mend  func(context.Context, router.Mending) router.Mending // around those of the views; nil: as they are
	acts  int
}

// openCounter opens it with replayers, as two processes have them.
func openCounter(t *testing.T, mend func(context.Context, router.Mending) router.Mending) *counter {
	t.Helper()
	c := &counter{mend: mend}
	c.branch = newBranch(t, servers.Mongo(t), false, c.watched)
	source := rand.New(rand.NewPCG(7, 4)) // the same each time; of some transactions there are four versions
	c.events = apptest.RandomHistory(source.IntN, 900)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range 2 {
		r := repair.New(repair.Config{
			Router: c.router, Store: c.kept, Owner: fmt.Sprint("process-", i), Poll: 2 * time.Millisecond,
			Hold: 5 * time.Millisecond, Workers: 2,
		})
		all.Go(func() { _ = r.Run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	return c
}

func (c *counter) watched(r *router.Route) {
	handle, mend, name := r.Handler, r.Mend, r.Name
	r.Handler = func(ctx context.Context, facts []handlers.Fact) error {
		for i := range facts {
			if err, ok := c.fails.Load(name + " " + facts[i].Key()); ok {
				return err.(error)
			}
		}
		return handle(ctx, facts)
	}
	if c.mend == nil {
		return
	}
	r.Mend = func(ctx context.Context, key string) (router.Mending, bool, error) {
		m, known, err := mend(ctx, key)
		if known && err == nil {
			m = c.mend(ctx, m)
		}
		return m, known, err
	}
}

// act executes an act of an operator as it comes from the log.
func (c *counter) act(a repair.Act) ops.Executed {
	c.Helper()
	c.acts++
	a.ID = bank.MakeID[bank.Act]([16]byte{14: byte(c.acts >> 8), 15: byte(c.acts)}).String()
	a.Seq, a.Reason, a.Actor, a.At = bank.Seq(c.acts), "because", "olga", time.Now().UTC().Truncate(time.Microsecond)
	if err := c.kept.InTx(c.Context(), func(ctx context.Context) error { return c.kept.Execute(ctx, a) }); err != nil {
		c.Fatal(err)
	}
	return c.executed(a.ID)
}

func (c *counter) executed(id string) ops.Executed {
	c.Helper()
	done, ok, err := c.kept.Act(c.Context(), id)
	if err != nil || !ok {
		c.Fatalf("act %s: %t, %v", id, ok, err)
	}
	return done
}

// wants has an act executed, and waits for its end.
func (c *counter) wants(a repair.Act) ops.Executed {
	c.Helper()
	done := c.act(a)
	c.until(a.Kind+" ends", func() bool {
		done = c.executed(done.ID)
		return done.Status != ops.ActPending
	})
	return done
}

// mended has a key rebuilt.
func (c *counter) mended(view, key string) {
	c.Helper()
	done := c.wants(repair.Act{Kind: ops.SequenceRebuild, Handler: view, Key: key})
	if done.Status != ops.ActDone {
		c.Errorf("%s %s: %+v", view, key, done)
	}
}

// until polls.
func (c *counter) until(what string, is func() bool) {
	c.Helper()
	for deadline := time.Now().Add(60 * time.Second); !is(); <-time.After(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.Fatal("it never happened: " + what)
		}
	}
}

func (c *counter) sequence(view, key string) (ops.Sequence, bool) {
	c.Helper()
	q, ok, err := c.kept.Sequence(c.Context(), view, key)
	if err != nil {
		c.Fatal(err)
	}
	return q, ok
}

// right expects the views to be what the log says, and nothing to wait or to lack.
func (c *counter) right() {
	c.Helper()
	c.await(inMongo...)
	c.becomesSame()
	if found := c.check(); len(found) > 0 {
		c.Errorf("%d differences, as %+v", len(found), found[0])
	}
	for _, view := range inMongo {
		waits, err := c.kept.Sequences(c.Context(), ops.SequenceFilter{Page: ops.Page{Limit: 5}, Handler: view})
		if err != nil || len(waits) > 0 {
			c.Errorf("%s: %+v waits, %v", view, waits, err)
		}
	}
	if diverged, err := c.kept.Diverged(c.Context(), 5); err != nil || len(diverged) > 0 {
		c.Errorf("%+v have diverged, %v", diverged, err)
	}
}

// busiest is the key of a view of which most is told, and before which event its second change comes.
func (c *counter) busiest(view string) (key string, from int) {
	c.Helper()
	topic := bank.AccountsTopic
	if view == router.MongoTransactionsHandler {
		topic = bank.TransactionsTopic
	}
	second, count := map[string]int{}, map[string]int{}
	for i, e := range c.events {
		for _, change := range e.Changes() {
			k := change.Key()
			if change.Topic() != topic || bank.IsInternal(accountOf(k)) {
				continue
			}
			if count[k]++; count[k] == 2 && (change.Leg == nil || change.Leg.Amount != 0) {
				second[k] = i
			}
			if at, ok := second[k]; ok && count[k] > count[key] {
				key, from = k, at
			}
		}
	}
	if count[key] < 3 {
		c.Fatalf("too little happens to %s", key)
	}
	return key, from
}

func accountOf(key string) bank.AccountID {
	id, _ := bank.ParseID[bank.Account](key)
	return id
}

// broken has a key of a view parked from its second change on, and the first that waits given up.
func (c *counter) broken(view string) (key string) {
	c.Helper()
	key, from := c.busiest(view)
	c.goOn(from)
	c.await(inMongo...)
	c.fails.Store(view+" "+key, handlers.As(handlers.Poison, errors.New("boom")))
	waits := 6 // of an account: not all of them need what is before them
	if view == router.MongoTransactionsHandler {
		waits = 2
	}
	for q, ok := c.sequence(view, key); !ok || q.Waiting < waits; q, ok = c.sequence(view, key) {
		if len(c.events) == 0 {
			c.Fatalf("too little happens to %s", key)
		}
		c.goOn(min(len(c.events), 20))
		c.await(inMongo...)
	}
	c.fails.Clear()
	q, _ := c.sequence(view, key)
	if done := c.wants(repair.Act{Kind: ops.FailureDiscard, Target: q.Head}); done.Status != ops.ActDone {
		c.Fatalf("%+v", done)
	}
	c.until("what is behind it fails", func() bool {
		q, _ := c.sequence(view, key)
		return q.Class == handlers.Poison.String() && q.Waiting > 0
	})
	return key
}

// read reads the entries of an account until it is stopped: there never are fewer.
func (c *counter) read(key string) (stop func()) {
	ctx, cancel := context.WithCancel(c.Context())
	done := make(chan error, 1)
	go func() {
		for had := 0; ctx.Err() == nil; {
			rows, err := c.history.Entries(c.Context(), app.EntryFilter{Account: accountOf(key), Limit: 1000})
			if err == nil && len(rows) < had {
				done <- fmt.Errorf("there were %d entries, and now %d", had, len(rows))
				return
			}
			had = max(had, len(rows))
		}
		done <- nil
	}()
	return func() {
		c.Helper()
		cancel()
		if err := <-done; err != nil {
			c.Error(err)
		}
	}
}

// damage does to what there is of a key what nobody should have done.
func (c *counter) damage(view, key string) {
	c.Helper()
	ctx := c.Context()
	first := func(in string, filter bson.M) (d bson.M) {
		c.Helper()
		if err := c.raw.Collection(c.used(in)).FindOne(ctx, filter).Decode(&d); err != nil {
			c.Fatal(in, filter, err)
		}
		return d
	}
	do := func(_ any, err error) {
		c.Helper()
		if err != nil {
			c.Fatal(err)
		}
	}
	set := func(in string, d, fields bson.M) {
		c.Helper()
		do(c.raw.Collection(c.used(in)).UpdateOne(ctx, bson.M{"_id": d["_id"]}, bson.M{"$set": fields}))
	}
	stray := func(in string, d bson.M, id string, fields bson.M) {
		c.Helper()
		d["_id"] = id
		maps.Copy(d, fields)
		do(c.raw.Collection(c.used(in)).InsertOne(ctx, d))
	}
	if view == router.MongoTransactionsHandler {
		d := first("transaction", bson.M{"transaction": key, "version": int64(1)})
		set("transaction", d, bson.M{"status": int32(9), "more": "than there should be"})
		do(c.raw.Collection(c.used("transaction")).DeleteOne(ctx, bson.M{"transaction": key, "version": int64(2)}))
		stray("transaction", d, key+"/00000000000000ff", bson.M{"version": int64(255), "later": true})
		return
	}
	var all []bson.M
	found, err := c.raw.Collection(c.used("entry")).Find(ctx, bson.M{"account": key})
	if err == nil {
		err = found.All(ctx, &all)
	}
	if err != nil || len(all) < 4 {
		c.Fatalf("%d entries of %s: %v", len(all), key, err)
	}
	do(c.raw.Collection(c.used("entry")).DeleteOne(ctx, bson.M{"_id": all[0]["_id"]}))
	set("entry", all[1], bson.M{"at": int64(7)})
	set("entry", all[2], bson.M{"account": bank.MakeID[bank.Account]([16]byte{1}).String()})
	stray("entry", all[3], key+"/00000000000000ff", bson.M{"version": int64(255)})
	stray("entry", all[3], key+"/nothing", bson.M{"version": int64(-1)})
	do(c.raw.Collection(c.used("entry")).InsertOne(ctx, bson.M{"account": key, "at": "some time"}))
	hold := first("hold", bson.M{"account": key})
	set("hold", hold, bson.M{"status": int32(9)})
	c.acts++ // to have another one each time
	nobody := bank.MakeID[bank.Hold]([16]byte{1, byte(c.acts)}).String()
	stray("hold", hold, nobody+"/0000000000000001", bson.M{"hold": nobody})
}

// held is an account with a hold and some entries, and another one.
func (c *counter) held() (key, other string) {
	c.Helper()
	entries, holds := map[string]int{}, map[string]bool{}
	for _, e := range c.log.events {
		for _, l := range e.Legs {
			if l.Amount != 0 && !bank.IsInternal(l.Account) {
				entries[l.Account.String()]++
			}
		}
		if e.Hold != nil {
			holds[e.Hold.Account.String()] = true
		}
	}
	for id, n := range entries {
		if holds[id] && n > entries[key] {
			key = id
		}
	}
	for id, n := range entries {
		if id != key && holds[id] && n >= 4 {
			return key, id
		}
	}
	c.Fatal("too little happens")
	return "", ""
}

// progressed reports whether the handlers have everything.
func (c *counter) progressed() bool {
	c.await(inMongo...)
	return true
}

func (c *counter) operate(what int, view, key string) {
	c.Helper()
	switch what {
	case 0, 1, 2:
		c.fails.Store(view+" "+key, handlers.As(handlers.Poison, errors.New("boom")))
	case 3:
		c.fails.Clear()
	case 4, 5:
		c.act(repair.Act{Kind: ops.SequenceRebuild, Handler: view, Key: key})
	case 6:
		c.act(repair.Act{Kind: ops.SequencePause, Handler: view, Key: key})
	case 7:
		c.act(repair.Act{Kind: ops.SequenceResume, Handler: view, Key: key})
	case 8:
		if q, ok := c.sequence(view, key); ok && q.Head != "" {
			c.act(repair.Act{Kind: ops.FailureDiscard, Target: q.Head})
		}
	}
}

// someKey is one of those that something happened to of late.
func (c *counter) someKey(view string, random *rand.Rand) string {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	for i := len(c.log.events) - 1 - random.IntN(8); i >= 0; i-- {
		for _, change := range c.log.events[i].Changes() {
			if (change.Topic() == bank.AccountsTopic) == (view == router.MongoHistoryHandler) {
				return change.Key()
			}
		}
	}
	return ""
}
