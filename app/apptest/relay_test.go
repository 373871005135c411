package apptest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"bankforge/app/apptest"
	"bankforge/router"
	"bankforge/router/relay"
)

func TestTheRelayStoreInMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	if err := apptest.RelayStore(t.Context(), &apptest.MemoryRelayStore{}); err != nil {
		t.Error(err)
	}
}

// Ways to break a relay.Store. The suite must see each.
type (
	fencesNobody  struct{ relay.Store } // saves for terms that have passed
	ignoresLease  struct{ relay.Store } // gives the lease to whoever asks
	keepsLease    struct{ relay.Store } // a lease that was given up runs on
	losesCursor   struct{ relay.Store } // a new owner begins at the start
	losesTopics   struct{ relay.Store } // the positions of partitions are not kept
	fencesByTime  struct{ relay.Store } // a lease that ran out cannot save, even if nobody asked for it
	goesOnlyOn    struct{ relay.Store } // a cursor that goes back is not taken
	sameTermTwice struct{ relay.Store } // terms do not grow
	savesWhenHeld struct{ relay.Store } // who asks in vain takes the term with it
	refusesItself struct{ relay.Store } // the owner cannot come back before its lease runs out
)

func (s fencesNobody) Save(ctx context.Context, term uint64, c router.Cursor, lease time.Duration) error {
	err := s.Store.Save(ctx, term, c, lease)
	for ; errors.Is(err, relay.ErrFenced); term++ {
		err = s.Store.Save(ctx, term+1, c, lease)
	}
	return err
}

func (s ignoresLease) Acquire(ctx context.Context, _ string, d time.Duration) (uint64, router.Cursor, error) {
	return s.Store.Acquire(ctx, "anybody", d)
}

func (s keepsLease) Save(ctx context.Context, term uint64, c router.Cursor, lease time.Duration) error {
	return s.Store.Save(ctx, term, c, max(lease, time.Minute))
}

func (s losesCursor) Acquire(ctx context.Context, o string, d time.Duration) (uint64, router.Cursor, error) {
	term, _, err := s.Store.Acquire(ctx, o, d)
	return term, router.Cursor{}, err
}

func (s losesTopics) Save(ctx context.Context, term uint64, c router.Cursor, lease time.Duration) error {
	c.Last = nil
	return s.Store.Save(ctx, term, c, lease)
}

func (s fencesByTime) Save(ctx context.Context, term uint64, c router.Cursor, lease time.Duration) error {
	if _, _, err := s.Acquire(ctx, "somebody else", 0); err == nil {
		return relay.ErrFenced
	}
	return s.Store.Save(ctx, term, c, lease)
}

func (s goesOnlyOn) Save(ctx context.Context, term uint64, c router.Cursor, lease time.Duration) error {
	if old, err := s.Cursor(ctx); err != nil || old.Seq > c.Seq {
		c = old
	}
	return s.Store.Save(ctx, term, c, lease)
}

func (s sameTermTwice) Acquire(ctx context.Context, o string, d time.Duration) (uint64, router.Cursor, error) {
	_, c, err := s.Store.Acquire(ctx, o, d)
	return 1, c, err
}

func (s savesWhenHeld) Acquire(ctx context.Context, o string, d time.Duration) (uint64, router.Cursor, error) {
	term, c, err := s.Store.Acquire(ctx, o, d)
	if errors.Is(err, relay.ErrHeld) {
		for _, owner := range []string{"a", "b", "first"} {
			_, _, _ = s.Store.Acquire(ctx, owner, d)
		}
	}
	return term, c, err
}

func (s refusesItself) Acquire(ctx context.Context, o string, d time.Duration) (uint64, router.Cursor, error) {
	if _, _, err := s.Store.Acquire(ctx, "somebody else", 0); err != nil {
		return 0, router.Cursor{}, err
	}
	return s.Store.Acquire(ctx, o, d)
}

func TestTheRelaySuiteRefusesBrokenStores(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(relay.Store) relay.Store{
		"fences nobody":             func(s relay.Store) relay.Store { return fencesNobody{s} },
		"ignores the lease":         func(s relay.Store) relay.Store { return ignoresLease{s} },
		"keeps a lease given up":    func(s relay.Store) relay.Store { return keepsLease{s} },
		"loses the cursor":          func(s relay.Store) relay.Store { return losesCursor{s} },
		"loses positions":           func(s relay.Store) relay.Store { return losesTopics{s} },
		"fences by time alone":      func(s relay.Store) relay.Store { return fencesByTime{s} },
		"never goes back":           func(s relay.Store) relay.Store { return goesOnlyOn{s} },
		"terms do not grow":         func(s relay.Store) relay.Store { return sameTermTwice{s} },
		"who asks in vain fences":   func(s relay.Store) relay.Store { return savesWhenHeld{s} },
		"an owner cannot come back": func(s relay.Store) relay.Store { return refusesItself{s} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := apptest.RelayStore(t.Context(), plant(&apptest.MemoryRelayStore{})); err == nil {
				t.Error("the suite does not see it")
			} else {
				t.Log(err)
			}
		})
	}
}
