package apptest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bankforge/app"
)

// SharedLog is the log and the lease as one process has them.
type SharedLog interface {
	app.Log
	app.Lease
}

// LeaseStore is what TestLease asks.
type LeaseStore struct {
	// Open gives the ledger, which nobody has acquired yet, to one more process that is reached at the address.
	Open func(address string) (SharedLog, error)
	// Term is for how long a lease is: longer than the store takes to answer, and short, for some of them are waited for.
	Term time.Duration
}

// Lease checks that processes that share a ledger keep the contract of app.Lease, and of Acquire beside it.
func Lease(ctx context.Context, s LeaseStore) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c := leaseCheck{term: s.Term}
	for _, p := range []struct {
		log  *SharedLog
		name string
	}{{&c.one, "one"}, {&c.two, "two"}, {&c.three, "three"}} {
		var err error
		if *p.log, err = s.Open("http://" + p.name); err != nil {
			return err
		}
	}
	for _, step := range []struct {
		name  string
		check func(context.Context) error
	}{
		{"nobody's", c.nobodys},
		{"one owner", c.oneOwner},
		{"holding on", c.holdingOn},
		{"running out", c.runningOut},
		{"too late", c.tooLate},
		{"release", c.release},
		{"a race", c.race},
	} {
		if err := step.check(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

type leaseCheck struct {
	one, two, three SharedLog
	term            time.Duration
}

func (c *leaseCheck) nobodys(ctx context.Context) error {
	return errors.Join(holder(ctx, c.one, app.Holder{}), renewal(ctx, c.one, app.ErrFenced), c.one.Release(ctx),
		holder(ctx, c.two, app.Holder{}))
}

func (c *leaseCheck) oneOwner(ctx context.Context) error {
	own := app.Holder{Owner: "one", Address: "http://one", Term: 1, Valid: true}
	return errors.Join(acquired(ctx, c.one, "one", 1), holder(ctx, c.one, own), holder(ctx, c.two, own),
		renewal(ctx, c.two, app.ErrFenced), c.waits(ctx, c.two), holder(ctx, c.two, own))
}

// holdingOn: a lease that is renewed in time does not end, and its owner may take a new term at any time.
func (c *leaseCheck) holdingOn(ctx context.Context) error {
	for range 4 {
		if err := errors.Join(renewal(ctx, c.one, nil), c.waits(ctx, c.two), elapse(ctx, c.term/2)); err != nil {
			return err
		}
	}
	return errors.Join(acquired(ctx, c.one, "one again", 2), renewal(ctx, c.one, nil),
		holder(ctx, c.two, app.Holder{Owner: "one again", Address: "http://one", Term: 2, Valid: true}))
}

// runningOut: who has not held on is still named, and keeps the ledger if nobody has taken it.
func (c *leaseCheck) runningOut(ctx context.Context) error {
	own := app.Holder{Owner: "one again", Address: "http://one", Term: 2}
	late := c.term + c.term/4
	if err := errors.Join(elapse(ctx, late), holder(ctx, c.two, own), renewal(ctx, c.one, nil)); err != nil {
		return err
	}
	own.Valid = true
	return errors.Join(holder(ctx, c.two, own), c.waits(ctx, c.two), elapse(ctx, late), acquired(ctx, c.two, "two", 3))
}

// tooLate: another one has taken the ledger, and what the earlier owner does to its lease does nothing.
func (c *leaseCheck) tooLate(ctx context.Context) error {
	return errors.Join(renewal(ctx, c.one, app.ErrFenced), c.one.Release(ctx), c.waits(ctx, c.three),
		holder(ctx, c.one, app.Holder{Owner: "two", Address: "http://two", Term: 3, Valid: true}))
}

// release spares others the waiting.
func (c *leaseCheck) release(ctx context.Context) error {
	err := errors.Join(renewal(ctx, c.two, nil), c.two.Release(ctx),
		holder(ctx, c.one, app.Holder{Owner: "two", Address: "http://two", Term: 3}))
	soon, cancel := context.WithTimeout(ctx, c.term/2)
	defer cancel()
	return errors.Join(err, acquired(soon, c.one, "one", 4))
}

// race: of two who stand by, one gets the ledger, and the other one goes on waiting.
func (c *leaseCheck) race(ctx context.Context) error {
	if err := c.one.Release(ctx); err != nil {
		return err
	}
	both, cancel := context.WithTimeout(ctx, c.term/2)
	defer cancel()
	errs := make(chan error, 2)
	for _, p := range []SharedLog{c.two, c.three} {
		go func() {
			_, err := p.Acquire(both, "racer")
			errs <- err
		}()
	}
	first, second := <-errs, <-errs
	if (first == nil) == (second == nil) {
		return fmt.Errorf("two wanted the ledger at once, and heard %v and %v", first, second)
	}
	head, err := c.one.Head(ctx)
	if err == nil && head.Term != 5 {
		err = fmt.Errorf("two wanted the ledger at once, and its term is %d", head.Term)
	}
	return err
}

// waits: p does not get the ledger.
func (c *leaseCheck) waits(ctx context.Context, p SharedLog) error {
	before, err := p.Head(ctx)
	if err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, c.term/8)
	defer cancel()
	if _, err := p.Acquire(soon, "impatient"); !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("who had to stand by heard %v", err)
	}
	after, err := p.Head(ctx)
	if err == nil && after != before {
		err = fmt.Errorf("who stood by has moved the head from %+v to %+v", before, after)
	}
	return err
}

func acquired(ctx context.Context, p SharedLog, owner string, term uint64) error {
	head, err := p.Acquire(ctx, owner)
	if err == nil && (head.Term != term || head.Owner != owner) {
		err = fmt.Errorf("%s acquired the ledger, and its head is %+v", owner, head)
	}
	return err
}

func renewal(ctx context.Context, p SharedLog, want error) error {
	if err := p.Renew(ctx); !errors.Is(err, want) {
		return fmt.Errorf("renewing says %v, not %v", err, want)
	}
	return nil
}

func holder(ctx context.Context, p SharedLog, want app.Holder) error {
	got, err := p.Holder(ctx)
	if err == nil && got != want {
		err = fmt.Errorf("the holder is %+v, not %+v", got, want)
	}
	return err
}
