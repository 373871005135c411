package lot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"bankforge/app/ops"
	"bankforge/router"
)

// changed adds to the version that processes look at.
func (l *Lot) changed(ctx context.Context) error {
	return l.exec(ctx, `UPDATE control SET version = version + 1 WHERE id = 1`)
}

// Controls returns what operators want of handlers.
func (l *Lot) Controls(ctx context.Context, known int64) (c router.Control, err error) {
	var demo int64
	found, err := l.one(ctx, []any{&c.Version, &demo}, `SELECT version, demo FROM control WHERE id = 1`)
	if err != nil || !found {
		return c, errors.Join(err, errUnlessControls(found))
	}
	if c.Version == known {
		return c, nil
	}
	// What is read now may be newer than the version: then it is read once more.
	c.Demo, c.Policies = demo != 0, map[string]ops.Policy{}
	c.Paused, c.Resumed = map[string]string{}, map[string]int64{}
	err = l.db.Each(ctx, func(scan func(...any) error) error {
		var handler, why string
		var paused, resumed int64
		err := scan(&handler, &why, &paused, &resumed)
		if c.Resumed[handler] = resumed; paused != 0 {
			c.Paused[handler] = why
		}
		return err
	}, `SELECT handler, why, paused, resumed FROM handler_control`)
	if err != nil {
		return c, err
	}
	err = l.db.Each(ctx, func(scan func(...any) error) error {
		var handler, body string
		if err := scan(&handler, &body); err != nil {
			return err
		}
		var p ops.Policy
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			return fmt.Errorf("policy of %s: %w", handler, err)
		}
		c.Policies[handler] = p
		return nil
	}, `SELECT handler, body FROM policy WHERE body <> ''`)
	return c, err
}

func errUnlessControls(found bool) error {
	if found {
		return nil
	}
	return errors.New("the table of controls is empty")
}

const pauseHandler = `INSERT INTO handler_control (handler, paused, why, paused_by, paused_at, resumed)
	VALUES ($1, 1, $2, $3, $4, 0)
	ON CONFLICT (handler) DO UPDATE SET paused = 1, why = excluded.why, paused_by = excluded.paused_by,
		paused_at = excluded.paused_at WHERE handler_control.paused = 0`

// Halt pauses a handler that is over a cap.
func (l *Lot) Halt(ctx context.Context, handler, why string, at time.Time) error {
	return l.within(ctx, func(ctx context.Context) error {
		n, err := l.db.Exec(ctx, pauseHandler, handler, l.db.Text(why), ops.ByCap, at.UnixMicro())
		if err != nil || n == 0 {
			return err
		}
		return l.changed(ctx)
	})
}

// Waiting is how many messages wait for a handler.
func (l *Lot) Waiting(ctx context.Context, handler string) (n int, err error) {
	_, err = l.one(ctx, []any{&n}, `SELECT CAST(coalesce(sum(waiting), 0) AS bigint) FROM parked_sequence
		WHERE handler = $1`, handler)
	return n, err
}

const report = `INSERT INTO handler_run (handler, process, topic, state, lag, rate, error, failed_at, at, controls)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
	ON CONFLICT (handler, process) DO UPDATE SET topic = excluded.topic, state = excluded.state, lag = excluded.lag,
		rate = excluded.rate, error = excluded.error, failed_at = excluded.failed_at, at = excluded.at,
		controls = excluded.controls`

// forgetRuns is when a process that is silent is forgotten.
const forgetRuns = 24 * time.Hour

// Report notes what a process says of its handlers.
func (l *Lot) Report(ctx context.Context, process string, runs []router.Report, at time.Time) error {
	return l.within(ctx, func(ctx context.Context) error {
		for i := range runs {
			r := &runs[i]
			err := l.exec(ctx, report, r.Handler, process, string(r.Topic), string(r.State), int64(r.Lag), r.Rate,
				l.db.Text(r.LastError), micros(r.FailedAt), at.UnixMicro(), r.Controls)
			if err != nil {
				return err
			}
		}
		return l.exec(ctx, `DELETE FROM handler_run WHERE at < $1`, at.Add(-forgetRuns).UnixMicro())
	})
}
