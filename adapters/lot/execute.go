package lot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"bankforge/app/ops"
	"bankforge/router"
	"bankforge/router/repair"
)

// result is what became of an act when it was executed.
type result struct {
	as     ops.ActStatus
	code   string
	detail string
}

func refused(code, detail string) result { return result{ops.ActRefused, code, detail} }

var (
	done    = result{as: ops.ActDone}
	pending = result{as: ops.ActPending}
	// needed refuses what would leave nobody to undo it.
	needed = refused(ops.RefusedState, "it executes what operators want: paused, nothing could resume it")
)

const (
	knownAct  = `SELECT 1 FROM act WHERE id = $1`
	insertAct = `INSERT INTO act (id, seq, kind, handler, key, target, reason, actor, status, code, detail, at, ended_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`
)

// Execute does what an act wants, once.
func (l *Lot) Execute(ctx context.Context, a repair.Act) error {
	if err := l.db.Tx(ctx); err != nil {
		return err
	}
	var there int64
	if known, err := l.one(ctx, []any{&there}, knownAct, a.ID); err != nil || known {
		return err
	}
	r, err := l.execute(ctx, &a)
	if err != nil {
		return fmt.Errorf("act %s, %s: %w", a.ID, a.Kind, err)
	}
	var ended int64
	if r.as != ops.ActPending {
		ended = a.At.UnixMicro()
	}
	return l.exec(ctx, insertAct, a.ID, int64(a.Seq), a.Kind, a.Handler, l.db.Key(a.Key), a.Target,
		l.db.Text(a.Reason), a.Actor, string(r.as), r.code, l.db.Text(r.detail), a.At.UnixMicro(), ended)
}

func (l *Lot) execute(ctx context.Context, a *repair.Act) (result, error) {
	switch a.Kind {
	case ops.FailureRetry, ops.FailureDiscard, ops.FailureSchedule:
		return l.onFailure(ctx, a)
	case ops.SequenceRetry, ops.SequencePause, ops.SequenceResume, ops.SequenceRebuild:
		return l.onSequence(ctx, a)
	case ops.GroupRetry:
		return l.retryGroup(ctx, a)
	case ops.HandlerPause, ops.HandlerResume, ops.HandlerPolicy:
		return l.onHandler(ctx, a)
	case ops.ReplayPlan:
		return l.planReplay(ctx, a)
	case ops.ReplayStart:
		return l.startReplay(ctx, a)
	case ops.ReplayCancel:
		return l.cancelReplay(ctx, a)
	case ops.DemoFailuresSet:
		return l.setDemo(ctx, a)
	default:
		return refused(ops.RefusedInvalid, "this version knows no such act"), nil
	}
}

const (
	// wish has a sequence tried. Its back-off begins anew: the first failure makes it 0. A rebuild comes first.
	wish = `UPDATE parked_sequence SET due_at = CASE WHEN rebuild = '' THEN CAST($3 AS bigint) ELSE due_at END,
		due_then = CAST($3 AS bigint), cause = $4, alone = $5, tries = -1 WHERE handler = $1 AND key = $2`
	// wishRebuild has a key rebuilt. When it is tried if that cannot be, stands aside.
	wishRebuild = `UPDATE parked_sequence SET due_then = CASE WHEN rebuild = '' THEN due_at ELSE due_then END,
		rebuild = $4, due_at = $3 WHERE handler = $1 AND key = $2`
)

func (l *Lot) onFailure(ctx context.Context, a *repair.Act) (result, error) {
	var id int64
	var handler string
	var key []byte
	found, err := l.one(ctx, []any{&id, &handler, &key}, `SELECT id, handler, key FROM parked_message WHERE fail = $1`,
		a.Target)
	if err != nil || !found {
		return refused(ops.RefusedNotFound, "there is no such failure"), err
	}
	head, p, err := l.lock(ctx, handler, string(key))
	switch {
	case err != nil:
		return result{}, err
	case head != id:
		return refused(ops.RefusedNotHead, "it is not what waits first for its key"), nil
	}
	switch a.Kind {
	case ops.FailureDiscard:
		return l.discard(ctx, a, &p)
	case ops.FailureSchedule:
		b, err := ops.ParseSchedule(a.Body)
		if err != nil {
			return refused(ops.RefusedInvalid, err.Error()), nil
		}
		if b.At.Before(a.At) { // at once, then
			b.At = a.At
		}
		if err := l.want(ctx, a, &p, head, b.At, false); err != nil {
			return result{}, err
		}
		return pending, l.exec(ctx, `UPDATE parked_message SET status = 'scheduled' WHERE id = $1`, id)
	case ops.FailureRetry:
		if p.Paused {
			return refused(ops.RefusedPaused, "the key is paused"), nil
		}
		return pending, l.want(ctx, a, &p, head, a.At, true)
	}
	return result{}, errors.ErrUnsupported
}

