package apptest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"bankforge/app"
	"bankforge/app/apptest"
)

func TestMemoryLeaseConforms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if err := apptest.Lease(t.Context(), &apptest.MemoryLease{}); err != nil {
			t.Fatal(err)
		}
	})
}

// brokenLease breaks one promise of the lease that it holds.
type brokenLease struct {
	apptest.MemoryLease

	hold    func(l *brokenLease, h app.Holder, term time.Duration) (app.Holder, time.Duration)
	release func(l *brokenLease, h app.Holder) app.Holder
}

func (l *brokenLease) Hold(ctx context.Context, h app.Holder, term time.Duration) (app.Holder, error) {
	if l.hold != nil {
		h, term = l.hold(l, h, term)
	}
	return l.MemoryLease.Hold(ctx, h, term)
}

func (l *brokenLease) Release(ctx context.Context, h app.Holder) error {
	if l.release != nil {
		h = l.release(l, h)
	}
	return l.MemoryLease.Release(ctx, h)
}

func (l *brokenLease) now(t *testing.T) app.Holder {
	h, err := l.Holder(t.Context())
	if err != nil {
		t.Error(err)
	}
	return h
}

func TestBrokenLeasesAreRejected(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(*testing.T) app.Lease{
		"it can be stolen": func(t *testing.T) app.Lease {
			return &brokenLease{hold: func(l *brokenLease, h app.Holder, d time.Duration) (app.Holder, time.Duration) {
				if err := l.MemoryLease.Release(t.Context(), l.now(t)); err != nil {
					t.Error(err)
				}
				return h, d
			}}
		},
		"it never ends": func(*testing.T) app.Lease {
			return &brokenLease{hold: func(_ *brokenLease, h app.Holder, _ time.Duration) (app.Holder, time.Duration) {
				return h, time.Hour
			}}
		},
		"holding on is of no use": func(t *testing.T) app.Lease {
			return &brokenLease{hold: func(l *brokenLease, h app.Holder, d time.Duration) (app.Holder, time.Duration) {
				if l.now(t) == h {
					d /= 4
				}
				return h, d
			}}
		},
		"the address is the holder": func(*testing.T) app.Lease {
			return &brokenLease{hold: func(_ *brokenLease, h app.Holder, d time.Duration) (app.Holder, time.Duration) {
				h.ID = h.Address
				return h, d
			}}
		},
		"anybody can release it": func(t *testing.T) app.Lease {
			return &brokenLease{release: func(l *brokenLease, _ app.Holder) app.Holder { return l.now(t) }}
		},
		"nobody can release it": func(*testing.T) app.Lease {
			return &brokenLease{release: func(*brokenLease, app.Holder) app.Holder { return app.Holder{} }}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if err := apptest.Lease(t.Context(), make(t)); err == nil {
					t.Fatal("the suite has nothing against it")
				}
			})
		})
	}
}
