package lot

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/router"
)

const (
	// First the sequence: it is what others lock.
	growSequence = `INSERT INTO parked_sequence (handler, key, id, waiting, since) VALUES ($1, $2, $3, 1, $4)
		ON CONFLICT (handler, key) DO UPDATE SET waiting = parked_sequence.waiting + 1 RETURNING waiting, since`
	insertParked = `INSERT INTO parked_message
		(fail, handler, topic, partition, key, incarnation, position, status, parked_at, ended_by, type, correlation,
		accounts, class, error, fingerprint, attempts, metadata, payload)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '', $10, $11, $12, $13, $14, $15, $16, $17, $18) RETURNING id`
	insertAccount = `INSERT INTO parked_account (account, parked_at, fail, message, fingerprint)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`
	insertGroup = `INSERT INTO parked_group (fingerprint, handler, class, error) VALUES ($1, $2, $3, $4)
		ON CONFLICT DO NOTHING`
	insertAttempt = `INSERT INTO parked_attempt (message, n, at, took, class, error, stack, tried_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`
	// A sequence that had no head gets one.
	beginSequence = `UPDATE parked_sequence SET head = $3, since = $4, class = $5, fingerprint = $6, failed_at = $7,
		due_at = CASE WHEN due_at = 0 THEN CAST($8 AS bigint) ELSE due_at END,
		cause = CASE WHEN due_at = 0 THEN 'backoff' ELSE cause END WHERE handler = $1 AND key = $2`
)

// Park appends a message to the sequence of its key.
func (l *Lot) Park(ctx context.Context, p router.Parked, attempts []router.Attempt) (waiting int, err error) {
	if err := l.db.Tx(ctx); err != nil {
		return 0, err
	}
	metadata, err := json.Marshal(p.Metadata)
	if err != nil {
		return 0, err
	}
	key, at, name := l.db.Key(p.Key), p.At.UnixMicro(), p.ID()
	var since int64
	_, err = l.one(ctx, []any{&waiting, &since}, growSequence, p.Handler, key, ops.SequenceID(p.Handler, p.Key), at)
	if err != nil {
		return 0, fmt.Errorf("park %q: %w", p.Key, err)
	}
	var last router.Attempt
	class := ""
	if len(attempts) > 0 && p.Status == router.Failed {
		last = attempts[len(attempts)-1]
		class = last.Class.String()
	}
	payload := p.Payload
	if payload == nil {
		payload = []byte{}
	}
	var id int64
	_, err = l.one(ctx, []any{&id}, insertParked, name, p.Handler, string(p.Topic), p.Partition, key, p.Incarnation,
		p.Position.Offset(), string(p.Status), at, l.db.Text(p.Type), l.db.Text(p.Correlation), l.db.Text(list(p.Accounts)),
		class, l.db.Text(last.Error), last.Fingerprint, len(attempts), string(metadata), payload)
	if err != nil {
		return 0, fmt.Errorf("park %q: %w", p.Key, err)
	}
	if err := l.beside(ctx, &p, id, name, last, attempts); err != nil || waiting > 1 {
		return waiting, err
	}
	return waiting, l.exec(ctx, beginSequence, p.Handler, key, id, at, class, last.Fingerprint,
		micros(last.At), micros(p.Next))
}

// beside writes what belongs to a message in other tables.
func (l *Lot) beside(
	ctx context.Context, p *router.Parked, id int64, name string, last router.Attempt, attempts []router.Attempt,
) error {
	for i := range attempts {
		if err := l.addAttempt(ctx, id, i+1, &attempts[i]); err != nil {
			return err
		}
	}
	for _, account := range p.Accounts {
		err := l.exec(ctx, insertAccount, l.db.Text(account), p.At.UnixMicro(), name, id, last.Fingerprint)
		if err != nil {
			return err
		}
	}
	return l.group(ctx, p.Handler, &last)
}

// group notes what the failures of one fingerprint have in common.
func (l *Lot) group(ctx context.Context, handler string, a *router.Attempt) error {
	if a.Fingerprint == "" {
		return nil
	}
	return l.exec(ctx, insertGroup, a.Fingerprint, handler, a.Class.String(), l.db.Text(a.Error))
}

func (l *Lot) addAttempt(ctx context.Context, message int64, n int, a *router.Attempt) error {
	return l.exec(ctx, insertAttempt, message, n, a.At.UnixMicro(), int64(a.Took), a.Class.String(),
		l.db.Text(a.Error), l.db.Text(a.Stack), a.By)
}

