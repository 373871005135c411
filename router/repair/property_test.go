package repair_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/repair"
)

// Whatever fails, is tried again by several replayers, paused, replayed, killed and started again: each account's
// versions have their effect exactly once and in order, and in the end nothing waits.

const accounts = 4

// step is one step of a story.
type step struct {
	What    string
	Account int
	Process int
	Class   handlers.Class
}

var steps = rapid.Custom(func(t *rapid.T) step {
	return step{
		What: rapid.SampledFrom([]string{
			"credit", "credit", "credit", "burst", "burst", "fail", "fail", "heal", "heal", "retry", "retry all", "group",
			"pause", "resume", "replay", "cancel", "pause handler", "resume handler", "schedule", "restart", "crash", "crash",
		}).Draw(t, "what"),
		Account: rapid.IntRange(0, accounts-1).Draw(t, "account"),
		Process: rapid.IntRange(0, 1).Draw(t, "process"),
		Class:   rapid.SampledFrom([]handlers.Class{handlers.Unknown, handlers.Poison, handlers.Transient}).Draw(t, "class"),
	}
})

// stage is a store in which many stories are told, each with a handler and accounts of its own.
type stage struct {
	store store
	told  *atomic.Int64
	op    *operator
}

// story is one that is being told.
type story struct {
	*stage
	ctx   context.Context //nolint:containedctx // of one story
	name  string
	first int
	l     *ledger
	b     *book
	all   [2]*process
	plan  string
}

func (g *stage) play(ctx context.Context, all []step) error {
	n := int(g.told.Add(1))
	name := fmt.Sprint("story-", n)
	s := &story{stage: g, ctx: ctx, name: name, first: accounts * n, l: newLedger(), b: &book{store: g.store, name: name}}
	for i := range s.all {
		if err := s.begin(i); err != nil {
			return err
		}
	}
	defer func() {
		for _, p := range s.all {
			_ = p.stop()
		}
	}()
	for _, one := range all {
		if err := s.take(one); err != nil {
			return fmt.Errorf("%+v: %w", one, err)
		}
	}
	return s.mend()
}

// begin starts a process with replayers whose claims run out soon after they die.
func (s *story) begin(i int) (err error) {
	s.all[i], err = start(s.l, s.b, s.store, quick(), fmt.Sprint("process-", i), 100*time.Millisecond)
	return err
}

func (s *story) stream() router.Stream {
	return router.Stream{Handler: s.name, Topic: bank.AccountsTopic}
}

func (s *story) key(one step) string { return account(s.first + one.Account).String() }

func (s *story) do(a repair.Act) error {
	_, err := s.op.act(s.ctx, a)
	return err
}

func (s *story) take(one step) error {
	key := s.key(one)
	switch one.What {
	case "credit":
		s.l.credit(s.first + one.Account)
	case "burst":
		for range 10 {
			s.l.credit(s.first, s.first+one.Account, s.first+accounts-1)
		}
	case "fail":
		s.b.fails.Store(key, handlers.As(one.Class, errBoom))
	case "heal":
		s.b.fails.Delete(key)
	case "crash", "restart":
		s.all[one.Process].life.dead.Store(one.What == "crash")
		if err := s.all[one.Process].stop(); err != nil {
			return err
		}
		return s.begin(one.Process)
	default:
		return s.operate(one, key)
	}
	return nil
}

func (s *story) operate(one step, key string) error {
	switch one.What {
	case "retry all":
		return s.do(repair.Act{Kind: ops.SequenceRetry, Handler: s.name, Key: key})
	case "pause":
		return s.do(repair.Act{Kind: ops.SequencePause, Handler: s.name, Key: key})
	case "resume":
		return s.do(repair.Act{Kind: ops.SequenceResume, Handler: s.name, Key: key})
	case "pause handler":
		return s.do(repair.Act{Kind: ops.HandlerPause, Handler: s.name})
	case "resume handler":
		return s.do(repair.Act{Kind: ops.HandlerResume, Handler: s.name})
	case "cancel":
		return s.do(repair.Act{Kind: ops.ReplayCancel, Target: s.plan})
	case "replay":
		return s.replay(one)
	}
	q, ok, err := s.store.Sequence(s.ctx, s.name, key)
	if err != nil || !ok || q.Head == "" {
		return err
	}
	switch one.What {
	case "retry":
		return s.do(repair.Act{Kind: ops.FailureRetry, Target: q.Head})
	case "schedule":
		body, err := ops.Canonical(ops.ScheduleBody{At: time.Now().Add(3 * time.Millisecond)})
		if err != nil {
			return err
		}
		return s.do(repair.Act{Kind: ops.FailureSchedule, Target: q.Head, Body: body})
	default: // the group
		return s.do(repair.Act{Kind: ops.GroupRetry, Target: q.Fingerprint})
	}
}

