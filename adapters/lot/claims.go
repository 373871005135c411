package lot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bankforge/router"
	"bankforge/router/repair"
)

// in is a condition on several texts, the first of which is the n-th placeholder.
func in(column string, n int, texts []string) (condition string, args []any) {
	for _, text := range texts {
		args = append(args, text)
	}
	return among(column, n, args), args
}

// among is a condition on one of several values, the first of which is the n-th placeholder.
func among(column string, n int, values []any) string {
	var b strings.Builder
	b.WriteString(column + " IN (")
	for i := range values {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", n+i)
	}
	b.WriteString(")")
	return b.String()
}

// keyed is a condition on one of several keys, the first placeholder of which is the n-th. Its ends are said, too: a
// database that does not know how many keys a handler has looks at all of them otherwise.
func (l *Lot) keyed(column string, n int, keys []string) (condition string, args []any) {
	keys = slices.Sorted(slices.Values(keys))
	for _, key := range keys {
		args = append(args, l.db.Key(key))
	}
	args = padded(args)
	ends := fmt.Sprintf("%s >= $%d AND %s <= $%d AND ", column, n, column, n+len(args)-1)
	return ends + among(column, n, args), args
}

// free leaves out what is claimed at $1.
const free = ` AND coalesce((SELECT c.until FROM parked_claim c WHERE c.handler = s.handler AND c.key = s.key), 0)
	<= $1`

// Due returns sequences that are to be tried.
func (l *Lot) Due(ctx context.Context, handlers []string, now time.Time, limit int) (out []repair.Due, err error) {
	if len(handlers) == 0 {
		return nil, nil
	}
	of, args := in("s.handler", 3, handlers)
	question := selectDue + ` AND (s.paused = 0 OR s.rebuild <> '') AND ` + of + free + ` ORDER BY s.due_at LIMIT $2`
	err = l.db.Each(ctx, func(scan func(...any) error) error {
		d, err := scanDue(scan)
		out = append(out, d)
		return err
	}, question, append([]any{now.UnixMicro(), limit}, args...)...)
	return out, err
}

const selectDue = `SELECT s.handler, s.key, s.cause, s.alone, s.rebuild FROM parked_sequence s
	WHERE s.due_at > 0 AND s.due_at <= $1`

func scanDue(scan func(...any) error) (d repair.Due, err error) {
	var key []byte
	var alone int64
	var rebuild string
	err = scan(&d.Handler, &key, &d.Cause, &alone, &rebuild)
	d.Key, d.Alone, d.Rebuild = string(key), alone != 0, rebuild != ""
	return d, err
}

// DueNow is Due of one sequence.
func (l *Lot) DueNow(ctx context.Context, handler, key string, now time.Time) (d repair.Due, ok bool, err error) {
	err = l.db.Each(ctx, func(scan func(...any) error) (err error) {
		ok = true
		d, err = scanDue(scan)
		return err
	}, selectDue+` AND s.paused = 0 AND s.handler = $2 AND s.key = $3`, now.UnixMicro(), handler, l.db.Key(key))
	return d, ok && err == nil, err
}

const (
	takeClaim = `INSERT INTO parked_claim (handler, key, owner, until, replay) VALUES ($1, $2, $3, $4, '')
		ON CONFLICT (handler, key) DO UPDATE SET owner = excluded.owner, until = excluded.until,
			replay = CASE WHEN parked_claim.owner = excluded.owner AND parked_claim.until > $5
				THEN parked_claim.replay ELSE excluded.replay END
		WHERE parked_claim.until <= $5 OR parked_claim.owner = excluded.owner`
	dropClaim = `DELETE FROM parked_claim WHERE handler = $1 AND key = $2 AND owner = $3`
)

// Claim takes or prolongs a claim.
func (l *Lot) Claim(
	ctx context.Context, handler, key, owner string, now, until time.Time,
) (ok bool, err error) {
	err = l.within(ctx, func(ctx context.Context) error {
		n, err := l.db.Exec(ctx, takeClaim, handler, l.db.Key(key), owner, until.UnixMicro(), now.UnixMicro())
		ok = n == 1
		return err
	})
	return ok && err == nil, err
}

// Release ends a claim of the owner's.
func (l *Lot) Release(ctx context.Context, handler, key, owner string) error {
	return l.within(ctx, func(ctx context.Context) error {
		return l.exec(ctx, dropClaim, handler, l.db.Key(key), owner)
	})
}

// Postpone has a sequence tried later.
func (l *Lot) Postpone(ctx context.Context, handler, key string, until time.Time) error {
	return l.within(ctx, func(ctx context.Context) error {
		return l.exec(ctx, `UPDATE parked_sequence SET due_at = $3 WHERE handler = $1 AND key = $2 AND due_at > 0`,
			handler, l.db.Key(key), micros(until))
	})
}

// Lock locks a key that is to be rebuilt.
func (l *Lot) Lock(ctx context.Context, handler, key string) (act string, ok bool, err error) {
	if err := l.db.Tx(ctx); err != nil {
		return "", false, err
	}
	_, err = l.one(ctx, []any{&act}, l.locking(`SELECT rebuild FROM parked_sequence WHERE handler = $1 AND key = $2`),
		handler, l.db.Key(key))
	return act, act != "", err
}

