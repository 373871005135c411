package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
)

var errDisk = errors.New("the disk is gone")

func failing(err error) func(app.Batch) error { return func(app.Batch) error { return err } }

// The state after a batch that failed is the state without it, byte for byte.
func TestAFailedBatchLeavesNoTrace(t *testing.T) {
	t.Parallel()
	states := [][]byte{}
	for _, fault := range []error{nil, errDisk, fmt.Errorf("%w: really", app.ErrFull)} {
		log, k := &apptest.MemoryLog{}, &kept{}
		l, err := app.StartLedger(t.Context(), config(log, frozenAt(time.Unix(1_800_000_000, 0)),
			func(c *app.LedgerConfig) { c.Snapshots = k }))
		if err != nil {
			t.Fatal(err)
		}
		must(t, l, open(1), open(2), deposit("d", 1, 1, 100))
		if fault != nil {
			log.Inject(apptest.Faults{BeforeAppend: failing(fault)})
			label := "x"
			for _, a := range []app.Ask{
				open(3), transfer("t", 2, 1, 2, 70), transfer("refused", 3, 1, 2, 700),
				ask("c", bank.ChangeAccount{ID: accountID(1), Label: &label}),
				ask("h", bank.PlaceHold{ID: holdID(1), Account: accountID(1), Amount: euros(1),
					ExpiresAt: bank.TimeOf(time.Unix(1_800_000_000, 0).Add(time.Hour))}),
			} {
				refused(t, l, a, app.CodeUnavailable)
			}
			log.Inject(apptest.Faults{})
		}
		// It goes on, and the same keys are free.
		must(t, l, transfer("t", 2, 1, 2, 70))
		refused(t, l, transfer("refused", 3, 1, 2, 700), bank.InsufficientFunds)
		shut(t, l)
		states = append(states, k.bytes)
	}
	for i, s := range states[1:] {
		if !bytes.Equal(s, states[0]) {
			t.Errorf("failure %d has left a trace", i)
		}
	}
}

func TestAnUnknownCommitIsResolved(t *testing.T) {
	t.Parallel()
	t.Run("committed", func(t *testing.T) {
		t.Parallel()
		log := &apptest.MemoryLog{}
		l := start(t, log)
		must(t, l, open(1))
		log.Inject(apptest.Faults{AfterAppend: failing(app.ErrUnknownCommit)})
		if got := must(t, l, deposit("a", 1, 1, 5)); got.Replayed {
			t.Fatal("the first answer is a replay")
		}
		log.Inject(apptest.Faults{})
		if got := must(t, l, deposit("a", 1, 1, 5)); !got.Replayed {
			t.Fatal("it was not remembered")
		}
		must(t, l, deposit("b", 2, 1, 5))
	})
	t.Run("not committed", func(t *testing.T) {
		t.Parallel()
		log := &apptest.MemoryLog{}
		l := start(t, log)
		must(t, l, open(1))
		log.Inject(apptest.Faults{BeforeAppend: failing(app.ErrUnknownCommit)})
		refused(t, l, deposit("a", 1, 1, 5), app.CodeUnavailable)
		log.Inject(apptest.Faults{})
		if got := must(t, l, deposit("a", 1, 1, 5)); got.Replayed {
			t.Fatal("it is told as done before")
		}
	})
	t.Run("panic after the commit", func(t *testing.T) {
		t.Parallel()
		log := &apptest.MemoryLog{}
		l := start(t, log)
		must(t, l, open(1))
		log.Inject(apptest.Faults{AfterAppend: func(app.Batch) error { panic("driver") }})
		must(t, l, deposit("a", 1, 1, 5))
	})
}

