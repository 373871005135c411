package apptest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"bankforge/app"
)

// leaseTerm is short, and still longer than a server takes to answer.
const leaseTerm = 400 * time.Millisecond

// Lease checks that a lease that nobody holds yet keeps the contract of app.Lease. It takes about two seconds.
func Lease(ctx context.Context, l app.Lease) error {
	for _, c := range []struct {
		name  string
		check func(context.Context, app.Lease) error
	}{
		{"nobody's", checkNobodys},
		{"one holder", checkOneHolder},
		{"holding on", checkHoldingOn},
		{"running out", checkRunningOut},
		{"release", checkRelease},
		{"another start", checkAnotherStart},
		{"a race", checkLeaseRace},
	} {
		if err := c.check(ctx, l); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// Two processes, and the first one started anew.
func leaseHolders() (one, other, again app.Holder) {
	one = app.Holder{ID: "one:1", Address: "http://one.example:8080"}
	return one, app.Holder{ID: "other:1", Address: "https://other.example"}, app.Holder{ID: "one:2", Address: one.Address}
}

func checkNobodys(ctx context.Context, l app.Lease) error {
	one, _, _ := leaseHolders()
	return errors.Join(isHeldBy(ctx, l, app.Holder{}), l.Release(ctx, one), isHeldBy(ctx, l, app.Holder{}))
}

func checkOneHolder(ctx context.Context, l app.Lease) error {
	one, other, _ := leaseHolders()
	return errors.Join(
		hold(ctx, l, one, time.Hour, one), isHeldBy(ctx, l, one),
		hold(ctx, l, other, time.Hour, one), isHeldBy(ctx, l, one),
		hold(ctx, l, one, leaseTerm, one)) // the time is what was asked for last
}

func checkHoldingOn(ctx context.Context, l app.Lease) error {
	one, other, _ := leaseHolders()
	for range 4 {
		if err := errors.Join(hold(ctx, l, one, leaseTerm, one), pass(ctx, leaseTerm/2),
			hold(ctx, l, other, leaseTerm, one)); err != nil {
			return err
		}
	}
	return nil
}

// checkRunningOut: who has not held on is still named, until another one takes over.
func checkRunningOut(ctx context.Context, l app.Lease) error {
	one, other, _ := leaseHolders()
	return errors.Join(hold(ctx, l, one, leaseTerm, one), pass(ctx, leaseTerm+leaseTerm/4), isHeldBy(ctx, l, one),
		hold(ctx, l, other, leaseTerm, other), isHeldBy(ctx, l, other), hold(ctx, l, one, leaseTerm, other))
}

// checkRelease: only the holder's release counts, and then nobody needs to wait.
func checkRelease(ctx context.Context, l app.Lease) error {
	one, other, _ := leaseHolders()
	return errors.Join(hold(ctx, l, other, time.Hour, other), l.Release(ctx, one), hold(ctx, l, one, time.Hour, other),
		l.Release(ctx, other), isHeldBy(ctx, l, app.Holder{}), hold(ctx, l, one, time.Hour, one), l.Release(ctx, one))
}

// checkAnotherStart: the same address does not make the same holder.
func checkAnotherStart(ctx context.Context, l app.Lease) error {
	one, _, again := leaseHolders()
	return errors.Join(hold(ctx, l, one, time.Hour, one), hold(ctx, l, again, time.Hour, one), l.Release(ctx, again),
		isHeldBy(ctx, l, one), l.Release(ctx, one))
}

// checkLeaseRace: of many that want it at once, all hear the same.
func checkLeaseRace(ctx context.Context, l app.Lease) error {
	const all = 8
	var told [all]app.Holder
	var failed [all]error
	var wait sync.WaitGroup
	for i := range all {
		wait.Go(func() {
			told[i], failed[i] = l.Hold(ctx, app.Holder{ID: fmt.Sprint("racer:", i), Address: "http://racer"}, time.Hour)
		})
	}
	wait.Wait()
	for i := range all {
		if failed[i] == nil && told[i] != told[0] {
			failed[i] = fmt.Errorf("the lease is %v's for one, and %v's for another", told[0], told[i])
		}
	}
	return errors.Join(errors.Join(failed[:]...), l.Release(ctx, told[0]), isHeldBy(ctx, l, app.Holder{}))
}

func hold(ctx context.Context, l app.Lease, h app.Holder, term time.Duration, want app.Holder) error {
	got, err := l.Hold(ctx, h, term)
	if err == nil && got != want {
		err = fmt.Errorf("when %s asked for it, the lease was %v's instead of %v's", h.ID, got, want)
	}
	return err
}

func isHeldBy(ctx context.Context, l app.Lease, want app.Holder) error {
	got, err := l.Holder(ctx)
	if err == nil && got != want {
		err = fmt.Errorf("the lease is %v's instead of %v's", got, want)
	}
	return err
}

func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
