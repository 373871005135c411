package ops

import (
	"context"
	"time"
)

// ReplayStatus is what a replay is doing. The texts are permanent.
type ReplayStatus string

// A replay is planned, then runs, and is done when each of its sequences is empty or has failed. It is stopped when
// too many have failed.
const (
	ReplayPlanned   ReplayStatus = "planned"
	ReplayRunning   ReplayStatus = "running"
	ReplayDone      ReplayStatus = "done"
	ReplayCancelled ReplayStatus = "cancelled"
	ReplayStopped   ReplayStatus = "stopped"
)

// Replay is many sequences tried again.
type Replay struct {
	ID     string // rpl_…; see ReplayOf
	Spec   ReplaySpec
	Status ReplayStatus
	// As planned, and counted anew at the start.
	Keys      int
	Messages  int
	Accounts  int
	Oldest    time.Time // zero: nothing
	Estimated time.Duration
	// As it goes.
	Handled   int // messages
	Failed    int // sequences, each at a message that failed
	Left      int // messages
	KeysLeft  int
	PlannedAt time.Time // the time of lists
	StartedAt time.Time
	EndedAt   time.Time
}

// ReplayFilter selects replays; zero fields select all. Their time is PlannedAt, their id ID.
type ReplayFilter struct {
	Page
	Status ReplayStatus
}

// Replays answers what is known of replays.
type Replays interface {
	Replays(ctx context.Context, f ReplayFilter) ([]Replay, error)
	// Replay returns one; not found: ok is false.
	Replay(ctx context.Context, id string) (r Replay, ok bool, err error)
}

// ReplaySpec is the body of an act of kind replay.plan.
type ReplaySpec struct {
	Filter ReplayScope `json:"filter"`
	// Rate is how many messages a second are tried at most, by all processes together; 0: as many as can be.
	Rate int `json:"rate"`
	// Concurrency is how many sequences are tried beside one another, by all processes together.
	Concurrency int `json:"concurrency"`
	// StopAfter is how many sequences may fail before the replay stops; 0: all.
	StopAfter int `json:"stop_after_errors"`
}

// ReplayScope selects sequences by their heads; empty fields select all. Paused keys are left out.
type ReplayScope struct {
	Handler     string `json:"handler,omitempty"`
	Class       string `json:"class,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Account     string `json:"account_id,omitempty"`
	Correlation string `json:"correlation_id,omitempty"`
}
