package ports

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/ports/cursor"
	"bankforge/ports/operations"
)

// Operations is what the doors of operators need.
type Operations struct {
	Lot       ops.Lot
	Check     operations.Check     // whether a payload is what its type says; nil: nobody looks
	Partition operations.Partition // nil: there is one for each topic
	Demo      bool                 // failures can be injected
	Patience  time.Duration        // how long an answer waits for an act to be executed; 0: 2 s
}

// watcher is who asks: whoever may read accounts, too, sees everything.
func (q *request) watcher() operations.Watcher {
	return operations.Watcher{All: q.principal.Has(admin, auditor, teller, service, fraud)}
}

// away is for what stands behind the parking lot and cannot be read.
func away(err error) error {
	e := bank.Refuse(app.CodeUnavailable, "", "The parking lot cannot be read now.")
	e.Cause = err
	return e
}

func noSuch(what string) error { return bank.Refuse(bank.NotFound, "", "There is no such "+what+".") }

// opsPage is a page as the parking lot knows it. One more element tells whether there is a next page.
func opsPage(p page) ops.Page {
	return ops.Page{
		Limit: p.Limit + 1, Ascending: p.Ascending, AfterTime: p.AfterTime, AfterID: p.AfterID, From: p.From, To: p.To,
	}
}

// listed makes the handler of a list of the parking lot.
func listed[F, E, T any](
	filter func(*query, ops.Page) F, read func(ops.Lot, context.Context, F) ([]E, error),
	show func(*request) func(*E) T, at func(*E) cursor.Place,
) func(*request) (response, error) {
	return func(q *request) (response, error) {
		params := q.query()
		page := q.page(params)
		f := filter(params, opsPage(page))
		if params.err != nil {
			return response{}, params.err
		}
		found, err := read(q.Ops.Lot, q.ctx(), f)
		if err != nil {
			return response{}, away(err)
		}
		return response{status: http.StatusOK, body: listOf(page, found, show(q), at)}, nil
	}
}

// plainly shows what looks the same to everybody, whenever it is looked at.
func plainly[E, T any](show func(*E) T) func(*request) func(*E) T {
	return func(*request) func(*E) T { return show }
}

func listFailures(q *request) (response, error) {
	return listed(func(p *query, page ops.Page) ops.FailureFilter {
		status := make([]string, len(ops.Statuses))
		for i, s := range ops.Statuses {
			status[i] = string(s)
		}
		return ops.FailureFilter{
			Page: page, Handler: p.text("handler"), Key: p.text("key"), Class: p.choice("class", operations.Classes...),
			Fingerprint: p.text("fingerprint"), Account: p.text("account_id"), Correlation: p.text("correlation_id"),
			Status: ops.Status(p.choice("status", status...)), Waiting: p.choice("waiting", "true", "false") == "true",
		}
	}, ops.Lot.Failures, func(q *request) func(*ops.Failure) operations.Failure {
		return q.watcher().Failure
	}, failurePlace)(q)
}

func failurePlace(f *ops.Failure) cursor.Place {
	return cursor.Place{Time: bank.TimeOf(f.ParkedAt), ID: f.ID}
}

func getFailure(q *request) (response, error) {
	if params := q.query(); params.err != nil {
		return response{}, params.err
	}
	d, ok, err := q.Ops.Lot.Failure(q.ctx(), q.gin.Param("id"))
	switch {
	case err != nil:
		return response{}, away(err)
	case !ok:
		return response{}, noSuch("failure")
	}
	return response{status: http.StatusOK, body: q.watcher().Detail(&d, q.Ops.Check)}, nil
}

func listGroups(q *request) (response, error) {
	return listed(func(p *query, page ops.Page) ops.GroupFilter {
		return ops.GroupFilter{
			Page: page, Handler: p.text("handler"), Class: p.choice("class", operations.Classes...),
			Fingerprint: p.text("fingerprint"),
		}
	}, ops.Lot.Groups, func(q *request) func(*ops.Group) operations.Group {
		now, r := q.Now(), q.watcher()
		return func(g *ops.Group) operations.Group { return r.Group(g, now) }
	}, func(g *ops.Group) cursor.Place {
		return cursor.Place{Time: bank.TimeOf(g.Last), ID: g.Fingerprint}
	})(q)
}

