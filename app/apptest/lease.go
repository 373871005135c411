package apptest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"bankforge/app"
)

// LeasedLog is a log as one of the processes that share it has it.
type LeasedLog interface {
	app.Log
	app.Lease
}

// LeaseStore makes logs for TestLease.
type LeaseStore struct {
	// Open returns a new log as so many processes have it, each with an address of its own.
	Open func(processes int) ([]LeasedLog, error)
	// For is how long a lease is.
	For time.Duration
}

// TestLease checks all that app.Lease promises, and what it makes of Acquire. Its error names each promise that is
// broken.
func TestLease(ctx context.Context, s LeaseStore) error {
	logs, broken := make([][]LeasedLog, len(leaseChecks)), make([]error, len(leaseChecks))
	for i := range logs {
		var err error
		if logs[i], err = s.Open(4); err != nil {
			return fmt.Errorf("open a log: %w", err)
		}
	}
	var beside sync.WaitGroup // they mostly wait
	for i, c := range leaseChecks {
		beside.Go(func() {
			if err := c.run(ctx, logs[i], s.For); err != nil {
				broken[i] = fmt.Errorf("%s: %w", c.promise, err)
			}
		})
	}
	beside.Wait()
	return errors.Join(broken...)
}

var leaseChecks = []struct {
	promise string
	run     func(ctx context.Context, logs []LeasedLog, length time.Duration) error
}{
	{"everybody sees who owns the ledger", checkHolder},
	{"a lease keeps others out for as long as it is renewed", checkStandby},
	{"who does not renew is replaced, and finds out", checkLapse},
	{"what has run out, and nobody took, is renewed", checkRenewLate},
	{"a lease that is released keeps nobody waiting", checkRelease},
	{"one's own lease is not waited for", checkOwnLease},
	{"of many that stand by one takes over", checkHeirs},
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// second is the owner that takes over.
const second = "second"

// acquireWithin says whether a second process gets the ledger in that time.
func acquireWithin(ctx context.Context, l app.Log, within time.Duration) (got bool, head app.Head, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	head, err = l.Acquire(ctx, second)
	if errors.Is(err, context.DeadlineExceeded) {
		return false, head, nil
	}
	return err == nil, head, err
}

func expectHolder(ctx context.Context, logs []LeasedLog, want app.Holder) error {
	for _, l := range logs {
		got, err := l.Holder(ctx)
		if err == nil && (got.Owner != want.Owner || got.Term != want.Term || got.Valid != want.Valid) {
			err = fmt.Errorf("the holder is %+v instead of %+v", got, want)
		}
		if err == nil && want.Owner != "" && got.Address == "" {
			err = fmt.Errorf("nobody knows where to reach %+v", got)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func checkHolder(ctx context.Context, logs []LeasedLog, length time.Duration) error {
	if err := expectHolder(ctx, logs, app.Holder{}); err != nil {
		return fmt.Errorf("of a new ledger: %w", err)
	}
	if _, err := logs[0].Acquire(ctx, "first"); err != nil {
		return err
	}
	if err := expectHolder(ctx, logs, app.Holder{Owner: "first", Term: 1, Valid: true}); err != nil {
		return err
	}
	if err := wait(ctx, 2*length); err != nil {
		return err
	}
	if err := expectHolder(ctx, logs, app.Holder{Owner: "first", Term: 1}); err != nil {
		return fmt.Errorf("after the lease: %w", err)
	}
	was, err := logs[0].Holder(ctx)
	if err != nil {
		return err
	}
	if got, _, err := acquireWithin(ctx, logs[1], 10*length+5*time.Second); err != nil || !got {
		return fmt.Errorf("nobody else gets it: %w", err)
	}
	if err := expectHolder(ctx, logs, app.Holder{Owner: second, Term: 2, Valid: true}); err != nil {
		return err
	}
	is, err := logs[0].Holder(ctx)
	if err == nil && is.Address == was.Address {
		err = fmt.Errorf("the second is reached at %s, where the first was", is.Address)
	}
	return err
}

func checkStandby(ctx context.Context, logs []LeasedLog, length time.Duration) error {
	head, err := logs[0].Acquire(ctx, "first")
	if err != nil {
		return err
	}
	standby := make(chan error, 1)
	go func() {
		got, _, err := acquireWithin(ctx, logs[1], 3*length)
		if got {
			err = errors.New("it was taken from its owner, who renewed it")
		}
		standby <- err
	}()
	for range 20 {
		if err := errors.Join(wait(ctx, length/5), logs[0].Renew(ctx)); err != nil {
			return errors.Join(err, <-standby)
		}
	}
	if err := <-standby; err != nil {
		return err
	}
	if now, err := logs[0].Head(ctx); err != nil || now != head {
		return fmt.Errorf("the head is %+v instead of %+v, %w", now, head, err)
	}
	return nil
}

func checkLapse(ctx context.Context, logs []LeasedLog, length time.Duration) error {
	o := &owner{log: struct {
		app.Log
		app.Lookup
	}{logs[0], nil}}
	if err := o.acquire(ctx, "first"); err != nil {
		return err
	}
	got, head, err := acquireWithin(ctx, logs[1], 10*length+5*time.Second)
	if err != nil || !got || head.Term != o.head.Term+1 || head.Owner != second {
		return fmt.Errorf("taken over: %t, head %+v, %w", got, head, err)
	}
	if err := logs[0].Renew(ctx); !errors.Is(err, app.ErrFenced) {
		return notFenced("a renewal by the old owner", err)
	}
	if err := logs[0].Append(ctx, o.batch(1)); !errors.Is(err, app.ErrFenced) {
		return notFenced("the old owner's batch", err)
	}
	if err := logs[0].Release(ctx); err != nil {
		return err
	}
	if err := expectHolder(ctx, logs, app.Holder{Owner: second, Term: 2, Valid: true}); err != nil {
		return fmt.Errorf("after the old owner has given up what is not his: %w", err)
	}
	return logs[1].Renew(ctx)
}

func checkRenewLate(ctx context.Context, logs []LeasedLog, length time.Duration) error {
	if _, err := logs[0].Acquire(ctx, "first"); err != nil {
		return err
	}
	if err := errors.Join(wait(ctx, 2*length), logs[0].Renew(ctx)); err != nil {
		return err
	}
	if err := expectHolder(ctx, logs, app.Holder{Owner: "first", Term: 1, Valid: true}); err != nil {
		return err
	}
	if got, _, err := acquireWithin(ctx, logs[1], length/4); err != nil || got {
		return fmt.Errorf("taken all the same: %t, %w", got, err)
	}
	return nil
}

func checkRelease(ctx context.Context, logs []LeasedLog, length time.Duration) error {
	if _, err := logs[0].Acquire(ctx, "first"); err != nil {
		return err
	}
	if err := logs[0].Release(ctx); err != nil {
		return err
	}
	if err := expectHolder(ctx, logs, app.Holder{Owner: "first", Term: 1}); err != nil {
		return err
	}
	began := time.Now()
	got, _, err := acquireWithin(ctx, logs[1], 10*length+5*time.Second)
	if took := time.Since(began); err != nil || !got || took >= length {
		return fmt.Errorf("taken over: %t, after %v of a lease of %v, %w", got, took, length, err)
	}
	return nil
}

func checkOwnLease(ctx context.Context, logs []LeasedLog, length time.Duration) error {
	for term := range 3 {
		began := time.Now()
		head, err := logs[0].Acquire(ctx, "first")
		if took := time.Since(began); err != nil || head.Term != uint64(term+1) || took >= length {
			return fmt.Errorf("acquired %+v after %v, %w", head, took, err)
		}
	}
	return nil
}

func checkHeirs(ctx context.Context, logs []LeasedLog, length time.Duration) error {
	if _, err := logs[0].Acquire(ctx, "first"); err != nil {
		return err
	}
	heirs := logs[1:]
	got, errs := make([]bool, len(heirs)), make([]error, len(heirs))
	first := make(chan struct{}, len(heirs))
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	var wg sync.WaitGroup
	for i, l := range heirs {
		wg.Go(func() {
			_, err := l.Acquire(ctx, fmt.Sprint("heir ", i))
			if got[i] = err == nil; got[i] {
				first <- struct{}{}
			} else if !errors.Is(err, context.Canceled) {
				errs[i] = err
			}
		})
	}
	select {
	case <-first:
	case <-time.After(10*length + 5*time.Second):
	}
	err := wait(ctx, length/4)
	enough()
	wg.Wait()
	won := 0
	for _, g := range got {
		if g {
			won++
		}
	}
	if err := errors.Join(errors.Join(errs...), err); err != nil || won != 1 {
		return fmt.Errorf("%d took over, %w", won, err)
	}
	return nil
}

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
