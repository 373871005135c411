package app_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
)

// lease is an app.Lease that counts, and fails as it is told.
type lease struct {
	app.Lease

	renewed, released atomic.Int64
	fail              atomic.Pointer[error]
}

func (l *lease) Renew(context.Context) error {
	l.renewed.Add(1)
	if err := l.fail.Load(); err != nil {
		return *err
	}
	return nil
}

func (l *lease) Release(context.Context) error {
	l.released.Add(1)
	return nil
}

func with(l *lease) func(*app.LedgerConfig) {
	return func(c *app.LedgerConfig) { c.Lease = l }
}

func TestTheLeaseIsRenewedAndGivenUpAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held lease
		l := start(t, &apptest.MemoryLog{}, with(&held))
		pass(10*time.Second + time.Millisecond)
		if n := held.renewed.Load(); n != 10 {
			t.Errorf("renewed %d times in ten seconds", n)
		}
		down := errors.New("the server is down")
		held.fail.Store(&down)
		pass(10 * time.Second)
		if err := l.Ready(); err != nil {
			t.Errorf("nobody has taken the ledger, but %v", err)
		}
		must(t, l, open(1))
		if n := held.released.Load(); n != 0 {
			t.Errorf("released %d times", n)
		}
		shut(t, l)
		if n := held.released.Load(); n != 1 {
			t.Errorf("at the end: released %d times", n)
		}
	})
}

func TestWhoLosesTheLeaseStepsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held lease
		l := start(t, &apptest.MemoryLog{}, with(&held))
		must(t, l, open(1))
		lost := fmt.Errorf("renew: %w", app.ErrFenced)
		held.fail.Store(&lost)
		select {
		case <-l.Done():
		case <-time.After(2 * time.Second):
			t.Fatal("it goes on")
		}
		if err := l.Ready(); !errors.Is(err, app.ErrFenced) {
			t.Errorf("it says %v", err)
		}
		refused(t, l, deposit("late", 1, 1, 5), app.CodeUnavailable)
	})
}

// A log that cannot be loaded is nobody's to keep from others.
func TestTheLeaseOfADamagedLogIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &apptest.MemoryLog{}
		l := start(t, log)
		must(t, l, open(1))
		shut(t, l)
		var held lease
		_, err := app.StartLedger(t.Context(), config(log, with(&held), func(c *app.LedgerConfig) { c.Log = cutOff{log} }))
		if err == nil || held.released.Load() != 1 {
			t.Errorf("started: %v; released %d times", err, held.released.Load())
		}
	})
}

// cutOff is a log without its events.
type cutOff struct{ app.Log }

func (cutOff) Read(context.Context, bank.Seq, int) ([]app.Row, error) { return nil, nil }
