package apptest

import (
	"context"
	"sync"
	"time"

	"bankforge/app"
)

// MemoryLease is a lease in memory. Its zero value is held by nobody.
type MemoryLease struct {
	mu     sync.Mutex
	holder app.Holder
	until  time.Time
	away   error
}

// Fail makes every call fail with err from now on; nil: none.
func (l *MemoryLease) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = err
}

// Hold implements app.Lease.
func (l *MemoryLease) Hold(ctx context.Context, h app.Holder, term time.Duration) (app.Holder, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.fault(ctx); err != nil {
		return app.Holder{}, err
	}
	if now := time.Now(); l.holder.ID == h.ID || !now.Before(l.until) {
		l.holder, l.until = h, now.Add(term)
	}
	return l.holder, nil
}

// Holder implements app.Lease.
func (l *MemoryLease) Holder(ctx context.Context) (app.Holder, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holder, l.fault(ctx)
}

// Release implements app.Lease.
func (l *MemoryLease) Release(ctx context.Context, h app.Holder) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.fault(ctx); err != nil {
		return err
	}
	if l.holder.ID == h.ID {
		l.holder, l.until = app.Holder{}, time.Time{}
	}
	return nil
}

func (l *MemoryLease) fault(ctx context.Context) error {
	if l.away != nil {
		return l.away
	}
	return ctx.Err()
}