const (
	selectSequence = `SELECT head, tries, paused, cause, alone FROM parked_sequence WHERE handler = $1 AND key = $2`
	selectParked   = `SELECT topic, partition, incarnation, position, status, parked_at, type, correlation, accounts,
		attempts, metadata, payload FROM parked_message WHERE id = $1`
	selectAttempts = `SELECT at, took, class, error, stack, tried_by FROM parked_attempt WHERE message = $1 ORDER BY n`
)

// Head returns the first message that waits in a sequence. It is read behind the lock, and so is what whoever had the
// lock before has left.
func (l *Lot) Head(ctx context.Context, handler, key string) (p router.Parked, ok bool, err error) {
	id, p, err := l.lock(ctx, handler, key)
	if err != nil || id == 0 {
		return router.Parked{}, false, err
	}
	var topic, status, accounts string
	var offset, at int64
	var attempts int
	var metadata []byte
	found, err := l.one(ctx, []any{&topic, &p.Partition, &p.Incarnation, &offset, &status, &at, &p.Type, &p.Correlation,
		&accounts, &attempts, &metadata, &p.Payload}, selectParked, id)
	if err != nil || !found {
		return router.Parked{}, false, err
	}
	p.Topic, p.Status, p.Accounts = bank.Topic(topic), router.Status(status), words(accounts)
	p.Position, p.At = handlers.PositionAt(offset), timeOf(at)
	if err := json.Unmarshal(metadata, &p.Metadata); err != nil {
		return router.Parked{}, false, err
	}
	if attempts > 0 {
		p.Attempts, err = l.attempts(ctx, id)
	}
	return p, err == nil, err
}

// words is the inverse of list.
func words(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, " ")
}

// lock locks a sequence, and returns which message is its head; 0: none.
func (l *Lot) lock(ctx context.Context, handler, key string) (id int64, p router.Parked, err error) {
	if err := l.db.Tx(ctx); err != nil {
		return 0, p, err
	}
	p.Handler, p.Key = handler, key
	var paused, alone int64
	_, err = l.one(ctx, []any{&id, &p.Tries, &paused, &p.Wanted.Cause, &alone}, l.locking(selectSequence), handler,
		l.db.Key(key))
	p.Paused, p.Wanted.Alone = paused != 0, alone != 0
	return id, p, err
}

func (l *Lot) attempts(ctx context.Context, message int64) (out []router.Attempt, err error) {
	err = l.db.Each(ctx, func(scan func(...any) error) error {
		var a router.Attempt
		var at, took int64
		var class string
		err := scan(&at, &took, &class, &a.Error, &a.Stack, &a.By)
		a.Class, _ = handlers.ParseClass(class)
		a.At, a.Took = timeOf(at), time.Duration(took)
		out = append(out, a)
		return err
	}, selectAttempts, message)
	return out, err
}

// mustHead locks the sequence of p, and finds out whether p is its head still, and what wants it tried.
func (l *Lot) mustHead(ctx context.Context, p *router.Parked) (id int64, wanted router.By, err error) {
	id, now, err := l.lock(ctx, p.Handler, p.Key)
	if err != nil {
		return 0, wanted, err
	}
	var there int64
	found, err := l.one(ctx, []any{&there}, `SELECT 1 FROM parked_message
		WHERE id = $1 AND incarnation = $2 AND position = $3`, id, p.Incarnation, p.Position.Offset())
	if err == nil && !found {
		err = ErrNotHead
	}
	return id, now.Wanted, err
}

const (
	failHead = `UPDATE parked_message SET status = CASE WHEN CAST($5 AS bigint) = 1 THEN status ELSE 'parked' END,
		class = $2, error = $3, fingerprint = $4, attempts = attempts + 1 WHERE id = $1`
	// A rebuild that is wanted still is; and so is what an act wants that has had nothing to do with this try.
	failSequence = `UPDATE parked_sequence SET class = $3, fingerprint = $4, failed_at = $5,
		due_at = CASE WHEN rebuild <> '' OR CAST($8 AS bigint) = 1 THEN due_at ELSE CAST($6 AS bigint) END,
		due_then = CASE WHEN CAST($8 AS bigint) = 1 THEN due_then ELSE CAST($6 AS bigint) END,
		cause = CASE WHEN CAST($8 AS bigint) = 1 THEN cause ELSE 'backoff' END,
		alone = CASE WHEN CAST($8 AS bigint) = 1 THEN alone ELSE 0 END, tries = tries + 1, tried_at = $7
		WHERE handler = $1 AND key = $2`
	groupAccounts = `UPDATE parked_account SET fingerprint = $2 WHERE message = $1`
)

