package lot

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers"
)

const selectSequences = `SELECT s.id, s.handler, s.key, s.waiting, s.since, s.paused, coalesce(m.fail, ''), s.class,
	coalesce(m.error, ''), s.fingerprint, s.tries, s.due_at, s.cause, coalesce(d.since, 0), coalesce(d.reason, '')
	FROM parked_sequence s LEFT JOIN parked_message m ON m.id = s.head
	LEFT JOIN diverged d ON d.handler = s.handler AND d.key = s.key`

func scanSequence(scan func(...any) error) (s ops.Sequence, err error) {
	var key []byte
	var since, paused, due, diverged int64
	err = scan(&s.ID, &s.Handler, &key, &s.Waiting, &since, &paused, &s.Head, &s.Class, &s.Error, &s.Fingerprint,
		&s.Tries, &due, &s.NextBy, &diverged, &s.Why)
	s.Key, s.Since, s.Paused, s.Diverged, s.NextAt = string(key), timeOf(since), paused != 0, diverged != 0, timeOf(due)
	if due == 0 {
		s.NextBy = ""
	}
	s.Tries = max(s.Tries, 0) // below that, somebody wants it
	return s, err
}

// Sequences returns a page of sequences.
func (l *Lot) Sequences(ctx context.Context, f ops.SequenceFilter) (out []ops.Sequence, err error) {
	var q query
	handler := "s.handler"
	if f.Paused { // they are few
		handler = l.db.Beside(handler)
	}
	q.is(handler, f.Handler)
	q.is("s.class", f.Class)
	q.some("s.fingerprint", f.Fingerprint)
	if f.Paused {
		q.where = append(q.where, "s.paused = 1")
	}
	question := selectSequences + q.page(f.Page, "s.since", "s.id")
	err = l.db.Each(ctx, func(scan func(...any) error) error {
		s, err := scanSequence(scan)
		out = append(out, s)
		return err
	}, question, q.args...)
	return out, err
}

// Sequence returns one sequence.
func (l *Lot) Sequence(ctx context.Context, handler, key string) (s ops.Sequence, ok bool, err error) {
	k := l.db.Key(key)
	err = l.db.Each(ctx, func(scan func(...any) error) (err error) {
		s, err = scanSequence(scan)
		ok = true
		return err
	}, selectSequences+` WHERE s.handler = $1 AND s.key = $2`, handler, k)
	if err != nil {
		return s, false, err
	}
	if !ok {
		var since int64
		s = ops.Sequence{ID: ops.SequenceID(handler, key), Handler: handler, Key: key, Diverged: true}
		ok, err = l.one(ctx, []any{&since, &s.Why}, `SELECT since, reason FROM diverged WHERE handler = $1 AND key = $2`,
			handler, k)
		s.Since = timeOf(since)
		if !ok {
			s = ops.Sequence{}
		}
		return s, ok && err == nil, err
	}
	_, err = l.one(ctx, []any{&s.Claimed}, `SELECT owner FROM parked_claim WHERE handler = $1 AND key = $2 AND until > $3`,
		handler, k, time.Now().UnixMicro())
	return s, err == nil, err
}

// Diverged returns the keys whose views lack something.
func (l *Lot) Diverged(ctx context.Context, limit int) (out []ops.DivergedKey, err error) {
	err = l.db.Each(ctx, func(scan func(...any) error) error {
		var d ops.DivergedKey
		var key []byte
		var since int64
		err := scan(&d.Handler, &key, &since, &d.Why, &d.Failure)
		d.Key, d.Since = string(key), timeOf(since)
		out = append(out, d)
		return err
	}, `SELECT handler, key, since, reason, fail FROM diverged ORDER BY since, handler, key LIMIT $1`, limit)
	return out, err
}

// silent is how long a process that says nothing still counts.
const silent = time.Minute

// Handlers returns all handlers.
func (l *Lot) Handlers(ctx context.Context) ([]ops.Handler, error) {
	return l.handlers(
		ctx, l.readRuns, l.readPlaces, l.readControls, l.readPolicies, l.readCounts, l.readGroups, l.readDiverged)
}

