package succession_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/app/succession"
)

// TestTheLeaseIsLostWhileCommitting: the commit is done, nobody answers, and another one takes over meanwhile.
func TestTheLeaseIsLostWhileCommitting(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ committed bool }{"committed": {true}, "not committed": {false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				of := new(shared)
				one := start(t, of, "one")
				synctest.Wait()
				two := start(t, of, "two")
				one.must(t, 1)
				one.fail = func(app.Batch) error { return app.ErrUnknownCommit }
				if row.committed {
					of.log.Inject(apptest.Faults{AfterAppend: func(app.Batch) error { one.stop(); return nil }})
				} else {
					of.log.Inject(apptest.Faults{BeforeAppend: func(app.Batch) error { one.stop(); return app.ErrUnknownCommit }})
				}
				heard := make(chan bank.Code, 1)
				go func() {
					_, code := one.open(t, 2)
					heard <- code
				}()
				synctest.Wait()
				of.log.Inject(apptest.Faults{})
				pass(2 * term)
				two.is(t, succession.Owning)
				one.cont()
				want := app.CodeUnavailable // the log tells that it was not done
				if row.committed {
					want = "" // the log tells that it was
				}
				if code := <-heard; code != want {
					t.Errorf("the caller heard %q", code)
				}
				if got := two.must(t, 2); got.Replayed != row.committed {
					t.Errorf("for the new owner it was done: %v", got.Replayed)
				}
				pass(soon)
				one.is(t, succession.StandingBy)
			})
		})
	}
}

// TestAnOutcomeThatNobodyKnowsIsSaidToBeUnknown: the connection is lost while committing, and does not come back.
func TestAnOutcomeThatNobodyKnowsIsSaidToBeUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		of := new(shared)
		one := start(t, of, "one")
		synctest.Wait()
		two := start(t, of, "two")
		one.must(t, 1)
		one.fail = func(app.Batch) error { one.stop(); return app.ErrUnknownCommit }
		heard := make(chan bank.Code, 1)
		go func() {
			_, code := one.open(t, 2)
			heard <- code
		}()
		pass(2 * term)
		of.log.Inject(apptest.Faults{Resolve: func(app.Batch) error { return errors.New("there is nobody") }})
		one.cont()
		if code := <-heard; code != app.CodeOutcomeUnknown {
			t.Errorf("the caller heard %q", code)
		}
		if got := two.must(t, 2); !got.Replayed {
			t.Error("the new owner does not know what was committed")
		}
		of.log.Inject(apptest.Faults{})
		pass(2 * term)
		one.is(t, succession.StandingBy)
	})
}

func TestWithoutTheLeaseNothingIsDecided(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		of := new(shared)
		one := start(t, of, "one")
		synctest.Wait()
		one.must(t, 1)
		of.log.FailLease(errors.New("the store is away"))
		pass(term + soon)
		if _, code := one.open(t, 2); code != app.CodeUnavailable {
			t.Errorf("it says %q", code)
		}
		if one.Ready() == nil {
			t.Error("it is ready")
		}
		of.log.FailLease(nil)
		pass(soon)
		one.must(t, 2)
		if h := of.head(t); h.Term != 1 || one.Ready() != nil {
			t.Errorf("it has taken the ledger over again: %+v, %v", h, one.Ready())
		}
	})
}

func TestWhoIsFencedTakesTheLedgerOverAgainOnceNobodyHasIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		of := new(shared)
		one := start(t, of, "one")
		synctest.Wait()
		one.must(t, 1)
		if _, err := of.log.Acquire(t.Context(), "somebody without a lease"); err != nil {
			t.Fatal(err)
		}
		if _, code := one.open(t, 2); code != app.CodeUnavailable {
			t.Errorf("it says %q", code)
		}
		pass(2 * soon)
		one.is(t, succession.Owning)
		one.must(t, 2)
	})
}

func TestClosingWhileStandingBy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		of := new(shared)
		one := start(t, of, "one")
		synctest.Wait()
		kept := &counted{}
		two := start(t, of, "two", func(c *succession.Config) { c.Ledger.Snapshots = kept })
		one.must(t, 1)
		pass(soon)
		before := time.Now()
		two.close(t)
		if took := time.Since(before); took > 0 {
			t.Errorf("it took %s", took)
		}
		if kept.mark.Seq != of.head(t).Seq {
			t.Errorf("the snapshot that it kept is of event %d", kept.mark.Seq)
		}
		if h := of.head(t); h.Owner != "one" {
			t.Errorf("the owner is %s", h.Owner)
		}
		one.must(t, 2)
	})
}

func TestClosingWhileTakingOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		of := new(shared)
		one := start(t, of, "one")
		synctest.Wait()
		one.must(t, 1)
		one.close(t)
		of.log.Inject(apptest.Faults{Read: func() error { pass(time.Minute); return errors.New("too slow") }})
		two := start(t, of, "two")
		pass(soon)
		if _, code := two.open(t, 2); code != app.CodeUnavailable {
			t.Errorf("it says %q", code)
		}
		two.close(t)
		if h, err := of.log.Share("", 0).Holder(t.Context()); err != nil || h.Valid {
			t.Errorf("the lease is still good: %+v, %v", h, err)
		}
	})
}

// TestALogThatHasLostItsEndIsNotTakenOver: the standby has seen what the log does not have any more.
func TestALogThatHasLostItsEndIsNotTakenOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		of := new(shared)
		one := start(t, of, "one")
		synctest.Wait()
		one.must(t, 1)
		before := of.log.Crash()
		two := start(t, of, "two")
		one.must(t, 2)
		pass(soon)
		one.close(t)
		two.stop()
		two.LeasedLog = before.Share("http://two", term)
		two.cont()
		pass(10 * term)
		two.is(t, succession.StandingBy)
		if err := two.Ready(); !errors.Is(err, app.ErrLostTail) {
			t.Errorf("it says %v", err)
		}
	})
}
