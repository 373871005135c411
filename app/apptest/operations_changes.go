package apptest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/repair"
)

// after is a time after all that other checks of the same store have done.
func (d *desk) after(hours int) time.Time { return d.later(time.Duration(20_000+hours) * time.Hour) }

// checkChanges has messages parked, tried and ended, and looks for what has changed since each of these.
func (d *desk) checkChanges() error {
	for i := range 3 {
		p := message(d.handler, fmt.Sprint("k", i), bank.Seq(i+1), router.Failed)
		p.At = d.after(i + 1)
		err := d.tx(func(ctx context.Context) error {
			_, err := d.s.Park(ctx, p, []router.Attempt{d.late()})
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, c := range []struct {
		since time.Time
		limit int
		want  []bank.Seq
	}{
		{d.after(1), 9, []bank.Seq{1, 2, 3}}, {d.after(3), 9, []bank.Seq{3}}, {d.after(4), 9, nil},
		{d.after(1), 2, []bank.Seq{2, 3}},
	} {
		if err := d.changed(c.since, c.limit, ops.Parked, c.want...); err != nil {
			return err
		}
	}
	return d.checkChangesLater()
}

func (d *desk) late() router.Attempt {
	a := attempt(7)
	a.Class, a.Fingerprint = handlers.Unknown, ops.Fingerprint(d.handler, "unknown", "late", "")
	return a
}

// checkChangesLater goes on with what was parked longer ago than anybody looks.
func (d *desk) checkChangesLater() error {
	now := d.after(100)
	again := func(ctx context.Context) error {
		head, ok, err := d.s.Head(ctx, d.handler, "k0")
		if err != nil || !ok {
			return fmt.Errorf("no head, %w", orNil(err))
		}
		a := d.late()
		a.At, a.Took = now.Add(-time.Minute), time.Minute // it counts when it has ended
		return d.s.Attempted(ctx, head, a, time.Time{})
	}
	if err := d.tx(again); err != nil {
		return err
	}
	if err := d.changed(now, 9, ops.Parked, 1); err != nil {
		return fmt.Errorf("tried in vain: %w", err)
	}
	end := func(ctx context.Context) error {
		head, _, err := d.s.Head(ctx, d.handler, "k0")
		if err != nil {
			return err
		}
		return d.s.Resolve(ctx, head, router.Ending{As: router.Resolved, By: ops.ByBackoff, At: now.Add(time.Second)})
	}
	if err := d.tx(end); err != nil {
		return err
	}
	if err := d.changed(now.Add(time.Second), 9, ops.Resolved, 1); err != nil {
		return fmt.Errorf("ended: %w", err)
	}
	if err := d.changed(now.Add(2*time.Second), 9, ""); err != nil {
		return fmt.Errorf("long ago: %w", err)
	}
	return d.checkChangedActs()
}

// changed expects messages of the handler that have changed, and are so now.
func (d *desk) changed(since time.Time, limit int, as ops.Status, want ...bank.Seq) error {
	all, err := d.s.ChangedFailures(d.ctx, since, limit)
	if err != nil {
		return err
	}
	var got []bank.Seq
	for i := range all {
		if f := &all[i]; f.Handler == d.handler {
			if f.Status != as || f.Fingerprint == "" {
				return fmt.Errorf("%+v has changed; want %s", f, as)
			}
			got = append(got, f.Seq)
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		return fmt.Errorf("%v have changed since %s; want %v", got, since, want)
	}
	return nil
}

func (d *desk) checkChangedActs() error {
	const before = 100 // other checks have acts with lower numbers
	d.acts = before
	for range 2 {
		wanted := repair.Act{Kind: ops.SequenceRetry, Handler: d.handler, Key: "k1"}
		if _, err := d.act(wanted, ops.ActPending, ""); err != nil {
			return err
		}
	}
	expect := func(after bank.Seq, since time.Time, limit int, want ...bank.Seq) error {
		all, err := d.s.ChangedActs(d.ctx, after, since, limit)
		var got []bank.Seq
		for i := range all {
			if got = append(got, all[i].Seq); all[i].Kind != ops.SequenceRetry || all[i].Handler != d.handler {
				return fmt.Errorf("%+v has changed", all[i])
			}
		}
		if err != nil || !slices.Equal(got, want) {
			return fmt.Errorf("acts %v have changed, %w; want %v", got, orNil(err), want)
		}
		return nil
	}
	never := d.after(10_000)
	for _, c := range []struct {
		after bank.Seq
		limit int
		want  []bank.Seq
	}{{before, 9, []bank.Seq{101, 102}}, {101, 9, []bank.Seq{102}}, {102, 9, nil}, {before, 1, []bank.Seq{101}}} {
		if err := expect(c.after, never, c.limit, c.want...); err != nil {
			return err
		}
	}
	act := "act_" + ops.SequenceID(d.handler, "102")[4:]
	done := d.after(200)
	err := d.tx(func(ctx context.Context) error {
		head, _, err := d.s.Head(ctx, d.handler, "k1")
		if err != nil {
			return err
		}
		return d.s.Resolve(ctx, head, router.Ending{As: router.Resolved, By: act, At: done})
	})
	if err != nil {
		return err
	}
	if err := expect(102, done, 9, 102); err != nil {
		return fmt.Errorf("it has come to its end: %w", err)
	}
	return d.checkStandings()
}

func (d *desk) checkStandings() error {
	said := router.Report{HandlerStatus: router.HandlerStatus{Handler: d.handler, State: router.Running}}
	stopped := router.Report{HandlerStatus: router.HandlerStatus{Handler: d.handler, State: router.Stopped}}
	for _, c := range []struct {
		do   func() error
		want string
	}{
		{func() error { return d.s.Report(d.ctx, "p1", []router.Report{said}, time.Now()) }, "running"},
		{func() error { return d.s.Report(d.ctx, "p2", []router.Report{stopped}, time.Now()) }, "running"},
		{func() error { return d.s.Halt(d.ctx, d.handler, "too much", d.now) }, "paused"},
	} {
		if err := c.do(); err != nil {
			return err
		}
		all, err := d.s.Standings(d.ctx)
		i := slices.IndexFunc(all, func(s ops.Standing) bool { return s.Handler == d.handler })
		if err != nil || i < 0 || all[i].State != c.want {
			return fmt.Errorf("%+v, %w; want %s", all, orNil(err), c.want)
		}
	}
	return nil
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

// plan makes a replay of the handler's sequences, and starts it.
func (d *desk) plan(rate, concurrency, stop int) (repair.Running, error) {
	body, err := ops.Canonical(ops.ReplaySpec{
		Filter: ops.ReplayScope{Handler: d.handler}, Rate: rate, Concurrency: concurrency, StopAfter: stop,
	})
	if err != nil {
		return repair.Running{}, err
	}
	id, err := d.act(repair.Act{Kind: ops.ReplayPlan, Body: body}, ops.ActDone, "")
	if err != nil {
		return repair.Running{}, err
	}
	id = ops.ReplayOf(id)
	_, err = d.act(repair.Act{Kind: ops.ReplayStart, Target: id}, ops.ActDone, "")
	return repair.Running{ID: id, Rate: rate, Concurrency: concurrency}, err
}
