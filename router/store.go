package router

import (
	"context"
	"time"

	"bankforge/app/bank"
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
// first of which failed. Its methods belong into a transaction; nothing in it ever expires.
type Lot interface {
	// Blocked returns those of the keys that have a sequence. Until the transaction ends no other one ends these
	// sequences or takes their heads. It may be called without a transaction; then it only tells.
	Blocked(ctx context.Context, handler string, keys []string) ([]string, error)
	// Park appends p to the sequence of its handler and key, with all attempts in their order, and returns how
	// many messages wait there now. A position that is parked already is refused. p.Status is Failed or Waiting.
	Park(ctx context.Context, p Parked, attempts []Attempt) (waiting int, err error)
	// Head returns the message of the sequence that was parked first and still waits, and locks the
	// sequence until the transaction ends. ok is false when there is no sequence.
	Head(ctx context.Context, handler, key string) (p Parked, ok bool, err error)
	// Attempted adds an attempt to those of a message that Head has returned.
	Attempted(ctx context.Context, p Parked, a Attempt) error
	// Resolve ends the waiting of a message that Head has returned, in this transaction. It and its attempts are
	// kept. The sequence goes on with the next message, or ends when there is none: then the key flows again.
	Resolve(ctx context.Context, p Parked, as Status, at time.Time) error
}

// Status is what became of a message in the parking lot. The texts are permanent.
type Status string

// A message fails, or waits behind one that failed; it ends as resolved or discarded.
const (
	Failed    Status = "parked"
	Waiting   Status = "blocked"
	Resolved  Status = "resolved"
	Discarded Status = "discarded"
)

// Parked is a message in the parking lot, in the form that brokers carry.
type Parked struct {
	Stream
	Key         string
	Incarnation string
	Position    handlers.Position
	Status      Status
	At          time.Time // when it was parked; to the microsecond
	Metadata    map[string]string
	Payload     []byte
	Attempts    []Attempt // in what Head returns
}

// Attempt is one try that failed.
type Attempt struct {
	At    time.Time // when it began; to the microsecond
	Took  time.Duration
	Class handlers.Class
	Error string
	Stack string // of a panic
}
