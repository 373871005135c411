package ops

import (
	"context"
	"time"

	"bankforge/app/bank"
)

// Handler is where a handler stands: what operators want of it, and what the processes that run it said last.
type Handler struct {
	Name     string
	Topic    bank.Topic // "": nobody has ever run it
	Paused   bool
	Why      string    // it is paused: the operator's reason, or which cap it is over
	PausedBy string    // the act, or ByCap
	PausedAt time.Time // zero: it is not
	Policy   *Policy   // as an operator set it; nil: the default is in force
	Version  int       // of the policy: 0 before the first
	Parked   int       // messages that wait
	Keys     int       // sequences
	Failing  int       // sequences whose head has failed
	Groups   int       // reasons why they have
	Diverged int       // keys
	Oldest   time.Time // since when the oldest message waits; zero: none
	Outage   bool      // a process holds it because something that it needs is down
	Places   []Place   // how far it is, by partition
	Runs     []Run     // processes that run it, those that have been silent for a minute left out
}

// ByCap is Handler.PausedBy where the handler has paused itself, because it was over a cap.
const ByCap = "cap"

// Place is how far a handler has come in one partition of its topic. All before it are handled or parked.
type Place struct {
	Partition   int
	Incarnation string
	Seq         bank.Seq
	N           int
}

// Run is what one process says of a handler that it runs.
type Run struct {
	Process  string
	State    string // stopped, running, paused, held
	Lag      bank.Seq
	Rate     float64 // messages a second, lately
	Error    string  // the last one, also if it was mended since
	FailedAt time.Time
	At       time.Time // when it said so
	Controls int64     // the version of the controls that it has in force
}

// Handlers answers what is known of handlers.
type Handlers interface {
	// Handlers returns all that have ever run or been spoken of, in the order of names.
	Handlers(ctx context.Context) ([]Handler, error)
	// Handler returns one; not found: ok is false.
	Handler(ctx context.Context, name string) (h Handler, ok bool, err error)
	// Demo reports whether failures are injected for demonstration.
	Demo(ctx context.Context) (bool, error)
}
