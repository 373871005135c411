package redis_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"bankforge/adapters/redis"
	"bankforge/app"
	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/repair"
)

// counter is a branch where an operator acts. It sees the order in which accounts' versions reach the handler that
// writes to Redis.
type counter struct {
	*branch
	fails sync.Map // account's text → error
	acts  int

	mu    sync.Mutex
	last  map[string]bank.Version // that was written
	given map[string]bool         // accounts of which something was given up
	wrong []string
}

var errBoom = errors.New("boom")

// openCounter opens it with replayers, as two processes have them.
func openCounter(t *testing.T) *counter {
	t.Helper()
	c := &counter{last: map[string]bank.Version{}, given: map[string]bool{}}
	c.branch = newBranchWith(t, servers.Redis(t), patience, c.watched)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range 2 {
		r := repair.New(repair.Config{
			Router: c.router, Store: c.handlers, Owner: fmt.Sprint("process-", i), Poll: 2 * time.Millisecond,
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

func (c *counter) watched(handle handlers.Func) handlers.Func {
	return func(ctx context.Context, facts []handlers.Fact) error {
		for i := range facts {
			if err, ok := c.fails.Load(facts[i].Key()); ok {
				return err.(error)
			}
		}
		err := handle(ctx, facts)
		c.mu.Lock()
		defer c.mu.Unlock()
		var gap *handlers.GapError
		if errors.As(err, &gap) && !c.given[gap.Key] {
			c.wrong = append(c.wrong, gap.Error())
		}
		for i := range facts {
			key, version := facts[i].Key(), facts[i].Version()
			if err == nil && version > c.last[key]+1 && !c.given[key] {
				c.wrong = append(c.wrong, fmt.Sprintf("version %d of %s came behind %d", version, key, c.last[key]))
			}
			if err == nil {
				c.last[key] = max(c.last[key], version)
			}
		}
		return err
	}
}

// act executes an act of an operator as it comes from the log.
func (c *counter) act(a repair.Act) ops.Executed {
	c.Helper()
	c.acts++
	a.ID = bank.MakeID[bank.Act]([16]byte{14: byte(c.acts >> 8), 15: byte(c.acts)}).String()
	a.Seq, a.Reason, a.Actor, a.At = bank.Seq(c.acts), "because", "olga", time.Now().UTC().Truncate(time.Microsecond)
	err := c.handlers.InTx(c.Context(), func(ctx context.Context) error { return c.handlers.Execute(ctx, a) })
	if err != nil {
		c.Fatal(err)
	}
	return c.executed(a.ID)
}

func (c *counter) executed(id string) ops.Executed {
	c.Helper()
	done, ok, err := c.handlers.Act(c.Context(), id)
	if err != nil || !ok {
		c.Fatalf("act %s: %t, %v", id, ok, err)
	}
	return done
}

// until polls.
func (c *counter) until(what string, is func() bool) {
	c.Helper()
	for deadline := time.Now().Add(120 * time.Second); !is(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.Fatal("it never happened: " + what)
		}
	}
}

func (c *counter) sequence(key string) (ops.Sequence, bool) {
	c.Helper()
	q, ok, err := c.handlers.Sequence(c.Context(), router.RedisBalancesHandler, key)
	if err != nil {
		c.Fatal(err)
	}
	return q, ok
}

// someAccount is one that something happened to of late.
func (c *counter) someAccount(random *rand.Rand) string {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	for i := len(c.log.events) - 1 - random.IntN(8); i >= 0; i-- {
		if legs := c.log.events[i].Legs; len(legs) > 0 {
			return legs[random.IntN(len(legs))].Account.String()
		}
	}
	return ""
}

// Whatever operators have tried again, and whichever keys they pause, an account's versions come to Redis in order.
func TestActsKeepTheOrderOfWhatStandsInRedis(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			c, random := openCounter(t), rand.New(rand.NewPCG(seed, 2))
			touched := map[string]bool{}
			c.goOn(60)
			for len(c.events) > 0 {
				c.goOn(min(len(c.events), 1+random.IntN(12)))
				key := c.someAccount(random)
				touched[key] = true
				c.operate(random.IntN(8), key)
			}
			c.fails.Clear()
			for key := range touched {
				c.act(repair.Act{Kind: ops.SequenceResume, Handler: router.RedisBalancesHandler, Key: key})
			}
			c.await(both...)
			for key := range touched {
				c.until(key+" flows", func() bool {
					q, ok := c.sequence(key)
					if ok && (q.NextAt.IsZero() || time.Until(q.NextAt) > time.Second) { // it has failed, and waits by itself
						c.act(repair.Act{Kind: ops.SequenceRetry, Handler: router.RedisBalancesHandler, Key: key})
					}
					return !ok
				})
			}
			c.nothingParked()
			c.awaitServed(true)
			c.mu.Lock()
			defer c.mu.Unlock()
			if len(c.wrong) > 0 {
				t.Errorf("%q", c.wrong)
			}
			t.Logf("%d accounts, %d acts", len(touched), c.acts)
		})
	}
}

