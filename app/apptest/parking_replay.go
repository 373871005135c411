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

// checkReplay lets a handler and a replayer work on one key at the same time, as the router does. Each
// of them holds the key's order only by what the store locks.
func checkReplay(ctx context.Context, s router.Store) error {
	const handler, key, messages = "replay", "k", 60
	if err := park(ctx, s, message(handler, key, 1, router.Failed), 1); err != nil {
		return err
	}
	const replayers = 2
	errs := make(chan error, 1+replayers)
	done := make(chan struct{})
	go func() {
		defer close(done)
		errs <- consume(ctx, s, handler, key, messages)
	}()
	for range replayers {
		go func() { errs <- replay(ctx, s, handler, key, done) }()
	}
	var failed error
	for range 1 + replayers {
		failed = errors.Join(failed, <-errs)
	}
	if failed != nil {
		return failed
	}
	if c, err := at(ctx, s, effects(key)); err != nil || c.Position.Seq != messages {
		return fmt.Errorf("%d of %d messages had their effect, %v", c.Position.Seq, messages, err)
	}
	return expectHead(ctx, s, handler, 0)
}

// checkHeld looks that nobody takes the head of a sequence while a transaction has been told that it is blocked: else
// what that transaction parks behind it would wait for nothing.
func checkHeld(ctx context.Context, s router.Store) error {
	const handler, key = "held", "k"
	if err := park(ctx, s, message(handler, key, 1, router.Failed), 1); err != nil {
		return err
	}
	taken := make(chan error, 1)
	err := s.InTx(ctx, func(ctx context.Context) error {
		blocked, err := s.Blocked(ctx, handler, []string{key})
		if err != nil || len(blocked) != 1 {
			return fmt.Errorf("blocked %q, %w", blocked, orNil(err))
		}
		other := context.WithoutCancel(context.Background())
		go func() { taken <- resolve(other, s, handler, key, router.Resolved) }()
		select {
		case err := <-taken:
			taken <- nil
			return fmt.Errorf("the head was taken meanwhile, %w", orNil(err))
		case <-time.After(heldFor):
			_, err := s.Park(ctx, message(handler, key, 2, router.Waiting), nil)
			return err
		}
	})
	if err := errors.Join(err, <-taken); err != nil {
		return err
	}
	return expectHead(ctx, s, handler, 2)
}

// heldFor is how long checkHeld gives others to do what they must not.
const heldFor = 250 * time.Millisecond

// effects is where a handler of these checks counts what it has done for a key.
func effects(key string) router.Stream {
	return router.Stream{Handler: "effects", Topic: bank.Topic(key)}
}

// take is what a handler does: it must see each number of a key once, and in order.
func take(ctx context.Context, s router.Store, key string, seq bank.Seq) error {
	c, err := s.Checkpoint(ctx, effects(key))
	if err != nil {
		return err
	}
	if c.Position.Seq+1 != seq {
		return fmt.Errorf("message %d of key %s came behind %d", seq, key, c.Position.Seq)
	}
	pause()
	return s.Advance(ctx, effects(key), router.Checkpoint{Position: handlers.Position{Seq: seq}})
}

// consume handles messages 2 … n, or parks them behind what is parked.
func consume(ctx context.Context, s router.Store, handler, key string, n bank.Seq) error {
	for seq := bank.Seq(2); seq <= n; seq++ {
		err := s.InTx(ctx, func(ctx context.Context) error {
			if _, err := s.Checkpoint(ctx, stream(handler)); err != nil {
				return err
			}
			blocked, err := s.Blocked(ctx, handler, []string{key})
			if err != nil {
				return err
			}
			pause()
			if len(blocked) > 0 {
				_, err = s.Park(ctx, message(handler, key, seq, router.Waiting), nil)
			} else if err = take(ctx, s, key, seq); err == nil && seq%8 == 0 {
				// The next one fails, so that the key is parked again.
				seq++
				_, err = s.Park(ctx, message(handler, key, seq, router.Failed), nil)
			}
			if err != nil {
				return err
			}
			return s.Advance(ctx, stream(handler), router.Checkpoint{Position: handlers.End(seq)})
		})
		if err != nil {
			return fmt.Errorf("handler: %w", err)
		}
	}
	return nil
}