// want has a sequence that is locked tried at a time. What wanted that before, wants it no more.
func (l *Lot) want(
	ctx context.Context, a *repair.Act, p *router.Parked, head int64, at time.Time, alone bool,
) error {
	if err := l.supersede(ctx, a, p, head); err != nil {
		return err
	}
	return l.exec(ctx, wish, p.Handler, l.db.Key(p.Key), at.UnixMicro(), a.ID, flag(alone))
}

// supersede ends what wants a sequence that is locked, as another act will want it otherwise.
func (l *Lot) supersede(ctx context.Context, a *repair.Act, p *router.Parked, head int64) error {
	if !isAct(p.Wanted.Cause) {
		return nil
	}
	err := l.exec(ctx, `UPDATE parked_message SET status = 'parked' WHERE id = $1 AND status = 'scheduled'`, head)
	if err != nil {
		return err
	}
	return l.finish(ctx, p.Wanted.Cause, ops.ActFailed, ops.Superseded, "it is wanted by "+a.ID, a.At)
}

// discard gives up the head: what waits behind it goes on, and the view of the key lacks something.
func (l *Lot) discard(ctx context.Context, a *repair.Act, p *router.Parked) (result, error) {
	err := l.exec(ctx, `INSERT INTO diverged (handler, key, since, reason, fail) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT DO NOTHING`, p.Handler, l.db.Key(p.Key), a.At.UnixMicro(), l.db.Text(a.Reason), a.Target)
	if err != nil {
		return result{}, err
	}
	head, ok, err := l.Head(ctx, p.Handler, p.Key)
	if err != nil || !ok {
		return refused(ops.RefusedNotHead, "nothing waits"), err
	}
	return done, l.Resolve(ctx, head, router.Ending{As: router.Discarded, By: a.ID, At: a.At, Next: a.At})
}

// hold makes a sequence that has nothing in it, so that a key does not flow. One that is there is locked by that: a
// replayer may be about to end it.
const holdSequence = `INSERT INTO parked_sequence (handler, key, id, waiting, since) VALUES ($1, $2, $3, 0, $4)
	ON CONFLICT (handler, key) DO UPDATE SET waiting = parked_sequence.waiting`

func (l *Lot) onSequence(ctx context.Context, a *repair.Act) (result, error) {
	key := l.db.Key(a.Key)
	if a.Handler == "" || a.Key == "" {
		return refused(ops.RefusedNotFound, "a sequence has a handler and a key"), nil
	}
	if a.Kind == ops.SequencePause && a.Handler == router.OperationsHandler {
		return needed, nil
	}
	if a.Kind == ops.SequencePause || a.Kind == ops.SequenceRebuild {
		known, err := l.knows(ctx, a.Handler)
		if err != nil || !known {
			return refused(ops.RefusedNotFound, "there is no such handler"), err
		}
		err = l.exec(ctx, holdSequence, a.Handler, key, ops.SequenceID(a.Handler, a.Key), a.At.UnixMicro())
		if err != nil {
			return result{}, err
		}
	}
	head, p, err := l.lock(ctx, a.Handler, a.Key)
	if err != nil {
		return result{}, err
	}
	switch a.Kind {
	case ops.SequencePause:
		return done, l.exec(ctx, `UPDATE parked_sequence SET paused = 1 WHERE handler = $1 AND key = $2`, a.Handler, key)
	case ops.SequenceRebuild:
		// What wanted the sequence tried, wants it still if this cannot be done.
		return pending, l.exec(ctx, wishRebuild, a.Handler, key, a.At.UnixMicro(), a.ID)
	case ops.SequenceResume:
		if !p.Paused {
			return refused(ops.RefusedNotPaused, "the key is not paused"), nil
		}
		return done, l.resume(ctx, a, &p, head)
	case ops.SequenceRetry:
		switch {
		case head == 0:
			return refused(ops.RefusedNotFound, "nothing is parked for this key"), nil
		case p.Paused:
			return refused(ops.RefusedPaused, "the key is paused"), nil
		}
		return pending, l.want(ctx, a, &p, head, a.At, false)
	}
	return result{}, errors.ErrUnsupported
}

// resume lets a key go on: what has not failed by itself is tried at once, and what an act wants, as that said.
func (l *Lot) resume(ctx context.Context, a *repair.Act, p *router.Parked, head int64) error {
	key := l.db.Key(a.Key)
	err := l.exec(ctx, `UPDATE parked_sequence SET paused = 0 WHERE handler = $1 AND key = $2`, a.Handler, key)
	if err != nil {
		return err
	}
	if head == 0 {
		return l.exec(ctx, endSequence, a.Handler, key)
	}
	if isAct(p.Wanted.Cause) {
		return nil
	}
	return l.exec(ctx, `UPDATE parked_sequence SET due_at = $3, cause = 'backoff' WHERE handler = $1 AND key = $2
		AND fingerprint = '' AND class = ''`, a.Handler, key, a.At.UnixMicro())
}

