package app_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/app/codec"
)

// hold is n, on account 1.
func hold(n int, minor int64, lasts time.Duration) app.Ask {
	return ask(fmt.Sprint("hold", n), bank.PlaceHold{
		ID: holdID(n), Account: accountID(1), Amount: euros(minor), ExpiresAt: bank.TimeOf(time.Now().Add(lasts)),
	})
}

func TestHoldsExpireByThemselves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &apptest.MemoryLog{}
		l, err := app.StartLedger(t.Context(), config(log))
		if err != nil {
			t.Fatal(err)
		}
		must(t, l, open(1), open(2), deposit("d", 1, 1, 100), hold(1, 60, time.Hour), hold(2, 40, 2*time.Hour))
		refused(t, l, transfer("t", 2, 1, 2, 1), bank.InsufficientFunds)
		before := l.Committed()
		next := l.Tide().Next()
		pass(time.Hour - time.Second)
		synctest.Wait()
		if l.Committed() != before {
			t.Fatal("it expired too early")
		}
		<-next
		at := time.Now()
		rows, err := log.Read(t.Context(), before, 10)
		if err != nil || len(rows) != 1 {
			t.Fatalf("%d events, %v", len(rows), err)
		}
		e, m, err := codec.Decode(rows[0].Data)
		if err != nil || e.Type != bank.HoldExpiredEvent || e.Hold.ID != holdID(1) || e.Time != bank.TimeOf(at) {
			t.Fatalf("%+v, %v", e, err)
		}
		if m.Actor != "ledger" || m.CorrelationID != holdID(1).String() {
			t.Fatalf("meta %+v", m)
		}
		must(t, l, transfer("t2", 3, 1, 2, 60))
		refused(t, l, ask("v", bank.VoidHold{ID: holdID(1)}), bank.HoldNotActive)
		pass(time.Hour)
		synctest.Wait()
		must(t, l, transfer("t3", 4, 1, 2, 40))
		shut(t, l)
	})
}

// What is due expires before the next decision also when the timer has not rung yet.
func TestDueHoldsExpireBeforeTheNextDecision(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		log := &apptest.MemoryLog{}
		l, err := app.StartLedger(t.Context(), config(log, func(c *app.LedgerConfig) {
			c.Clock = func() time.Time { return now }
		}))
		if err != nil {
			t.Fatal(err)
		}
		must(t, l, open(1), open(2), deposit("d", 1, 1, 100))
		const many = 3000 // more than one batch expires
		for i := range many {
			must(t, l, hold(i, 1, time.Hour+time.Duration(i)*time.Microsecond))
			if i == 99 {
				must(t, l, deposit("more", 2, 1, many))
			}
		}
		synctest.Wait() // the decider waits for commands
		now = now.Add(2 * time.Hour)
		got := must(t, l, transfer("t", 3, 1, 2, many+100))
		if want := bank.Seq(3 + 1 + many + 1 + many + 1); got.Seq != want { // with the cash account's opening
			t.Fatalf("the transfer is event %d, want %d", got.Seq, want)
		}
		shut(t, l)
	})
}

// While appending fails, expiring is tried again about once a second, not in a loop.
func TestExpiringRestsAfterAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &apptest.MemoryLog{}
		l, err := app.StartLedger(t.Context(), config(log))
		if err != nil {
			t.Fatal(err)
		}
		must(t, l, open(1), deposit("d", 1, 1, 100), hold(1, 60, time.Hour))
		tries := 0
		log.Inject(apptest.Faults{BeforeAppend: func(app.Batch) error { tries++; return app.ErrFull }})
		pass(time.Hour + 10*time.Second)
		synctest.Wait()
		if tries < 5 || tries > 12 {
			t.Fatalf("%d tries in 10 seconds", tries)
		}
		log.Inject(apptest.Faults{})
		before := l.Committed()
		<-l.Tide().Next()
		if l.Committed() != before+1 {
			t.Fatal("it did not expire when appending worked again")
		}
		shut(t, l)
	})
}
