package apptest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// beside is what becomes of an act when something else is done about what it wants.
type beside struct {
	first     string // the kind of the act
	then      func(d *desk, key string, seq bank.Seq) error
	want      ops.ActStatus
	code      string
	cause     string // of what is due in the end: "first", "then", or as it is; "": nothing is
	scheduled bool   // the head is, in the end
}

// wants is for a key of two messages, the first of which is seq and has failed.
func (d *desk) wants(kind, key string, seq bank.Seq, want ops.ActStatus) (id string, err error) {
	a := repair.Act{Kind: kind, Target: ops.FailureID(d.handler, "inc", seq, 1)}
	switch kind {
	case ops.SequenceRetry, ops.SequencePause, ops.SequenceResume:
		a.Handler, a.Key, a.Target = d.handler, key, ""
	case ops.GroupRetry:
		a.Target = ops.Fingerprint(d.handler, "unknown", key, "")
	case ops.FailureSchedule:
		a.Body = []byte(`{"at":"` + d.later(time.Hour).Format(time.RFC3339Nano) + `"}`)
	}
	return d.act(a, want, "")
}

func alsoWants(kind string, want ops.ActStatus) func(*desk, string, bank.Seq) error {
	return func(d *desk, key string, seq bank.Seq) error {
		_, err := d.wants(kind, key, seq, want)
		return err
	}
}

// besides are all that may come between an act and what it wants. No act stays pending that nothing will end.
var besides = []beside{
	{ops.SequenceRetry, alsoWants(ops.SequenceRetry, ops.ActPending), ops.ActFailed, ops.Superseded, "then", false},
	{ops.SequenceRetry, alsoWants(ops.FailureRetry, ops.ActPending), ops.ActFailed, ops.Superseded, "then", false},
	{ops.FailureSchedule, alsoWants(ops.FailureRetry, ops.ActPending), ops.ActFailed, ops.Superseded, "then", false},
	{ops.FailureRetry, alsoWants(ops.FailureSchedule, ops.ActPending), ops.ActFailed, ops.Superseded, "then", true},
	{ops.FailureSchedule, alsoWants(ops.GroupRetry, ops.ActDone), ops.ActFailed, ops.Superseded, "then", false},
	{ops.FailureSchedule, alsoWants(ops.FailureDiscard, ops.ActDone), ops.ActFailed, ops.Superseded, "then", false},
	{ops.FailureRetry, alsoWants(ops.FailureDiscard, ops.ActDone), ops.ActFailed, ops.Superseded, "then", false},
	// What has failed for a replay is wanted still; what it has handled, need not be.
	{ops.SequenceRetry, replayed(true), ops.ActPending, "", "first", false},
	{ops.FailureSchedule, replayed(true), ops.ActPending, "", "first", true},
	{ops.SequenceRetry, replayed(false), ops.ActPending, "", "first", false},
	{ops.SequenceRetry, replayed(false, false), ops.ActDone, "", "", false},
	{ops.FailureRetry, replayed(false), ops.ActDone, "", ops.ByBackoff, false},
	{ops.SequenceRetry, func(d *desk, key string, seq bank.Seq) error {
		return errors.Join(alsoWants(ops.SequencePause, ops.ActDone)(d, key, seq),
			alsoWants(ops.SequenceResume, ops.ActDone)(d, key, seq))
	}, ops.ActPending, "", "first", false},
}

// replayed has a replay try heads, which fail or not; what is behind them goes on in an hour.
func replayed(failed ...bool) func(*desk, string, bank.Seq) error {
	return func(d *desk, key string, _ bank.Seq) (err error) {
		for _, one := range failed {
			err = errors.Join(err, d.tries(key, "rpl_x", one, d.later(time.Hour)))
		}
		return err
	}
}

// checkBeside has keys wanted by one act, and something else done about them.
func (d *desk) checkBeside() (err error) {
	for i := range besides {
		if ill := d.checkOneBeside(i, &besides[i]); ill != nil {
			err = errors.Join(err, fmt.Errorf("%d: %s: %w", i, besides[i].first, ill))
		}
	}
	return errors.Join(err, d.checkLateWish(), d.checkRefusedWish(), d.checkForgottenWish())
}

func (d *desk) checkOneBeside(i int, b *beside) error {
	key, seq := fmt.Sprint("k", i), bank.Seq(10*i+1)
	err := errors.Join(d.fail(key, seq, key, time.Time{}), d.block(key, seq+1))
	if err != nil {
		return err
	}
	id, err := d.wants(b.first, key, seq, ops.ActPending)
	if err != nil {
		return err
	}
	if err := errors.Join(b.then(d, key, seq), d.became(id, b.want, b.code)); err != nil {
		return err
	}
	q, _, err := d.s.Sequence(d.ctx, d.handler, key)
	cause := q.NextBy
	switch {
	case cause == id:
		cause = "first"
	case strings.HasPrefix(cause, "act_"):
		cause = "then"
	}
	f, _, ill := d.s.Failure(d.ctx, q.Head)
	if err = errors.Join(err, ill); err != nil || cause != b.cause || (f.Status == ops.Scheduled) != b.scheduled {
		return fmt.Errorf("in the end %+v, %s, %w; want %q", q, f.Status, orNil(err), b.cause)
	}
	return nil
}

