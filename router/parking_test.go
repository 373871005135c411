package router_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

var errBoom = errors.New("boom")

// failing refuses one account's facts from a version on.
func failing(i int, from bank.Version, err error) func(*handlers.Fact) error {
	return func(f *handlers.Fact) error {
		if f.Leg.Account == account(i) && f.Version() >= from {
			return err
		}
		return nil
	}
}

func TestOnlyTheCulpritAndWhatFollowsItIsParked(t *testing.T) {
	t.Parallel()
	b := newBench(t, newLedger(), openStore(t), quick())
	b.book.fail = failing(1, 2, errBoom)
	for range 20 {
		b.ledger.credit(1, 2)
		b.ledger.credit(3)
	}
	b.start(t)
	b.await(t)
	if b.book.at(t, 1) != 1 || b.book.at(t, 2) != 20 || b.book.at(t, 3) != 20 {
		t.Fatalf("versions %d, %d, %d; want 1, 20, 20", b.book.at(t, 1), b.book.at(t, 2), b.book.at(t, 3))
	}
	head, ok := b.head(t, 1)
	if !ok || head.Status != router.Failed || head.Position != (handlers.Position{Seq: 3}) || len(head.Attempts) != 3 {
		t.Fatalf("the head is %v %+v; want version 2, tried 3 times", ok, head)
	}
	for _, a := range head.Attempts {
		if a.Class != handlers.Unknown || a.Error != "boom" || a.At.IsZero() {
			t.Errorf("attempt %+v", a)
		}
	}
	for i, want := range map[int]bool{1: true, 2: false} {
		parked, err := b.progress.Parked(t.Context(), handlerName, account(i).String())
		if err != nil || parked != want {
			t.Errorf("account %d is parked: %v, %v; want %v", i, parked, err, want)
		}
	}
	b.book.check(t)
}

func TestReplayGoesInOrderAndStopsAtTheFirstFailure(t *testing.T) {
	t.Parallel()
	b := newBench(t, newLedger(), openStore(t), quick())
	b.book.fail = failing(1, 2, errBoom)
	for range 10 {
		b.ledger.credit(1)
	}
	b.start(t)
	b.await(t)
	ctx, key := t.Context(), account(1).String()
	if n, err := b.ReplaySequence(ctx, handlerName, key); n != 0 || !errors.Is(err, errBoom) {
		t.Fatalf("replayed %d, %v while it still fails", n, err)
	}
	if head, _ := b.head(t, 1); len(head.Attempts) != 4 {
		t.Fatalf("%d attempts; the replay's must be recorded too", len(head.Attempts))
	}
	b.book.setFail(failing(1, 6, handlers.As(handlers.Poison, errBoom)))
	if err := b.ReplayHead(ctx, handlerName, key, router.By{Cause: "test"}); err != nil || b.book.at(t, 1) != 2 {
		t.Fatalf("replayed the head: %v, version %d", err, b.book.at(t, 1))
	}
	if n, err := b.ReplaySequence(ctx, handlerName, key); n != 3 || !errors.Is(err, errBoom) || b.book.at(t, 1) != 5 {
		t.Fatalf("replayed %d, %v, version %d; want 3 and to stop at version 6", n, err, b.book.at(t, 1))
	}
	if head, _ := b.head(t, 1); head.Status != router.Failed || len(head.Attempts) != 1 {
		t.Fatalf("what waited and failed in a replay is %s with %d attempts", head.Status, len(head.Attempts))
	}
	b.book.setFail(nil)
	if n, err := b.ReplaySequence(ctx, handlerName, key); n != 5 || err != nil {
		t.Fatalf("replayed %d, %v", n, err)
	}
	if err := b.ReplayHead(ctx, handlerName, key, router.By{Cause: "test"}); !errors.Is(err, router.ErrNoSequence) {
		t.Fatalf("replaying nothing: %v", err)
	}
	b.ledger.credit(1)
	b.await(t)
	if b.book.at(t, 1) != 11 {
		t.Fatalf("the key does not flow again: version %d", b.book.at(t, 1))
	}
	b.book.check(t)
}