func TestAnOutcomeStaysUnknownNoLongerThanItMust(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &apptest.MemoryLog{}
		l, err := app.StartLedger(t.Context(), config(log))
		if err != nil {
			t.Fatal(err)
		}
		must(t, l, open(1))
		log.Inject(apptest.Faults{AfterAppend: failing(app.ErrUnknownCommit), Resolve: failing(errDisk)})
		begin := time.Now()
		first := background(t.Context(), l, deposit("a", 1, 1, 5))
		synctest.Wait()
		queued := background(t.Context(), l, deposit("b", 2, 1, 5))
		if got := <-first; codeOf(got.err) != app.CodeOutcomeUnknown {
			t.Fatalf("got %v", got.err)
		}
		if waited := time.Since(begin); waited < 10*time.Second || waited > 12*time.Second {
			t.Fatalf("waited %v", waited)
		}
		if got := <-queued; codeOf(got.err) != app.CodeUnavailable {
			t.Fatalf("what was queued got %v", got.err)
		}
		if l.Ready() == nil {
			t.Fatal("it says that it is ready")
		}
		refused(t, l, deposit("c", 3, 1, 5), app.CodeUnavailable)
		log.Inject(apptest.Faults{}) // the server is back
		pass(2 * time.Second)
		if err := l.Ready(); err != nil {
			t.Fatal(err)
		}
		if got := must(t, l, deposit("a", 1, 1, 5)); !got.Replayed {
			t.Fatal("it was carried out twice")
		}
		shut(t, l)
	})
}

func TestAnUnresolvedCommitDoesNotKeepTheProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, k := &apptest.MemoryLog{}, &kept{}
		l, err := app.StartLedger(t.Context(), config(log, func(c *app.LedgerConfig) { c.Snapshots = k }))
		if err != nil {
			t.Fatal(err)
		}
		must(t, l, open(1))
		log.Inject(apptest.Faults{AfterAppend: failing(app.ErrUnknownCommit), Resolve: failing(errDisk)})
		first := background(t.Context(), l, deposit("a", 1, 1, 5))
		synctest.Wait()
		shut(t, l)
		if got := <-first; codeOf(got.err) != app.CodeOutcomeUnknown {
			t.Fatalf("got %v", got.err)
		}
		if k.saves != 0 {
			t.Fatal("it kept a snapshot of what it does not know")
		}
	})
}

func TestAFencedLedgerStepsDown(t *testing.T) {
	t.Parallel()
	log := &apptest.MemoryLog{}
	old := start(t, log)
	must(t, old, open(1))
	next := start(t, log) // takes the ledger over
	refused(t, old, deposit("a", 1, 1, 5), app.CodeUnavailable)
	if err := old.Ready(); !errors.Is(err, app.ErrFenced) {
		t.Fatalf("ready: %v", err)
	}
	refused(t, old, deposit("a", 1, 1, 5), app.CodeUnavailable)
	if got := must(t, next, deposit("a", 1, 1, 5)); got.Replayed {
		t.Fatal("the fenced ledger has written")
	}
}

// The commit is unknown, and before it is resolved somebody else takes the ledger: the log tells.
func TestWhenFencedWhileUnknownTheLogTells(t *testing.T) {
	t.Parallel()
	before := func(f func(app.Batch) error) apptest.Faults { return apptest.Faults{BeforeAppend: f} }
	after := func(f func(app.Batch) error) apptest.Faults { return apptest.Faults{AfterAppend: f} }
	tooMuch := transfer("r", 2, 1, 2, 100)
	for name, c := range map[string]struct {
		when func(func(app.Batch) error) apptest.Faults
		ask  app.Ask
		same bool // the new owner decides the same command
		want bank.Code
	}{
		"committed":                  {after, deposit("a", 1, 1, 5), false, ""},
		"committed without a key":    {after, deposit("", 1, 1, 5), false, ""},
		"not committed":              {before, deposit("a", 1, 1, 5), false, app.CodeUnavailable},
		"committed by the new owner": {before, deposit("a", 1, 1, 5), true, app.CodeUnavailable},
		"a refusal, committed":       {after, tooMuch, false, bank.InsufficientFunds},
		"a refusal, not committed":   {before, tooMuch, false, app.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &apptest.MemoryLog{}
			l := start(t, log)
			must(t, l, open(1), open(2))
			log.Inject(c.when(func(app.Batch) error {
				log.Inject(apptest.Faults{})
				if next := start(t, log); c.same {
					must(t, next, c.ask)
				}
				return app.ErrUnknownCommit
			}))
			if _, err := l.Execute(t.Context(), c.ask); codeOf(err) != c.want {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if l.Ready() == nil {
				t.Fatal("it goes on although it was fenced")
			}
		})
	}
}

