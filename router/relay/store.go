package relay

import (
	"context"
	"errors"
	"time"

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

// Reset lets the next relay begin anew: all of the log is sent again, with the numbers of partitions that are
// configured then. It is for who has stopped all processes and deleted the topics. ErrHeld: a relay runs.
func Reset(ctx context.Context, s Store) error {
	term, _, err := s.Acquire(ctx, "reset", time.Minute)
	if err != nil {
		return err
	}
	return s.Save(ctx, term, router.Cursor{}, 0)
}

// What a Store refuses with; test with errors.Is.
var (
	// ErrHeld means that another relay runs.
	ErrHeld = errors.New("another relay holds the lease")
	// ErrFenced means that another relay has taken over.
	ErrFenced = errors.New("fenced: another relay has taken over")
)
