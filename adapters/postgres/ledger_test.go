package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
)

func euro(t *testing.T) bank.Currency {
	t.Helper()
	c, err := bank.ParseCurrency("EUR")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func command(key string, c bank.Command) app.Ask {
	return app.Ask{Name: "test", Command: c, Call: app.Call{
		Key: sha256.Sum256([]byte(key)), IdempotencyKey: key, CorrelationID: "c", Fingerprint: app.Hash{1},
	}}
}

// openAccount opens one, and puts a cent in and out of it, so that nothing but the deposits of the test is new.
func openAccount(t *testing.T, l *app.Ledger) bank.AccountID {
	t.Helper()
	account := bank.MakeID[bank.Account]([16]byte{})
	_, err := l.Execute(t.Context(), command("open", bank.OpenAccount{
		ID: account, Opening: bank.Opening{Currency: euro(t), Type: bank.Current}, DailyDebitLimit: bank.NoLimit,
	}))
	if err != nil {
		t.Fatal(err)
	}
	return account
}

func depositCent(t *testing.T, n int, account bank.AccountID) app.Ask {
	t.Helper()
	cent, err := bank.NewAmount(1, euro(t))
	if err != nil {
		t.Fatal(err)
	}
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return command(fmt.Sprint("deposit", n), bank.Deposit{
		Terms: bank.Terms{ID: bank.MakeID[bank.Transaction](id)}, Account: account, Amount: cent,
	})
}

// paused is a lease that stands still while its process is stopped.
type paused struct {
	app.Lease
	mu sync.Mutex
}

func (p *paused) Renew(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Lease.Renew(ctx)
}

const (
	shortLease = 2 * time.Second // a busy machine may renew it late
	renewal    = 50 * time.Millisecond
)

// process starts a ledger as a process of its own does: with connections, a log and a lease of its own.
func process(ctx context.Context, t *testing.T, db *DB, name string) (*app.Ledger, *Log, *paused, error) {
	t.Helper()
	log := again(t, db).Log(LogConfig{Lease: shortLease, Address: "http://" + name})
	lease := &paused{Lease: log}
	l, err := app.StartLedger(ctx, app.LedgerConfig{
		Log: log, Lookup: log.ForDecider(), Lease: lease, RenewEvery: renewal, Owner: name,
	})
	return l, log, lease, err
}

func mustProcess(t *testing.T, db *DB, name string) (*app.Ledger, *Log, *paused) {
	t.Helper()
	l, log, lease, err := process(t.Context(), t, db, name)
	if err != nil {
		t.Fatal(err)
	}
	return l, log, lease
}

func closed(t *testing.T, l *app.Ledger) {
	t.Helper()
	if err := l.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

func TestAStandbyWaitsForTheLease(t *testing.T) {
	t.Parallel()
	db := openOnly(t, ledgerSchema)
	first, log, _ := mustProcess(t, db, "first")
	account := openAccount(t, first)
	impatient, cancel := context.WithTimeout(t.Context(), 3*shortLease)
	defer cancel()
	if l, _, _, err := process(impatient, t, db, "second"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a second process has taken the ledger from the first: %v, %v", l, err)
	}
	want := app.Holder{Owner: "first", Address: "http://first", Term: 1, Valid: true}
	if h, err := log.Holder(t.Context()); err != nil || h != want {
		t.Errorf("the holder is %+v, %v; want %+v", h, err, want)
	}
	if _, err := first.Execute(t.Context(), depositCent(t, 1, account)); err != nil {
		t.Errorf("the first is held up: %v", err)
	}
	// Who ends in good order does not let others wait for the lease to run out.
	standby := make(chan *app.Ledger, 1)
	go func() {
		l, _, _, err := process(t.Context(), t, db, "second")
		if err != nil {
			t.Error(err)
		}
		standby <- l
	}()
	closed(t, first)
	if h, err := log.Holder(t.Context()); err != nil || h.Owner == "first" && h.Valid {
		t.Errorf("after its end, the holder is %+v, %v", h, err)
	}
	second := <-standby
	got, err := second.Execute(t.Context(), depositCent(t, 1, account))
	if err != nil || !got.Replayed {
		t.Errorf("the same key with the second: %+v, %v", got, err)
	}
	closed(t, second)
	verified(t, db.Log(LogConfig{}))
}

// A process is stopped, loses the ledger, and is woken: it writes nothing, and notices.
func TestAPausedOwnerIsFencedAndStepsDown(t *testing.T) {
	t.Parallel()
	db := openOnly(t, ledgerSchema)
	first, log, lease := mustProcess(t, db, "first")
	account := openAccount(t, first)
	if _, err := first.Execute(t.Context(), depositCent(t, 1, account)); err != nil {
		t.Fatal(err)
	}
	lease.mu.Lock() // stopped
	began := time.Now()
	second, _, _ := mustProcess(t, db, "second")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("taking over took %v", took)
	}
	if _, err := second.Execute(t.Context(), depositCent(t, 2, account)); err != nil {
		t.Fatal(err)
	}
	before, err := log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var refused *bank.Error
	if got, err := first.Execute(t.Context(), depositCent(t, 3, account)); !errors.As(err, &refused) ||
		refused.Code != app.CodeUnavailable {
		t.Errorf("the old owner says %+v, %v", got, err)
	}
	if after, err := log.Head(t.Context()); err != nil || after != before {
		t.Errorf("the old owner has moved the head from %+v to %+v, %v", before, after, err)
	}
	lease.mu.Unlock()
	<-first.Done()
	if err := first.Ready(); !errors.Is(err, app.ErrFenced) {
		t.Errorf("it says %v", err)
	}
	closed(t, first)
	if _, err := second.Execute(t.Context(), depositCent(t, 3, account)); err != nil {
		t.Errorf("the new owner, after the old one has gone: %v", err)
	}
	closed(t, second)
	verified(t, db.Log(LogConfig{}))
}

// One who is woken and has nothing to do finds out by the lease alone.
func TestAnIdleOwnerNoticesThatItWasFenced(t *testing.T) {
	t.Parallel()
	db := openOnly(t, ledgerSchema)
	first, _, lease := mustProcess(t, db, "first")
	lease.mu.Lock()
	second, _, _ := mustProcess(t, db, "second")
	lease.mu.Unlock()
	select {
	case <-first.Done():
	case <-time.After(10 * time.Second):
		t.Error("it still thinks that it owns the ledger")
	}
	closed(t, first)
	if err := second.Ready(); err != nil {
		t.Error(err)
	}
	closed(t, second)
}