func (c *counter) operate(what int, key string) {
	c.Helper()
	const handler = router.RedisBalancesHandler
	switch what {
	case 0, 1:
		c.fails.Store(key, handlers.As(handlers.Poison, errBoom))
	case 2:
		c.fails.Clear()
	case 3:
		c.act(repair.Act{Kind: ops.SequencePause, Handler: handler, Key: key})
	case 4:
		c.act(repair.Act{Kind: ops.SequenceResume, Handler: handler, Key: key})
	case 5:
		c.act(repair.Act{Kind: ops.SequenceRetry, Handler: handler, Key: key})
	case 6:
		if q, ok := c.sequence(key); ok && q.Head != "" {
			c.act(repair.Act{Kind: ops.FailureRetry, Target: q.Head})
		}
	case 7:
		body, err := ops.Canonical(ops.ReplaySpec{Filter: ops.ReplayScope{Handler: handler}, Concurrency: 2})
		if err != nil {
			c.Fatal(err)
		}
		planned := c.act(repair.Act{Kind: ops.ReplayPlan, Body: body})
		c.act(repair.Act{Kind: ops.ReplayStart, Target: ops.ReplayOf(planned.ID)})
	}
}

// What is discarded leaves a gap in Redis, behind which nothing is written, until the account is written anew from the
// log: beside a handler that goes on.
func TestADiscardInRedisIsRepairedByARebuild(t *testing.T) {
	t.Parallel()
	c := openCounter(t)
	c.goOn(300)
	c.await(both...)
	key := c.events[0].Legs[0].Account
	for i := 1; bank.IsInternal(key) || c.last[key.String()] == 0; i++ {
		if legs := c.events[i].Legs; len(legs) > 0 {
			key = legs[0].Account
		}
	}
	had := c.last[key.String()]
	c.given[key.String()] = true
	c.fails.Store(key.String(), handlers.As(handlers.Poison, errBoom))
	for q, ok := c.sequence(key.String()); !ok || q.Waiting < 3; q, ok = c.sequence(key.String()) {
		if len(c.events) < 100 {
			t.Fatalf("too little happens to %s", key)
		}
		c.goOn(20)
		c.await(both...)
	}
	c.fails.Clear()
	q, _ := c.sequence(key.String())
	c.act(repair.Act{Kind: ops.FailureDiscard, Target: q.Head})
	c.until("what is behind it fails", func() bool {
		q, _ := c.sequence(key.String())
		return q.Class == handlers.Poison.String() && q.Waiting > 0
	})
	if now := c.standsAt(key); now != had {
		t.Errorf("it stands at version %d, not %d", now, had)
	}
	again := c.act(repair.Act{Kind: ops.SequenceRebuild, Handler: router.RedisBalancesHandler, Key: key.String()})
	c.until("it is rebuilt", func() bool {
		c.goOn(min(len(c.events), 1))
		again = c.executed(again.ID)
		return again.Status != ops.ActPending
	})
	if again.Status != ops.ActDone {
		t.Fatalf("%+v", again)
	}
	c.goOn(len(c.events))
	c.await(both...)
	if q, ok := c.sequence(key.String()); ok {
		t.Errorf("it does not flow: %+v", q)
	}
	c.awaitServed(true)
	if len(c.wrong) > 0 {
		t.Errorf("%q", c.wrong)
	}
}