// replay empties the sequence until nothing can come into it any more.
func replay(ctx context.Context, s router.Store, handler, key string, done <-chan struct{}) error {
	for {
		last := false
		select {
		case <-done:
			last = true
		default:
		}
		found := false
		err := s.InTx(ctx, func(ctx context.Context) error {
			p, ok, err := s.Head(ctx, handler, key)
			if err != nil || !ok {
				return err
			}
			found = true
			if err := take(ctx, s, key, p.Position.Seq); err != nil {
				return err
			}
			return s.Resolve(ctx, p, ending(router.Resolved))
		})
		if err != nil {
			return fmt.Errorf("replayer: %w", err)
		}
		if last && !found {
			return nil
		}
	}
}

// checkRewind goes back behind some of what was parked: that is forgotten, and only that.
func checkRewind(ctx context.Context, s router.Store) error {
	const handler, key = "rewind", "k"
	for i, p := range []router.Parked{
		message(handler, key, 3, router.Failed), message(handler, key, 7, router.Waiting),
		message("rewind-other", key, 9, router.Failed),
	} {
		if err := park(ctx, s, p, i%2+1); err != nil {
			return err
		}
	}
	if err := park(ctx, s, message(handler, "gone", 8, router.Failed), 1, attempt(1)); err != nil {
		return err
	}
	back := router.Checkpoint{Incarnation: "inc", Position: handlers.Position{Seq: 6, N: 1}}
	if err := rewind(ctx, s, handler, back); err != nil {
		return err
	}
	if err := expectHead(ctx, s, handler, 3); err != nil {
		return fmt.Errorf("what was parked before: %w", err)
	}
	if err := expectHead(ctx, s, "rewind-other", 9); err != nil {
		return fmt.Errorf("another handler's: %w", err)
	}
	if blocked, err := s.Blocked(ctx, handler, []string{"gone"}); err != nil || len(blocked) > 0 {
		return fmt.Errorf("a sequence without messages blocks: %q, %w", blocked, err)
	}
	// Both come again.
	if err := park(ctx, s, message(handler, key, 7, router.Waiting), 2); err != nil {
		return fmt.Errorf("again: %w", err)
	}
	if err := park(ctx, s, message(handler, "gone", 8, router.Failed), 1); err != nil {
		return fmt.Errorf("again: %w", err)
	}
	if err := resolve(ctx, s, handler, "gone", router.Discarded); err != nil {
		return err
	}
	if err := rewind(ctx, s, handler, router.Checkpoint{Incarnation: "another"}); err != nil {
		return err
	}
	if err := expectHead(ctx, s, handler, 0); err != nil {
		return fmt.Errorf("of another incarnation: %w", err)
	}
	return park(ctx, s, message(handler, "gone", 8, router.Failed), 1)
}

func rewind(ctx context.Context, s router.Store, handler string, to router.Checkpoint) error {
	err := s.InTx(ctx, func(ctx context.Context) error {
		if _, err := s.Checkpoint(ctx, stream(handler)); err != nil {
			return err
		}
		return s.Rewind(ctx, stream(handler), to)
	})
	if err != nil {
		return err
	}
	if c, err := at(ctx, s, stream(handler)); err != nil || c != to {
		return errors.Join(fmt.Errorf("the checkpoint is %+v, not %+v", c, to), err)
	}
	return nil
}