func (s *story) replay(one step) error {
	body, err := ops.Canonical(ops.ReplaySpec{
		Filter: ops.ReplayScope{Handler: s.name}, Rate: one.Account * 1000, Concurrency: 1 + one.Process,
		StopAfter: one.Account,
	})
	if err != nil {
		return err
	}
	planned, err := s.op.act(s.ctx, repair.Act{Kind: ops.ReplayPlan, Body: body})
	if err != nil {
		return err
	}
	s.plan = ops.ReplayOf(planned.ID)
	return s.do(repair.Act{Kind: ops.ReplayStart, Target: s.plan})
}

// mend ends all that hinders, has everything tried that waits to be wanted, and looks at what came of it.
func (s *story) mend() error {
	for i := range accounts {
		key := account(s.first + i).String()
		s.b.fails.Delete(key)
		if err := s.do(repair.Act{Kind: ops.SequenceResume, Handler: s.name, Key: key}); err != nil {
			return err
		}
	}
	if err := s.do(repair.Act{Kind: ops.HandlerResume, Handler: s.name}); err != nil {
		return err
	}
	err := eventually(s.ctx, "nothing waits", func() (bool, error) {
		waiting, err := s.store.Sequences(s.ctx, ops.SequenceFilter{Page: ops.Page{Limit: 100}, Handler: s.name})
		for _, q := range waiting {
			if q.NextAt.IsZero() {
				err = errors.Join(err, s.do(repair.Act{Kind: ops.SequenceRetry, Handler: s.name, Key: q.Key}))
			}
		}
		c, ill := s.store.Checkpoint(s.ctx, s.stream())
		return len(waiting) == 0 && c.Position.Whole() >= s.l.head(), errors.Join(err, ill)
	})
	for _, p := range s.all {
		err = errors.Join(err, p.stop())
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	for _, wrong := range s.b.wrong {
		err = errors.Join(err, errors.New(wrong))
	}
	for i, want := range s.l.versions {
		got, ill := s.b.at(s.ctx, i)
		if ill != nil || got != want {
			err = errors.Join(err, ill, fmt.Errorf("account %d has %d of %d versions", i, got, want))
		}
	}
	return errors.Join(err, s.settled())
}

// settled looks at what operators see in the end: no failure waits, no act is pending, no group or replay is left.
func (s *story) settled() error {
	waits, err := s.store.Failures(s.ctx, ops.FailureFilter{Page: ops.Page{Limit: 10}, Handler: s.name, Waiting: true})
	if len(waits) > 0 {
		err = errors.Join(err, fmt.Errorf("%d failures wait in no sequence", len(waits)))
	}
	groups, ill := s.store.Groups(s.ctx, ops.GroupFilter{Page: ops.Page{Limit: 10}, Handler: s.name})
	if len(groups) > 0 {
		err = errors.Join(err, fmt.Errorf("groups without failures: %+v", groups))
	}
	pending, late := s.store.Acts(s.ctx, ops.ActFilter{Page: ops.Page{Limit: 10}, Status: ops.ActPending})
	if len(pending) > 0 {
		late = errors.Join(late, fmt.Errorf("acts that nothing will end: %+v", pending))
	}
	running, worse := s.store.Replays(s.ctx, ops.ReplayFilter{Page: ops.Page{Limit: 200}, Status: ops.ReplayRunning})
	for _, r := range running {
		if r.Spec.Filter.Handler == s.name && r.KeysLeft == 0 {
			err = errors.Join(err, fmt.Errorf("replay %s has nothing left, and runs", r.ID))
		}
	}
	return errors.Join(err, ill, late, worse)
}

func TestWhateverOperatorsDoOrderHolds(t *testing.T) {
	t.Parallel()
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			g := &stage{store: s, told: &atomic.Int64{}, op: &operator{store: s}}
			stories := rapid.SliceOfN(steps, 5, 40)
			rapid.Check(t, func(rt *rapid.T) {
				if err := g.play(t.Context(), stories.Draw(rt, "story")); err != nil {
					rt.Fatal(err)
				}
			})
		})
	}
}