// What goes by itself at once, as a deadlock, is no failure of a replay; what goes on, is one.
func TestAReplayTriesAgainInPlaceWhatIsTransient(t *testing.T) {
	t.Parallel()
	b := newBench(t, newLedger(), openStore(t), quick())
	b.book.fail = failing(1, 1, errBoom)
	b.ledger.credit(1)
	b.ledger.credit(1)
	b.start(t)
	b.await(t)
	key, n := account(1).String(), 0
	b.book.setFail(func(*handlers.Fact) error {
		if n++; n < 5 {
			return handlers.As(handlers.Transient, errBoom)
		}
		return nil
	})
	if err := b.ReplayHead(t.Context(), handlerName, key, router.By{Cause: "test"}); err != nil || n != 5 {
		t.Fatalf("after %d tries: %v", n, err)
	}
	b.book.setFail(func(*handlers.Fact) error { n++; return handlers.As(handlers.Transient, errBoom) })
	began := time.Now()
	err := b.ReplayHead(t.Context(), handlerName, key, router.By{Cause: "test"})
	all := n == 5+8 || time.Since(began) > time.Second // others wait for the sequence, so it may end before
	head, _ := b.head(t, 1)
	if again, ok := errors.AsType[*router.ReplayError](err); !ok || again.Class != handlers.Transient || !all ||
		len(head.Attempts) != 1 {
		t.Fatalf("after %d tries %d attempts: %v", n, len(head.Attempts), err)
	}
}

func TestClassesDecideHowOftenIsTried(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		class handlers.Class
		err   error
		tries int // of the single message; 0: not parked
	}{
		{handlers.Poison, handlers.As(handlers.Poison, errBoom), 1},
		{handlers.Unknown, errBoom, 3},
		{handlers.Transient, handlers.As(handlers.Transient, errBoom), 8},
		{handlers.Transient, context.DeadlineExceeded, 8},
		{handlers.Rejected, bank.Refuse(bank.InsufficientFunds, "", "not enough"), 0},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, newLedger(), openStore(t), quick())
			b.book.fail = failing(1, 1, c.err)
			b.ledger.credit(1)
			b.start(t)
			b.await(t)
			head, ok := b.head(t, 1)
			if ok != (c.tries > 0) || len(head.Attempts) != c.tries {
				t.Fatalf("parked: %v, %d attempts; want %d", ok, len(head.Attempts), c.tries)
			}
			if ok && head.Attempts[0].Class != c.class {
				t.Errorf("class %s; want %s", head.Attempts[0].Class, c.class)
			}
		})
	}
}

func TestARejectedFactDoesNotTakeOthersWithIt(t *testing.T) {
	t.Parallel()
	b := newBench(t, newLedger(), openStore(t), quick())
	b.book.fail = failing(2, 1, bank.Refuse(bank.InsufficientFunds, "", "not enough"))
	b.ledger.credit(1, 2, 3)
	b.start(t)
	b.await(t)
	if b.book.at(t, 1) != 1 || b.book.at(t, 3) != 1 {
		t.Fatalf("versions %d and %d; want 1 and 1", b.book.at(t, 1), b.book.at(t, 3))
	}
}

func TestAPanicIsParkedWithItsStack(t *testing.T) {
	t.Parallel()
	b := newBench(t, newLedger(), openStore(t), quick())
	b.book.fail = func(*handlers.Fact) error { panic(errBoom) }
	b.ledger.credit(1)
	b.start(t)
	b.await(t)
	head, ok := b.head(t, 1)
	if !ok || len(head.Attempts) != 3 || head.Attempts[2].Stack == "" || head.Attempts[2].Error != "panic: boom" {
		t.Fatalf("parked %v: %+v", ok, head.Attempts)
	}
}

func TestWhatIsUnavailableIsWaitedForAndNeverParked(t *testing.T) {
	t.Parallel()
	b := newBench(t, newLedger(), openStore(t), quick())
	b.book.fail = failing(1, 1, handlers.As(handlers.Unavailable, errBoom))
	b.ledger.credit(1, 2)
	b.start(t)
	b.awaitState(t, router.Held)
	if s := b.status(t); s.LastError != "boom" || s.Lag != 1 {
		t.Errorf("status %+v", s)
	}
	b.book.setFail(nil)
	b.await(t)
	b.awaitState(t, router.Running)
	if _, ok := b.head(t, 1); ok || b.book.at(t, 1) != 1 {
		t.Fatalf("parked: %v, version %d", ok, b.book.at(t, 1))
	}
	b.book.check(t)
}

func TestManyKeysFailingIsAnOutage(t *testing.T) {
	t.Parallel()
	b := newBench(t, newLedger(), openStore(t), quick())
	b.book.fail = func(*handlers.Fact) error { return errBoom }
	for i := range 30 {
		b.ledger.credit(i)
	}
	b.start(t)
	b.awaitState(t, router.Held)
	parked := func() (n int) {
		for i := range 30 {
			if _, ok := b.head(t, i); ok {
				n++
			}
		}
		return n
	}
	if n := parked(); n != 9 {
		t.Fatalf("%d keys are parked; want 9, and to hold at the tenth", n)
	}
	b.book.setFail(nil)
	b.await(t)
	if n := parked(); n != 9 || b.book.at(t, 29) != 1 {
		t.Fatalf("%d keys are parked after the outage, the last account has version %d", n, b.book.at(t, 29))
	}
	for i := range 9 {
		if n, err := b.ReplaySequence(t.Context(), handlerName, account(i).String()); n != 1 || err != nil {
			t.Fatalf("replayed %d, %v", n, err)
		}
	}
	b.book.check(t)
}

