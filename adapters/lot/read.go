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
)

// query is a list that is being asked for.
type query struct {
	where []string
	args  []any
}

// arg adds a value, and returns its placeholder.
func (q *query) arg(v any) string {
	q.args = append(q.args, v)
	return fmt.Sprintf("$%d", len(q.args))
}

// is adds a condition, unless the value is "".
func (q *query) is(column, value string) {
	if value != "" {
		q.where = append(q.where, column+" = "+q.arg(value))
	}
}

// some is for a column whose index leaves out what is "", which the question must say.
func (q *query) some(column, value string) {
	if value != "" {
		q.is(column, value)
		q.where = append(q.where, column+" <> ''")
	}
}

// page ends the question: the list is ordered by at and id.
func (q *query) page(p ops.Page, at, id string) string {
	than, order := "<", " DESC"
	if p.Ascending {
		than, order = ">", ""
	}
	if p.AfterTime != 0 || p.AfterID != "" {
		t := q.arg(int64(p.AfterTime))
		q.where = append(q.where, fmt.Sprintf("(%s, %s) %s (%s, %s)", at, id, than, t, q.arg(p.AfterID)))
	}
	if p.From != 0 {
		q.where = append(q.where, at+" >= "+q.arg(int64(p.From)))
	}
	if p.To != 0 {
		q.where = append(q.where, at+" < "+q.arg(int64(p.To)))
	}
	where := ""
	if len(q.where) > 0 {
		where = " WHERE " + strings.Join(q.where, " AND ")
	}
	return fmt.Sprintf("%s ORDER BY %s%s, %s%s LIMIT %s", where, at, order, id, order, q.arg(p.Limit))
}

// inOrder ends the question as page does, for messages of one key: they are ordered as they were parked.
func (q *query) inOrder(p ops.Page, by string) string {
	than, order := "<", " DESC"
	if p.Ascending {
		than, order = ">", ""
	}
	if p.AfterID != "" {
		q.where = append(q.where, "m.id "+than+" (SELECT id FROM parked_message WHERE fail = "+q.arg(p.AfterID)+")")
	}
	if p.From != 0 {
		q.where = append(q.where, "m.parked_at >= "+q.arg(int64(p.From)))
	}
	if p.To != 0 {
		q.where = append(q.where, "m.parked_at < "+q.arg(int64(p.To)))
	}
	return fmt.Sprintf(" WHERE %s ORDER BY %s%s LIMIT %s", strings.Join(q.where, " AND "), by, order, q.arg(p.Limit))
}

const failureColumns = `m.id, m.fail, m.handler, m.topic, m.partition, m.incarnation, m.position, m.key, m.type,
	m.status, m.class, m.error, m.fingerprint, m.correlation, m.accounts, m.parked_at, coalesce(m.ended_at, 0), m.ended_by,
	m.attempts, coalesce(s.due_at, 0), coalesce(s.head, 0)`

const failureTables = ` FROM parked_message m
	LEFT JOIN parked_sequence s ON s.handler = m.handler AND s.key = m.key AND s.head = m.id`

func scanFailure(scan func(...any) error, more ...any) (f ops.Failure, id int64, err error) {
	var topic, status, accounts string
	var offset, parked, ended, due, head int64
	var key []byte
	err = scan(append([]any{&id, &f.ID, &f.Handler, &topic, &f.Partition, &f.Incarnation, &offset, &key, &f.Type, &status,
		&f.Class, &f.Error, &f.Fingerprint, &f.Correlation, &accounts, &parked, &ended, &f.EndedBy, &f.Attempts, &due,
		&head}, more...)...)
	at := handlers.PositionAt(offset)
	f.Topic, f.Status, f.Key, f.Seq, f.N = bank.Topic(topic), ops.Status(status), string(key), at.Seq, at.N
	f.Accounts, f.ParkedAt, f.EndedAt = words(accounts), timeOf(parked), timeOf(ended)
	if f.Head = head == id; f.Head {
		f.NextAt = timeOf(due)
	}
	return f, id, err
}