// checkFront ends many messages of several sequences at once.
func (d *desk) checkFront() error {
	for i, n := range []bank.Seq{2, 1, 5, 1} {
		key, seq := fmt.Sprint("k", i), bank.Seq(10*i+1)
		if err := d.fail(key, seq, []string{"late", "broken"}[i%2], time.Time{}); err != nil {
			return err
		}
		for more := seq + 1; more < seq+n; more++ {
			if err := d.block(key, more); err != nil {
				return err
			}
		}
	}
	if _, err := d.act(repair.Act{Kind: ops.SequencePause, Handler: d.handler, Key: "k3"}, ops.ActDone, ""); err != nil {
		return err
	}
	if h, _, err := d.s.Handler(d.ctx, d.handler); err != nil || h.Parked != 9 || h.Groups != 2 {
		return fmt.Errorf("the handler has %d messages in %d groups, %w; want 9 in 2", h.Parked, h.Groups, orNil(err))
	}
	for i, c := range []struct {
		limit   int
		want    []bank.Seq
		drained []string
		left    []string
		parked  int
	}{
		{3, []bank.Seq{1, 2, 11}, []string{"k0", "k1"}, []string{"k2", "k3"}, 6},
		{3, []bank.Seq{21, 22, 23}, nil, []string{"k2", "k3"}, 3},
		{100, []bank.Seq{24, 25}, []string{"k2"}, []string{"k3"}, 1},
		{100, nil, nil, []string{"k3"}, 1},
	} {
		if err := d.front(c.limit, c.want, c.drained); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		h, _, err := d.s.Handler(d.ctx, d.handler)
		if err != nil || h.Parked != c.parked || h.Keys != len(c.left) {
			return fmt.Errorf("step %d: %d messages of %d keys wait, %w; want %d of %q", i, h.Parked, h.Keys, orNil(err),
				c.parked, c.left)
		}
		blocked, err := d.s.Blocked(d.ctx, d.handler, []string{"k0", "k1", "k2", "k3"})
		if slices.Sort(blocked); err != nil || !slices.Equal(blocked, c.left) {
			return fmt.Errorf("step %d: parked are %q, %w; want %q", i, blocked, orNil(err), c.left)
		}
	}
	return nil
}

// front expects which messages are the first, and ends them; but for the first time, which is undone.
func (d *desk) front(limit int, want []bank.Seq, drained []string) error {
	undone := errors.New("undone")
	for _, end := range []error{undone, nil} {
		err := d.tx(func(ctx context.Context) error {
			all, err := d.s.Front(ctx, d.handler, []string{"k3", "k2", "k1", "k0", "none"}, limit)
			if err != nil || len(all) == 0 && len(want) == 0 {
				return err
			}
			var got []bank.Seq
			for i := range all {
				f := &all[i]
				got = append(got, f.Position.Seq)
				p := message(d.handler, f.Key, f.Position.Seq, f.Status)
				if !reflect.DeepEqual(f.Parked, p) {
					return fmt.Errorf("it is %+v, and was parked as %+v", f.Parked, p)
				}
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("the first are %v, want %v", got, want)
			}
			gone, err := d.s.ResolveFront(ctx, d.handler, all, ending(router.Resolved))
			if slices.Sort(gone); err != nil || !slices.Equal(gone, drained) {
				return fmt.Errorf("drained are %q, %w; want %q", gone, orNil(err), drained)
			}
			return end
		})
		if err != nil && !errors.Is(err, undone) {
			return err
		}
	}
	for _, seq := range want {
		f, ok, err := d.s.Failure(d.ctx, ops.FailureID(d.handler, "inc", seq, 1))
		if err != nil || !ok || f.Status != ops.Resolved || f.EndedBy != ops.ByBackoff {
			return fmt.Errorf("message %d: %v %+v, %w; want it resolved", seq, ok, f.Failure, orNil(err))
		}
	}
	return nil
}