// Nothing that rests on tentative state leaves before that is committed: dry runs, refusals, duplicates.
func TestNothingTentativeLeaves(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]error{"committed": nil, "failed": errDisk} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &apptest.MemoryLog{}
			first, second := newGate(), newGate()
			l := start(t, log)
			must(t, l, open(1), open(2))
			log.Inject(apptest.Faults{BeforeAppend: first.wait})
			busy := background(t.Context(), l, ask("busy", bank.SetStatus{ID: accountID(2), To: bank.Frozen}))
			<-first.entered
			asks := []app.Ask{
				deposit("d", 1, 1, 100),
				dry(transfer("", 2, 1, 2, 60)),         // stands on the deposit
				transfer("r", 3, 1, 2, 101),            // refused upon it
				deposit("d", 1, 1, 100),                // a duplicate
				deposit("d", 1, 1, 99),                 // its key with another request
				dry(transfer("", 4, 1, 2, 101)),        // refused upon it
				transfer("t", 5, 1, 2, 40),             // the dry run has taken nothing
				dry(deposit("", 6, 2, bank.MaxAmount)), // refused because of what the transfer brought
			}
			var waiting []<-chan answered
			for i, a := range asks {
				waiting = append(waiting, background(t.Context(), l, a))
				until(t, func() bool { return l.Waiting() == i+1 })
			}
			log.Inject(apptest.Faults{BeforeAppend: second.wait})
			first.through <- nil
			<-busy
			batch := <-second.entered
			for i, w := range waiting {
				select {
				case got := <-w:
					t.Errorf("%d has left before the commit: %v", i, got.err)
				default:
				}
			}
			if len(batch.Rows) != 3 || len(batch.Outcomes) != 3 {
				t.Errorf("%d rows, %d outcomes", len(batch.Rows), len(batch.Outcomes))
			}
			log.Inject(apptest.Faults{})
			second.through <- fault
			want := []bank.Code{
				"", "", bank.InsufficientFunds, "", app.CodeKeyReused, bank.InsufficientFunds, "", bank.AmountOutOfRange,
			}
			for i, w := range waiting {
				got := <-w
				if fault != nil {
					want[i] = app.CodeUnavailable
				}
				if codeOf(got.err) != want[i] || got.Replayed != (i == 3 && fault == nil) {
					t.Errorf("%d: %+v, %v; want %q", i, got.Answer, got.err, want[i])
				}
			}
		})
	}
}

func TestADryRunAloneNeedsNoAppend(t *testing.T) {
	t.Parallel()
	log := &apptest.MemoryLog{}
	l := start(t, log)
	must(t, l, open(1))
	log.Inject(apptest.Faults{BeforeAppend: failing(errDisk)})
	if got := must(t, l, dry(deposit("", 1, 1, 5))); len(got.Events) == 0 || got.Seq != 0 {
		t.Fatalf("got %+v", got)
	}
	refused(t, l, dry(transfer("", 1, 1, 2, 5)), bank.AccountNotFound)
}

// A command that makes the decider panic fails alone.
func TestAPanicFailsOnlyItsCommand(t *testing.T) {
	t.Parallel()
	log := &apptest.MemoryLog{}
	g := newGate()
	l := start(t, log)
	must(t, l, open(1), open(2))
	log.Inject(apptest.Faults{BeforeAppend: g.wait})
	busy := background(t.Context(), l, deposit("x", 9, 2, 1))
	<-g.entered
	good, culprit, also := background(t.Context(), l, deposit("a", 1, 1, 5)),
		background(t.Context(), l, ask("p", nil)), background(t.Context(), l, deposit("b", 2, 1, 5))
	until(t, func() bool { return l.Waiting() == 3 })
	log.Inject(apptest.Faults{})
	g.through <- nil
	for _, w := range []<-chan answered{busy, good, also} {
		if got := <-w; got.err != nil {
			t.Error(got.err)
		}
	}
	if got := <-culprit; codeOf(got.err) != app.CodeUnavailable {
		t.Errorf("got %v", got.err)
	}
	rebuilt(t, log) // the log is whole
}