// Failures returns a page of failures.
func (l *Lot) Failures(ctx context.Context, f ops.FailureFilter) (out []ops.Failure, err error) {
	var q query
	question := `SELECT ` + failureColumns + failureTables
	at, id := "m.parked_at", "m.fail"
	if f.Account != "" {
		question = `SELECT ` + failureColumns + ` FROM parked_account a JOIN parked_message m ON m.id = a.message
			LEFT JOIN parked_sequence s ON s.handler = m.handler AND s.key = m.key AND s.head = m.id`
		at, id = "a.parked_at", "a.fail"
		q.is("a.account", f.Account)
	}
	q.is("m.handler", f.Handler)
	if f.Key != "" {
		q.where = append(q.where, "m.key = "+q.arg(l.db.Key(f.Key)))
		if f.Handler == "" {
			q.where = append(q.where, "m.handler IN (SELECT handler FROM checkpoint)") // all, for the index begins with it
		}
	}
	q.some("m.class", f.Class)
	q.some("m.fingerprint", f.Fingerprint)
	q.some("m.correlation", f.Correlation)
	status := "m.status"
	if f.Handler != "" { // which of both is rare is not known; the handler's index has the status
		status = l.db.Beside(status)
	}
	q.is(status, string(f.Status))
	if f.Waiting {
		q.where = append(q.where, "m.ended_at IS NULL")
	}
	if f.Key != "" && f.Account == "" {
		by := "m.id"
		if f.Handler == "" {
			by += " + 0" // in whose order nothing is looked for
		}
		question += q.inOrder(f.Page, by)
	} else {
		question += q.page(f.Page, at, id)
	}
	err = l.db.Each(ctx, func(scan func(...any) error) error {
		one, _, err := scanFailure(scan)
		out = append(out, one)
		return err
	}, question, q.args...)
	return out, err
}

// Failure returns one failure with all that is known of it.
func (l *Lot) Failure(ctx context.Context, id string) (d ops.Detail, ok bool, err error) {
	var n int64
	var metadata []byte
	err = l.db.Each(ctx, func(scan func(...any) error) (err error) {
		ok = true
		d.Failure, n, err = scanFailure(scan, &metadata, &d.Payload)
		return err
	}, `SELECT `+failureColumns+`, m.metadata, m.payload`+failureTables+` WHERE m.fail = $1`, id)
	if err != nil || !ok {
		return ops.Detail{}, false, err
	}
	if err := json.Unmarshal(metadata, &d.Metadata); err != nil {
		return ops.Detail{}, false, err
	}
	tries, err := l.attempts(ctx, n)
	for _, a := range tries {
		d.Tries = append(d.Tries, ops.Attempt{
			At: a.At, Took: a.Took, Class: a.Class.String(), Error: a.Error, Stack: a.Stack, By: a.By,
		})
	}
	return d, err == nil, err
}

// Groups returns a page of groups.
func (l *Lot) Groups(ctx context.Context, f ops.GroupFilter) (out []ops.Group, err error) {
	var q query
	inner := `SELECT s.fingerprint AS fingerprint, count(*) AS heads, CAST(sum(s.waiting) AS bigint) AS waiting,
		min(s.since) AS first, max(s.failed_at) AS last FROM parked_sequence s WHERE s.fingerprint <> ''`
	if f.Fingerprint != "" {
		inner += ` AND s.fingerprint = ` + q.arg(f.Fingerprint)
	}
	q.is("g.handler", f.Handler) // of a fingerprint there is one
	q.is("g.class", f.Class)
	page := q.page(f.Page, "t.last", "t.fingerprint")
	question := `SELECT t.fingerprint, g.handler, g.class, g.error, t.heads, t.waiting, t.first, t.last FROM (` + inner +
		` GROUP BY s.fingerprint) t JOIN parked_group g ON g.fingerprint = t.fingerprint` + page
	err = l.db.Each(ctx, func(scan func(...any) error) error {
		var g ops.Group
		var first, last int64
		err := scan(&g.Fingerprint, &g.Handler, &g.Class, &g.Error, &g.Count, &g.Waiting, &first, &last)
		g.First, g.Last = timeOf(first), timeOf(last)
		out = append(out, g)
		return err
	}, question, q.args...)
	if err != nil {
		return nil, err
	}
	return out, l.countAccounts(ctx, out)
}

// countAccounts counts which accounts groups touch.
func (l *Lot) countAccounts(ctx context.Context, all []ops.Group) error {
	if len(all) == 0 {
		return nil
	}
	at, fingerprints := map[string]*ops.Group{}, make([]string, len(all))
	for i := range all {
		fingerprints[i] = all[i].Fingerprint
		at[all[i].Fingerprint] = &all[i]
	}
	of, args := in("fingerprint", 1, fingerprints)
	return l.db.Each(ctx, func(scan func(...any) error) error {
		var fingerprint string
		var n int
		err := scan(&fingerprint, &n)
		at[fingerprint].Accounts = n
		return err
	}, `SELECT fingerprint, count(*) FROM (SELECT DISTINCT fingerprint, account FROM parked_account
		WHERE fingerprint <> '' AND `+of+`) t GROUP BY fingerprint`, args...)
}

// Act returns what became of an act.
func (l *Lot) Act(ctx context.Context, id string) (a ops.Executed, ok bool, err error) {
	list, err := l.acts(ctx, &query{where: []string{"id = $1"}, args: []any{id}}, ops.Page{Limit: 1})
	if err != nil || len(list) == 0 {
		return a, false, err
	}
	return list[0], true, nil
}

