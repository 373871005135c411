package sqlite

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"bankforge/adapters/snapshots"
	"bankforge/app"
	"bankforge/app/bank"
)

func startLedger(t *testing.T, db *DB, dir string) *app.Ledger {
	t.Helper()
	log := openLogOf(t, db)
	l, err := app.StartLedger(t.Context(), app.LedgerConfig{
		Log: log, Lookup: log, Snapshots: snapshots.New(dir, slog.New(slog.DiscardHandler)),
		Owner: "test", SnapshotEvery: 100,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return l
}

func command(key string, c bank.Command) app.Ask {
	return app.Ask{Name: "test", Command: c, Call: app.Call{
		Key: sha256.Sum256([]byte(key)), IdempotencyKey: key, CorrelationID: "c",
	}}
}

// The decider on real files: many callers at once, a crash, and the same answers again.
func TestALedgerLivesThroughACrash(t *testing.T) {
	t.Parallel()
	db, dir := open(t, BankFile), t.TempDir()
	l := startLedger(t, db, dir)
	euro, err := bank.ParseCurrency("EUR")
	if err != nil {
		t.Fatal(err)
	}
	cent, err := bank.NewAmount(1, euro)
	if err != nil {
		t.Fatal(err)
	}
	var b [16]byte
	account := bank.MakeID[bank.Account](b)
	_, err = l.Execute(t.Context(), command("open", bank.OpenAccount{
		ID: account, Opening: bank.Opening{Currency: euro, Type: bank.Current}, DailyDebitLimit: bank.NoLimit,
	}))
	if err != nil {
		t.Fatal(err)
	}
	const callers, each = 20, 20
	deposit := func(n int) app.Ask {
		b := b
		b[0], b[1] = byte(n>>8), byte(n)
		return command(fmt.Sprint("deposit", n), bank.Deposit{
			Terms: bank.Terms{ID: bank.MakeID[bank.Transaction](b)}, Account: account, Amount: cent,
		})
	}
	answers := make([]app.Answer, callers*each)
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for n := c * each; n < (c+1)*each; n++ {
				var err error
				if answers[n], err = l.Execute(t.Context(), deposit(n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	after := startLedger(t, reopen(t, db), dir)
	if after.Committed() != l.Committed() || after.Committed() != 2+callers*each { // with the cash account's opening
		t.Fatalf("%d events, before the crash %d", after.Committed(), l.Committed())
	}
	for n, want := range answers {
		got, err := after.Execute(t.Context(), deposit(n))
		if err != nil || !got.Replayed || got.Seq != want.Seq || len(got.Events) != len(want.Events) {
			t.Fatalf("%d: %+v, %v; before the crash %+v", n, got, err, want)
		}
	}
	got, err := after.Execute(t.Context(), command("last", bank.SetStatus{ID: account, To: bank.Frozen}))
	if err != nil || got.Account.Balance != callers*each {
		t.Fatalf("%+v, %v", got.Account, err)
	}
}
