package ports

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/ports/operations"
)

// act makes an action of what an operator wants. say completes what is known of the act from its kind; an error that
// is a refusal is why it cannot be, as far as can be seen before it is recorded.
//
// An act is recorded, and then executed by whoever follows the log. The answer waits for that a short while; what is
// found out only then is told as if it had been known before.
func act[B any](say func(q *request, in *B) (bank.Act, error)) action {
	return command(func(q *request, call app.Call, in *B) (response, error) {
		done, became, err := acted(q, call, in, say)
		if err != nil {
			return response{done: &done.Done}, err
		}
		return response{status: http.StatusOK, body: q.watcher().Acted(&became), done: &done.Done}, nil
	})
}

func acted[B any](
	q *request, call app.Call, in *B, say func(q *request, in *B) (bank.Act, error),
) (done app.ActDone, became ops.Executed, err error) {
	wanted, err := say(q, in)
	if err != nil {
		refused, ok := errors.AsType[*bank.Error](err)
		if !ok || refused.Code == app.CodeUnavailable {
			return done, became, err
		}
		call.Refusal = refused // unless the key is known: then it was possible once
	}
	if done, err = q.App.Act(q.ctx(), call, wanted); err != nil {
		return done, became, err
	}
	became, err = q.executed(&done)
	return done, became, err
}

// How long an answer waits for an act to be executed unless something else is said, and how often it looks.
const (
	actPatience = 2 * time.Second
	actAgain    = 20 * time.Millisecond
)

// executed waits for what becomes of an act. An error says that it was refused; what cannot be read is not known yet.
func (q *request) executed(done *app.ActDone) (ops.Executed, error) {
	became := operations.Recorded(done, q.principal.Subject)
	again := time.NewTicker(actAgain)
	defer again.Stop()
	over := time.NewTimer(q.Ops.Patience)
	defer over.Stop()
	for {
		a, ok, err := q.Ops.Lot.Act(q.ctx(), became.ID)
		if err == nil && ok {
			became = a
			if a.Status != ops.ActPending || done.Act.Kind == bank.FailureSchedule {
				return became, q.refusedLater(&a)
			}
		}
		select {
		case <-q.ctx().Done():
			return became, nil
		case <-over.C:
			return became, nil
		case <-again.C:
		}
	}
}

// refusedLater is the refusal of an act that could not be done when its turn came; nil: it was done, or tried in vain.
func (q *request) refusedLater(a *ops.Executed) error {
	if a.Status != ops.ActRefused && (a.Status != ops.ActFailed || a.Code == ops.FailedAgain) {
		return nil
	}
	code := bank.Code(a.Code)
	if a.Code == ops.RefusedVersion {
		code = bank.PreconditionFailed
	}
	if _, known := meanings[code]; !known {
		code = codeWrongState
	}
	detail := "It was recorded, and could not be done: " + q.watcher().Text(a.Detail) + "."
	return &refusal{what: bank.Refuse(code, "", detail), event: a.ID}
}

// onHead acts on a failure that must be the first of its sequence.
func onHead(kind bank.ActKind) func(*request, *operations.Why) (bank.Act, error) {
	return func(q *request, in *operations.Why) (bank.Act, error) {
		return bank.Act{Kind: kind, Target: q.gin.Param("id"), Reason: string(in.Reason)}, q.mustBeHead()
	}
}

func (q *request) mustBeHead() error {
	d, ok, err := q.Ops.Lot.Failure(q.ctx(), q.gin.Param("id"))
	switch {
	case err != nil:
		return away(err)
	case !ok:
		return noSuch("failure")
	case !d.Head:
		detail := "Something of its key waits before it: only the head of a sequence can be retried or discarded."
		if !d.Status.Waits() {
			detail = "It does not wait any more: it is " + string(d.Status) + "."
		}
		return bank.Refuse(codeNotHead, "", detail)
	}
	return nil
}

func scheduled(q *request, in *operations.WhyAndWhen) (bank.Act, error) {
	text, err := ops.Canonical(ops.ScheduleBody{At: in.At.Std()})
	if err != nil {
		return bank.Act{}, err
	}
	return bank.Act{
		Kind: bank.FailureSchedule, Target: q.gin.Param("id"), Body: text, Reason: string(in.Reason),
	}, q.mustBeHead()
}

func onGroup(q *request, in *operations.Why) (bank.Act, error) {
	fingerprint := q.gin.Param("fingerprint")
	wanted := bank.Act{Kind: bank.GroupRetry, Target: fingerprint, Reason: string(in.Reason)}
	found, err := q.Ops.Lot.Groups(q.ctx(), ops.GroupFilter{Page: ops.Page{Limit: 1}, Fingerprint: fingerprint})
	switch {
	case err != nil:
		return wanted, away(err)
	case len(found) == 0:
		return wanted, noSuch("group of failures that wait")
	}
	return wanted, nil
}