// Attempted adds a failed try to the head of a sequence.
func (l *Lot) Attempted(ctx context.Context, p router.Parked, a router.Attempt, next time.Time) error {
	id, wanted, err := l.mustHead(ctx, &p)
	if err != nil {
		return err
	}
	still := flag(isAct(wanted.Cause) && wanted.Cause != a.By)
	var n int
	if _, err := l.one(ctx, []any{&n}, `SELECT attempts FROM parked_message WHERE id = $1`, id); err != nil {
		return err
	}
	if err := l.addAttempt(ctx, id, n+1, &a); err != nil {
		return err
	}
	class := a.Class.String()
	if err := l.exec(ctx, failHead, id, class, l.db.Text(a.Error), a.Fingerprint, still); err != nil {
		return err
	}
	if err := l.exec(ctx, groupAccounts, id, a.Fingerprint); err != nil {
		return err
	}
	if err := l.group(ctx, p.Handler, &a); err != nil {
		return err
	}
	ended := a.At.Add(a.Took)
	err = l.exec(ctx, failSequence, p.Handler, l.db.Key(p.Key), class, a.Fingerprint, a.At.UnixMicro(), micros(next),
		ended.UnixMicro(), still)
	if err != nil {
		return err
	}
	return l.finish(ctx, a.By, ops.ActFailed, ops.FailedAgain, a.Error, ended)
}

const (
	endHead = `UPDATE parked_message SET status = $5, ended_at = $6, ended_by = $7
		WHERE id = (SELECT head FROM parked_sequence WHERE handler = $1 AND key = $2) AND incarnation = $3
		AND position = $4 RETURNING id, CASE WHEN class <> '' THEN 1 ELSE 0 END`
	ungroupHead = `UPDATE parked_account SET fingerprint = '' WHERE message = $1 AND fingerprint <> ''`
	// What waits behind a head has not failed itself.
	nextHead = `UPDATE parked_sequence SET waiting = waiting - 1, tries = 0, class = '', fingerprint = '', failed_at = 0,
		tried_at = 0,
		head = coalesce((SELECT min(m.id) FROM parked_message m WHERE m.handler = $1 AND m.key = $2 AND m.id > $3
			AND m.ended_at IS NULL), 0),
		since = coalesce((SELECT m.parked_at FROM parked_message m WHERE m.handler = $1 AND m.key = $2 AND m.id > $3
			AND m.ended_at IS NULL ORDER BY m.id LIMIT 1), since),
		due_at = CASE WHEN rebuild <> '' THEN due_at WHEN waiting = 1 THEN 0 WHEN CAST($4 AS bigint) > 0 THEN $4
			WHEN alone = 1 THEN 0 ELSE due_at END,
		due_then = CASE WHEN waiting = 1 THEN 0 WHEN CAST($4 AS bigint) > 0 THEN $4 WHEN alone = 1 THEN 0
			ELSE due_then END,
		cause = CASE WHEN waiting = 1 THEN '' WHEN CAST($4 AS bigint) > 0 THEN $5 WHEN alone = 1 THEN '' ELSE cause END,
		alone = 0 WHERE handler = $1 AND key = $2 RETURNING waiting, cause`
	endSequence = `DELETE FROM parked_sequence
		WHERE handler = $1 AND key = $2 AND waiting = 0 AND paused = 0 AND rebuild = ''`
)

// Resolve ends the waiting of the head of a sequence, and the sequence with its last message. Head has locked it.
func (l *Lot) Resolve(ctx context.Context, p router.Parked, e router.Ending) error {
	if err := l.db.Tx(ctx); err != nil {
		return err
	}
	var id, failed int64
	found, err := l.one(ctx, []any{&id, &failed}, endHead, p.Handler, l.db.Key(p.Key), p.Incarnation,
		p.Position.Offset(), string(e.As), e.At.UnixMicro(), e.By)
	switch {
	case err != nil:
		return err
	case !found:
		return ErrNotHead
	case failed != 0:
		if err := l.exec(ctx, ungroupHead, id); err != nil {
			return err
		}
	}
	return l.next(ctx, &p, id, e)
}

