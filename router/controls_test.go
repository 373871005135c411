package router_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bankforge/adapters/sqlite"
	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/repair"
)

// controlled is a bench whose handler does what operators want.
func controlled(t *testing.T, l *ledger, s *bookStore, p router.Policy) *bench {
	t.Helper()
	return controlledAs(t, handlerName, l, s, p)
}

func controlledAs(t *testing.T, name string, l *ledger, s *bookStore, p router.Policy) *bench {
	t.Helper()
	b := &bench{name: name, ledger: l, store: s, book: &book{store: s}, progress: router.NewProgress()}
	var err error
	b.Router, err = router.New("", []router.Route{
		{Name: name, Topic: bank.AccountsTopic, Handler: b.book.handle, Store: s},
	}, router.Config{
		Source: l, Hints: l.hints, Progress: b.progress, Policy: p, Batch: 16, Controls: s, Process: "process",
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bookStore is the real store with what it gives operators.
type bookStore struct {
	*sqlite.HandlerStore
	acts int
}

func openControlled(t *testing.T) *bookStore {
	t.Helper()
	return &bookStore{HandlerStore: openStore(t)}
}

func (s *bookStore) act(t *testing.T, kind, body string) {
	t.Helper()
	s.acts++
	err := s.InTx(t.Context(), func(ctx context.Context) error {
		return s.Execute(ctx, repair.Act{
			ID: fmt.Sprint("act_", s.acts), Kind: kind, Handler: handlerName, Body: []byte(body), Reason: "because",
			At: time.Now(),
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// paused fails the test unless the handler pauses in time, for the reason: what operators want is in force within a
// second.
func (b *bench) paused(t *testing.T, why string) {
	t.Helper()
	began := time.Now()
	eventually(t, func() bool {
		s := b.status(t)
		return s.State == router.Paused && strings.HasPrefix(s.Why, why)
	})
	if took := time.Since(began); took > 10*time.Second { // a second, and what a busy machine adds
		t.Errorf("it was paused after %s", took)
	}
}

func TestOperatorsPauseAHandlerInEveryProcess(t *testing.T) {
	t.Parallel()
	l, s := newLedger(), openControlled(t)
	one, two := controlled(t, l, s, quick()), controlled(t, l, s, quick())
	l.credit(1)
	one.start(t)
	one.await(t) // the handler is known
	two.start(t)
	s.act(t, ops.HandlerPause, "")
	one.paused(t, "because")
	two.paused(t, "because")
	l.credit(1)
	three := controlled(t, l, s, quick()) // also one that starts then
	three.start(t)
	three.paused(t, "because")
	if at := one.book.at(t, 1); at != 1 {
		t.Errorf("version %d was handled though it is paused", at)
	}
	s.act(t, ops.HandlerResume, "")
	one.awaitState(t, router.Running)
	three.await(t)
	if at := one.book.at(t, 1); at != 2 {
		t.Errorf("version %d after it was resumed", at)
	}
}

// Paused, nothing could resume it: neither a cap nor what stands in the store does that.
func TestNothingPausesWhoExecutesActs(t *testing.T) {
	t.Parallel()
	l, s := newLedger(), openControlled(t)
	if err := s.Halt(t.Context(), router.OperationsHandler, "somehow", time.Now()); err != nil {
		t.Fatal(err)
	}
	b := controlledAs(t, router.OperationsHandler, l, s, quick())
	b.start(t)
	l.credit(1)
	b.await(t)

	l, s = newLedger(), openControlled(t)
	p := quick()
	p.PerKey, p.Hold = 2, router.Backoff{First: time.Hour, Most: time.Hour}
	b = controlledAs(t, router.OperationsHandler, l, s, p)
	b.book.fail = failing(1, 1, errBoom)
	b.start(t)
	for range 4 {
		l.credit(1)
	}
	b.awaitState(t, router.Held)
	l.hints.Wake()
	c, err := s.Controls(t.Context(), 0)
	if err != nil || len(c.Paused) > 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestAPolicyIsInForceAtOnce(t *testing.T) {
	t.Parallel()
	l, s := newLedger(), openControlled(t)
	p := quick()
	p.Outage = 1000
	b := controlled(t, l, s, p)
	l.credit(9)
	b.start(t)
	b.await(t)
	b.book.setFail(failing(1, 1, errBoom))
	l.credit(1)
	b.await(t)
	if head, ok := b.head(t, 1); !ok || len(head.Attempts) != 3 {
		t.Fatalf("by default it is tried 3 times; %v, %d", ok, len(head.Attempts))
	}
	s.act(t, ops.HandlerPolicy, `{"attempts":{"unknown":1,"transient":2},
		"backoff":{"first_ms":1,"most_ms":1,"jitter_percent":0},
		"classes":[{"error_contains":"oom 2","class":"poison"},{"error_contains":"boom 3","class":"transient"}]}`)
	c, err := s.Controls(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return b.Obeys(handlerName).Tries[handlers.Unknown] == 1 })
	for i, want := range map[int]struct {
		class handlers.Class
		tries int
	}{2: {handlers.Poison, 1}, 3: {handlers.Transient, 2}, 4: {handlers.Unknown, 1}} {
		b.book.setFail(failing(i, 1, fmt.Errorf("boom %d", i)))
		l.credit(i)
		b.await(t)
		head, ok := b.head(t, i)
		if !ok || len(head.Attempts) != want.tries || head.Attempts[0].Class != want.class {
			t.Errorf("account %d: %v %+v; want %+v under version %d", i, ok, head.Attempts, want, c.Version)
		}
	}
}

// eventually polls.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("it never happened")
		}
		<-time.After(time.Millisecond)
	}
}

func TestAHandlerOverItsCapPausesUntilItIsResumed(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]func(p *router.Policy){
		"of a sequence":             func(p *router.Policy) { p.PerKey = 3 },
		"of handler " + handlerName: func(p *router.Policy) { p.PerHandler = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, s := newLedger(), openControlled(t)
			p := quick()
			limit(&p)
			b := controlled(t, l, s, p)
			b.book.fail = failing(1, 1, errBoom)
			b.start(t)
			for range 5 {
				l.credit(1)
			}
			b.paused(t, router.ErrLotFull.Error())
			full := "the parking lot is full: more than 3 messages " // and of what
			// It pauses here before others are told.
			eventually(t, func() bool {
				c, err := s.Controls(t.Context(), 0)
				if err != nil {
					t.Fatal(err)
				}
				why, told := c.Paused[handlerName]
				if told && why != full+name && why != full+"of "+account(1).String() {
					t.Fatalf("other processes see %q", why)
				}
				return told
			})
			b.book.setFail(nil)
			if n, err := b.ReplaySequence(t.Context(), handlerName, account(1).String()); n < 3 || err != nil {
				t.Fatalf("replayed %d, %v while it is paused", n, err)
			}
			s.act(t, ops.HandlerResume, "")
			b.await(t)
			if _, err := b.ReplaySequence(t.Context(), handlerName, account(1).String()); err != nil &&
				!errors.Is(err, router.ErrNoSequence) {
				t.Fatal(err)
			}
			if b.book.at(t, 1) != 5 {
				t.Fatalf("version %d; want 5", b.book.at(t, 1))
			}
			b.book.check(t)
		})
	}
}

// hurried is a store whose operator resumes a handler as soon as it has paused itself, and whose process hears of that
// before it goes on.
type hurried struct {
	*bookStore
	halted atomic.Int64
	known  atomic.Int64 // what the process has in force
	fails  error        // of the first pause
}

// Controls is of router.Controls.
func (s *hurried) Controls(ctx context.Context, known int64) (router.Control, error) {
	s.known.Store(max(known, s.known.Load()))
	return s.bookStore.Controls(ctx, known)
}

// Halt is of router.Controls.
func (s *hurried) Halt(ctx context.Context, handler, why string, at time.Time) error {
	if s.halted.Add(1) == 1 && s.fails != nil {
		return s.fails
	}
	if err := s.bookStore.Halt(ctx, handler, why, at); err != nil || s.halted.Load() > 1 {
		return err
	}
	err := s.InTx(ctx, func(ctx context.Context) error {
		return s.Execute(ctx, repair.Act{
			ID: fmt.Sprint("act_hurried_", s.halted.Load()), Kind: ops.HandlerResume, Handler: handler, Reason: "because",
			At: at,
		})
	})
	if err != nil {
		return err
	}
	now, err := s.bookStore.Controls(ctx, 0)
	for err == nil && s.known.Load() < now.Version {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return err
}

// Whoever is resumed goes on, also where that comes before the pause has been told everywhere, or the pause fails.
func TestAHandlerThatPausesItselfCanBeResumedAtOnce(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]error{"resumed": nil, "the pause fails": errBoom} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, s := newLedger(), &hurried{bookStore: openControlled(t), fails: fails}
			p := quick()
			p.PerKey = 3
			b := &bench{name: handlerName, ledger: l, store: s, book: &book{store: s}, progress: router.NewProgress()}
			var err error
			b.Router, err = router.New("", []router.Route{
				{Name: handlerName, Topic: bank.AccountsTopic, Handler: b.book.handle, Store: s},
			}, router.Config{
				Source: l, Hints: l.hints, Progress: b.progress, Policy: p, Batch: 16, Controls: s, Process: "process",
			})
			if err != nil {
				t.Fatal(err)
			}
			b.book.fail = failing(1, 1, errBoom)
			b.start(t)
			for range 5 {
				l.credit(1)
			}
			eventually(t, func() bool { return s.halted.Load() > 1 }) // it has gone on, and come there again
			b.book.setFail(nil)
		})
	}
}

