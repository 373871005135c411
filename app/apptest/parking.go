package apptest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/repair"
)

// HandlerStore checks the contract of router.Store on an empty store, and says what is wrong with it.
func HandlerStore(ctx context.Context, s router.Store) error {
	checks := []struct {
		name  string
		check func(context.Context, router.Store) error
	}{
		{"checkpoints", checkCheckpoints},
		{"what fails leaves no trace", checkRollback},
		{"checkpoints are locked", checkLock},
		{"sequences", checkSequence},
		{"blocked keys", checkBlocked},
		{"attempts", checkAttempts},
		{"going back", checkRewind},
		{"blocked keys are held", checkHeld},
		{"replay beside the handler", checkReplay},
	}
	for _, c := range checks {
		if err := c.check(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func stream(handler string) router.Stream {
	return router.Stream{Handler: handler, Topic: bank.AccountsTopic}
}

// at reads a checkpoint in a transaction of its own.
func at(ctx context.Context, s router.Store, of router.Stream) (c router.Checkpoint, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		c, err = s.Checkpoint(ctx, of)
		return err
	})
	return c, err
}

func advance(ctx context.Context, s router.Store, of router.Stream, c router.Checkpoint) error {
	if _, err := s.Checkpoint(ctx, of); err != nil {
		return err
	}
	return s.Advance(ctx, of, c)
}

func checkCheckpoints(ctx context.Context, s router.Store) error {
	one := stream("checkpoints")
	streams := []router.Stream{one, one, one, one}
	streams[1].Handler, streams[2].Topic, streams[3].Partition = "other", bank.TransactionsTopic, 1
	for _, of := range streams {
		if c, err := at(ctx, s, of); err != nil || c != (router.Checkpoint{}) {
			return fmt.Errorf("before the first message: %+v, %v", c, err)
		}
	}
	for round := range 2 {
		for i, of := range streams {
			c := router.Checkpoint{
				Incarnation: fmt.Sprint("inc", round), Position: handlers.Position{Seq: bank.Seq(10*round + i + 1), N: i},
			}
			if err := s.InTx(ctx, func(ctx context.Context) error { return advance(ctx, s, of, c) }); err != nil {
				return err
			}
		}
	}
	for i, of := range streams {
		want := router.Checkpoint{Incarnation: "inc1", Position: handlers.Position{Seq: bank.Seq(11 + i), N: i}}
		if c, err := at(ctx, s, of); err != nil || c != want {
			return fmt.Errorf("%+v, %v; want %+v", c, err, want)
		}
		if c, err := s.Checkpoint(ctx, of); err != nil || c != want {
			return fmt.Errorf("outside a transaction: %+v, %v; want %+v", c, err, want)
		}
	}
	return nil
}

// checkRollback writes everything that can be written, and fails in each way.
func checkRollback(ctx context.Context, s router.Store) error {
	const handler = "rollback"
	boom := errors.New("boom")
	ways := map[string]func(cancel context.CancelFunc) error{
		"an error":            func(context.CancelFunc) error { return boom },
		"a panic":             func(context.CancelFunc) error { panic(boom) },
		"a context's end":     func(cancel context.CancelFunc) error { cancel(); return nil },
		"an error at the end": func(cancel context.CancelFunc) error { cancel(); return boom },
	}
	for name, end := range ways {
		inner, cancel := context.WithCancel(ctx)
		err := recovered(func() error {
			return s.InTx(inner, func(ctx context.Context) error {
				err := advance(ctx, s, stream(handler), router.Checkpoint{Incarnation: "x", Position: handlers.End(7)})
				if err == nil {
					_, err = s.Park(ctx, message(handler, "k", 1, router.Failed), []router.Attempt{attempt(1)})
				}
				if err != nil {
					return fmt.Errorf("before the end: %w", err)
				}
				return end(cancel)
			})
		})
		cancel()
		if err == nil {
			return fmt.Errorf("%s: reported as committed", name)
		}
		if c, err := at(ctx, s, stream(handler)); err != nil || c != (router.Checkpoint{}) {
			return fmt.Errorf("%s: the checkpoint stayed: %+v, %v", name, c, err)
		}
		if err := expectHead(ctx, s, handler, 0); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func recovered(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return do()
}

// checkLock counts with concurrent transactions: each must see what the one before it wrote.
func checkLock(ctx context.Context, s router.Store) error {
	const workers, rounds = 4, 25
	of := stream("lock")
	errs := make(chan error, workers)
	for range workers {
		go func() {
			for range rounds {
				err := s.InTx(ctx, func(ctx context.Context) error {
					c, err := s.Checkpoint(ctx, of)
					if err != nil {
						return err
					}
					pause()
					return s.Advance(ctx, of, router.Checkpoint{Position: handlers.End(c.Position.Seq + 1)})
				})
				if err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var failed error
	for range workers {
		failed = errors.Join(failed, <-errs)
	}
	if failed != nil {
		return failed
	}
	if c, err := at(ctx, s, of); err != nil || c.Position.Seq != workers*rounds {
		return fmt.Errorf("after %d steps the checkpoint is %d, %v", workers*rounds, c.Position.Seq, err)
	}
	return nil
}

// pause gives other goroutines a chance to come between.
func pause() { <-time.After(50 * time.Microsecond) }

func message(handler, key string, seq bank.Seq, as router.Status) router.Parked {
	return router.Parked{
		Stream: stream(handler), Key: key, Incarnation: "inc", Position: handlers.Position{Seq: seq, N: 1}, Status: as,
		At:       time.UnixMicro(1_700_000_000_000_000 + int64(seq)).UTC(),
		Metadata: map[string]string{"key": key, "größe": "\"}"}, Payload: []byte{0, 0xff, byte(seq)},
		Type: "bankforge.account.credited.v1", Correlation: fmt.Sprint("cor-", seq), Accounts: []string{key, "other"},
	}
}

func ending(as router.Status) router.Ending {
	return router.Ending{As: as, By: ops.ByBackoff, At: time.UnixMicro(1)}
}

func attempt(n int) router.Attempt {
	return router.Attempt{
		At: time.UnixMicro(int64(n)).UTC(), Took: time.Duration(n) * time.Microsecond, Class: handlers.Poison,
		Error: fmt.Sprint("error ", n), Stack: fmt.Sprint("stack\n", n), By: fmt.Sprint("by ", n),
	}
}

// expectHead checks which message is first in a sequence; 0: none, and the key flows.
func expectHead(ctx context.Context, s router.Store, handler string, seq bank.Seq) error {
	const key = "k"
	return s.InTx(ctx, func(ctx context.Context) error {
		p, ok, err := s.Head(ctx, handler, key)
		if err != nil || ok != (seq != 0) || ok && p.Position.Seq != seq {
			return fmt.Errorf("the head is %v %d, %v; want %d", ok, p.Position.Seq, err, seq)
		}
		blocked, err := s.Blocked(ctx, handler, []string{key})
		if err != nil || (len(blocked) == 1) != ok {
			return fmt.Errorf("blocked %q, %v; want %v", blocked, err, ok)
		}
		return nil
	})
}

func park(ctx context.Context, s router.Store, p router.Parked, want int, attempts ...router.Attempt) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		waiting, err := s.Park(ctx, p, attempts)
		if err == nil && waiting != want {
			return fmt.Errorf("%d messages wait; want %d", waiting, want)
		}
		return err
	})
}

func resolve(ctx context.Context, s router.Store, handler, key string, as router.Status) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		p, ok, err := s.Head(ctx, handler, key)
		if err != nil || !ok {
			return fmt.Errorf("head: %v, %v", ok, err)
		}
		return s.Resolve(ctx, p, ending(as))
	})
}

