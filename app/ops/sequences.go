package ops

import (
	"context"
	"time"
)

// Sequence are the messages of one key that wait for one handler, in order. It may be empty when it is paused.
type Sequence struct {
	ID          string // seq_…; of handler and key
	Handler     string
	Key         string
	Waiting     int       // messages
	Since       time.Time // when the first that waits was parked
	Paused      bool      // by an operator: nothing of it is tried
	Diverged    bool      // something of the key was discarded, and its view not rebuilt since
	Why         string    // it diverged
	Head        string    // the id of the first failure that waits; "": none waits
	Class       string    // of the head; "" while it has not failed itself
	Error       string    // as Class
	Fingerprint string    // as Class
	Tries       int       // place of the head in the back-off
	NextAt      time.Time // when the head is tried next; zero: by hand
	NextBy      string    // what wants that: see Attempt.By
	Claimed     string    // the replayer that works on it now; "": none
}

// SequenceFilter selects sequences; zero fields select all. Their time is Since, their id ID.
type SequenceFilter struct {
	Page
	Handler     string
	Class       string // of the head
	Fingerprint string // of the head
	Paused      bool   // only those
}

// DivergedKey is a key whose view lacks what was discarded.
type DivergedKey struct {
	Handler string
	Key     string
	Since   time.Time
	Why     string // the operator's reason
	Failure string // the first that was discarded
}

// Sequences answers from the parking lot.
type Sequences interface {
	Sequences(ctx context.Context, f SequenceFilter) ([]Sequence, error)
	// Sequence returns one; ok is false when the key flows and nothing of it was discarded. Of a key that flows and has
	// diverged, only ID, Handler, Key, Diverged, Why and Since are set. Its messages are Failures with Handler, Key,
	// Waiting.
	Sequence(ctx context.Context, handler, key string) (s Sequence, ok bool, err error)
	// Diverged returns the keys that have, the oldest first, at most limit.
	Diverged(ctx context.Context, limit int) ([]DivergedKey, error)
}
