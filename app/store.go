package app

import (
	"context"
	"errors"
	"fmt"
	"io"

	"bankforge/app/bank"
	"bankforge/app/codec"
)

// Hash is a SHA-256 sum.
type Hash [32]byte

// Key names a command for ever: the SHA-256 of the caller's subject, the path and the Idempotency-Key.
// The zero Key is no key: nothing is remembered.
type Key [32]byte

// Meta is what an event says of its origin.
type Meta = codec.Meta

// Recorded is an event as the log holds it.
type Recorded struct {
	bank.Event
	Meta  Meta
	Chain Hash
}

// Row is one stored event. Log adapters do not look into Data.
type Row struct {
	Seq   bank.Seq
	Data  []byte // app/codec's form of a Recorded, without its chain
	Chain Hash   // SHA-256 of the previous row's Chain followed by Data; before the first row: of the genesis, all zero
	// Touches names every account, transaction and hold that the event made a version of, or its act.
	// They are only for Append to index, and empty in what is read.
	Touches []Touch
}

// Decode reads what the row holds.
func Decode(r Row) (Recorded, error) {
	e, m, err := codec.Decode(r.Data)
	if err != nil {
		return Recorded{}, fmt.Errorf("event %d of the log: %w", r.Seq, err)
	}
	return Recorded{Event: e, Meta: m, Chain: r.Chain}, nil
}

// Touch is one version of one subject (the text of an account's, transaction's or hold's id, or of an act's).
type Touch struct {
	Subject string
	Version bank.Version
}

// Touches are the versions that e makes.
func Touches(e *bank.Event) []Touch {
	out := make([]Touch, 0, 4)
	for i := range e.Legs {
		out = append(out, Touch{e.Legs[i].Account.String(), e.Legs[i].After.Version})
	}
	for i := range e.Transactions {
		out = append(out, Touch{e.Transactions[i].ID.String(), e.Transactions[i].Version})
	}
	if e.Hold != nil {
		out = append(out, Touch{e.Hold.ID.String(), e.Hold.Version})
	}
	if e.Act != nil {
		out = append(out, Touch{e.Act.ID.String(), 1})
	}
	return out
}

// Head is the one row that guards a ledger.
type Head struct {
	Incarnation string // changes when the log may have lost or changed events: restore, failover
	Term        uint64 // changes with each owner
	Batch       uint64 // of the last append
	Seq         bank.Seq
	Chain       Hash
	Owner       string
}

// Outcome is what became of a command with a key: written with its events, and never changed.
type Outcome struct {
	Key         Key
	Fingerprint Hash      // of the request; the same key with another one is refused
	Seq         bank.Seq  // of its first event, or of the last one before it when it has none
	Events      int       // how many events it made
	Code        bank.Code // "" when accepted
	Reply       []byte    // app/codec's form of what the events do not say
	Subject     string    // the id that it made or changed
	Command     string    // its name
	At          bank.Time
}

// Batch is one append.
type Batch struct {
	Term     uint64
	Number   uint64   // the previous append's + 1
	After    bank.Seq // the head must be here
	Rows     []Row    // from After + 1, dense; may be empty
	Outcomes []Outcome
}

// What a Log refuses with; test with errors.Is.
var (
	// ErrFenced means that the head is not where the batch follows: somebody else owns the ledger.
	// The batch left no trace.
	ErrFenced = errors.New("fenced: another owner has moved the head of the ledger")
	// ErrUnknownCommit means that the batch may or may not have been committed; Resolve says.
	ErrUnknownCommit = errors.New("it is not known whether the batch was committed")
	// ErrFull means that there is no space to write; the batch left no trace, and may be tried again later.
	ErrFull = errors.New("no space left to write")
)