// next goes on behind a head that was ended. What an act wants goes on, too, unless it was about the head alone.
func (l *Lot) next(ctx context.Context, p *router.Parked, id int64, e router.Ending) error {
	var waiting int
	var cause string
	wanted, next, then := p.Wanted, micros(e.Next), ops.ByBackoff
	switch {
	case e.As == router.Discarded:
		then = e.By
	case !wanted.Alone && (wanted.Cause == e.By || isAct(wanted.Cause)):
		next = 0
	}
	_, err := l.one(ctx, []any{&waiting, &cause}, nextHead, p.Handler, l.db.Key(p.Key), id, next, then)
	if err != nil {
		return err
	}
	if waiting == 0 {
		if err := l.exec(ctx, endSequence, p.Handler, l.db.Key(p.Key)); err != nil {
			return err
		}
	}
	if waiting == 0 || cause != e.By {
		err = l.finish(ctx, e.By, ops.ActDone, "", "", e.At)
	}
	switch {
	case err != nil || wanted.Cause == e.By || wanted.Cause == cause:
		return err
	case e.As == router.Discarded:
		return l.finish(ctx, wanted.Cause, ops.ActFailed, ops.Superseded, "it was discarded by "+e.By, e.At)
	}
	return l.finish(ctx, wanted.Cause, ops.ActDone, "", "it was handled by "+e.By, e.At)
}

func isAct(by string) bool { return strings.HasPrefix(by, "act_") }

// finish says what became of an act that was to be waited for, if by is one.
func (l *Lot) finish(ctx context.Context, by string, as ops.ActStatus, code, detail string, at time.Time) error {
	if !isAct(by) {
		return nil
	}
	return l.exec(ctx, `UPDATE act SET status = $2, code = $3, detail = $4, ended_at = $5
		WHERE id = $1 AND status = 'pending'`, by, string(as), code, l.db.Text(detail), at.UnixMicro())
}

// Forget forgets what was parked of a stream behind a checkpoint, or in other incarnations, in the transaction that ctx
// carries. Who rewinds a checkpoint calls it.
func (l *Lot) Forget(ctx context.Context, of router.Stream, c router.Checkpoint) error {
	return l.forget(ctx, ` AND topic = $2 AND partition = $3 AND (incarnation <> $4 OR position > $5)`,
		of.Handler, string(of.Topic), of.Partition, c.Incarnation, c.Position.Offset())
}

// ForgetAll forgets all that was ever parked of a handler, in the transaction that ctx carries. Keys that are paused
// stay so.
func (l *Lot) ForgetAll(ctx context.Context, handler string) error { return l.forget(ctx, "", handler) }

// What is left of sequences of which something was forgotten. What was discarded comes again, too.
var forgetting = []string{
	`UPDATE parked_sequence SET waiting = (SELECT count(*) FROM parked_message m WHERE m.handler = $1
		AND m.key = parked_sequence.key AND m.ended_at IS NULL),
		head = coalesce((SELECT min(m.id) FROM parked_message m WHERE m.handler = $1
			AND m.key = parked_sequence.key AND m.ended_at IS NULL), 0) WHERE handler = $1`,
	`UPDATE act SET status = 'failed', code = 'superseded', detail = 'what waited was forgotten, and comes again',
		ended_at = $2 WHERE status = 'pending' AND id IN (SELECT cause FROM parked_sequence
			WHERE handler = $1 AND waiting = 0)`,
	`UPDATE parked_sequence SET class = coalesce((SELECT m.class FROM parked_message m WHERE m.id = head), ''),
		fingerprint = coalesce((SELECT m.fingerprint FROM parked_message m WHERE m.id = head), ''),
		cause = CASE WHEN waiting = 0 THEN '' ELSE cause END,
		due_at = CASE WHEN waiting = 0 AND rebuild = '' THEN 0 ELSE due_at END WHERE handler = $1`,
	`DELETE FROM parked_sequence WHERE handler = $1 AND waiting = 0 AND paused = 0 AND rebuild = ''`,
}

// forget takes the handler and what else the condition needs.
func (l *Lot) forget(ctx context.Context, condition string, args ...any) error {
	forgotten := ` FROM parked_message WHERE handler = $1` + condition
	for _, forget := range []string{
		`DELETE FROM diverged WHERE handler = $1 AND fail IN (SELECT fail` + forgotten + `)`,
		`DELETE FROM parked_attempt WHERE message IN (SELECT id` + forgotten + `)`,
		`DELETE FROM parked_account WHERE message IN (SELECT id` + forgotten + `)`,
		`DELETE` + forgotten,
	} {
		if err := l.exec(ctx, forget, args...); err != nil {
			return fmt.Errorf("forget what was parked: %w", err)
		}
	}
	now := time.Now().UnixMicro()
	for _, statement := range forgetting {
		of := []any{args[0]}
		if strings.Contains(statement, "$2") {
			of = append(of, now)
		}
		if err := l.exec(ctx, statement, of...); err != nil {
			return fmt.Errorf("forget what was parked: %w", err)
		}
	}
	return nil
}
