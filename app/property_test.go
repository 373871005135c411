package app_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/app/codec"
)

// Whatever fails on the way: what was acknowledged is in the log exactly once, with the answer that was given,
// what was refused as undone can be tried again with the same key, and the log replays.
func TestWhatIsAcknowledgedIsInTheLogOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		log := &apptest.MemoryLog{}
		var fault atomic.Int32
		log.Inject(apptest.Faults{
			BeforeAppend: func(app.Batch) error {
				return map[int32]error{1: errDisk, 2: app.ErrFull, 3: app.ErrUnknownCommit}[fault.Load()]
			},
			AfterAppend: func(app.Batch) error {
				return map[int32]error{4: app.ErrUnknownCommit}[fault.Load()]
			},
		})
		l, err := app.StartLedger(context.Background(), config(log))
		if err != nil {
			t.Fatal(err)
		}
		j := journal{}
		for i := range 3 {
			j.run(t, l, []app.Ask{open(i)})
		}
		for round := range rapid.IntRange(1, 12).Draw(t, "rounds") {
			fault.Store(int32(rapid.IntRange(0, 4).Draw(t, "fault")))
			var asks []app.Ask
			for i := range rapid.IntRange(1, 8).Draw(t, "commands") {
				asks = append(asks, j.draw(t, 100*round+i))
			}
			j.run(t, l, asks)
		}
		fault.Store(0)
		if err := l.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		j.check(t, log)
		again, err := app.StartLedger(context.Background(), config(log.Crash()))
		if err != nil {
			t.Fatalf("the log does not replay: %v", err)
		}
		j.replay(t, again)
		if err := again.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}

// journal is the model: what callers have been told.
type journal struct {
	asked        []app.Ask
	acknowledged []told
}

type told struct {
	ask    app.Ask
	answer app.Answer
	code   bank.Code
}

// draw makes a command, or asks again for one that was asked for.
func (j *journal) draw(t *rapid.T, n int) app.Ask {
	account := rapid.IntRange(0, 3)
	amount := int64(rapid.IntRange(1, 100).Draw(t, "amount"))
	key := fmt.Sprint("k", n)
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 0:
		return j.asked[rapid.IntRange(0, len(j.asked)-1).Draw(t, "again")]
	case 1, 2:
		return deposit(key, n, account.Draw(t, "to"), amount)
	case 3:
		return ask(key, bank.Reverse{
			Terms: bank.Terms{ID: transactionID(n)}, Of: transactionID(rapid.IntRange(0, n).Draw(t, "of")), Reason: "r",
		})
	case 4:
		item := func(i int) bank.Transfer {
			return bank.Transfer{
				Terms: bank.Terms{ID: transactionID(10_000 + 10*n + i)}, From: accountID(account.Draw(t, "from")),
				To: accountID(account.Draw(t, "to")), Amount: euros(amount),
			}
		}
		return ask(key, bank.Bulk{Items: []bank.Transfer{item(0), item(1), item(2)}, Atomic: rapid.Bool().Draw(t, "atomic")})
	case 5:
		return act(key, n)
	default:
		return transfer(key, n, account.Draw(t, "from"), account.Draw(t, "to"), amount)
	}
}

// run asks for all at once.
func (j *journal) run(t *rapid.T, l *app.Ledger, asks []app.Ask) {
	j.asked = append(j.asked, asks...)
	out := make([]told, len(asks))
	var all sync.WaitGroup
	for i, a := range asks {
		all.Go(func() {
			got, err := l.Execute(context.Background(), a)
			var e *bank.Error
			if err != nil && !errors.As(err, &e) {
				t.Errorf("not a *bank.Error: %v", err)
				return
			}
			out[i] = told{a, got, codeOf(err)}
		})
	}
	all.Wait()
	for _, o := range out {
		switch o.code {
		case app.CodeUnavailable, bank.NotFound: // nothing was promised
		case "", bank.AccountNotFound, bank.SameAccount, bank.InsufficientFunds, bank.NotReversible:
			j.acknowledged = append(j.acknowledged, o)
		default:
			t.Fatalf("%T: %s", o.ask.Command, o.code)
		}
	}
}

func (j *journal) check(t *rapid.T, log *apptest.MemoryLog) {
	rows, err := log.Read(context.Background(), 0, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	inLog := map[string]int{} // key → events
	for _, r := range rows {
		_, m, err := codec.Decode(r.Data)
		if err != nil {
			t.Fatal(err)
		}
		inLog[m.IdempotencyKey]++
	}
	told := map[string]int{}
	for _, a := range j.acknowledged {
		n := len(a.answer.Events)
		if before, twice := told[a.ask.Call.IdempotencyKey]; twice && before != n {
			t.Fatalf("%s: was told of %d and of %d events", a.ask.Call.IdempotencyKey, before, n)
		}
		told[a.ask.Call.IdempotencyKey] = n
	}
	for key, n := range inLog {
		if told[key] != n {
			t.Fatalf("%s: %d events in the log, told of %d", key, n, told[key])
		}
	}
	for key, n := range told {
		if inLog[key] != n {
			t.Fatalf("%s: told of %d events, %d in the log", key, n, inLog[key])
		}
	}
}

// replay asks for all that was acknowledged again, and gets the same.
func (j *journal) replay(t *rapid.T, l *app.Ledger) {
	for _, a := range j.acknowledged {
		got, err := l.Execute(context.Background(), a.ask)
		if codeOf(err) != a.code || !got.Replayed || len(got.Events) != len(a.answer.Events) {
			t.Fatalf("%s: %+v, %v; was told %+v, %s", a.ask.Call.IdempotencyKey, got, err, a.answer, a.code)
		}
		for i := range got.Events {
			if got.Events[i].Seq != a.answer.Events[i].Seq {
				t.Fatalf("%s: event %d, was told %d", a.ask.Call.IdempotencyKey, got.Events[i].Seq, a.answer.Events[i].Seq)
			}
		}
	}
}
