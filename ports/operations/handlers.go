package operations

import (
	"time"

	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/ports/render"
)

// Handler is where a handler stands.
type Handler struct {
	Name          string    `json:"name" example:"history"`
	Topic         *string   `json:"topic" doc:"null: nobody has ever run it."`
	State         string    `json:"state" enum:"running,paused,held,stopped" doc:"held: what it needs is down."`
	Paused        bool      `json:"paused"`
	PausedWhy     *string   `json:"paused_why" doc:"The operator's reason, or which cap it is over."`
	PausedBy      *string   `json:"paused_by" doc:"The act, or cap."`
	PausedAt      *string   `json:"paused_at" format:"date-time"`
	Lag           uint64    `json:"lag" doc:"Events, of the process that is behind the most."`
	Rate          float64   `json:"rate" doc:"Messages a second lately, in all processes."`
	LastError     *string   `json:"last_error" doc:"Also if it was mended since."`
	LastErrorAt   *string   `json:"last_error_at" format:"date-time"`
	Parked        int       `json:"parked" doc:"Messages that wait."`
	Keys          int       `json:"keys" doc:"Keys that they belong to."`
	Failing       int       `json:"failing" doc:"Keys whose first message has failed."`
	Diverged      int       `json:"diverged" doc:"Keys whose view lacks what was discarded."`
	Oldest        *string   `json:"oldest" format:"date-time" doc:"Since when the oldest message waits."`
	PolicyVersion int       `json:"policy_version"`
	Places        []Place   `json:"places" nullable:"false" doc:"How far it is. All before it is handled or parked."`
	Processes     []Process `json:"processes" nullable:"false" doc:"That run it."`
}

// Place is how far a handler has come in a partition.
type Place struct {
	Partition   int    `json:"partition"`
	Incarnation string `json:"incarnation"`
	Position    string `json:"position" example:"41.1"`
}

// Process is what one process says of a handler that it runs.
type Process struct {
	Process     string  `json:"process"`
	State       string  `json:"state"`
	Lag         uint64  `json:"lag"`
	Rate        float64 `json:"rate"`
	LastError   *string `json:"last_error"`
	LastErrorAt *string `json:"last_error_at" format:"date-time"`
	SeenAt      string  `json:"seen_at" format:"date-time"`
}

// Handler renders a handler.
func (w Watcher) Handler(h *ops.Handler) Handler {
	out := Handler{
		Name: h.Name, Topic: render.Maybe(string(h.Topic)), Paused: h.Paused, PausedWhy: w.maybe(h.Why),
		PausedBy: render.Maybe(h.PausedBy), PausedAt: maybeClock(h.PausedAt), Parked: h.Parked, Keys: h.Keys,
		Failing: h.Failing, Diverged: h.Diverged, Oldest: maybeClock(h.Oldest), PolicyVersion: int(PolicyVersion(h)),
		Places: make([]Place, len(h.Places)), Processes: make([]Process, len(h.Runs)),
	}
	for i, p := range h.Places {
		out.Places[i] = Place{p.Partition, p.Incarnation, position(uint64(p.Seq), p.N)}
	}
	var failed time.Time
	for i := range h.Runs {
		p := &h.Runs[i]
		out.Processes[i] = Process{
			p.Process, p.State, uint64(p.Lag), p.Rate, w.maybe(p.Error), maybeClock(p.FailedAt), render.Clock(p.At),
		}
		out.Lag, out.Rate = max(out.Lag, uint64(p.Lag)), out.Rate+p.Rate
		if p.Error != "" && !p.FailedAt.Before(failed) {
			failed = p.FailedAt
			out.LastError, out.LastErrorAt = w.maybe(p.Error), maybeClock(p.FailedAt)
		}
	}
	out.State = h.State()
	return out
}

// Handlers is a list that has only one page.
type Handlers struct {
	Data []Handler `json:"data" nullable:"false"`
}

// Handlers renders all of them.
func (w Watcher) Handlers(all []ops.Handler) Handlers {
	out := Handlers{make([]Handler, len(all))}
	for i := range all {
		out.Data[i] = w.Handler(&all[i])
	}
	return out
}

// Policy is how a handler treats failures, and since which version.
type Policy struct {
	Handler   string      `json:"handler"`
	Version   uint64      `json:"version" doc:"1: nobody has changed it."`
	IsDefault bool        `json:"is_default" doc:"Nobody has said anything else, or somebody this."`
	Policy    PolicyShown `json:"policy"`
}

// PolicyShown is a whole policy. PUT takes it as it is.
type PolicyShown struct {
	Attempts   AttemptsShown `json:"attempts" doc:"How often a message is tried in place, by class."`
	Backoff    BackoffShown  `json:"backoff" doc:"Between tries in place."`
	Hold       BackoffShown  `json:"hold" doc:"Between tries while something that the handler needs is down."`
	Timeout    int64         `json:"timeout_ms" doc:"Of one try."`
	Outage     int           `json:"outage_after_keys" doc:"So many keys that fail one after another are an outage."`
	PerKey     int           `json:"max_parked_per_key" doc:"Over that, the handler pauses."`
	PerHandler int           `json:"max_parked_per_handler" doc:"Over that, the handler pauses."`
	Again      []int64       `json:"again_ms" nullable:"false" doc:"Before a head is tried again by itself."`
	Classes    []RuleShown   `json:"classes" nullable:"false" doc:"Overrule what errors are taken for."`
}

// AttemptsShown is how often a message is tried in place.
type AttemptsShown struct {
	Transient int `json:"transient"`
	Unknown   int `json:"unknown"`
}

// BackoffShown are pauses that double.
type BackoffShown struct {
	First  int64 `json:"first_ms"`
	Most   int64 `json:"most_ms"`
	Jitter int   `json:"jitter_percent"`
}

// RuleShown gives errors a class.
type RuleShown struct {
	Contains string `json:"error_contains"`
	Class    string `json:"class"`
}

// PolicyVersion is the version as callers see it: the first one is the default, each change adds one.
func PolicyVersion(h *ops.Handler) bank.Version {
	return bank.Version(h.Version) + 1
}

// PolicyOf renders what is in force for a handler.
func PolicyOf(h *ops.Handler) Policy {
	p := ops.DefaultPolicy()
	if h.Policy != nil {
		p = *h.Policy
	}
	out := Policy{
		Handler: h.Name, Version: uint64(PolicyVersion(h)), IsDefault: h.Policy == nil,
		Policy: PolicyShown{
			Attempts: AttemptsShown{p.Attempts["transient"], p.Attempts["unknown"]},
			Backoff:  BackoffShown(p.Backoff), Hold: BackoffShown(p.Hold),
			Timeout: p.Timeout, Outage: p.Outage, PerKey: p.PerKey, PerHandler: p.PerHandler,
			Again: append([]int64{}, p.Again...), Classes: make([]RuleShown, len(p.Classes)),
		},
	}
	for i, r := range p.Classes {
		out.Policy.Classes[i] = RuleShown(r)
	}
	return out
}

// DemoFailures is whether failures are injected for demonstration.
type DemoFailures struct {
	Enabled bool `json:"enabled"`
}