// checkSequence parks, takes and parks again: always in order, and nothing twice.
func checkSequence(ctx context.Context, s router.Store) error {
	const handler, key = "sequence", "k"
	for i := range 3 {
		as := router.Waiting
		if i == 0 {
			as = router.Failed
		}
		if err := park(ctx, s, message(handler, key, bank.Seq(i+1), as), i+1); err != nil {
			return err
		}
	}
	if err := park(ctx, s, message(handler, key, 2, router.Waiting), 4); err == nil {
		return errors.New("a position was parked twice")
	}
	for i, as := range []router.Status{router.Resolved, router.Discarded, router.Resolved} {
		if err := expectHead(ctx, s, handler, bank.Seq(i+1)); err != nil {
			return err
		}
		if i == 1 {
			if err := park(ctx, s, message(handler, key, 4, router.Waiting), 3); err != nil {
				return err
			}
		}
		if err := resolve(ctx, s, handler, key, as); err != nil {
			return err
		}
	}
	if err := expectHead(ctx, s, handler, 4); err != nil {
		return err
	}
	if err := resolve(ctx, s, handler, key, router.Resolved); err != nil {
		return err
	}
	if err := expectHead(ctx, s, handler, 0); err != nil {
		return fmt.Errorf("after the last one: %w", err)
	}
	if err := park(ctx, s, message(handler, key, 3, router.Failed), 1); err == nil {
		return errors.New("a resolved message was forgotten: its position was parked again")
	}
	if err := park(ctx, s, message(handler, key, 5, router.Failed), 1); err != nil {
		return fmt.Errorf("a new sequence: %w", err)
	}
	return expectHead(ctx, s, handler, 5)
}

