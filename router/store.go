package router

import (
	"context"
	"time"

	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers"
)

// Store is where a handler's checkpoint and parked messages stand: in the same file or database that the
// handler writes to, so that one transaction holds them all. It is safe for concurrent use.
type Store interface {
	Checkpoints
	Lot
}

// Stream is one partition of a topic, as one handler reads it.
type Stream struct {
	Handler   string
	Topic     bank.Topic
	Partition int
}

// Checkpoint is how far a handler has come. The zero Checkpoint is before the first message.
type Checkpoint struct {
	Incarnation string // of the log that Position counts in
	Position    handlers.Position
}

// Checkpoints keep how far handlers have come.
type Checkpoints interface {
	// InTx runs fn in one transaction, which its context carries, and commits when fn returns nil. When fn fails or
	// panics, when ctx has ended, or when the commit fails, nothing of it stays. It does not nest.
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// Checkpoint returns the stream's checkpoint; the zero one when there is none. Within a transaction it
	// also locks it until the transaction ends: of two transactions, the later one sees what the earlier one wrote.
	Checkpoint(ctx context.Context, s Stream) (Checkpoint, error)
	// Advance replaces the checkpoint. It must be called in the transaction that called Checkpoint.
	Advance(ctx context.Context, s Stream, c Checkpoint) error
	// Rewind replaces the checkpoint by an earlier one, or by one of another incarnation, and forgets everything that
	// was ever parked of the stream behind it or in other incarnations: it will be delivered again. It must be called
	// in the transaction that called Checkpoint.
	Rewind(ctx context.Context, s Stream, c Checkpoint) error
}

// Lot keeps what handlers gave up on, in sequences: one for each handler and key with messages that wait, the
// first of which failed, and one for each key that is paused, which may be empty. Its methods belong into a
// transaction; nothing in it ever expires.
type Lot interface {
	// Blocked returns those of the keys that have a sequence. Until the transaction ends no other one ends these
	// sequences or takes their heads. It may be called without a transaction; then it only tells.
	Blocked(ctx context.Context, handler string, keys []string) ([]string, error)
	// Park appends p to the sequence of its handler and key, with all attempts in their order, and returns how
	// many messages wait there now. A position that is parked already is refused. p.Status is Failed or Waiting.
	Park(ctx context.Context, p Parked, attempts []Attempt) (waiting int, err error)
	// Head returns the message of the sequence that was parked first and still waits, and locks the
	// sequence until the transaction ends. ok is false when nothing waits.
	Head(ctx context.Context, handler, key string) (p Parked, ok bool, err error)
	// Attempted adds an attempt to those of a message that Head has returned. It waits as Failed, and is tried again at
	// next; zero: when somebody wants it. An act that wanted this attempt has failed; one that wants another, still does.
	Attempted(ctx context.Context, p Parked, a Attempt, next time.Time) error
	// Resolve ends the waiting of a message that Head has returned, in this transaction. It and its attempts are
	// kept. The sequence goes on with the next message, or ends when there is none and the key is not paused: then the
	// key flows again. An act that wanted it is done with the sequence, or, if it wanted this message alone, now; so is
	// one that has had nothing to do with it, and finds it done.
	Resolve(ctx context.Context, p Parked, e Ending) error
}

// Ending is how the waiting of a message ends.
type Ending struct {
	As Status // Resolved or Discarded
	By string // what ended it: see ops.Attempt
	At time.Time
	// Next is when the message behind it is tried, unless what has ended this one, or something else, wants that anyway;
	// zero: when that was wanted for this one.
	Next time.Time
}

// Controls are what operators want of handlers, in the same store as their parking lot.
type Controls interface {
	// Controls returns what is wanted now. Its version rises with each change; where it is still the one that is known,
	// nothing else is looked up or set.
	Controls(ctx context.Context, known int64) (Control, error)
	// Halt pauses a handler that is over a cap, until an operator resumes it. It needs no transaction.
	Halt(ctx context.Context, handler, why string, at time.Time) error
	// Report notes what a process says of handlers that it runs, for operators to see.
	Report(ctx context.Context, process string, runs []Report, at time.Time) error
	// Waiting is how many messages wait for the handler.
	Waiting(ctx context.Context, handler string) (int, error)
}

// Control is what operators want.
type Control struct {
	Version  int64
	Demo     bool                  // failures are injected for demonstration
	Paused   map[string]string     // handlers, and why
	Resumed  map[string]int64      // how often handlers were resumed: also one that only holds then tries again at once
	Policies map[string]ops.Policy // of handlers for which one was set
}

// Report is what a process says of a handler.
type Report struct {
	HandlerStatus
	Rate     float64 // facts a second since the last report
	Controls int64   // the version that is in force
}

// Status is what became of a message in the parking lot. The texts are permanent.
type Status = ops.Status

// A message fails, or waits behind one that failed; it ends as resolved or discarded. Scheduled is one that failed and
// that an operator has given a time.
const (
	Failed    = ops.Parked
	Waiting   = ops.Blocked
	Scheduled = ops.Scheduled
	Resolved  = ops.Resolved
	Discarded = ops.Discarded
)

// Parked is a message in the parking lot, in the form that brokers carry.
type Parked struct {
	Stream
	Key         string
	Incarnation string
	Position    handlers.Position
	Status      Status
	At          time.Time // when it was parked; to the microsecond
	Type        string    // what the message says of itself, as Correlation
	Correlation string
	Accounts    []string // that it touches
	Metadata    map[string]string
	Payload     []byte
	Next        time.Time // of what Park takes as Failed: when it is tried again; zero: when somebody wants it
	// In what Head returns:
	Attempts []Attempt // in their order
	Tries    int       // its place in the back-off: how often it has failed there since an operator wanted it last
	Paused   bool      // an operator has paused the key
	Wanted   By        // what wants it tried, whoever has it in hand
}

// ID is the message's name for operators.
func (p *Parked) ID() string {
	return ops.FailureID(p.Handler, p.Incarnation, p.Position.Seq, p.Position.N)
}

// Attempt is one try that failed.
type Attempt struct {
	At          time.Time // when it began; to the microsecond
	Took        time.Duration
	Class       handlers.Class
	Error       string
	Stack       string // of a panic
	By          string // who tried: see ops.Attempt
	Fingerprint string // of the group: see ops.Fingerprint
}