func TestResumeEndsWhatLooksLikeAnOutage(t *testing.T) {
	t.Parallel()
	p := quick()
	p.Hold = router.Backoff{First: time.Hour, Most: time.Hour}
	b := newBench(t, newLedger(), openStore(t), p)
	b.book.fail = func(*handlers.Fact) error { return errBoom }
	for i := range 12 {
		b.ledger.credit(i)
	}
	b.start(t)
	b.awaitState(t, router.Held)
	if err := b.Resume(handlerName); err != nil {
		t.Fatal(err)
	}
	b.await(t)
	if _, ok := b.head(t, 11); !ok {
		t.Fatal("the operator said that it is no outage, and the last key is not parked")
	}
}

// whenTold is a log that does something when a line says what it waits for.
type whenTold struct {
	says string
	do   func()
}

func (w whenTold) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(w.says)) {
		w.do()
	}
	return len(line), nil
}

// An operator who sees a handler held may be faster than the handler, which only then begins to wait.
func TestWhoHoldsIsResumedBeforeItWaits(t *testing.T) {
	t.Parallel()
	p := quick()
	p.Hold = router.Backoff{First: time.Hour, Most: time.Hour}
	l, s := newLedger(), openStore(t)
	b := &bench{name: handlerName, ledger: l, store: s, book: &book{store: s}, progress: router.NewProgress()}
	var down atomic.Bool
	down.Store(true)
	b.book.fail = func(*handlers.Fact) error {
		if down.Load() {
			return handlers.As(handlers.Unavailable, errBoom)
		}
		return nil
	}
	resume := whenTold{"handler holds", func() {
		down.Store(false)
		if err := b.Resume(handlerName); err != nil {
			t.Error(err)
		}
	}}
	var err error
	b.Router, err = router.New("", []router.Route{
		{Name: handlerName, Topic: bank.AccountsTopic, Handler: b.book.handle, Store: s},
	}, router.Config{
		Source: l, Hints: l.hints, Progress: b.progress, Policy: p, Log: slog.New(slog.NewTextHandler(resume, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	l.credit(1)
	b.start(t)
	b.await(t)
}

func TestEndingParksNothing(t *testing.T) {
	t.Parallel()
	l, s := newLedger(), openStore(t)
	p := quick()
	p.Backoff = router.Backoff{First: time.Hour, Most: time.Hour}
	b := newBench(t, l, s, p)
	failed := make(chan struct{}, 1)
	b.book.fail = func(*handlers.Fact) error { failed <- struct{}{}; return errBoom }
	l.credit(1)
	stop := b.start(t)
	<-failed
	stop()
	if _, ok := b.head(t, 1); ok {
		t.Fatal("a message was parked because the bank ended")
	}
	again := newBench(t, l, s, quick())
	again.start(t)
	again.await(t)
	if again.book.at(t, 1) != 1 {
		t.Fatalf("version %d after the restart", again.book.at(t, 1))
	}
}

func TestAFullSequenceHoldsTheHandler(t *testing.T) {
	t.Parallel()
	p := quick()
	p.PerKey = 3
	b := newBench(t, newLedger(), openStore(t), p)
	b.book.fail = failing(1, 1, errBoom)
	for range 5 {
		b.ledger.credit(1)
	}
	b.start(t)
	b.awaitState(t, router.Held)
	if s := b.status(t); !strings.HasPrefix(s.LastError, router.ErrLotFull.Error()) {
		t.Errorf("status %+v", s)
	}
	b.book.setFail(nil)
	if n, err := b.ReplaySequence(t.Context(), handlerName, account(1).String()); n < 3 || err != nil {
		t.Fatalf("replayed %d, %v", n, err)
	}
	b.await(t)
	_, err := b.ReplaySequence(t.Context(), handlerName, account(1).String())
	if err != nil && !errors.Is(err, router.ErrNoSequence) {
		t.Fatal(err)
	}
	if b.book.at(t, 1) != 5 {
		t.Fatalf("version %d; want 5", b.book.at(t, 1))
	}
	b.book.check(t)
}
