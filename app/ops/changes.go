package ops

import (
	"context"
	"time"

	"bankforge/app/bank"
)

// Changes answers what has changed lately, for those who tell it on while somebody listens. Questions are cheap,
// however much is parked.
type Changes interface {
	// ChangedFailures returns messages that were parked, that have failed again, or that were ended, at since or later, by
	// the clocks of the processes that did it; each as it is now, and once. They come in no particular order. Of each of
	// these three kinds of changes it returns the newest, at most limit.
	ChangedFailures(ctx context.Context, since time.Time, limit int) ([]Failure, error)
	// ChangedActs returns acts behind a place in the log, and those that have come to their end at since or later, in the
	// order of the log, at most limit. Acts are executed in that order.
	ChangedActs(ctx context.Context, after bank.Seq, since time.Time, limit int) ([]Executed, error)
	// Standings returns what each handler is doing, in all processes together, in the order of names.
	Standings(ctx context.Context) ([]Standing, error)
}

// Standing is what a handler is doing.
type Standing struct {
	Handler string
	State   string // see Handler.State
}

// State is that of all processes together: stopped, running, paused, or held.
func (h *Handler) State() string {
	running := false
	for i := range h.Runs {
		running = running || h.Runs[i].State == "running"
	}
	switch {
	case h.Paused:
		return "paused"
	case h.Outage:
		return "held"
	case running:
		return "running"
	}
	return "stopped"
}
