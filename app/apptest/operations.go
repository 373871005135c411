package apptest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/repair"
)

// OperationsStore is all that operations stand in.
type OperationsStore interface {
	router.Store
	router.Controls
	repair.Store
	router.Fronts
	seen
}

// seen is what operators see of it.
type seen interface {
	ops.Lot
	ops.Changes
}

// Operations checks the contracts of repair.Store, router.Controls, router.Fronts, ops.Lot and ops.Changes on an empty
// store, and says what is wrong with it.
func Operations(ctx context.Context, s OperationsStore) error {
	for _, c := range []struct {
		name  string
		check func(*desk) error
	}{
		{"back-off", (*desk).checkBackoff},
		{"claims", (*desk).checkClaims},
		{"acts", (*desk).checkActs},
		{"an act alone", (*desk).checkAlone},
		{"paused keys", (*desk).checkPause},
		{"discarding and rebuilding", (*desk).checkDiscard},
		{"what flows and has diverged", (*desk).checkDiverged},
		{"a rebuild beside other wishes", (*desk).checkRebuildBeside},
		{"a rebuild that is refused", (*desk).checkRebuildRefused},
		{"a wish beside others", (*desk).checkBeside},
		{"the oldest", (*desk).checkOldest},
		{"replays", (*desk).checkReplays},
		{"much of a replay", (*desk).checkMuch},
		{"the pace of replays", (*desk).checkPace},
		{"controls", (*desk).checkControls},
		{"groups", (*desk).checkGroups},
		{"many at once", (*desk).checkFront},
		{"lists", (*desk).checkLists},
		{"changes", (*desk).checkChanges},
		{"sequences that end meanwhile", (*desk).checkEnding},
	} {
		d := &desk{s: s, handler: c.name, ctx: ctx, now: time.UnixMicro(1_800_000_000_000_000).UTC()}
		// A handler that has come somewhere is known.
		err := d.tx(func(ctx context.Context) error {
			return advance(ctx, s, stream(c.name), router.Checkpoint{Incarnation: "inc", Position: handlers.End(1)})
		})
		if err != nil {
			return err
		}
		if err := c.check(d); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// desk is where an operator of one handler works.
type desk struct {
	s       OperationsStore
	ctx     context.Context //nolint:containedctx // of one check
	handler string
	now     time.Time
	acts    int
}

func (d *desk) later(by time.Duration) time.Time { return d.now.Add(by) }

// fail parks a message that failed, for the reason; it is due by itself at next.
func (d *desk) fail(key string, seq bank.Seq, reason string, next time.Time) error {
	p := message(d.handler, key, seq, router.Failed)
	p.Next = next
	a := attempt(int(seq))
	a.Class, a.Error, a.By = handlers.Unknown, reason, ops.ByStream
	a.Fingerprint = ops.Fingerprint(d.handler, "unknown", reason, "")
	return d.tx(func(ctx context.Context) error {
		_, err := d.s.Park(ctx, p, []router.Attempt{a})
		return err
	})
}

func (d *desk) block(key string, seq bank.Seq) error {
	return d.tx(func(ctx context.Context) error {
		_, err := d.s.Park(ctx, message(d.handler, key, seq, router.Waiting), nil)
		return err
	})
}

func (d *desk) tx(fn func(ctx context.Context) error) error { return d.s.InTx(d.ctx, fn) }

// act executes an act, and expects what becomes of it; code: why not.
func (d *desk) act(a repair.Act, want ops.ActStatus, code string) (id string, err error) {
	d.acts++
	a.ID = "act_" + ops.SequenceID(d.handler, strconv.Itoa(d.acts))[4:]
	a.Seq, a.At, a.Reason, a.Actor = bank.Seq(d.acts), d.now, "because", "olga"
	for range 2 { // of one act it does so once
		if err := d.tx(func(ctx context.Context) error { return d.s.Execute(ctx, a) }); err != nil {
			return a.ID, err
		}
	}
	return a.ID, d.became(a.ID, want, code)
}

func (d *desk) became(id string, want ops.ActStatus, code string) error {
	got, ok, err := d.s.Act(d.ctx, id)
	if err != nil || !ok || got.Status != want || got.Code != code {
		return fmt.Errorf("act %s: %v %+v, %w; want %s %s", id, ok, got, orNil(err), want, code)
	}
	if (got.Status == ops.ActPending) != got.EndedAt.IsZero() {
		return fmt.Errorf("act %s is %s, and ended at %s", id, got.Status, got.EndedAt)
	}
	return nil
}

var errNone = errors.New("no error")

func orNil(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// due expects which keys are to be tried.
func (d *desk) due(at time.Time, want ...string) ([]repair.Due, error) {
	all, err := d.s.Due(d.ctx, []string{d.handler}, at, 100)
	if err != nil || len(all) != len(want) {
		return all, fmt.Errorf("due at %s are %+v, %w; want %q", at, all, orNil(err), want)
	}
	for i, key := range want {
		if all[i].Key != key || all[i].Handler != d.handler {
			return all, fmt.Errorf("due at %s are %+v; want %q", at, all, want)
		}
	}
	return all, nil
}

// tries has the head fail again, or handled.
func (d *desk) tries(key string, by string, failed bool, next time.Time) error {
	return d.tx(func(ctx context.Context) error {
		p, ok, err := d.s.Head(ctx, d.handler, key)
		if err != nil || !ok {
			return fmt.Errorf("no head, %w", orNil(err))
		}
		if !failed {
			return d.s.Resolve(ctx, p, router.Ending{As: router.Resolved, By: by, At: d.now, Next: next})
		}
		a := attempt(7)
		a.By, a.Fingerprint = by, ops.Fingerprint(d.handler, "poison", a.Error, a.Stack)
		return d.s.Attempted(ctx, p, a, next)
	})
}

func (d *desk) checkBackoff() error {
	err := errors.Join(
		d.fail("a", 1, "late", d.later(time.Minute)), d.fail("b", 2, "late", d.later(time.Second)),
		d.fail("never", 3, "broken", time.Time{}), d.block("a", 4))
	if err != nil {
		return err
	}
	if _, err := d.due(d.now); err != nil {
		return err
	}
	if _, err := d.due(d.later(time.Second), "b"); err != nil {
		return err
	}
	all, err := d.due(d.later(time.Hour), "b", "a")
	if err != nil || all[0].Cause != ops.ByBackoff || all[0].Alone {
		return fmt.Errorf("%+v, %w", all, orNil(err))
	}
	if err := d.tries("b", ops.ByBackoff, true, d.later(2*time.Hour)); err != nil {
		return err
	}
	if err := d.s.Postpone(d.ctx, d.handler, "a", d.later(3*time.Hour)); err != nil {
		return err
	}
	if err := d.s.Postpone(d.ctx, d.handler, "never", d.later(time.Second)); err != nil {
		return err
	}
	if _, err := d.due(d.later(time.Hour)); err != nil {
		return err
	}
	if _, err := d.due(d.later(4*time.Hour), "b", "a"); err != nil {
		return err
	}
	// What waits behind a head goes on at once.
	if err := d.tries("a", ops.ByBackoff, false, time.Time{}); err != nil {
		return err
	}
	if _, err := d.due(d.later(4*time.Hour), "b", "a"); err != nil {
		return err
	}
	if other, err := d.s.Due(d.ctx, []string{"another"}, d.later(4*time.Hour), 9); err != nil || len(other) > 0 {
		return fmt.Errorf("of another handler: %+v, %w", other, orNil(err))
	}
	return nil
}

func (d *desk) checkClaims() error {
	if err := d.fail("k", 1, "late", d.now); err != nil {
		return err
	}
	for i, c := range []struct {
		owner   string
		at      time.Duration
		release bool
		want    bool
	}{
		{"one", 0, false, true}, {"two", time.Second, false, false}, {"one", 5 * time.Second, false, true},
		{"two", 11 * time.Second, false, false}, {"two", 15 * time.Second, false, true},
		{"one", 16 * time.Second, true, false}, {"one", 17 * time.Second, false, false},
		{"two", 17 * time.Second, true, true}, {"one", 18 * time.Second, false, true},
	} {
		if c.release { // only who has it can
			if err := d.s.Release(d.ctx, d.handler, "k", c.owner); err != nil {
				return err
			}
			continue
		}
		ok, err := d.s.Claim(d.ctx, d.handler, "k", c.owner, d.later(c.at), d.later(c.at+10*time.Second))
		if err != nil || ok != c.want {
			return fmt.Errorf("step %d: claimed %v, %w; want %v", i, ok, orNil(err), c.want)
		}
	}
	if _, err := d.due(d.later(20 * time.Second)); err != nil {
		return fmt.Errorf("claimed: %w", err)
	}
	if _, ok, err := d.s.DueNow(d.ctx, d.handler, "k", d.later(20*time.Second)); err != nil || !ok {
		return fmt.Errorf("for who has claimed it: %v, %w", ok, orNil(err))
	}
	_, err := d.due(d.later(29*time.Second), "k")
	return err
}

func (d *desk) checkActs() error {
	err := errors.Join(d.fail("k", 1, "late", time.Time{}), d.block("k", 2), d.block("k", 3),
		d.fail("l", 4, "late", time.Time{}))
	if err != nil {
		return err
	}
	fail := func(seq bank.Seq) string { return ops.FailureID(d.handler, "inc", seq, 1) }
	for _, c := range []struct {
		act  repair.Act
		code string
	}{
		{repair.Act{Kind: ops.FailureRetry, Target: fail(9)}, ops.RefusedNotFound},
		{repair.Act{Kind: ops.FailureRetry, Target: fail(2)}, ops.RefusedNotHead},
		{repair.Act{Kind: ops.FailureDiscard, Target: fail(3)}, ops.RefusedNotHead},
		{repair.Act{Kind: ops.SequenceRetry, Handler: d.handler, Key: "none"}, ops.RefusedNotFound},
		{repair.Act{Kind: ops.SequenceResume, Handler: d.handler, Key: "k"}, ops.RefusedNotPaused},
		{repair.Act{Kind: ops.SequencePause, Handler: "no such", Key: "k"}, ops.RefusedNotFound},
		{repair.Act{Kind: ops.HandlerPause, Handler: "no such"}, ops.RefusedNotFound},
		{repair.Act{Kind: ops.HandlerPause, Handler: router.OperationsHandler}, ops.RefusedState},
		{repair.Act{Kind: ops.SequencePause, Handler: router.OperationsHandler, Key: "k"}, ops.RefusedState},
		{repair.Act{Kind: ops.HandlerPolicy, Handler: d.handler, Body: []byte(`{"timeout_ms":0}`)}, ops.RefusedInvalid},
		{repair.Act{Kind: ops.HandlerPolicy, Handler: d.handler, Body: []byte(`{}`), Target: "2"}, ops.RefusedVersion},
		{repair.Act{Kind: ops.FailureSchedule, Target: fail(1), Body: []byte(`{}`)}, ops.RefusedInvalid},
		{repair.Act{Kind: ops.GroupRetry, Target: "fp_none"}, ops.RefusedNotFound},
		{repair.Act{Kind: ops.ReplayStart, Target: "rpl_none"}, ops.RefusedNotFound},
		{repair.Act{Kind: "future.act"}, ops.RefusedInvalid},
	} {
		if _, err := d.act(c.act, ops.ActRefused, c.code); err != nil {
			return fmt.Errorf("%s: %w", c.act.Kind, err)
		}
	}
	id, err := d.act(repair.Act{Kind: ops.SequenceRetry, Handler: d.handler, Key: "k"}, ops.ActPending, "")
	if err != nil {
		return err
	}
	all, err := d.due(d.now, "k")
	if err != nil || all[0].Cause != id || all[0].Alone {
		return fmt.Errorf("%+v, %w", all, orNil(err))
	}
	for left := 3; left > 0; left-- {
		if err := d.became(id, ops.ActPending, ""); err != nil {
			return fmt.Errorf("with %d left: %w", left, err)
		}
		if err := d.tries("k", id, false, time.Time{}); err != nil {
			return err
		}
	}
	if err := d.became(id, ops.ActDone, ""); err != nil {
		return err
	}
	if id, err = d.act(repair.Act{Kind: ops.SequenceRetry, Handler: d.handler, Key: "l"}, ops.ActPending, ""); err != nil {
		return err
	}
	if err := d.tries("l", id, true, time.Time{}); err != nil {
		return err
	}
	return d.became(id, ops.ActFailed, ops.FailedAgain)
}

func (d *desk) checkAlone() error {
	err := errors.Join(d.fail("k", 1, "late", d.later(time.Hour)), d.block("k", 2))
	if err != nil {
		return err
	}
	target := ops.FailureID(d.handler, "inc", 1, 1)
	body := []byte(`{"at":"` + d.later(time.Minute).Format(time.RFC3339Nano) + `"}`)
	id, err := d.act(repair.Act{Kind: ops.FailureSchedule, Target: target, Body: body}, ops.ActPending, "")
	if err != nil {
		return err
	}
	f, ok, err := d.s.Failure(d.ctx, target)
	if err != nil || !ok || f.Status != ops.Scheduled || !f.NextAt.Equal(d.later(time.Minute)) || !f.Head {
		return fmt.Errorf("scheduled: %v %+v, %w", ok, f, orNil(err))
	}
	if err := d.tries("k", id, true, time.Time{}); err != nil {
		return err
	}
	if f, _, err = d.s.Failure(d.ctx, target); err != nil || f.Status != ops.Parked || len(f.Tries) != 2 {
		return fmt.Errorf("tried: %+v, %w", f, orNil(err))
	}
	if id, err = d.act(repair.Act{Kind: ops.FailureRetry, Target: target}, ops.ActPending, ""); err != nil {
		return err
	}
	all, err := d.due(d.now, "k")
	if err != nil || all[0].Cause != id || !all[0].Alone {
		return fmt.Errorf("%+v, %w", all, orNil(err))
	}
	if err := d.tries("k", id, false, d.later(time.Minute)); err != nil {
		return err
	}
	if err := d.became(id, ops.ActDone, ""); err != nil {
		return err
	}
	if _, err := d.due(d.now); err != nil {
		return fmt.Errorf("more than the head is tried: %w", err)
	}
	_, err = d.due(d.later(time.Minute), "k")
	return err
}

func (d *desk) checkPause() error {
	pause := repair.Act{Kind: ops.SequencePause, Handler: d.handler, Key: "k"}
	resume := repair.Act{Kind: ops.SequenceResume, Handler: d.handler, Key: "k"}
	for round := range 2 {
		if _, err := d.act(pause, ops.ActDone, ""); err != nil {
			return err
		}
		if err := d.flows("k", false); err != nil {
			return err
		}
		if round == 1 {
			if err := d.block("k", 2); err != nil {
				return err
			}
			if _, err := d.act(repair.Act{Kind: ops.SequenceRetry, Handler: d.handler, Key: "k"}, ops.ActRefused,
				ops.RefusedPaused); err != nil {
				return err
			}
			if _, err := d.due(d.later(time.Hour)); err != nil {
				return err
			}
		}
		if _, err := d.act(resume, ops.ActDone, ""); err != nil {
			return err
		}
		if round == 0 {
			if err := d.flows("k", true); err != nil {
				return err
			}
		}
	}
	if _, err := d.due(d.now, "k"); err != nil {
		return err
	}
	if err := d.tries("k", ops.ByBackoff, false, time.Time{}); err != nil {
		return err
	}
	return d.flows("k", true)
}

func (d *desk) flows(key string, want bool) error {
	blocked, err := d.s.Blocked(d.ctx, d.handler, []string{key})
	if err != nil || (len(blocked) == 0) != want {
		return fmt.Errorf("blocked are %q, %w; %s flows: want %v", blocked, orNil(err), key, want)
	}
	return nil
}