// Log is the append-only log of one ledger. It is safe for concurrent use.
type Log interface {
	// Acquire makes owner the owner: it adds one to the term, which fences every earlier owner, and
	// returns the head. A ledger that does not exist yet is made, with a new incarnation. Where processes share the
	// ledger (see Lease), it stands by for as long as somebody else's lease is valid, or until ctx ends.
	Acquire(ctx context.Context, owner string) (Head, error)

	// Append commits all of b in one transaction, durably, or nothing. When it returns nil, b survives the loss of
	// power. ErrFenced: the head is not at (b.Term, b.Number−1, b.After). ErrUnknownCommit: see Resolve.
	// Any other error, as for rows that are not dense, a key that has an outcome, or a version that exists: b left no
	// trace. A ctx that ends in the middle changes nothing of this. b is not kept.
	Append(ctx context.Context, b Batch) error

	// Resolve decides an unknown commit: it fences b by taking a new term, and reports whether b is in the
	// log. head is the new one. ErrFenced: somebody else owns the ledger by now, and only outcomes tell.
	Resolve(ctx context.Context, b Batch) (committed bool, head Head, err error)

	// Read returns rows with seq > after, ascending and without gaps, at most limit. Rows are
	// visible once they are committed, and in no other order than their own.
	Read(ctx context.Context, after bank.Seq, limit int) ([]Row, error)

	// Head returns the head as it is now; of a ledger that nobody has acquired yet, the zero Head.
	Head(ctx context.Context) (Head, error)
}

// Lease keeps the processes that share a ledger from taking it from one another, back and forth. Acquire takes the
// lease with the term, for a time that is configured. It is no guard: an owner who was paused until his lease ran out
// finds himself fenced by the term, whether he looks at the lease or not. It is safe for concurrent use.
type Lease interface {
	// Renew prolongs the lease of this process's last Acquire, also one that has run out when nobody has taken the
	// ledger since. ErrFenced: somebody has, and this process owns nothing any more. Any other error says nothing.
	Renew(ctx context.Context) error
	// Release ends it, so that who stands by need not wait. It does nothing to the lease of somebody else.
	Release(ctx context.Context) error
	// Holder says who has acquired the ledger last; the zero Holder: nobody ever has.
	Holder(ctx context.Context) (Holder, error)
}

// Holder is the owner of a ledger as others see him.
type Holder struct {
	Owner   string
	Address string // where other processes reach him
	Term    uint64
	Valid   bool // his lease has not run out; else nobody may be at home
}

// ReplayedLog is what a Log may have besides, for who goes over all of it.
type ReplayedLog interface {
	// Replay calls each with the rows behind after up to until, ascending and without gaps, or fails, though it may be
	// after some of them. The error says less than what Read would give.
	Replay(ctx context.Context, after, until bank.Seq, each func(chain Hash, data string) error) error
}

// Lookup finds single things in the log by indexed ids. It sees whatever Append has committed.
type Lookup interface {
	// Outcomes returns those of the keys that have one.
	Outcomes(ctx context.Context, keys []Key) (map[Key]Outcome, error)
	// Latest returns for each subject that exists the row of its newest version.
	Latest(ctx context.Context, subjects []string) (map[string]Row, error)
	// Versions returns the rows of one subject with version > after, ascending, at most limit,
	// and is dense: the first is version after + 1.
	Versions(ctx context.Context, subject string, after bank.Version, limit int) ([]Row, error)
	// VersionsBefore returns the rows of one subject with version < before, descending, at most limit.
	VersionsBefore(ctx context.Context, subject string, before bank.Version, limit int) ([]Row, error)
}

// SnapshotMark says of which moment a snapshot is. On any mismatch with the log it is discarded.
type SnapshotMark struct {
	Schema      int // of the snapshot's bytes
	Incarnation string
	Seq         bank.Seq
	Chain       Hash
}

// Snapshots keep the decider's state as a cache. Losing one costs time only.
type Snapshots interface {
	// Save keeps what write writes, whole or not at all, and forgets older ones.
	Save(ctx context.Context, m SnapshotMark, write func(io.Writer) error) error
	// Load calls read with the newest snapshot, if there is an undamaged one; found says whether there was.
	Load(ctx context.Context, read func(SnapshotMark, io.Reader) error) (found bool, err error)
}
