package ops

import (
	"cmp"
	"context"
	"time"

	"bankforge/app/bank"
)

// Status is what became of a message in the parking lot. The texts are permanent.
type Status string

// A message fails, or waits behind one that failed. An operator may say when it is tried next. It ends as resolved or
// discarded. One that is tried again by itself stays parked, and says when.
const (
	Parked    Status = "parked"
	Blocked   Status = "blocked"
	Scheduled Status = "scheduled"
	Resolved  Status = "resolved"
	Discarded Status = "discarded"
)

// Statuses are all of them.
var Statuses = []Status{Parked, Blocked, Scheduled, Resolved, Discarded}

// Waits reports whether the message is still to be handled.
func (s Status) Waits() bool { return s == Parked || s == Blocked || s == Scheduled }

// Failure is a message in the parking lot.
type Failure struct {
	ID          string // fail_…; of handler, incarnation and position, so always the same
	Handler     string
	Topic       bank.Topic
	Partition   int
	Incarnation string
	Seq         bank.Seq // with N the position
	N           int
	Key         string // any bytes: a broker may carry what is none of ours
	Type        string // "bankforge.account.credited.v1"; what the message says, if it says anything
	Status      Status
	Class       string // of the last failure; "" while it has not failed itself
	Error       string // of the last failure, as Class
	Fingerprint string // of the group, as Class
	Correlation string
	Accounts    []string  // that it touches
	ParkedAt    time.Time // the time of lists
	EndedAt     time.Time // zero: it waits
	EndedBy     string    // what ended it: see Attempt.By
	Head        bool      // it is the first of its sequence that waits: only such can be retried or discarded
	NextAt      time.Time // of a head that is tried again by itself or by a schedule; zero: by hand
	Attempts    int
}

// Detail is one failure with all that is known of it.
type Detail struct {
	Failure
	Metadata map[string]string // headers
	Payload  []byte            // as the broker carries it, whoever may see it; not always JSON
	Tries    []Attempt         // in their order
}

// Attempt is one try that failed.
type Attempt struct {
	At    time.Time
	Took  time.Duration
	Class string
	Error string
	Stack string // of a panic
	By    string // who tried: "stream", "backoff", or the id of an act or a replay
}

// What tries a message, besides acts and replays, whose ids are said.
const (
	ByStream  = "stream"  // the handler, as it came
	ByBackoff = "backoff" // the replayer, by itself
)

// Page is one page of a list: ordered by (time, id), the newest first, or the oldest when Ascending.
type Page struct {
	Limit     int // at least 1
	Ascending bool
	AfterTime bank.Time // continue behind this place; both zero: from the start
	AfterID   string
	From, To  bank.Time // From ≤ time < To; zero: open
}

// Has reports whether what has this place belongs to the page or to a later one.
func (p *Page) Has(at bank.Time, id string) bool {
	if at < p.From || p.To != 0 && at >= p.To {
		return false
	}
	if p.AfterTime == 0 && p.AfterID == "" {
		return true
	}
	behind := cmp.Or(cmp.Compare(at, p.AfterTime), cmp.Compare(id, p.AfterID))
	return p.Ascending && behind > 0 || !p.Ascending && behind < 0
}

// FailureFilter selects failures; zero fields select all. Their time is ParkedAt, their id ID.
type FailureFilter struct {
	Page
	Handler     string
	Key         string // its messages are in the order in which they were parked, which is that of a sequence
	Class       string
	Fingerprint string
	Account     string
	Correlation string
	Status      Status
	Waiting     bool // only what is still to be handled, whatever Status it has
}

// Group are failures with one fingerprint: of one handler, for one reason. Only heads that wait are counted.
type Group struct {
	Fingerprint string
	Handler     string
	Class       string
	Error       string // of the first one
	Count       int    // failures; each is the head of a sequence, so it is the number of keys, too
	Waiting     int    // messages in these sequences, the heads and what is blocked behind them
	Accounts    int    // that the heads touch
	First, Last time.Time
}

// GroupFilter selects groups; zero fields select all. Their time is Last, their id Fingerprint.
type GroupFilter struct {
	Page
	Handler     string
	Class       string
	Fingerprint string
}

// Failures answers from the parking lot. Every list takes at most 100 ms of 100,000 that are parked.
type Failures interface {
	Failures(ctx context.Context, f FailureFilter) ([]Failure, error)
	// Failure returns one; not found: ok is false.
	Failure(ctx context.Context, id string) (d Detail, ok bool, err error)
	Groups(ctx context.Context, f GroupFilter) ([]Group, error)
}
