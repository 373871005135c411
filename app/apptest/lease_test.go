package apptest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"bankforge/app"
	"bankforge/app/apptest"
)

const leaseTerm = 800 * time.Millisecond

func leased(of *apptest.MemoryLog, spoil func(*apptest.Shared) apptest.SharedLog) apptest.LeaseStore {
	return apptest.LeaseStore{Term: leaseTerm, Open: func(address string) (apptest.SharedLog, error) {
		return spoil(of.Share(address, leaseTerm)), nil
	}}
}

func TestMemoryLeaseConforms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		own := func(s *apptest.Shared) apptest.SharedLog { return s }
		if err := apptest.Lease(t.Context(), leased(&apptest.MemoryLog{}, own)); err != nil {
			t.Fatal(err)
		}
	})
}

// Leases that each break one promise.
type (
	stolenLease    struct{ *apptest.Shared } // Acquire does not look at it
	endlessLease   struct{ *apptest.Shared } // it never runs out
	shortLease     struct{ *apptest.Shared } // renewing it is of no use
	lateLease      struct{ *apptest.Shared } // what has run out cannot be renewed
	anybodysLease  struct{ *apptest.Shared } // whoever renews it, has it
	stickyLease    struct{ *apptest.Shared } // releasing it is of no use
	releasedLease  struct{ *apptest.Shared } // anybody releases it
	anonymousLease struct{ *apptest.Shared } // nobody can be reached
)

func (l stolenLease) Acquire(ctx context.Context, owner string) (app.Head, error) {
	return l.MemoryLog.Acquire(ctx, owner)
}

func (l endlessLease) Acquire(ctx context.Context, owner string) (app.Head, error) {
	return l.MemoryLog.Share("http://"+owner, time.Hour).Acquire(ctx, owner)
}

func (shortLease) Renew(context.Context) error { return nil }

func (l lateLease) Renew(ctx context.Context) error {
	if h, err := l.Holder(ctx); err != nil || !h.Valid {
		return app.ErrFenced
	}
	return l.Shared.Renew(ctx)
}

func (l anybodysLease) Renew(ctx context.Context) error {
	if err := l.Shared.Renew(ctx); !errors.Is(err, app.ErrFenced) {
		return err
	}
	return nil
}

func (stickyLease) Release(context.Context) error { return nil }

func (l releasedLease) Release(ctx context.Context) error {
	if h, err := l.Holder(ctx); err != nil || h.Term == 0 {
		return err
	}
	l.MemoryLog.EndLease()
	return nil
}

func (l anonymousLease) Holder(ctx context.Context) (app.Holder, error) {
	h, err := l.Shared.Holder(ctx)
	h.Address = ""
	return h, err
}

func TestBrokenLeasesAreRejected(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*apptest.Shared) apptest.SharedLog{
		"stolen":    func(s *apptest.Shared) apptest.SharedLog { return stolenLease{s} },
		"endless":   func(s *apptest.Shared) apptest.SharedLog { return endlessLease{s} },
		"short":     func(s *apptest.Shared) apptest.SharedLog { return shortLease{s} },
		"late":      func(s *apptest.Shared) apptest.SharedLog { return lateLease{s} },
		"anybody's": func(s *apptest.Shared) apptest.SharedLog { return anybodysLease{s} },
		"sticky":    func(s *apptest.Shared) apptest.SharedLog { return stickyLease{s} },
		"released":  func(s *apptest.Shared) apptest.SharedLog { return releasedLease{s} },
		"anonymous": func(s *apptest.Shared) apptest.SharedLog { return anonymousLease{s} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if err := apptest.Lease(t.Context(), leased(&apptest.MemoryLog{}, spoil)); err == nil {
					t.Fatal("the suite has nothing against it")
				} else {
					t.Log(err)
				}
			})
		})
	}
}