// knows reports whether anything was ever heard of a handler.
func (l *Lot) knows(ctx context.Context, handler string) (bool, error) {
	var there int64
	return l.one(ctx, []any{&there}, `SELECT 1 WHERE EXISTS (SELECT 1 FROM checkpoint WHERE handler = $1)
		OR EXISTS (SELECT 1 FROM handler_run WHERE handler = $1)
		OR EXISTS (SELECT 1 FROM parked_sequence WHERE handler = $1)`,
		handler)
}

// retryGroup has all sequences tried whose heads failed for one reason.
func (l *Lot) retryGroup(ctx context.Context, a *repair.Act) (result, error) {
	if err := l.supersedeGroup(ctx, a); err != nil {
		return result{}, err
	}
	n, err := l.db.Exec(ctx, `UPDATE parked_sequence SET due_at = $2, due_then = $2, cause = $3, alone = 0, tries = -1
		WHERE fingerprint = $1 AND fingerprint <> '' AND paused = 0`, a.Target, a.At.UnixMicro(), a.ID)
	if err != nil || n == 0 || a.Target == "" {
		return refused(ops.RefusedNotFound, "nothing waits that failed for this reason"), err
	}
	return result{ops.ActDone, "", fmt.Sprintf("%d sequences are tried", n)}, nil
}

// supersedeGroup ends what wants sequences of a group tried. It locks them before acts, as all others do.
func (l *Lot) supersedeGroup(ctx context.Context, a *repair.Act) error {
	var all []router.Parked
	var heads []int64
	err := l.db.Each(ctx, func(scan func(...any) error) error {
		var head int64
		var p router.Parked
		err := scan(&head, &p.Wanted.Cause)
		all, heads = append(all, p), append(heads, head)
		return err
	}, l.locking(`SELECT head, cause FROM parked_sequence WHERE fingerprint = $1 AND fingerprint <> '' AND paused = 0
		AND cause LIKE 'act!_%' ESCAPE '!' ORDER BY handler, key`), a.Target)
	for i := range all {
		if err == nil {
			err = l.supersede(ctx, a, &all[i], heads[i])
		}
	}
	return err
}

func (l *Lot) onHandler(ctx context.Context, a *repair.Act) (result, error) {
	if a.Kind == ops.HandlerPause && a.Handler == router.OperationsHandler {
		return needed, nil
	}
	known, err := l.knows(ctx, a.Handler)
	if err != nil || !known {
		return refused(ops.RefusedNotFound, "there is no such handler"), err
	}
	switch a.Kind {
	case ops.HandlerPause:
		_, err = l.db.Exec(ctx, pauseHandler, a.Handler, l.db.Text(a.Reason), a.ID, a.At.UnixMicro())
	case ops.HandlerResume:
		// Also of a handler that is not paused: who holds tries again at once.
		err = l.exec(ctx, `INSERT INTO handler_control (handler, paused, why, paused_by, paused_at, resumed)
			VALUES ($1, 0, '', '', 0, 1) ON CONFLICT (handler) DO UPDATE SET paused = 0, why = '', paused_by = '',
			paused_at = 0, resumed = handler_control.resumed + 1`, a.Handler)
	case ops.HandlerPolicy:
		body, ill := policyBody(a.Body)
		if ill != nil {
			return refused(ops.RefusedInvalid, ill.Error()), nil
		}
		if other, err := l.otherPolicy(ctx, a); err != nil || other != "" {
			return refused(ops.RefusedVersion, other), err
		}
		err = l.exec(ctx, `INSERT INTO policy (handler, version, body) VALUES ($1, 1, $2)
			ON CONFLICT (handler) DO UPDATE SET version = policy.version + 1, body = excluded.body`, a.Handler, body)
	}
	if err != nil {
		return result{}, err
	}
	return done, l.changed(ctx)
}

// otherPolicy says that the policy is not of the version that the act is about; "": it is, or that does not matter.
// Acts are executed in the order of the log, so nobody comes in between.
func (l *Lot) otherPolicy(ctx context.Context, a *repair.Act) (string, error) {
	if a.Target == "" {
		return "", nil
	}
	var changes int
	_, err := l.one(ctx, []any{&changes}, `SELECT version FROM policy WHERE handler = $1`, a.Handler)
	if is := ops.PolicyVersion(changes); err != nil || a.Target != is {
		return "the version is " + is, err
	}
	return "", nil
}

// policyBody is a policy as it is stored: whole, so that another default changes nothing about it; "": the default.
func policyBody(body []byte) (string, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err == nil && len(fields) == 0 {
		return "", nil
	}
	p, err := ops.ParsePolicy(body, ops.DefaultPolicy())
	if err != nil {
		return "", err
	}
	return jsonOf(p)
}

func (l *Lot) setDemo(ctx context.Context, a *repair.Act) (result, error) {
	b, err := ops.ParseDemo(a.Body)
	if err != nil {
		return refused(ops.RefusedInvalid, err.Error()), nil
	}
	if err := l.exec(ctx, `UPDATE control SET demo = $1 WHERE id = 1`, flag(b.Enabled)); err != nil {
		return result{}, err
	}
	return done, l.changed(ctx)
}
