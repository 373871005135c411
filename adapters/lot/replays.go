package lot

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bankforge/app/ops"
	"bankforge/router/repair"
)

// scope is a condition on sequences s, by their heads; its placeholders begin with the n-th.
func scope(r ops.ReplayScope, n int) (condition string, args []any) {
	var b strings.Builder
	b.WriteString(`s.head > 0 AND s.paused = 0`)
	for _, part := range []struct{ value, condition string }{
		{r.Handler, ` AND s.handler = $%d`},
		{r.Class, ` AND s.class = $%d`},
		{r.Fingerprint, ` AND s.fingerprint = $%d AND s.fingerprint <> ''`},
		{r.Correlation, ` AND s.head IN (SELECT id FROM parked_message WHERE correlation = $%d AND correlation <> '')`},
		{r.Account, ` AND s.head IN (SELECT message FROM parked_account WHERE account = $%d)`},
	} {
		if part.value != "" {
			fmt.Fprintf(&b, part.condition, n+len(args))
			args = append(args, part.value)
		}
	}
	return b.String(), args
}

// count is what a plan says.
type count struct {
	keys, messages, accounts, oldest int64
}

func (l *Lot) count(ctx context.Context, r ops.ReplayScope) (c count, err error) {
	where, args := scope(r, 1)
	_, err = l.one(ctx, []any{&c.keys, &c.messages, &c.oldest}, `SELECT count(*),
		CAST(coalesce(sum(s.waiting), 0) AS bigint), coalesce(min(s.since), 0) FROM parked_sequence s WHERE `+where, args...)
	if err != nil {
		return c, err
	}
	_, err = l.one(ctx, []any{&c.accounts}, `SELECT count(DISTINCT a.account) FROM parked_sequence s
		JOIN parked_account a ON a.message = s.head WHERE `+where, args...)
	return c, err
}

func (l *Lot) planReplay(ctx context.Context, a *repair.Act) (result, error) {
	spec, ill := ops.ParseReplay(a.Body)
	if ill != nil {
		return refused(ops.RefusedInvalid, ill.Error()), nil
	}
	c, err := l.count(ctx, spec.Filter)
	if err != nil {
		return result{}, err
	}
	body, err := jsonOf(spec)
	if err != nil {
		return result{}, err
	}
	return done, l.exec(ctx, `INSERT INTO replay (id, spec, status, keys, messages, accounts, oldest, planned_at,
		started_at, ended_at, next_at) VALUES ($1, $2, 'planned', $3, $4, $5, $6, $7, 0, 0, 0)`,
		ops.ReplayOf(a.ID), body, c.keys, c.messages, c.accounts, c.oldest, a.At.UnixMicro())
}

// lockReplay locks a replay, and returns its spec; status is "" when there is none.
func (l *Lot) lockReplay(ctx context.Context, id string) (status ops.ReplayStatus, spec ops.ReplaySpec, err error) {
	var s, body string
	found, err := l.one(ctx, []any{&s, &body}, l.locking(`SELECT status, spec FROM replay WHERE id = $1`), id)
	if err != nil || !found {
		return "", spec, err
	}
	return ops.ReplayStatus(s), spec, json.Unmarshal([]byte(body), &spec)
}

// startReplay says which sequences it is about: those that wait now.
func (l *Lot) startReplay(ctx context.Context, a *repair.Act) (result, error) {
	status, spec, err := l.lockReplay(ctx, a.Target)
	switch {
	case err != nil:
		return result{}, err
	case status == "":
		return refused(ops.RefusedNotFound, "there is no such replay"), nil
	case status != ops.ReplayPlanned:
		return refused(ops.RefusedState, "the replay is "+string(status)), nil
	}
	c, err := l.count(ctx, spec.Filter)
	if err != nil {
		return result{}, err
	}
	where, args := scope(spec.Filter, 2)
	n, err := l.db.Exec(ctx, `INSERT INTO replay_sequence (replay, handler, key, waiting, state)
		SELECT $1, s.handler, s.key, s.waiting, 'todo' FROM parked_sequence s WHERE `+where,
		append([]any{a.Target}, args...)...)
	if err != nil {
		return result{}, err
	}
	status, ended := ops.ReplayRunning, int64(0)
	if n == 0 {
		status, ended = ops.ReplayDone, a.At.UnixMicro()
	}
	return done, l.exec(ctx, `UPDATE replay SET status = $2, keys = $3, messages = $4, accounts = $5, oldest = $6,
		started_at = $7, ended_at = $8 WHERE id = $1`,
		a.Target, string(status), n, c.messages, c.accounts, c.oldest, a.At.UnixMicro(), ended)
}