func listSequences(q *request) (response, error) {
	params := q.query()
	if params.choice("diverged", "true", "false") == "true" {
		return listDiverged(q, params)
	}
	return listed(func(p *query, page ops.Page) ops.SequenceFilter {
		p.choice("diverged", "true", "false")
		return ops.SequenceFilter{
			Page: page, Handler: p.text("handler"), Class: p.choice("class", operations.Classes...),
			Fingerprint: p.text("fingerprint"), Paused: p.choice("paused", "true", "false") == "true",
		}
	}, ops.Lot.Sequences, func(q *request) func(*ops.Sequence) operations.Sequence {
		return q.watcher().Sequence
	}, func(s *ops.Sequence) cursor.Place {
		return cursor.Place{Time: bank.TimeOf(s.Since), ID: s.ID}
	})(q)
}

// divergedMost is how many keys are looked through at most. Each of them is one that an operator has given up by hand.
const divergedMost = 10_000

// diverged is a key that has, and how it stands.
type diverged struct {
	at  cursor.Place // since when it has
	key *ops.DivergedKey
	now ops.Sequence
}

// listDiverged lists the keys of which something was discarded, also those that flow again, by the time that it was.
func listDiverged(q *request, params *query) (response, error) {
	page := q.page(params)
	handler, p := params.text("handler"), opsPage(page)
	for _, name := range []string{"class", "fingerprint", "paused"} {
		if params.text(name) != "" {
			params.fail(name, "combination", "diverged goes together with handler only")
		}
	}
	if params.err != nil {
		return response{}, params.err
	}
	keys, err := q.Ops.Lot.Diverged(q.ctx(), divergedMost)
	if err != nil {
		return response{}, away(err)
	}
	var found []diverged
	for i := range keys {
		k := &keys[i]
		d := diverged{at: cursor.Place{Time: bank.TimeOf(k.Since), ID: ops.SequenceID(k.Handler, k.Key)}, key: k}
		if (handler == "" || handler == k.Handler) && p.Has(d.at.Time, d.at.ID) {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b diverged) int {
		order := cmp.Or(cmp.Compare(a.at.Time, b.at.Time), cmp.Compare(a.at.ID, b.at.ID))
		if p.Ascending {
			return order
		}
		return -order
	})
	found = found[:min(len(found), p.Limit)]
	for i := range found[:min(len(found), page.Limit)] {
		d := &found[i]
		if d.now, _, err = q.Ops.Lot.Sequence(q.ctx(), d.key.Handler, d.key.Key); err != nil {
			return response{}, away(err)
		}
		if d.now.ID == "" { // it was rebuilt meanwhile
			d.now = ops.Sequence{ID: d.at.ID, Handler: d.key.Handler, Key: d.key.Key, Since: d.key.Since}
		}
	}
	out := listOf(page, found, func(d *diverged) operations.Sequence { return q.watcher().Sequence(&d.now) },
		func(d *diverged) cursor.Place { return d.at })
	return response{status: http.StatusOK, body: out}, nil
}

// getSequence shows what waits in the order in which it is tried.
func getSequence(q *request) (response, error) {
	params := q.query()
	page := q.page(params)
	if params.err != nil {
		return response{}, params.err
	}
	handler, key := q.gin.Param("handler"), q.gin.Param("key")
	s, ok, err := q.Ops.Lot.Sequence(q.ctx(), handler, key)
	switch {
	case err != nil:
		return response{}, away(err)
	case !ok:
		return response{}, noSuch("sequence: the key flows")
	}
	page.Ascending = true
	found, err := q.Ops.Lot.Failures(q.ctx(), ops.FailureFilter{
		Page: opsPage(page), Handler: handler, Key: key, Waiting: true,
	})
	if err != nil {
		return response{}, away(err)
	}
	in := listOf(page, found, q.watcher().Failure, failurePlace)
	out := operations.SequenceInOrder{Sequence: q.watcher().Sequence(&s), Data: in.Data, NextCursor: in.NextCursor}
	return response{status: http.StatusOK, body: out}, nil
}

func listReplays(q *request) (response, error) {
	return listed(func(p *query, page ops.Page) ops.ReplayFilter {
		return ops.ReplayFilter{Page: page, Status: ops.ReplayStatus(p.choice("status", string(ops.ReplayPlanned),
			string(ops.ReplayRunning), string(ops.ReplayDone), string(ops.ReplayCancelled), string(ops.ReplayStopped)))}
	}, ops.Lot.Replays, plainly(operations.ReplayOf), func(r *ops.Replay) cursor.Place {
		return cursor.Place{Time: bank.TimeOf(r.PlannedAt), ID: r.ID}
	})(q)
}

