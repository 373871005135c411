package ops

import (
	"context"
	"time"

	"bankforge/app/bank"
)

// Lot is all that operators read, from one store with the tables of the parking lot. It is safe for concurrent use,
// and sees whatever is committed. It is the sum of small interfaces: a door says which of them it needs.
type Lot interface {
	Failures
	Sequences
	Handlers
	Replays
	Acts
}

// Acts answers what became of operators' acts. An act stands in the log before it stands here.
type Acts interface {
	// Act returns what became of one; ok is false while it has not been executed.
	Act(ctx context.Context, id string) (a Executed, ok bool, err error)
	// Acts returns those of the filter.
	Acts(ctx context.Context, f ActFilter) ([]Executed, error)
}

// ActStatus is what became of an act. The texts are permanent.
type ActStatus string

// An act is pending while what it wants has not come to its end (a sequence that is to be tried), then done or failed.
// One that could not be done any more when it was read from the log is refused.
const (
	ActPending ActStatus = "pending"
	ActDone    ActStatus = "done"
	ActRefused ActStatus = "refused"
	ActFailed  ActStatus = "failed"
)

// Executed is an act as it was executed.
type Executed struct {
	ID      string // act_…
	Seq     bank.Seq
	Kind    string
	Handler string
	Key     string
	Target  string
	Reason  string // the operator's
	Actor   string
	Status  ActStatus
	Code    string    // why it was refused or failed: one of the Refused… texts; else ""
	Detail  string    // the same for people, or what it did
	At      time.Time // the event's; the time of lists
	EndedAt time.Time // zero: it is pending
}

// ActFilter selects acts; zero fields select all. Their time is At, their id ID.
type ActFilter struct {
	Page
	Kind    string
	Handler string
	Key     string
	Target  string
	Status  ActStatus
}