func (l *Lot) cancelReplay(ctx context.Context, a *repair.Act) (result, error) {
	status, _, err := l.lockReplay(ctx, a.Target)
	switch {
	case err != nil:
		return result{}, err
	case status == "":
		return refused(ops.RefusedNotFound, "there is no such replay"), nil
	case status != ops.ReplayPlanned && status != ops.ReplayRunning:
		return refused(ops.RefusedState, "the replay is "+string(status)), nil
	}
	return done, l.exec(ctx, `UPDATE replay SET status = 'cancelled', ended_at = $2 WHERE id = $1`,
		a.Target, a.At.UnixMicro())
}

// Running returns the replays that run.
func (l *Lot) Running(ctx context.Context) (out []repair.Running, err error) {
	err = l.db.Each(ctx, func(scan func(...any) error) error {
		var id, body string
		var spec ops.ReplaySpec
		if err := scan(&id, &body); err != nil {
			return err
		}
		err := json.Unmarshal([]byte(body), &spec)
		out = append(out, repair.Running{
			ID: id, Rate: spec.Rate, Concurrency: spec.Concurrency, StopAfter: spec.StopAfter,
		})
		return err
	}, `SELECT id, spec FROM replay WHERE status = 'running' ORDER BY started_at, id`)
	return out, err
}

// Runs reports whether a replay still runs.
func (l *Lot) Runs(ctx context.Context, replay string) (bool, error) {
	var there int64
	return l.one(ctx, []any{&there}, `SELECT 1 FROM replay WHERE id = $1 AND status = 'running'`, replay)
}

// Take claims more sequences of a replay.
func (l *Lot) Take(
	ctx context.Context, r repair.Running, handlers []string, owner string, n int, now, until time.Time,
) (out []repair.Due, err error) {
	if len(handlers) == 0 {
		return nil, nil
	}
	err = l.within(ctx, func(ctx context.Context) error {
		out = nil
		status, spec, err := l.lockReplay(ctx, r.ID)
		if err != nil || status != ops.ReplayRunning {
			return err
		}
		var owners int
		_, err = l.one(ctx, []any{&owners}, `SELECT count(DISTINCT owner) FROM parked_claim
			WHERE replay = $1 AND until > $2 AND owner <> $3`, r.ID, now.UnixMicro(), owner)
		if err != nil || owners >= r.Concurrency {
			return err
		}
		todo, err := l.todo(ctx, r.ID, handlers, n, now)
		if err != nil {
			return err
		}
		out, err = l.takeAll(ctx, r.ID, todo, owner, now, until)
		if err != nil || len(out) > 0 && len(out) == len(todo) {
			return err
		}
		return l.endReplay(ctx, r.ID, spec, now)
	})
	return out, err
}

// candidate is a sequence of a replay that may be tried.
type candidate struct {
	repair.Due
	waiting, paused int64 // 0, 0: it has gone
}

func (l *Lot) todo(
	ctx context.Context, replay string, handlers []string, n int, now time.Time,
) (out []candidate, err error) {
	of, args := in("s.handler", 4, handlers)
	question := `SELECT s.handler, s.key, coalesce(p.waiting, 0), coalesce(p.paused, 0) FROM replay_sequence s
		LEFT JOIN parked_sequence p ON p.handler = s.handler AND p.key = s.key
		WHERE s.replay = $2 AND s.state = 'todo' AND ` + of + free + ` ORDER BY s.handler, s.key LIMIT $3`
	err = l.db.Each(ctx, func(scan func(...any) error) error {
		var c candidate
		var key []byte
		err := scan(&c.Handler, &key, &c.waiting, &c.paused)
		c.Key, c.Cause = string(key), replay
		out = append(out, c)
		return err
	}, question, append([]any{now.UnixMicro(), replay, n}, args...)...)
	return out, err
}

// takeAll claims candidates, and settles those that are not to be tried. Who else has got one meanwhile keeps it.
func (l *Lot) takeAll(
	ctx context.Context, replay string, todo []candidate, owner string, now, until time.Time,
) (out []repair.Due, err error) {
	gone, paused, free := keysOf{}, keysOf{}, keysOf{}
	for i := range todo {
		c := &todo[i]
		switch {
		case c.waiting == 0:
			gone.add(&c.Due)
		case c.paused != 0:
			paused.add(&c.Due)
		default:
			free.add(&c.Due)
		}
	}
	if err := l.settle(ctx, replay, gone, settleDone); err != nil {
		return nil, err
	}
	if err := l.settle(ctx, replay, paused, settleFailed); err != nil {
		return nil, err
	}
	for _, handler := range slices.Sorted(maps.Keys(free)) {
		of, keys := l.keyed("s.key", 6, free[handler])
		err := l.db.Each(ctx, func(scan func(...any) error) error {
			var key []byte
			err := scan(&key)
			out = append(out, repair.Due{Handler: handler, Key: string(key), Cause: replay})
			return err
		}, takeClaims+of+takeUnless,
			append([]any{now.UnixMicro(), replay, handler, owner, until.UnixMicro()}, keys...)...)
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b repair.Due) int {
		return cmp.Or(cmp.Compare(a.Handler, b.Handler), cmp.Compare(a.Key, b.Key))
	})
	return out, nil
}

