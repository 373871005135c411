package apptest

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"bankforge/app/ops"
	"bankforge/router/repair"
)

// checkRebuildRefused has keys rebuilt that wait for a time, or for a hand, and refuses that: they wait as before.
// A key that is wanted rebuilt once more while it is tried, is tried once more.
func (d *desk) checkRebuildRefused() error {
	soon, later := d.now.Add(time.Hour), d.now.Add(2*time.Hour)
	err := errors.Join(d.fail("soon", 1, "broken", soon), d.fail("set", 2, "broken", time.Time{}),
		d.fail("by hand", 3, "broken", time.Time{}), d.fail("meanwhile", 4, "broken", soon))
	if err != nil {
		return err
	}
	body, err := ops.Canonical(ops.ScheduleBody{At: later})
	if err != nil {
		return err
	}
	set := repair.Act{Kind: ops.FailureSchedule, Target: ops.FailureID(d.handler, "inc", 2, 1), Body: body}
	var acts [2]string
	if acts[0], err = d.act(set, ops.ActPending, ""); err != nil {
		return err
	}
	keys := []string{"soon", "set", "by hand", "meanwhile"}
	first, last := map[string]string{}, map[string]string{}
	for range 2 { // wanted twice, it is refused once
		for _, key := range keys {
			id, err := d.act(repair.Act{Kind: ops.SequenceRebuild, Handler: d.handler, Key: key}, ops.ActPending, "")
			if err != nil {
				return err
			}
			first[key], last[key] = cmp.Or(first[key], id), id
		}
	}
	set.Target = ops.FailureID(d.handler, "inc", 4, 1)
	if acts[1], err = d.act(set, ops.ActPending, ""); err != nil {
		return err
	}
	refuse := func(key, act string) error {
		r := d.refusal()
		r.Act = act
		return d.s.Refuse(d.ctx, d.handler, key, r)
	}
	for _, key := range keys {
		if err := refuse(key, first[key]); err != nil {
			return err
		}
	}
	for _, key := range keys {
		all, err := d.s.Due(d.ctx, []string{d.handler}, d.now, 100)
		if err != nil || len(all) == 0 || !all[0].Rebuild {
			return fmt.Errorf("a rebuild is not due at once: %+v, %w", all, orNil(err))
		}
		if err := refuse(key, last[key]); err != nil {
			return err
		}
	}
	_, before := d.due(soon.Add(-time.Second))
	_, then := d.due(soon, "soon")
	if err := errors.Join(before, then); err != nil {
		return err
	}
	all, err := d.s.Due(d.ctx, []string{d.handler}, later, 100)
	if err != nil || len(all) != 3 || all[0].Key != "soon" {
		return fmt.Errorf("at the time that was set are due %+v, %w", all, orNil(err))
	}
	return errors.Join(d.became(acts[0], ops.ActPending, ""), d.became(acts[1], ops.ActPending, ""))
}

// refusal is of whatever is wanted.
func (d *desk) refusal() repair.Refusal {
	return repair.Refusal{Code: ops.RefusedNoRebuild, Why: "no", At: d.now}
}
