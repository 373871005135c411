package repair_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/repair"
)

// stalled is a process whose handler has failed for all of some accounts, so that all of it waits for people.
type stalled struct {
	t     *testing.T
	s     store
	b     *book
	l     *ledger
	p     *process
	op    *operator
	scope ops.ReplayScope                              // of replays
	dice  atomic.Pointer[func(f *handlers.Fact) error] // of what is tried from now on
}

func newStalled(t *testing.T, s store, claim time.Duration, credits ...int) *stalled {
	t.Helper()
	k := &stalled{t: t, s: s, l: newLedger(), op: &operator{store: s}, b: &book{store: s, name: "parked"}}
	k.scope.Handler = k.b.name
	k.rolls(func(*handlers.Fact) error { return handlers.As(handlers.Poison, errBoom) })
	k.b.dice = func(f *handlers.Fact) error { return (*k.dice.Load())(f) }
	k.l.credit(credits...)
	var err error
	if k.p, err = start(k.l, k.b, s, quick(), "parked", claim); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.p.stop(); err != nil {
			t.Error(err)
		}
	})
	k.eventually("all is parked", func() (bool, error) {
		n, err := s.Waiting(t.Context(), k.b.name)
		return n == len(credits), err
	})
	return k
}

func (k *stalled) rolls(dice func(*handlers.Fact) error) { k.dice.Store(&dice) }

func (k *stalled) eventually(what string, ok func() (bool, error)) {
	k.t.Helper()
	if err := eventually(k.t.Context(), what, ok); err != nil {
		k.t.Fatal(err)
	}
}

// replay plans and starts one.
func (k *stalled) replay(rate, stop int) (id string) {
	k.t.Helper()
	body, err := ops.Canonical(ops.ReplaySpec{
		Filter: k.scope, Rate: rate, Concurrency: 1, StopAfter: stop,
	})
	if err != nil {
		k.t.Fatal(err)
	}
	planned, err := k.op.act(k.t.Context(), repair.Act{Kind: ops.ReplayPlan, Body: body})
	if err != nil {
		k.t.Fatal(err)
	}
	id = ops.ReplayOf(planned.ID)
	if _, err := k.op.act(k.t.Context(), repair.Act{Kind: ops.ReplayStart, Target: id}); err != nil {
		k.t.Fatal(err)
	}
	return id
}

func (k *stalled) became(id string, want ops.ReplayStatus) (r ops.Replay) {
	k.t.Helper()
	k.eventually(fmt.Sprintf("replay %s is %s", id, want), func() (ok bool, err error) {
		r, _, err = k.s.Replay(k.t.Context(), id)
		if err == nil && r.Status != want && r.Status != ops.ReplayRunning {
			err = fmt.Errorf("%+v; want %s", r, want)
		}
		return r.Status == want, err
	})
	return r
}

// What is down says nothing about messages: a replay waits for it, as the handler does, and goes on.
func TestAnOutageHoldsAReplay(t *testing.T) {
	t.Parallel()
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newStalled(t, open(t), time.Minute, 1, 2, 3, 1, 2, 3, 4, 5)
			var tried atomic.Int64
			k.rolls(func(*handlers.Fact) error {
				tried.Add(1)
				return handlers.As(handlers.Unavailable, errors.New("it is down"))
			})
			id := k.replay(0, 1)
			k.eventually("it has been tried again and again", func() (bool, error) {
				r, _, err := k.s.Replay(t.Context(), id)
				if err == nil && (r.Status != ops.ReplayRunning || r.Failed > 0) {
					err = fmt.Errorf("while something is down it is %+v", r)
				}
				return tried.Load() > 10, err
			})
			k.rolls(func(*handlers.Fact) error { return nil })
			if r := k.became(id, ops.ReplayDone); r.Handled != 8 || r.Failed != 0 || r.Left != 0 {
				t.Errorf("%+v; want 8 handled", r)
			}
			if len(k.b.wrong) > 0 {
				t.Error(k.b.wrong)
			}
		})
	}
}