const (
	// As takeClaim, for many, in one order.
	takeClaims = `INSERT INTO parked_claim (handler, key, owner, until, replay)
		SELECT s.handler, s.key, CAST($4 AS text), CAST($5 AS bigint), s.replay FROM replay_sequence s
		WHERE s.replay = $2 AND s.handler = $3 AND `
	takeUnless = free + ` ORDER BY s.key ON CONFLICT (handler, key) DO UPDATE SET owner = excluded.owner,
		until = excluded.until, replay = excluded.replay WHERE parked_claim.until <= $1 RETURNING key`

	settleDone   = `UPDATE replay_sequence SET state = 'done', waiting = 0`
	settleFailed = `UPDATE replay_sequence SET state = 'failed', waiting = coalesce((SELECT p.waiting
		FROM parked_sequence p WHERE p.handler = replay_sequence.handler AND p.key = replay_sequence.key), 0)`
)

// keysOf are keys by handler.
type keysOf map[string][]string

func (k keysOf) add(d *repair.Due) { k[d.Handler] = append(k[d.Handler], d.Key) }

// settle notes what became of sequences of a replay that were to be tried. It is locked.
func (l *Lot) settle(ctx context.Context, replay string, all keysOf, as string) error {
	for _, handler := range slices.Sorted(maps.Keys(all)) {
		of, keys := l.keyed("key", 3, all[handler])
		err := l.exec(ctx, as+` WHERE replay = $1 AND handler = $2 AND state = 'todo' AND `+of,
			append([]any{replay, handler}, keys...)...)
		if err != nil {
			return err
		}
	}
	return nil
}

// Allow returns when the next messages of a replay may begin.
func (l *Lot) Allow(ctx context.Context, r repair.Running, n int, now time.Time) (from time.Time, err error) {
	if r.Rate <= 0 {
		return now, nil
	}
	take := int64(n) * int64(time.Second/time.Microsecond) / int64(r.Rate)
	var next int64
	err = l.within(ctx, func(ctx context.Context) error {
		found, err := l.one(ctx, []any{&next}, `UPDATE replay SET
			next_at = CASE WHEN next_at > CAST($2 AS bigint) THEN next_at ELSE $2 END + $3 WHERE id = $1 RETURNING next_at`,
			r.ID, now.UnixMicro(), take)
		if err == nil && !found {
			err = errors.New("there is no replay " + r.ID)
		}
		return err
	})
	return timeOf(next - take), err
}

// Settle notes what became of sequences of a replay.
func (l *Lot) Settle(
	ctx context.Context, replay string, all []repair.Settled, owner string, at time.Time,
) error {
	return l.within(ctx, func(ctx context.Context) error {
		status, spec, err := l.lockReplay(ctx, replay)
		if err != nil {
			return err
		}
		done, failed := keysOf{}, keysOf{}
		for i := range all {
			to := done
			if all[i].Failed {
				to = failed
			}
			to.add(&all[i].Due)
		}
		if err := l.settle(ctx, replay, done, settleDone); err != nil {
			return err
		}
		if err := l.settle(ctx, replay, failed, settleFailed); err != nil {
			return err
		}
		err = l.exec(ctx, `DELETE FROM parked_claim WHERE replay = $1 AND owner = $2`, replay, owner)
		if err != nil || status != ops.ReplayRunning {
			return err
		}
		return l.endReplay(ctx, replay, spec, at)
	})
}

// endReplay ends a replay that has come to its end. It is locked, and runs.
func (l *Lot) endReplay(ctx context.Context, replay string, spec ops.ReplaySpec, at time.Time) error {
	status := ops.ReplayDone
	var there int64
	left, err := l.one(ctx, []any{&there}, `SELECT 1 FROM replay_sequence
		WHERE replay = $1 AND state = 'todo' LIMIT 1`, replay)
	if err != nil {
		return err
	}
	if spec.StopAfter > 0 {
		var failed int
		_, err = l.one(ctx, []any{&failed}, `SELECT count(*) FROM replay_sequence
			WHERE replay = $1 AND state = 'failed'`, replay)
		if err != nil {
			return err
		}
		if failed >= spec.StopAfter {
			status, left = ops.ReplayStopped, false
		}
	}
	if left {
		return nil
	}
	return l.exec(ctx, `UPDATE replay SET status = $2, ended_at = $3 WHERE id = $1`,
		replay, string(status), at.UnixMicro())
}
