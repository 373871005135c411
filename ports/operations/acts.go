package operations

import (
	"time"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/ports/render"
)

// Executor is the handler that executes acts.
const Executor = "operations"

// Acted is what an operator wanted, and what became of it.
type Acted struct {
	EventID string  `json:"event_id" example:"act_06h09h3q657ss5pr9u4kq9irho" doc:"Of the event that recorded it."`
	Seq     uint64  `json:"seq" doc:"Where in the log that is."`
	Kind    string  `json:"kind" example:"failure.retry"`
	Handler *string `json:"handler"`
	Key     *string `json:"key"`
	Target  *string `json:"target" doc:"The id of a failure or a replay, a group's fingerprint, a policy's version."`
	Reason  string  `json:"reason"`
	Actor   *string `json:"actor"`
	Status  string  `json:"status" enum:"pending,done,refused,failed" doc:"failed: it was tried, and failed again."`
	Code    *string `json:"code" doc:"Why it was refused or failed."`
	Detail  *string `json:"detail" doc:"The same for people, or what it did."`
	At      string  `json:"at" format:"date-time"`
	EndedAt *string `json:"ended_at" format:"date-time" doc:"null: what it wants has not come to its end."`
}

// Acted renders an act that was executed.
func (w Watcher) Acted(a *ops.Executed) Acted {
	return Acted{
		EventID: a.ID, Seq: uint64(a.Seq), Kind: a.Kind, Handler: render.Maybe(a.Handler), Key: render.Maybe(a.Key),
		Target: render.Maybe(a.Target), Reason: a.Reason, Actor: render.Maybe(a.Actor), Status: string(a.Status),
		Code: render.Maybe(a.Code), Detail: w.maybe(a.Detail), At: render.Clock(a.At), EndedAt: maybeClock(a.EndedAt),
	}
}

// Recorded is an act that stands in the log, before anybody has executed it.
func Recorded(d *app.ActDone, actor string) ops.Executed {
	a := &d.Act
	return ops.Executed{
		ID: a.ID.String(), Seq: d.Seq, Kind: string(a.Kind), Handler: a.Handler, Key: a.Key, Target: a.Target,
		Reason: a.Reason, Actor: actor, Status: ops.ActPending, At: d.At.Std(),
	}
}

// Replay is many sequences tried again.
type Replay struct {
	ID          string     `json:"id" example:"rpl_06h09h3q657ss5pr9u4kq9irho"`
	Version     uint64     `json:"version"`
	Status      string     `json:"status" enum:"pending,planned,running,done,cancelled,stopped"`
	Filter      ScopeShown `json:"filter"`
	Rate        int        `json:"rate" doc:"Messages a second at most; 0: as many as can be."`
	Concurrency int        `json:"concurrency"`
	StopAfter   int        `json:"stop_after_errors" doc:"0: it does not stop."`
	Count       int        `json:"count" doc:"Messages."`
	Keys        int        `json:"keys" doc:"Sequences."`
	Accounts    int        `json:"accounts" doc:"That are touched."`
	Oldest      *string    `json:"oldest" format:"date-time" doc:"Since when the oldest message waits."`
	Estimated   float64    `json:"estimated_seconds"`
	Handled     int        `json:"handled" doc:"Messages."`
	Failed      int        `json:"failed" doc:"Sequences, each at a message that failed."`
	Left        int        `json:"left" doc:"Messages."`
	KeysLeft    int        `json:"keys_left"`
	PlannedAt   *string    `json:"planned_at" format:"date-time"`
	StartedAt   *string    `json:"started_at" format:"date-time"`
	EndedAt     *string    `json:"ended_at" format:"date-time"`
}

// ScopeShown is what a replay tries; what is absent selects all.
type ScopeShown struct {
	Handler     string `json:"handler,omitempty"`
	Class       string `json:"class,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Account     string `json:"account_id,omitempty"`
	Correlation string `json:"correlation_id,omitempty"`
}

// ReplayOf renders a replay.
func ReplayOf(r *ops.Replay) Replay {
	return Replay{
		ID: r.ID, Version: uint64(ReplayVersion(r)), Status: string(r.Status), Filter: ScopeShown(r.Spec.Filter),
		Rate: r.Spec.Rate, Concurrency: r.Spec.Concurrency, StopAfter: r.Spec.StopAfter, Count: r.Messages,
		Keys: r.Keys, Accounts: r.Accounts, Oldest: maybeClock(r.Oldest),
		Estimated: float64(r.Estimated.Milliseconds()) / 1000, Handled: r.Handled, Failed: r.Failed, Left: r.Left,
		KeysLeft: r.KeysLeft, PlannedAt: maybeClock(r.PlannedAt), StartedAt: maybeClock(r.StartedAt),
		EndedAt: maybeClock(r.EndedAt),
	}
}

// ReplayVersion grows with everything that happens to a replay: planned, started, ended, and each message.
func ReplayVersion(r *ops.Replay) bank.Version {
	v := 1 + max(r.Handled, 0) + max(r.Failed, 0)
	for _, at := range []time.Time{r.PlannedAt, r.StartedAt, r.EndedAt} {
		if !at.IsZero() {
			v++
		}
	}
	return bank.Version(v)
}

// Planned is a replay as its plan was recorded.
type Planned struct {
	Replay

	EventID string `json:"event_id" doc:"Of the event that recorded the plan."`
	Seq     uint64 `json:"seq" doc:"Where in the log that is."`
}