// checkLateWish has something tried at a time that is over.
func (d *desk) checkLateWish() error {
	const seq = 501
	if err := d.fail("late", seq, "late", time.Time{}); err != nil {
		return err
	}
	_, err := d.act(repair.Act{
		Kind: ops.FailureSchedule, Target: ops.FailureID(d.handler, "inc", seq, 1),
		Body: []byte(`{"at":"1969-01-01T00:00:00Z"}`),
	}, ops.ActPending, "")
	q, _, ill := d.s.Sequence(d.ctx, d.handler, "late")
	if err = errors.Join(err, ill); err != nil || !q.NextAt.Equal(d.now) {
		return fmt.Errorf("what is wanted in the past is tried at %s, %w; want now", q.NextAt, orNil(err))
	}
	return nil
}

// checkRefusedWish has a key that flows wanted rebuilt; what comes meanwhile waits, and goes on when that is refused.
func (d *desk) checkRefusedWish() error {
	_, err := d.act(repair.Act{Kind: ops.SequenceRebuild, Handler: d.handler, Key: "free"}, ops.ActPending, "")
	err = errors.Join(err, d.block("free", 511), d.block("free", 512),
		d.s.Refuse(d.ctx, d.handler, "free", d.refusal()))
	q, _, ill := d.s.Sequence(d.ctx, d.handler, "free")
	if err = errors.Join(err, ill); err != nil || !q.NextAt.Equal(d.now) || q.NextBy != ops.ByBackoff || q.Waiting != 2 {
		return fmt.Errorf("after a rebuild was refused: %+v, %w; want what waits tried now", q, orNil(err))
	}
	return nil
}

// checkForgottenWish forgets what waits: it comes again, what was discarded, too.
func (d *desk) checkForgottenWish() error {
	const seq = 521
	err := d.fail("gone", seq, "gone", time.Time{})
	id, ill := d.wants(ops.FailureSchedule, "gone", seq, ops.ActPending)
	if err = errors.Join(err, ill, d.fail("lacks", seq+1, "lacks", time.Time{})); err != nil {
		return err
	}
	if _, err := d.wants(ops.FailureDiscard, "lacks", seq+1, ops.ActDone); err != nil {
		return err
	}
	to := router.Checkpoint{Incarnation: "inc", Position: handlers.End(seq - 1)}
	if err := rewind(d.ctx, d.s, d.handler, to); err != nil {
		return err
	}
	if err := d.became(id, ops.ActFailed, ops.Superseded); err != nil {
		return err
	}
	if q, ok, err := d.s.Sequence(d.ctx, d.handler, "lacks"); err != nil || ok {
		return fmt.Errorf("what was discarded comes again, and its key is %+v, %w", q, orNil(err))
	}
	return nil
}

// checkOldest has what waits handled from its head on, one by one and many at once: what waits longest is another one
// each time.
func (d *desk) checkOldest() error {
	err := d.fail("k", 1, "late", time.Time{})
	for seq := bank.Seq(2); seq <= 4; seq++ {
		err = errors.Join(err, d.block("k", seq))
	}
	if err != nil {
		return err
	}
	for seq := bank.Seq(1); seq <= 3; seq++ {
		h, _, err := d.s.Handler(d.ctx, d.handler)
		want := message(d.handler, "k", seq, router.Failed).At
		if err != nil || !h.Oldest.Equal(want) {
			return fmt.Errorf("the oldest waits since %s, %w; want %s", h.Oldest, orNil(err), want)
		}
		if seq == 1 {
			err = d.tries("k", ops.ByBackoff, false, time.Time{})
		} else {
			err = d.tx(func(ctx context.Context) error {
				all, err := d.s.Front(ctx, d.handler, []string{"k"}, 1)
				if err != nil {
					return err
				}
				_, err = d.s.ResolveFront(ctx, d.handler, all, ending(router.Resolved))
				return err
			})
		}
		if err != nil {
			return err
		}
	}
	id, err := d.act(repair.Act{Kind: ops.SequenceRetry, Handler: d.handler, Key: "k"}, ops.ActPending, "")
	q, _, ill := d.s.Sequence(d.ctx, d.handler, "k")
	if err = errors.Join(err, ill); err != nil || q.Tries != 0 || q.NextBy != id {
		return fmt.Errorf("wanted at once: %+v, %w", q, orNil(err))
	}
	return nil
}