// checkBlocked tells keys and handlers apart.
func checkBlocked(ctx context.Context, s router.Store) error {
	keys := []string{"a", "b", `c"\`, "d", "a"}
	for i, key := range []string{"a", `c"\`, "z"} {
		if err := park(ctx, s, message("blocked", key, bank.Seq(i+1), router.Failed), 1); err != nil {
			return err
		}
	}
	for handler, want := range map[string]map[string]bool{"blocked": {"a": true, `c"\`: true}, "free": {}} {
		var got []string
		err := s.InTx(ctx, func(ctx context.Context) (err error) {
			got, err = s.Blocked(ctx, handler, keys)
			return err
		})
		is := map[string]bool{}
		for _, key := range got {
			is[key] = true
		}
		if err != nil || !reflect.DeepEqual(is, want) {
			return fmt.Errorf("handler %s: %v, %v; want %v", handler, is, err, want)
		}
	}
	return nil
}

// checkAttempts reads back everything that a message was parked with, and what was added to it.
func checkAttempts(ctx context.Context, s router.Store) error {
	const handler, key = "attempts", "k"
	want := message(handler, key, 1, router.Waiting)
	if err := park(ctx, s, want, 1, attempt(1), attempt(2)); err != nil {
		return err
	}
	want.Attempts = []router.Attempt{attempt(1), attempt(2)}
	for n := 3; ; n++ {
		var got router.Parked
		err := s.InTx(ctx, func(ctx context.Context) (err error) {
			if got, _, err = s.Head(ctx, handler, key); err != nil || n > 4 {
				return err
			}
			return s.Attempted(ctx, got, attempt(n), time.Time{})
		})
		if got.Wanted = (router.By{}); err != nil || !reflect.DeepEqual(got, want) { // by what, is for who has acts
			return fmt.Errorf("%+v, %v; want %+v", got, err, want)
		}
		if n > 4 {
			return nil
		}
		want.Status, want.Attempts = router.Failed, append(want.Attempts, attempt(n))
		want.Tries++
	}
}

// checkMuch takes all of a replay at once, of which one sequence has gone, one is paused, and one is somebody else's.
func (d *desk) checkMuch() error {
	for i, key := range []string{"a", "b", "c", "d", "e"} {
		if err := d.fail(key, bank.Seq(i+1), "late", time.Time{}); err != nil {
			return err
		}
	}
	r, err := d.plan(0, 4, 0)
	if err != nil {
		return err
	}
	_, err = d.act(repair.Act{Kind: ops.SequencePause, Handler: d.handler, Key: "b"}, ops.ActDone, "")
	_, other := d.s.Claim(d.ctx, d.handler, "c", "two", d.now, d.later(10*time.Second))
	if err := errors.Join(err, other, d.tries("a", ops.ByBackoff, false, time.Time{})); err != nil {
		return err
	}
	for i, want := range [][]string{{"d", "e"}, {"c"}} {
		now := d.later(time.Duration(i) * 20 * time.Second)
		all, err := d.s.Take(d.ctx, r, []string{"another", d.handler}, "one", 100, now, now.Add(10*time.Second))
		settled, got := make([]repair.Settled, len(all)), make([]string, len(all))
		for i, one := range all {
			got[i], settled[i] = one.Key, repair.Settled{Due: one, Failed: one.Key == "e"}
		}
		if err != nil || !slices.Equal(got, want) || all[0].Cause != r.ID || all[0].Handler != d.handler {
			return fmt.Errorf("round %d: it takes %+v, %w; want %q", i, all, orNil(err), want)
		}
		if err := d.s.Settle(d.ctx, r.ID, settled, "one", now); err != nil {
			return err
		}
	}
	return d.replay(r.ID, ops.ReplayDone, 0, 2, 0)
}

// checkDiverged: a key that flows again, though something of it was discarded, is found by itself and among all that
// have diverged. Others are not.
func (d *desk) checkDiverged() error {
	err := errors.Join(d.fail("m", 1, "broken", time.Time{}), d.fail("n", 2, "broken", time.Time{}))
	if err != nil {
		return err
	}
	fail := ops.FailureID(d.handler, "inc", 1, 1)
	if _, err := d.act(repair.Act{Kind: ops.FailureDiscard, Target: fail}, ops.ActDone, ""); err != nil {
		return err
	}
	q, ok, err := d.s.Sequence(d.ctx, d.handler, "m")
	since := q.Since
	q.Since = time.Time{}
	want := ops.Sequence{
		ID: ops.SequenceID(d.handler, "m"), Handler: d.handler, Key: "m", Diverged: true, Why: "because",
	}
	if err != nil || !ok || q != want || since.IsZero() {
		return fmt.Errorf("%t %+v since %s, not %+v: %w", ok, q, since, want, orNil(err))
	}
	all, err := d.s.Diverged(d.ctx, 10)
	all = slices.DeleteFunc(all, func(k ops.DivergedKey) bool { return k.Handler != d.handler })
	given := ops.DivergedKey{Handler: d.handler, Key: "m", Since: since, Why: "because", Failure: fail}
	if err != nil || len(all) != 1 || all[0] != given {
		return fmt.Errorf("%+v have diverged: %w", all, orNil(err))
	}
	return d.flows("m", true)
}