// Acts returns a page of acts.
func (l *Lot) Acts(ctx context.Context, f ops.ActFilter) ([]ops.Executed, error) {
	var q query
	q.is("kind", f.Kind)
	q.is("handler", f.Handler)
	if f.Key != "" {
		q.where = append(q.where, "key = "+q.arg(l.db.Key(f.Key)))
	}
	q.is("target", f.Target)
	q.is("status", string(f.Status))
	return l.acts(ctx, &q, f.Page)
}

func (l *Lot) acts(ctx context.Context, q *query, p ops.Page) ([]ops.Executed, error) {
	page := q.page(p, "at", "id")
	return l.readActs(ctx, page, q.args...)
}

const selectActs = `SELECT id, seq, kind, handler, key, target, reason, actor, status, code, detail, at, ended_at
	FROM act`

func (l *Lot) readActs(ctx context.Context, which string, args ...any) (out []ops.Executed, err error) {
	err = l.db.Each(ctx, func(scan func(...any) error) error {
		var a ops.Executed
		var seq, at, ended int64
		var key []byte
		var status string
		err := scan(&a.ID, &seq, &a.Kind, &a.Handler, &key, &a.Target, &a.Reason, &a.Actor, &status, &a.Code, &a.Detail,
			&at, &ended)
		a.Seq, a.Key, a.Status = bank.Seq(seq), string(key), ops.ActStatus(status)
		a.At, a.EndedAt = timeOf(at), timeOf(ended)
		out = append(out, a)
		return err
	}, selectActs+which, args...)
	return out, err
}

// Replays returns a page of replays.
func (l *Lot) Replays(ctx context.Context, f ops.ReplayFilter) ([]ops.Replay, error) {
	var q query
	q.is("status", string(f.Status))
	return l.replays(ctx, &q, f.Page)
}

// Replay returns one replay.
func (l *Lot) Replay(ctx context.Context, id string) (r ops.Replay, ok bool, err error) {
	list, err := l.replays(ctx, &query{where: []string{"id = $1"}, args: []any{id}}, ops.Page{Limit: 1})
	if err != nil || len(list) == 0 {
		return r, false, err
	}
	return list[0], true, nil
}

// replaySpeed is how many messages a second are reckoned with where no rate is set.
const replaySpeed = 2_000

func (l *Lot) replays(ctx context.Context, q *query, p ops.Page) (out []ops.Replay, err error) {
	question := `SELECT id, spec, status, keys, messages, accounts, oldest, planned_at, started_at, ended_at FROM replay` +
		q.page(p, "planned_at", "id")
	err = l.db.Each(ctx, func(scan func(...any) error) error {
		var r ops.Replay
		var spec, status string
		var oldest, planned, started, ended int64
		err := scan(&r.ID, &spec, &status, &r.Keys, &r.Messages, &r.Accounts, &oldest, &planned, &started, &ended)
		if err != nil {
			return err
		}
		r.Status, r.Oldest, r.PlannedAt = ops.ReplayStatus(status), timeOf(oldest), timeOf(planned)
		r.StartedAt, r.EndedAt = timeOf(started), timeOf(ended)
		err = json.Unmarshal([]byte(spec), &r.Spec)
		out = append(out, r)
		return err
	}, question, q.args...)
	for i := range out {
		if err == nil {
			err = l.progress(ctx, &out[i])
		}
	}
	return out, err
}

// progress counts what a replay has done.
func (l *Lot) progress(ctx context.Context, r *ops.Replay) error {
	speed := replaySpeed
	if r.Spec.Rate > 0 {
		speed = min(speed, r.Spec.Rate)
	}
	r.KeysLeft, r.Left = r.Keys, r.Messages
	if r.Status != ops.ReplayPlanned {
		if err := l.left(ctx, r); err != nil {
			return err
		}
	}
	r.Estimated = time.Duration(r.Left) * time.Second / time.Duration(speed)
	return nil
}

// left counts what a replay that was started has done, and has not.
func (l *Lot) left(ctx context.Context, r *ops.Replay) error {
	var stuck int
	for _, c := range []struct {
		into     []any
		question string
	}{
		{[]any{&r.Handled}, `SELECT count(*) FROM parked_message WHERE ended_by = $1`},
		{[]any{&r.Failed, &stuck}, `SELECT count(*), CAST(coalesce(sum(waiting), 0) AS bigint)
			FROM replay_sequence WHERE replay = $1 AND state = 'failed'`},
		{[]any{&r.KeysLeft}, `SELECT count(*) FROM replay_sequence WHERE replay = $1 AND state = 'todo'`},
	} {
		if _, err := l.one(ctx, c.into, c.question, r.ID); err != nil {
			return err
		}
	}
	if r.Left = max(0, r.Messages-r.Handled-stuck); r.KeysLeft == 0 {
		r.Left = 0
	}
	return nil
}