func TestAReplayStopsOnceEnoughHasFailed(t *testing.T) {
	t.Parallel()
	k := newStalled(t, stores["sqlite"](t), time.Minute, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	if r := k.became(k.replay(0, 2), ops.ReplayStopped); r.Failed != 2 || r.Handled != 0 {
		t.Errorf("%+v; want 2 failed", r)
	}
}

// Sequences that take long hold up no replay of others.
func TestAReplayBeginsWhileSequencesAreTried(t *testing.T) {
	t.Parallel()
	k := newStalled(t, stores["postgres"](t), time.Minute, 1, 2, 3, 4)
	began, goOn := make(chan struct{}, 4), make(chan struct{})
	mend := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(mend)
	k.rolls(func(f *handlers.Fact) error {
		if f.Key() != account(4).String() {
			began <- struct{}{}
			<-goOn
		}
		return nil
	})
	for i := range 3 {
		_, err := k.op.act(t.Context(), repair.Act{
			Kind: ops.SequenceRetry, Handler: k.b.name, Key: account(i + 1).String(),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	<-began
	<-began // as many as there are workers
	k.scope = ops.ReplayScope{Account: account(4).String()}
	if r := k.became(k.replay(0, 0), ops.ReplayDone); r.Handled != 1 {
		t.Errorf("%+v; want 1 handled", r)
	}
	mend()
	k.eventually("nothing waits", func() (bool, error) {
		n, err := k.s.Waiting(t.Context(), k.b.name)
		return n == 0, err
	})
}

// late is a store in which a replay is cancelled while its next message waits for its turn.
type late struct {
	store
	op      *operator
	cancel  atomic.Bool
	settled chan struct{}
}

// Allow is repair.Store's.
func (s *late) Allow(ctx context.Context, r repair.Running, _ int, now time.Time) (time.Time, error) {
	if s.cancel.Swap(false) {
		if _, err := s.op.act(ctx, repair.Act{Kind: ops.ReplayCancel, Target: r.ID}); err != nil {
			return now, err
		}
	}
	return now.Add(300 * time.Millisecond), nil
}

// Settle is repair.Store's.
func (s *late) Settle(ctx context.Context, replay string, all []repair.Settled, owner string, at time.Time) error {
	defer func() { s.settled <- struct{}{} }()
	return s.store.Settle(ctx, replay, all, owner, at)
}

func TestNothingIsTriedOnceAReplayIsCancelled(t *testing.T) {
	t.Parallel()
	s := stores["sqlite"](t)
	slow := &late{store: s, op: &operator{store: s}, settled: make(chan struct{}, 100)}
	k := newStalled(t, slow, time.Minute, 1, 2, 3)
	k.op = slow.op
	k.rolls(func(*handlers.Fact) error { return nil })
	slow.cancel.Store(true)
	id := k.replay(3, 0)
	<-slow.settled
	if r := k.became(id, ops.ReplayCancelled); r.Handled != 0 || k.b.handled.Load() != 0 {
		t.Errorf("after it was cancelled, %d were handled: %+v", k.b.handled.Load(), r)
	}
}

// What a replay has handled the first of goes on by itself when the replay does not.
func TestWhatACancelledReplayHasBegunGoesOn(t *testing.T) {
	t.Parallel()
	for name, open := range stores {
		for _, rate := range []int{0, 100_000} { // many in one transaction, or one by one
			t.Run(fmt.Sprint(name, "/", rate), func(t *testing.T) {
				t.Parallel()
				k := newStalled(t, open(t), time.Minute, slices.Repeat([]int{1}, 300)...)
				var mended atomic.Bool
				k.rolls(func(f *handlers.Fact) error {
					if f.Version() <= 128 || mended.Load() { // as many as are tried in one transaction
						return nil
					}
					return handlers.As(handlers.Unavailable, errors.New("not yet"))
				})
				id := k.replay(rate, 0)
				k.eventually("it has begun", func() (bool, error) {
					n, err := k.s.Waiting(t.Context(), k.b.name)
					return n < 300, err
				})
				if _, err := k.op.act(t.Context(), repair.Act{Kind: ops.ReplayCancel, Target: id}); err != nil {
					t.Fatal(err)
				}
				mended.Store(true)
				k.eventually("nothing waits", func() (bool, error) {
					n, err := k.s.Waiting(t.Context(), k.b.name)
					return n == 0, err
				})
			})
		}
	}
}

// Sequences that wait for their turn in a replay are nobody else's meanwhile, however long that takes.
func TestWhatWaitsForItsTurnStaysClaimed(t *testing.T) {
	t.Parallel()
	const claim = 2 * time.Second
	k := newStalled(t, stores["sqlite"](t), claim, append(slices.Repeat([]int{1}, 14), 2)...)
	began := make(chan struct{}, 100)
	k.rolls(func(f *handlers.Fact) error {
		if f.Key() == account(1).String() {
			began <- struct{}{}
			<-time.After(claim / 10)
		}
		return nil
	})
	id := k.replay(100_000, 0)
	<-began
	k.eventually("the replay is done", func() (bool, error) {
		_, waits, err := k.s.Sequence(t.Context(), k.b.name, account(1).String())
		if err != nil || !waits {
			return true, err
		}
		now := time.Now()
		stolen, err := k.s.Claim(t.Context(), k.b.name, account(2).String(), "thief", now, now)
		if !stolen || err != nil {
			return false, err
		}
		// Unless its turn has come, and all is over.
		if _, waits, err = k.s.Sequence(t.Context(), k.b.name, account(1).String()); waits {
			err = errors.Join(err, errors.New("somebody else can claim what waits for its turn"))
		}
		return !waits, err
	})
	k.became(id, ops.ReplayDone)
}

var _ router.Store = (*late)(nil)