// handlers returns what the readings know of handlers, in the order of their names.
func (l *Lot) handlers(
	ctx context.Context, readings ...func(context.Context, func(string) *ops.Handler) error,
) ([]ops.Handler, error) {
	all := map[string]*ops.Handler{}
	of := func(name string) *ops.Handler {
		if all[name] == nil {
			all[name] = &ops.Handler{Name: name}
		}
		return all[name]
	}
	for _, read := range readings {
		if err := read(ctx, of); err != nil {
			return nil, err
		}
	}
	out := make([]ops.Handler, 0, len(all))
	for _, h := range all {
		for _, r := range h.Runs {
			h.Outage = h.Outage || r.State == "held"
		}
		out = append(out, *h)
	}
	slices.SortFunc(out, func(a, b ops.Handler) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out, nil
}

// Handler returns one handler.
func (l *Lot) Handler(ctx context.Context, name string) (h ops.Handler, ok bool, err error) {
	all, err := l.Handlers(ctx)
	for i := range all {
		if all[i].Name == name {
			return all[i], true, err
		}
	}
	return h, false, err
}

// Demo reports whether failures are injected.
func (l *Lot) Demo(ctx context.Context) (bool, error) {
	var demo int64
	_, err := l.one(ctx, []any{&demo}, `SELECT demo FROM control WHERE id = 1`)
	return demo != 0, err
}

func (l *Lot) readRuns(ctx context.Context, of func(string) *ops.Handler) error {
	return l.db.Each(ctx, func(scan func(...any) error) error {
		var name, topic string
		var r ops.Run
		var lag, failed, at int64
		err := scan(&name, &r.Process, &topic, &r.State, &lag, &r.Rate, &r.Error, &failed, &at, &r.Controls)
		r.Lag, r.FailedAt, r.At = bank.Seq(lag), timeOf(failed), timeOf(at)
		h := of(name)
		h.Topic = bank.Topic(topic)
		if time.Since(r.At) < silent {
			h.Runs = append(h.Runs, r)
		}
		return err
	}, `SELECT handler, process, topic, state, lag, rate, error, failed_at, at, controls FROM handler_run
		ORDER BY handler, process`)
}

func (l *Lot) readPlaces(ctx context.Context, of func(string) *ops.Handler) error {
	return l.db.Each(ctx, func(scan func(...any) error) error {
		var name, topic string
		var p ops.Place
		var offset int64
		err := scan(&name, &topic, &p.Partition, &p.Incarnation, &offset)
		at := handlers.PositionAt(offset)
		p.Seq, p.N = at.Seq, at.N
		h := of(name)
		h.Topic, h.Places = bank.Topic(topic), append(h.Places, p)
		return err
	}, `SELECT handler, topic, partition, incarnation, position FROM checkpoint ORDER BY handler, topic, partition`)
}

func (l *Lot) readControls(ctx context.Context, of func(string) *ops.Handler) error {
	return l.db.Each(ctx, func(scan func(...any) error) error {
		var name, why, by string
		var paused, at int64
		err := scan(&name, &paused, &why, &by, &at)
		h := of(name)
		h.Paused, h.Why, h.PausedBy, h.PausedAt = paused != 0, why, by, timeOf(at)
		return err
	}, `SELECT handler, paused, why, paused_by, paused_at FROM handler_control`)
}

func (l *Lot) readPolicies(ctx context.Context, of func(string) *ops.Handler) error {
	return l.db.Each(ctx, func(scan func(...any) error) error {
		var name, body string
		var version int
		if err := scan(&name, &version, &body); err != nil {
			return err
		}
		h := of(name)
		if h.Version = version; body == "" {
			return nil
		}
		h.Policy = &ops.Policy{}
		return json.Unmarshal([]byte(body), h.Policy)
	}, `SELECT handler, version, body FROM policy`)
}

func (l *Lot) readCounts(ctx context.Context, of func(string) *ops.Handler) error {
	return l.db.Each(ctx, func(scan func(...any) error) error {
		var name string
		var oldest int64
		var h ops.Handler
		err := scan(&name, &h.Keys, &h.Parked, &h.Failing, &oldest)
		at := of(name)
		at.Keys, at.Parked, at.Failing, at.Oldest = h.Keys, h.Parked, h.Failing, timeOf(oldest)
		return err
	}, `SELECT handler, CAST(sum(CASE WHEN waiting > 0 THEN 1 ELSE 0 END) AS bigint), CAST(sum(waiting) AS bigint),
		CAST(sum(CASE WHEN class <> '' THEN 1 ELSE 0 END) AS bigint),
		coalesce(min(CASE WHEN waiting > 0 THEN since END), 0) FROM parked_sequence GROUP BY handler`)
}

func (l *Lot) readGroups(ctx context.Context, of func(string) *ops.Handler) error {
	return l.db.Each(ctx, func(scan func(...any) error) error {
		var name string
		var n int
		err := scan(&name, &n)
		of(name).Groups = n
		return err
	}, `SELECT handler, count(*) FROM (SELECT DISTINCT handler, fingerprint FROM parked_sequence WHERE fingerprint <> '') t
		GROUP BY handler`)
}

func (l *Lot) readDiverged(ctx context.Context, of func(string) *ops.Handler) error {
	return l.db.Each(ctx, func(scan func(...any) error) error {
		var name string
		var n int
		err := scan(&name, &n)
		of(name).Diverged = n
		return err
	}, `SELECT handler, count(*) FROM diverged GROUP BY handler`)
}