// checkRebuildBeside has a key rebuilt that is wanted tried as well: whatever happens meanwhile, it still is to be
// rebuilt; and in the end nothing is pending.
func (d *desk) checkRebuildBeside() error {
	var acts [3]string
	err := errors.Join(d.fail("k", 1, "broken", time.Time{}), d.block("k", 2))
	for i, kind := range []string{ops.SequenceRetry, ops.SequenceRebuild, ops.SequenceRebuild} {
		if err == nil {
			acts[i], err = d.act(repair.Act{Kind: kind, Handler: d.handler, Key: "k"}, ops.ActPending, "")
		}
	}
	if err != nil {
		return err
	}
	for i, failed := range []bool{true, false, false} { // what was tried already
		if err := d.tries("k", acts[0], failed, time.Time{}); err != nil {
			return err
		}
		all, err := d.due(d.now, "k")
		if err != nil || !all[0].Rebuild {
			return fmt.Errorf("after try %d: %+v, %w", i+1, all, orNil(err))
		}
	}
	if err := errors.Join(d.flows("k", false), d.rebuilt("k"), d.flows("k", true)); err != nil {
		return err
	}
	err = errors.Join(d.became(acts[0], ops.ActFailed, ops.FailedAgain), d.became(acts[1], ops.ActDone, ""),
		d.became(acts[2], ops.ActDone, ""), d.fail("l", 3, "broken", time.Time{}))
	for i, kind := range []string{ops.SequenceRetry, ops.SequenceRebuild} {
		if err == nil {
			acts[i], err = d.act(repair.Act{Kind: kind, Handler: d.handler, Key: "l"}, ops.ActPending, "")
		}
	}
	if err == nil {
		err = d.s.Refuse(d.ctx, d.handler, "l", d.refusal())
	}
	if err != nil {
		return err
	}
	all, err := d.due(d.now, "l")
	if err != nil || all[0].Rebuild || all[0].Cause != acts[0] {
		return fmt.Errorf("after it was refused: %+v, %w", all, orNil(err))
	}
	if err := d.became(acts[1], ops.ActFailed, ops.RefusedNoRebuild); err != nil {
		return err
	}
	_, err = d.act(repair.Act{Kind: ops.SequenceRebuild, Handler: d.handler, Key: "l"}, ops.ActPending, "")
	return errors.Join(err, d.rebuilt("l"), d.became(acts[0], ops.ActDone, ""))
}

// rebuilt ends what waits of a key as a rebuild does.
func (d *desk) rebuilt(key string) error {
	return d.tx(func(ctx context.Context) error {
		if _, ok, err := d.s.Lock(ctx, d.handler, key); err != nil || !ok {
			return fmt.Errorf("nobody wants %q rebuilt, %w", key, orNil(err))
		}
		_, err := d.s.Rebuilt(ctx, d.handler, key, d.now)
		return err
	})
}

// checkEnding has acts come while the last message of a sequence is being handled: what they want is not lost with it.
func (d *desk) checkEnding() error {
	for kind, want := range map[string]ops.ActStatus{
		ops.SequencePause: ops.ActDone, ops.SequenceRebuild: ops.ActPending,
	} {
		key, acted := "of "+kind, make(chan error, 1)
		if err := d.fail(key, bank.Seq(len(kind)), "late", time.Time{}); err != nil {
			return err
		}
		err := d.tx(func(ctx context.Context) error {
			p, _, err := d.s.Head(ctx, d.handler, key)
			go func() {
				_, err := d.act(repair.Act{Kind: kind, Handler: d.handler, Key: key}, want, "")
				acted <- err
			}()
			select {
			case err := <-acted:
				acted <- nil
				return fmt.Errorf("an act did not wait for who has the sequence, %w", orNil(err))
			case <-time.After(heldFor):
			}
			return errors.Join(err, d.s.Resolve(ctx, p, ending(router.Resolved)))
		})
		if err := errors.Join(err, <-acted); err != nil {
			return err
		}
		if err := d.flows(key, false); err != nil {
			return err
		}
	}
	return nil
}