const (
	endAll = `UPDATE parked_message SET status = 'resolved', ended_at = $3, ended_by = $4
		WHERE handler = $1 AND key = $2 AND ended_at IS NULL`
	ungroupAll = `UPDATE parked_account SET fingerprint = '' WHERE fingerprint <> '' AND message =
		(SELECT head FROM parked_sequence WHERE handler = $1 AND key = $2)`
	emptySequence = `UPDATE parked_sequence SET waiting = 0, head = 0, tries = 0, due_at = 0, cause = '', alone = 0,
		rebuild = '', class = '', fingerprint = '', failed_at = 0, tried_at = 0 WHERE handler = $1 AND key = $2`
	healed = `DELETE FROM diverged WHERE handler = $1 AND key = $2`
	// All that was wanted of the key is done with it.
	finishAll = `UPDATE act SET status = 'done', code = '', detail = $3, ended_at = $4 WHERE status = 'pending'
		AND (handler = $1 AND key = $2 OR id = (SELECT cause FROM parked_sequence WHERE handler = $1 AND key = $2))`
	refuseAll = `UPDATE act SET status = 'failed', code = $3, detail = $4, ended_at = $5 WHERE status = 'pending'
		AND kind = 'sequence.rebuild' AND handler = $1 AND key = $2`
	// What wanted it tried, still does, at its time. What has not failed by itself, and would not be, is tried at once.
	refuseSequence = `UPDATE parked_sequence SET rebuild = '', due_at = CASE
			WHEN cause <> '' AND (due_then > 0 OR class <> '') THEN due_then
			WHEN head > 0 AND class = '' THEN CAST($3 AS bigint) ELSE 0 END,
		cause = CASE WHEN cause = '' AND head > 0 AND class = '' THEN 'backoff' ELSE cause END
		WHERE handler = $1 AND key = $2`
)

// Rebuilt ends the waiting of all messages of a key.
func (l *Lot) Rebuilt(ctx context.Context, handler, key string, at time.Time) (resolved int, err error) {
	act, ok, err := l.Lock(ctx, handler, key)
	if err != nil || !ok {
		return 0, errors.Join(err, errUnlessOK(ok))
	}
	k := l.db.Key(key)
	if err := l.exec(ctx, ungroupAll, handler, k); err != nil {
		return 0, err
	}
	n, err := l.db.Exec(ctx, endAll, handler, k, at.UnixMicro(), act)
	if err != nil {
		return 0, err
	}
	what := fmt.Sprintf("%d messages that waited are in the view", n)
	if err := l.exec(ctx, finishAll, handler, k, what, at.UnixMicro()); err != nil {
		return 0, err
	}
	for _, statement := range []string{emptySequence, endSequence, healed} {
		if err := l.exec(ctx, statement, handler, k); err != nil {
			return 0, err
		}
	}
	return int(n), nil
}

func errUnlessOK(ok bool) error {
	if ok {
		return nil
	}
	return errors.New("nobody wants the key rebuilt")
}

// TakenIn ends the waiting of all that is parked of a handler, and that keys of it have diverged: its view has been
// built anew. Keys that are paused stay so. It returns how many keys waited.
func (l *Lot) TakenIn(ctx context.Context, handler string) (keys int, err error) {
	if err := l.db.Tx(ctx); err != nil {
		return 0, err
	}
	now := time.Now().UnixMicro()
	_, err = l.one(ctx, []any{&keys}, `SELECT count(*) FROM parked_sequence WHERE handler = $1 AND waiting > 0`, handler)
	if err != nil {
		return 0, err
	}
	for _, s := range []struct {
		statement string
		args      []any
	}{
		{`UPDATE parked_account SET fingerprint = '' WHERE fingerprint <> '' AND message IN
			(SELECT head FROM parked_sequence WHERE handler = $1)`, nil},
		{`UPDATE act SET status = 'done', detail = 'the whole view was built anew', ended_at = $2 WHERE status = 'pending'
			AND id IN (SELECT cause FROM parked_sequence WHERE handler = $1
				UNION SELECT rebuild FROM parked_sequence WHERE handler = $1)`, []any{now}},
		{`UPDATE parked_message SET status = 'resolved', ended_at = $2, ended_by = 'rebuild'
			WHERE handler = $1 AND ended_at IS NULL`, []any{now}},
		{`UPDATE parked_sequence SET waiting = 0, head = 0, tries = 0, due_at = 0, cause = '', alone = 0, rebuild = '',
			class = '', fingerprint = '', failed_at = 0, tried_at = 0 WHERE handler = $1`, nil},
		{`DELETE FROM parked_sequence WHERE handler = $1 AND paused = 0`, nil},
		{`DELETE FROM diverged WHERE handler = $1`, nil},
	} {
		if err := l.exec(ctx, s.statement, append([]any{handler}, s.args...)...); err != nil {
			return 0, err
		}
	}
	return keys, nil
}

// Refuse ends a wish to rebuild.
func (l *Lot) Refuse(ctx context.Context, handler, key string, r repair.Refusal) error {
	return l.within(ctx, func(ctx context.Context) error {
		act, ok, err := l.Lock(ctx, handler, key)
		if err != nil || !ok || r.Act != "" && r.Act != act {
			return err
		}
		k := l.db.Key(key)
		if err := l.exec(ctx, refuseSequence, handler, k, r.At.UnixMicro()); err != nil {
			return err
		}
		if err := l.exec(ctx, endSequence, handler, k); err != nil {
			return err
		}
		return l.exec(ctx, refuseAll, handler, k, r.Code, l.db.Text(r.Why), r.At.UnixMicro())
	})
}

// jsonOf is for what stands in a column as JSON.
func jsonOf(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

var _ router.Controls = (*Lot)(nil)
