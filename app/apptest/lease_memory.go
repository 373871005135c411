package apptest

import (
	"context"
	"fmt"
	"time"

	"bankforge/app"
)

// sharing is how processes share a MemoryLog.
type sharing struct {
	lease   *Shared // whose acquisition the lease is of; nil: nobody's
	address string
	until   time.Time
	away    error
}

// Shared is a MemoryLog as one of several processes has it: an app.Log, and an app.Lease.
type Shared struct {
	*MemoryLog

	address string
	term    time.Duration
}

// Share gives the log to one more process, which others reach at the address. A lease of it is for term.
func (l *MemoryLog) Share(address string, term time.Duration) *Shared {
	return &Shared{l, address, term}
}

// FailLease makes all questions about the lease fail with err from now on; nil: none.
func (l *MemoryLog) FailLease(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sharing.away = err
}

// lookAgain is how often who stands by looks whether the lease is over.
const lookAgain = 10 * time.Millisecond

// Acquire implements app.Log.
func (s *Shared) Acquire(ctx context.Context, owner string) (app.Head, error) {
	for {
		head, ok, err := s.tryAcquire(ctx, owner)
		if ok || err != nil {
			return head, err
		}
		if err := wait(ctx, lookAgain); err != nil {
			return app.Head{}, err
		}
	}
}

func (s *Shared) tryAcquire(ctx context.Context, owner string) (app.Head, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.sharing.fault(ctx); err != nil {
		return app.Head{}, false, err
	}
	now := time.Now()
	if s.sharing.lease != s && now.Before(s.sharing.until) {
		return app.Head{}, false, nil
	}
	s.sharing = sharing{lease: s, address: s.address, until: now.Add(s.term)}
	return s.acquire(owner), true, nil
}

// Renew implements app.Lease.
func (s *Shared) Renew(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.sharing.fault(ctx); err != nil {
		return err
	}
	if s.sharing.lease != s {
		return fmt.Errorf("renew the lease: %w", app.ErrFenced)
	}
	s.sharing.until = time.Now().Add(s.term)
	return nil
}

// Release implements app.Lease.
func (s *Shared) Release(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.sharing.fault(ctx); err != nil {
		return err
	}
	if s.sharing.lease == s {
		s.sharing.until = time.Time{}
	}
	return nil
}

// Holder implements app.Lease.
func (s *Shared) Holder(ctx context.Context) (app.Holder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.sharing.fault(ctx); err != nil || s.head.Term == 0 {
		return app.Holder{}, err
	}
	return app.Holder{
		Owner: s.head.Owner, Address: s.sharing.address, Term: s.head.Term, Valid: time.Now().Before(s.sharing.until),
	}, nil
}

func (s *sharing) fault(ctx context.Context) error {
	if s.away != nil {
		return s.away
	}
	return ctx.Err()
}
