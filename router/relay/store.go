package relay

import (
	"context"
	"errors"
	"time"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// Store keeps the relay's cursor, and who may move it. It is safe for concurrent use, also by several processes.
type Store interface {
	router.Cursors
	// Acquire makes owner the relay for the time of the lease, and returns a term, above all before, and the cursor. From
	// then on whoever had an earlier term cannot save. ErrHeld: the lease of another owner has not run out, and
	// nothing has changed. Who asks again under the same name gets a new term at once.
	Acquire(ctx context.Context, owner string, lease time.Duration) (term uint64, c router.Cursor, err error)
	// Save replaces the cursor and prolongs the lease, which runs from now; a lease of 0 gives it up. ErrFenced: the
	// term has passed, and nothing has changed. Time that has run out does not matter while nobody else asked for
	// the lease. What is saved survives a crash; any other error leaves it open whether it was.
	Save(ctx context.Context, term uint64, c router.Cursor, lease time.Duration) error
}

// resetLease is how long others leave the relay to who has reset it.
const resetLease = time.Minute

// Reset sets the relay's cursor back to the beginning, with these numbers of partitions from now on: all of the log is
// sent again, by the relay with this name; others wait for a minute. empty deletes the topics, while no relay can run.
// It is told the cursor, and may refuse; then nothing has changed. ErrHeld: a relay runs.
func Reset(
	ctx context.Context, s Store, owner string, partitions map[bank.Topic]int, empty func(was router.Cursor) error,
) error {
	term, was, err := s.Acquire(ctx, owner, resetLease)
	if err != nil {
		return err
	}
	if err := empty(was); err != nil {
		return errors.Join(err, s.Save(context.WithoutCancel(ctx), term, was, 0))
	}
	return s.Save(ctx, term, router.Cursor{Last: beginning(partitions)}, resetLease)
}

// beginning is before the first message of each partition.
func beginning(partitions map[bank.Topic]int) map[bank.Topic][]handlers.Position {
	last := map[bank.Topic][]handlers.Position{}
	for topic, n := range partitions {
		last[topic] = make([]handlers.Position, n)
	}
	return last
}

// What a Store refuses with; test with errors.Is.
var (
	// ErrHeld means that another relay runs.
	ErrHeld = errors.New("another relay holds the lease")
	// ErrFenced means that another relay has taken over.
	ErrFenced = errors.New("fenced: another relay has taken over")
)
