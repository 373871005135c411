package apptest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/router"
	"bankforge/router/repair"
)

func (d *desk) checkDiscard() error {
	if err := d.fail("k", 1, "broken", time.Time{}); err != nil {
		return err
	}
	if err := d.block("k", 2); err != nil {
		return err
	}
	target := ops.FailureID(d.handler, "inc", 1, 1)
	if _, err := d.act(repair.Act{Kind: ops.FailureDiscard, Target: target}, ops.ActDone, ""); err != nil {
		return err
	}
	f, _, err := d.s.Failure(d.ctx, target)
	if err != nil || f.Status != ops.Discarded || f.EndedAt.IsZero() || f.Head {
		return fmt.Errorf("%+v, %w", f, orNil(err))
	}
	q, ok, err := d.s.Sequence(d.ctx, d.handler, "k")
	if err != nil || !ok || !q.Diverged || q.Waiting != 1 || q.Class != "" || q.Why != "because" {
		return fmt.Errorf("%v %+v, %w", ok, q, orNil(err))
	}
	if _, err := d.due(d.now, "k"); err != nil {
		return err
	}
	id, err := d.act(repair.Act{Kind: ops.SequenceRebuild, Handler: d.handler, Key: "k"}, ops.ActPending, "")
	if err != nil {
		return err
	}
	all, err := d.due(d.now, "k")
	if err != nil || !all[0].Rebuild {
		return fmt.Errorf("%+v, %w", all, orNil(err))
	}
	err = d.tx(func(ctx context.Context) error {
		act, wanted, err := d.s.Lock(ctx, d.handler, "k")
		if err != nil || !wanted || act != id {
			return fmt.Errorf("wanted by %s: %v, %w", act, wanted, orNil(err))
		}
		n, err := d.s.Rebuilt(ctx, d.handler, "k", d.now)
		if err == nil && n != 1 {
			err = fmt.Errorf("%d messages waited; want 1", n)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := d.became(id, ops.ActDone, ""); err != nil {
		return err
	}
	if _, ok, err := d.s.Sequence(d.ctx, d.handler, "k"); err != nil || ok {
		return fmt.Errorf("after a rebuild something is left: %v, %w", ok, orNil(err))
	}
	if err := d.flows("k", true); err != nil {
		return err
	}
	// Of a key that flows, too; and one that cannot be.
	id, err = d.act(repair.Act{Kind: ops.SequenceRebuild, Handler: d.handler, Key: "l"}, ops.ActPending, "")
	if err != nil {
		return err
	}
	if err := d.s.Refuse(d.ctx, d.handler, "l", d.refusal()); err != nil {
		return err
	}
	if err := d.became(id, ops.ActFailed, ops.RefusedNoRebuild); err != nil {
		return err
	}
	return d.flows("l", true)
}

// replay expects where a replay stands.
func (d *desk) replay(id string, want ops.ReplayStatus, handled, failed, left int) error {
	r, ok, err := d.s.Replay(d.ctx, id)
	if err != nil || !ok || r.Status != want || r.Handled != handled || r.Failed != failed || r.Left != left {
		return fmt.Errorf("the replay is %v %+v, %w; want %s, %d handled, %d failed, %d left",
			ok, r, orNil(err), want, handled, failed, left)
	}
	return nil
}

func (d *desk) take(r repair.Running, owner string, at time.Duration, want int) ([]repair.Due, error) {
	all, err := d.s.Take(d.ctx, r, []string{d.handler}, owner, 2, d.later(at), d.later(at+10*time.Second))
	if err != nil || len(all) != want {
		return nil, fmt.Errorf("%s takes %+v, %w; want %d", owner, all, orNil(err), want)
	}
	return all, nil
}

func (d *desk) checkReplays() error {
	for i, key := range []string{"a", "b", "c", "d"} {
		seq := bank.Seq(2*i + 1)
		if err := d.fail(key, seq, "late", time.Time{}); err != nil {
			return err
		}
		if err := d.block(key, seq+1); err != nil {
			return err
		}
	}
	r, err := d.plan(0, 1, 0)
	if err != nil {
		return err
	}
	if got, _, err := d.s.Replay(d.ctx, r.ID); err != nil || got.Keys != 4 || got.Messages != 8 || got.Oldest.IsZero() {
		return fmt.Errorf("%+v, %w; want 4 keys and 8 messages", got, orNil(err))
	}
	if _, err := d.act(repair.Act{Kind: ops.ReplayStart, Target: r.ID}, ops.ActRefused, ops.RefusedState); err != nil {
		return err
	}
	all, err := d.take(r, "one", 0, 2)
	if err != nil {
		return err
	}
	if _, err := d.take(r, "two", time.Second, 0); err != nil {
		return fmt.Errorf("two at once: %w", err)
	}
	for range 2 {
		if err := d.tries(all[0].Key, r.ID, false, time.Time{}); err != nil {
			return err
		}
	}
	if err := d.replay(r.ID, ops.ReplayRunning, 2, 0, 6); err != nil {
		return err
	}
	settled := []repair.Settled{{Due: all[0]}, {Due: all[1], Failed: true}}
	if err := d.s.Settle(d.ctx, r.ID, settled, "one", d.later(2*time.Second)); err != nil {
		return err
	}
	if err := d.replay(r.ID, ops.ReplayRunning, 2, 1, 4); err != nil {
		return err
	}
	// Somebody takes two, and dies; his claim runs out.
	if _, err := d.take(r, "two", 3*time.Second, 2); err != nil {
		return err
	}
	if _, err := d.take(r, "one", 12*time.Second, 0); err != nil {
		return fmt.Errorf("what somebody else has: %w", err)
	}
	return d.endReplay(r)
}

// endReplay goes on with a replay of which two sequences are left, whose claims run out after 13 s.
func (d *desk) endReplay(r repair.Running) error {
	all, err := d.take(r, "one", 14*time.Second, 2)
	if err != nil {
		return err
	}
	if err := d.s.Settle(d.ctx, r.ID, []repair.Settled{{Due: all[0]}, {Due: all[1]}}, "one", d.now); err != nil {
		return err
	}
	if err := d.replay(r.ID, ops.ReplayDone, 2, 1, 0); err != nil {
		return err
	}
	if runs, err := d.s.Runs(d.ctx, r.ID); err != nil || runs {
		return fmt.Errorf("it is done, and runs: %v, %w", runs, orNil(err))
	}
	if r, err = d.plan(0, 1, 1); err != nil {
		return err
	}
	if all, err = d.take(r, "one", 30*time.Second, 2); err != nil {
		return err
	}
	if err := d.s.Settle(d.ctx, r.ID, []repair.Settled{{Due: all[0], Failed: true}}, "one", d.now); err != nil {
		return err
	}
	if got, _, err := d.s.Replay(d.ctx, r.ID); err != nil || got.Status != ops.ReplayStopped {
		return fmt.Errorf("after one failure it is %+v, %w", got, orNil(err))
	}
	_, err = d.take(r, "one", 40*time.Second, 0)
	return err
}

func (d *desk) checkPace() error {
	if err := d.fail("a", 1, "late", time.Time{}); err != nil {
		return err
	}
	r, err := d.plan(100, 4, 0)
	if err != nil {
		return err
	}
	for i, c := range []struct {
		n        int
		at, want time.Duration
	}{
		{10, 0, 0}, {10, 0, 100 * time.Millisecond}, {5, 50 * time.Millisecond, 200 * time.Millisecond},
		{1, time.Second, time.Second},
	} {
		from, err := d.s.Allow(d.ctx, r, c.n, d.later(c.at))
		if err != nil || !from.Equal(d.later(c.want)) {
			return fmt.Errorf("step %d: from %s, %w; want %s", i, from.Sub(d.now), orNil(err), c.want)
		}
	}
	if _, err := d.act(repair.Act{Kind: ops.ReplayCancel, Target: r.ID}, ops.ActDone, ""); err != nil {
		return err
	}
	if _, err := d.take(r, "one", 0, 0); err != nil {
		return fmt.Errorf("it is cancelled: %w", err)
	}
	_, err = d.act(repair.Act{Kind: ops.ReplayCancel, Target: r.ID}, ops.ActRefused, ops.RefusedState)
	return err
}

func (d *desk) checkControls() error {
	if err := d.fail("k", 1, "late", time.Time{}); err != nil {
		return err
	}
	before, err := d.s.Controls(d.ctx, 0)
	if err != nil || before.Version == 0 || before.Demo {
		return fmt.Errorf("%+v, %w", before, orNil(err))
	}
	policy := func(version, body string) repair.Act {
		return repair.Act{Kind: ops.HandlerPolicy, Target: version, Body: []byte(body)}
	}
	for i, c := range []struct {
		act  repair.Act
		want func(c *router.Control) bool
	}{
		{repair.Act{Kind: ops.HandlerPause}, func(c *router.Control) bool { return c.Paused[d.handler] == "because" }},
		{repair.Act{Kind: ops.HandlerResume}, func(c *router.Control) bool {
			_, paused := c.Paused[d.handler]
			return !paused && c.Resumed[d.handler] == 1
		}},
		{policy("1", `{"outage_after_keys":7}`), func(c *router.Control) bool {
			p := c.Policies[d.handler]
			return p.Outage == 7 && p.PerKey == ops.DefaultPolicy().PerKey
		}},
		{policy("2", `{}`), func(c *router.Control) bool {
			_, set := c.Policies[d.handler]
			return !set
		}},
		{repair.Act{Kind: ops.DemoFailuresSet, Body: []byte(`{"enabled":true}`)},
			func(c *router.Control) bool { return c.Demo }},
		{repair.Act{Kind: ops.DemoFailuresSet, Body: []byte(`{"enabled":false}`)},
			func(c *router.Control) bool { return !c.Demo }},
	} {
		c.act.Handler = d.handler
		if _, err := d.act(c.act, ops.ActDone, ""); err != nil {
			return err
		}
		got, err := d.s.Controls(d.ctx, before.Version)
		if err != nil || got.Version <= before.Version || !c.want(&got) {
			return fmt.Errorf("step %d: %+v, %w", i, got, orNil(err))
		}
		before = got
	}
	if same, err := d.s.Controls(d.ctx, before.Version); err != nil || same.Version != before.Version {
		return fmt.Errorf("nothing has changed: %+v, %w", same, orNil(err))
	}
	return d.checkHalt(before.Version)
}

func (d *desk) checkHalt(version int64) error {
	if n, err := d.s.Waiting(d.ctx, d.handler); err != nil || n != 1 {
		return fmt.Errorf("%d wait, %w; want 1", n, orNil(err))
	}
	if err := d.s.Halt(d.ctx, d.handler, "too much \xff\x00", d.now); err != nil { // of a key that may be any bytes
		return err
	}
	got, err := d.s.Controls(d.ctx, version)
	if err != nil || !strings.HasPrefix(got.Paused[d.handler], "too much") {
		return fmt.Errorf("halted: %+v, %w", got, orNil(err))
	}
	said := router.Report{HandlerStatus: router.HandlerStatus{
		Handler: d.handler, Topic: bank.AccountsTopic, State: router.Paused, Lag: 5, LastError: "boom", FailedAt: d.now,
	}, Rate: 2.5, Controls: got.Version}
	if err := d.s.Report(d.ctx, "p1", []router.Report{said}, time.Now()); err != nil {
		return err
	}
	h, ok, err := d.s.Handler(d.ctx, d.handler)
	if err != nil || !ok || !h.Paused || h.PausedBy != "cap" || h.Version != 2 || h.Policy != nil || h.Parked != 1 ||
		h.Keys != 1 || h.Failing != 1 || len(h.Runs) != 1 {
		return fmt.Errorf("%v %+v, %w", ok, h, orNil(err))
	}
	if r := h.Runs[0]; r.Process != "p1" || r.Lag != 5 || r.Rate != 2.5 || r.Error != "boom" || r.Controls != got.Version {
		return fmt.Errorf("it said %+v", r)
	}
	return nil
}

func (d *desk) checkGroups() error {
	for i := range 6 {
		key, seq := fmt.Sprint("k", i), bank.Seq(10*i+1)
		if err := d.fail(key, seq, []string{"late by 5", "broken"}[i%2], time.Time{}); err != nil {
			return err
		}
		if err := d.block(key, seq+1); err != nil {
			return err
		}
	}
	late := ops.Fingerprint(d.handler, "unknown", "late by 77", "")
	page := ops.Page{Limit: 10}
	all, err := d.s.Groups(d.ctx, ops.GroupFilter{Page: page, Handler: d.handler})
	if err != nil || len(all) != 2 {
		return fmt.Errorf("%+v, %w; want 2 groups", all, orNil(err))
	}
	for _, g := range all {
		if g.Count != 3 || g.Waiting != 6 || g.Accounts != 4 || g.Class != "unknown" || g.First.IsZero() {
			return fmt.Errorf("%+v; want 3 failures, 6 that wait, 4 accounts", g)
		}
	}
	if _, err := d.act(repair.Act{Kind: ops.GroupRetry, Target: late}, ops.ActDone, ""); err != nil {
		return err
	}
	if all, err := d.s.Due(d.ctx, []string{d.handler}, d.now, 10); err != nil || len(all) != 3 {
		return fmt.Errorf("due are %+v, %w; want the group", all, orNil(err))
	}
	// A head that was handled is in no group; nor what waits behind it.
	if err := d.tries("k0", ops.ByBackoff, false, time.Time{}); err != nil {
		return err
	}
	all, err = d.s.Groups(d.ctx, ops.GroupFilter{Page: page, Fingerprint: late})
	if err != nil || len(all) != 1 || all[0].Count != 2 || all[0].Accounts != 3 {
		return fmt.Errorf("%+v, %w; want 2 failures", all, orNil(err))
	}
	return nil
}

func (d *desk) checkLists() error {
	const n = 9
	for i := range n {
		seq := bank.Seq(i + 1)
		if err := d.fail(fmt.Sprint("k", i%3), seq, "late", time.Time{}); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		filter ops.FailureFilter
		want   int
	}{
		{ops.FailureFilter{}, n}, {ops.FailureFilter{Key: "k1"}, 3}, {ops.FailureFilter{Account: "k2"}, 3},
		{ops.FailureFilter{Correlation: "cor-4"}, 1}, {ops.FailureFilter{Class: "unknown"}, n},
		{ops.FailureFilter{Class: "poison"}, 0}, {ops.FailureFilter{Status: ops.Parked}, n},
		{ops.FailureFilter{Status: ops.Resolved}, 0}, {ops.FailureFilter{Waiting: true}, n},
		{ops.FailureFilter{Fingerprint: ops.Fingerprint(d.handler, "unknown", "late", "")}, n},
	} {
		for _, ascending := range []bool{false, true} {
			f := c.filter
			f.Handler, f.Page = d.handler, ops.Page{Limit: 2, Ascending: ascending}
			got, err := d.pages(f)
			if err != nil {
				return err
			}
			if !ascending {
				slices.Reverse(got)
			}
			if len(got) != c.want || !slices.IsSorted(got) || len(slices.Compact(got)) != c.want {
				return fmt.Errorf("%+v: %d; want %d in order", f, got, c.want)
			}
		}
	}
	all, err := d.s.Sequences(d.ctx, ops.SequenceFilter{Page: ops.Page{Limit: 9}, Handler: d.handler})
	if err != nil || len(all) != 3 || all[0].Waiting != 3 || all[0].Head == "" || all[0].Error != "late" {
		return fmt.Errorf("%+v, %w; want 3 sequences", all, orNil(err))
	}
	return nil
}

// pages reads a list to its end.
func (d *desk) pages(f ops.FailureFilter) (got []bank.Seq, err error) {
	for {
		page, err := d.s.Failures(d.ctx, f)
		if err != nil || len(page) > f.Limit {
			return nil, fmt.Errorf("%+v: %d on a page, %w", f, len(page), orNil(err))
		}
		if len(page) == 0 {
			return got, nil
		}
		for i := range page {
			got = append(got, page[i].Seq)
		}
		last := page[len(page)-1]
		f.AfterTime, f.AfterID = bank.TimeOf(last.ParkedAt), last.ID
	}
}