// Whatever stands in Redis in the place of an account, it is what the log says once it was written anew; others are not
// touched, and what the log does not have goes.
func TestARebuildMendsAnAccount(t *testing.T) {
	t.Parallel()
	c := openCounter(t)
	c.goOn(300)
	c.await(both...)
	var accounts []string
	for key := range c.last {
		accounts = append(accounts, key)
	}
	slices.Sort(accounts)
	if len(accounts) < 5 {
		t.Fatalf("only %d accounts", len(accounts))
	}
	nobody := bank.MakeID[bank.Account]([16]byte{9}).String()
	place := func(key string) string { return c.prefix + "account:" + key }
	state := c.raw.HGet(t.Context(), place(accounts[0]), "s").Val()
	for i, err := range []error{
		c.raw.HSet(t.Context(), place(accounts[0]), "s", strings.Repeat("f", 16)+state[16:]).Err(), // of a later version
		c.raw.HSet(t.Context(), place(accounts[1]), "o", "\x00", "d", "nothing").Err(),
		c.raw.Del(t.Context(), place(accounts[2])).Err(),
		c.raw.Del(t.Context(), place(accounts[3])).Err(),
		c.raw.Set(t.Context(), place(accounts[3]), "no account", 0).Err(),
		c.raw.HSet(t.Context(), place(nobody), "s", state).Err(),
		c.raw.HSet(t.Context(), place(accounts[4]), "d", "damaged").Err(), // of which nothing is wanted
	} {
		if err != nil {
			t.Fatal(i, err)
		}
	}
	for _, key := range append(accounts[:4:4], nobody) {
		done := c.act(repair.Act{Kind: ops.SequenceRebuild, Handler: router.RedisBalancesHandler, Key: key})
		c.until("it is rebuilt", func() bool {
			done = c.executed(done.ID)
			return done.Status != ops.ActPending
		})
		if done.Status != ops.ActDone {
			t.Errorf("%s: %+v", key, done)
		}
	}
	if d := c.raw.HGet(t.Context(), place(accounts[4]), "d").Val(); d != "damaged" {
		t.Errorf("another account was written: %q", d)
	}
	if n := c.raw.Exists(t.Context(), place(nobody)).Val(); n != 0 {
		t.Error("what is not in the log is there still")
	}
	if err := c.raw.Del(t.Context(), place(accounts[4])).Err(); err != nil {
		t.Fatal(err)
	}
	c.act(repair.Act{Kind: ops.SequenceRebuild, Handler: router.RedisBalancesHandler, Key: accounts[4]})
	c.until("it is rebuilt, too", func() bool { return c.raw.Exists(t.Context(), place(accounts[4])).Val() == 1 })
	c.goOn(len(c.events))
	c.await(both...)
	c.nothingParked()
	if err := c.same(); err != nil {
		t.Error(err)
	}
}

// standsAt is the version that Redis has.
func (c *counter) standsAt(id bank.AccountID) bank.Version {
	c.Helper()
	a, ok, err := redis.NewBalances(c.db, noAccounts{c.store}, nil, nil).Account(c.Context(), id)
	if err != nil || !ok {
		c.Fatalf("Redis does not have %s: %t, %v", id, ok, err)
	}
	return a.Version
}

// noAccounts is a store that has none: they must come from Redis.
type noAccounts struct{ app.Balances }

func (noAccounts) Account(context.Context, bank.AccountID) (bank.Account, bool, error) {
	return bank.Account{}, false, nil
}