// busy is an error that says when to come back.
type busy struct{ after time.Duration }

func (busy) Error() string               { return "busy" }
func (b busy) RetryAfter() time.Duration { return b.after }

func TestAnErrorMaySayWhenToTryAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, newLedger(), openStore(t), quick())
	var tried []time.Time
	b.book.fail = func(*handlers.Fact) error {
		if tried = append(tried, time.Now()); len(tried) < 3 {
			return handlers.As(handlers.Transient, fmt.Errorf("wrapped: %w", busy{150 * time.Millisecond}))
		}
		return nil
	}
	b.ledger.credit(1)
	b.start(t)
	b.await(t)
	for i := 1; i < len(tried); i++ {
		if pause := tried[i].Sub(tried[i-1]); pause < 150*time.Millisecond {
			t.Errorf("try %d came after %s", i+1, pause)
		}
	}
	if len(tried) != 3 {
		t.Errorf("%d tries", len(tried))
	}
}

// A process that has ended is not behind, takes nothing in, and holds nothing.
func TestAProcessThatEndsSaysSo(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]error{
		"while it runs": nil, "while it holds": handlers.As(handlers.Unavailable, errBoom),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, s := newLedger(), openControlled(t)
			b := controlled(t, l, s, quick())
			if fail != nil {
				b.book.fail = failing(1, 1, fail)
			}
			stop := b.start(t)
			l.credit(1)
			if fail == nil {
				b.await(t)
			} else {
				b.awaitState(t, router.Held)
			}
			stop()
			h, ok, err := s.HandlerStore.Handler(t.Context(), handlerName)
			if err != nil || !ok || len(h.Runs) != 1 || h.State() != "stopped" {
				t.Fatalf("%v %+v, %v", ok, h, err)
			}
			if r := h.Runs[0]; r.State != "stopped" || r.Lag != 0 || r.Rate != 0 {
				t.Errorf("it says %+v", r)
			}
		})
	}
}