// onSequence acts on what waits of a key. A key that flows can be paused, and its view built anew.
func onSequence(kind bank.ActKind) func(*request, *operations.Why) (bank.Act, error) {
	return func(q *request, in *operations.Why) (bank.Act, error) {
		handler, key := q.gin.Param("handler"), q.gin.Param("key")
		wanted := bank.Act{Kind: kind, Handler: handler, Key: key, Reason: string(in.Reason)}
		if kind == bank.SequencePause && handler == operations.Executor {
			return wanted, needed()
		}
		if _, err := q.handler("handler"); err != nil || kind == bank.SequencePause || kind == bank.SequenceRebuild {
			return wanted, err
		}
		s, ok, err := q.Ops.Lot.Sequence(q.ctx(), handler, key)
		switch {
		case err != nil:
			return wanted, away(err)
		case !ok:
			return wanted, noSuch("sequence: the key flows")
		case kind == bank.SequenceResume && !s.Paused:
			return wanted, bank.Refuse(codeNotPaused, "", "The key is not paused.")
		case kind == bank.SequenceRetry && s.Paused:
			return wanted, bank.Refuse(codeKeyPaused, "", "The key is paused: resume it first.")
		}
		return wanted, nil
	}
}

func onHandler(kind bank.ActKind) func(*request, *operations.Why) (bank.Act, error) {
	return func(q *request, in *operations.Why) (bank.Act, error) {
		wanted := bank.Act{Kind: kind, Handler: q.gin.Param("name"), Reason: string(in.Reason)}
		if kind == bank.HandlerPause && wanted.Handler == operations.Executor {
			return wanted, needed()
		}
		_, err := q.handler("name")
		return wanted, err
	}
}

// needed refuses what would leave nobody to undo it.
func needed() error {
	return bank.Refuse(codeWrongState, "", "It executes what operators want: paused, nothing could resume it.")
}

func onReplay(kind bank.ActKind) func(*request, *operations.Why) (bank.Act, error) {
	return func(q *request, in *operations.Why) (bank.Act, error) {
		wanted := bank.Act{Kind: kind, Target: q.gin.Param("id"), Reason: string(in.Reason)}
		r, ok, err := q.Ops.Lot.Replay(q.ctx(), wanted.Target)
		switch {
		case err != nil:
			return wanted, away(err)
		case !ok:
			return wanted, noSuch("replay")
		case r.Status == ops.ReplayPlanned, r.Status == ops.ReplayRunning && kind == bank.ReplayCancel:
			return wanted, nil
		}
		return wanted, bank.Refuse(codeWrongState, "", "The replay is "+string(r.Status)+".")
	}
}

func demonstrated(_ *request, in *operations.WhyAndWhether) (bank.Act, error) {
	text, err := ops.Canonical(ops.DemoBody{Enabled: bool(in.Enabled)})
	return bank.Act{Kind: bank.DemoFailuresSet, Body: text, Reason: string(in.Reason)}, err
}

// planned answers with the replay as it was planned; or, when that takes its time, with where it will be.
var planned = command(func(q *request, call app.Call, in *operations.Plan) (response, error) {
	done, became, err := acted(q, call, in, func(_ *request, in *operations.Plan) (bank.Act, error) {
		text, err := ops.Canonical(in.Spec())
		return bank.Act{Kind: bank.ReplayPlan, Body: text, Reason: string(in.Reason)}, err
	})
	if err != nil {
		return response{done: &done.Done}, err
	}
	id := ops.ReplayOf(became.ID)
	r, ok, err := q.Ops.Lot.Replay(q.ctx(), id)
	if err != nil {
		return response{done: &done.Done}, away(err)
	}
	status := http.StatusCreated
	if !ok {
		status, r = http.StatusAccepted, ops.Replay{ID: id, Spec: in.Spec(), Status: "pending"}
	}
	out := operations.Planned{Replay: operations.ReplayOf(&r), EventID: became.ID, Seq: uint64(became.Seq)}
	return response{
		status: status, body: out, done: &done.Done, location: "/ops/v1/replays/" + id, version: operations.ReplayVersion(&r),
	}, nil
})

// treated changes a policy. Who says of which version gets that one changed, or none: the act says so, too, and is
// executed in the order of the log, whoever owns it meanwhile.
var treated = command(func(q *request, call app.Call, in *operations.Treatment) (response, error) {
	text, err := in.Policy.Value.Body()
	if err != nil {
		part := ProblemError{Pointer: "/policy", Code: "range", Detail: err.Error()}
		return response{}, refuse(app.CodeInvalidRequest, "The policy cannot be: "+err.Error()+".", part)
	}
	want, given, err := q.conditional("If-Match", false)
	if err != nil {
		return response{}, err
	}
	done, became, err := acted(q, call, in, func(_ *request, in *operations.Treatment) (bank.Act, error) {
		wanted := bank.Act{
			Kind: bank.HandlerPolicy, Handler: q.gin.Param("name"), Body: text, Reason: string(in.Reason),
		}
		h, err := q.handler("name")
		switch v := operations.PolicyVersion(&h); {
		case err != nil || !given || want.any:
		case !want.match(v):
			err = bank.Refuse(bank.PreconditionFailed, "",
				"The version is "+strconv.FormatUint(uint64(v), 10)+".")
		default:
			wanted.Target = ops.PolicyVersion(h.Version)
		}
		return wanted, err
	})
	if err != nil {
		return response{done: &done.Done}, err
	}
	out := response{status: http.StatusOK, body: q.watcher().Acted(&became), done: &done.Done}
	if h, err := q.handler("name"); err == nil && became.Status == ops.ActDone {
		out.version = operations.PolicyVersion(&h)
	}
	return out, nil
})