func getReplay(q *request) (response, error) {
	if params := q.query(); params.err != nil {
		return response{}, params.err
	}
	r, ok, err := q.Ops.Lot.Replay(q.ctx(), q.gin.Param("id"))
	switch {
	case err != nil:
		return response{}, away(err)
	case !ok:
		return response{}, noSuch("replay")
	}
	return response{
		status: http.StatusOK, body: operations.ReplayOf(&r), version: operations.ReplayVersion(&r), tags: true,
	}, nil
}

func listHandlers(q *request) (response, error) {
	if params := q.query(); params.err != nil {
		return response{}, params.err
	}
	all, err := q.Ops.Lot.Handlers(q.ctx())
	if err != nil {
		return response{}, away(err)
	}
	return response{status: http.StatusOK, body: q.watcher().Handlers(all)}, nil
}

// handler is the one that the path names.
func (q *request) handler(step string) (ops.Handler, error) {
	h, ok, err := q.Ops.Lot.Handler(q.ctx(), q.gin.Param(step))
	switch {
	case err != nil:
		return h, away(err)
	case !ok:
		return h, noSuch("handler")
	}
	return h, nil
}

func getPolicy(q *request) (response, error) {
	if params := q.query(); params.err != nil {
		return response{}, params.err
	}
	h, err := q.handler("name")
	if err != nil {
		return response{}, err
	}
	return response{
		status: http.StatusOK, body: operations.PolicyOf(&h), version: operations.PolicyVersion(&h), tags: true,
	}, nil
}

func getTrace(q *request) (response, error) {
	if params := q.query(); params.err != nil {
		return response{}, params.err
	}
	id := q.gin.Param("correlation_id")
	if !isCorrelation(id) {
		return response{}, noSuch("correlation id")
	}
	parked, err := q.parkedOf(id)
	if err != nil {
		return response{}, away(err)
	}
	var also []bank.Seq
	for i := range parked {
		also = append(also, parked[i].Seq)
	}
	events, from, err := q.App.Traced(q.ctx(), id, also)
	if err != nil {
		return response{}, err
	}
	if len(events) == 0 && len(parked) == 0 {
		return response{}, noSuch("event in the log or the parking lot")
	}
	all, err := q.Ops.Lot.Handlers(q.ctx()) // after the events: what is not done by now, waits
	if err != nil {
		return response{}, away(err)
	}
	return response{
		status: http.StatusOK, body: q.watcher().Trace(id, events, from, all, parked, q.Ops.Partition),
	}, nil
}

// maxTraced is how many messages that are or were parked a trace knows of. One command may be many transfers.
const maxTraced = 10_000

// parkedOf are those of a correlation id.
func (q *request) parkedOf(correlation string) (all []ops.Failure, err error) {
	f := ops.FailureFilter{Page: ops.Page{Limit: maxLimit, Ascending: true}, Correlation: correlation}
	for len(all) < maxTraced {
		page, err := q.Ops.Lot.Failures(q.ctx(), f)
		if all = append(all, page...); err != nil || len(page) < f.Limit {
			return all, err
		}
		last := failurePlace(&page[len(page)-1])
		f.AfterTime, f.AfterID = last.Time, last.ID
	}
	return all, nil
}

func listActs(q *request) (response, error) {
	return listed(func(p *query, page ops.Page) ops.ActFilter {
		return ops.ActFilter{
			Page: page, Handler: p.text("handler"), Key: p.text("key"), Target: p.text("target"),
			Status: ops.ActStatus(p.choice("status", string(ops.ActPending), string(ops.ActDone), string(ops.ActRefused),
				string(ops.ActFailed))),
		}
	}, ops.Lot.Acts, func(q *request) func(*ops.Executed) operations.Acted {
		return q.watcher().Acted
	}, func(a *ops.Executed) cursor.Place {
		return cursor.Place{Time: bank.TimeOf(a.At), ID: a.ID}
	})(q)
}

func getAct(q *request) (response, error) {
	if params := q.query(); params.err != nil {
		return response{}, params.err
	}
	a, ok, err := q.Ops.Lot.Act(q.ctx(), q.gin.Param("id"))
	switch {
	case err != nil:
		return response{}, away(err)
	case !ok:
		return response{}, noSuch("act that was executed")
	}
	return response{status: http.StatusOK, body: q.watcher().Acted(&a)}, nil
}

func getDemo(q *request) (response, error) {
	if params := q.query(); params.err != nil {
		return response{}, params.err
	}
	on, err := q.Ops.Lot.Demo(q.ctx())
	if err != nil {
		return response{}, away(err)
	}
	return response{status: http.StatusOK, body: operations.DemoFailures{Enabled: on}}, nil
}
