package app_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// teller may do everything with money.
var teller = app.Principal{Subject: "tina", Roles: []app.Role{app.RoleTeller}}

// start starts a ledger on the log, and closes it at the end of the test.
func start(t *testing.T, log *apptest.MemoryLog, change ...func(*app.LedgerConfig)) *app.Ledger {
	t.Helper()
	l, err := app.StartLedger(t.Context(), config(log, change...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, l) })
	return l
}

func config(log *apptest.MemoryLog, change ...func(*app.LedgerConfig)) app.LedgerConfig {
	c := app.LedgerConfig{Log: log, Lookup: log, Owner: "test", Logger: quiet}
	for _, f := range change {
		f(&c)
	}
	return c
}

func shut(t *testing.T, l *app.Ledger) {
	t.Helper()
	if err := l.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

func id(n int) (b [16]byte) {
	copy(b[:], fmt.Sprintf("%016d", n))
	return b
}

func accountID(n int) bank.AccountID         { return bank.MakeID[bank.Account](id(n)) }
func transactionID(n int) bank.TransactionID { return bank.MakeID[bank.Transaction](id(n)) }
func holdID(n int) bank.HoldID               { return bank.MakeID[bank.Hold](id(n)) }

func euros(minor int64) bank.Amount {
	c, err := bank.ParseCurrency("EUR")
	if err != nil {
		panic(err)
	}
	a, err := bank.NewAmount(minor, c)
	if err != nil {
		panic(err)
	}
	return a
}

// act wants the nth sequence to be retried.
func act(key string, n int) app.Ask {
	return ask(key, bank.Act{
		ID: bank.MakeID[bank.Act](id(n)), Kind: bank.SequenceRetry, Handler: "history", Key: accountID(n).String(),
		Body: []byte(`{"n":1}`), Reason: "mended",
	})
}

// ask is a command under a key of its own, "" for none; its fingerprint is its content.
func ask(key string, c bank.Command) app.Ask {
	a := app.Ask{Name: "test", Command: c, Call: app.Call{
		Principal: teller, CorrelationID: "corr-" + key, IdempotencyKey: key,
		Fingerprint: sha256.Sum256(fmt.Appendf(nil, "%T%+v", c, c)),
	}}
	if key != "" {
		a.Call.Key = sha256.Sum256([]byte(key))
	}
	return a
}

func open(n int) app.Ask {
	return ask(fmt.Sprint("open", n), bank.OpenAccount{
		ID: accountID(n), Opening: bank.Opening{Currency: euros(1).Currency(), Type: bank.Current},
		DailyDebitLimit: bank.NoLimit,
	})
}

func deposit(key string, txn, account int, minor int64) app.Ask {
	return ask(key, bank.Deposit{
		Terms: bank.Terms{ID: transactionID(txn)}, Account: accountID(account), Amount: euros(minor),
	})
}

func transfer(key string, txn, from, to int, minor int64) app.Ask {
	return ask(key, bank.Transfer{
		Terms: bank.Terms{ID: transactionID(txn)}, From: accountID(from), To: accountID(to), Amount: euros(minor),
	})
}

func dry(a app.Ask) app.Ask {
	a.Call.DryRun, a.Call.Key = true, app.Key{}
	return a
}

// must runs the commands one after the other; all are accepted.
func must(t *testing.T, l *app.Ledger, asks ...app.Ask) (last app.Answer) {
	t.Helper()
	for _, a := range asks {
		var err error
		if last, err = l.Execute(t.Context(), a); err != nil {
			t.Fatalf("%T: %v", a.Command, err)
		}
	}
	return last
}

// refused runs a command, and fails unless it is refused with the code.
func refused(t *testing.T, l *app.Ledger, a app.Ask, code bank.Code) app.Answer {
	t.Helper()
	got, err := l.Execute(t.Context(), a)
	if codeOf(err) != code {
		t.Fatalf("%T: got %v, want %s", a.Command, err, code)
	}
	return got
}

func codeOf(err error) bank.Code {
	if e, ok := errors.AsType[*bank.Error](err); ok {
		return e.Code
	}
	if err != nil {
		return bank.Code(err.Error())
	}
	return ""
}

// answered is what a command that runs in the background ends with.
type answered struct {
	app.Answer
	err error
}

// background runs a command, and gives its answer when it is there.
func background(ctx context.Context, l *app.Ledger, a app.Ask) <-chan answered {
	out := make(chan answered, 1)
	go func() {
		got, err := l.Execute(ctx, a)
		out <- answered{got, err}
	}()
	return out
}

// gate is a fault that holds up appends until it is opened; entered tells of each.
type gate struct {
	entered chan app.Batch
	through chan error
}

func newGate() gate { return gate{make(chan app.Batch), make(chan error)} }

func (g gate) wait(b app.Batch) error {
	g.entered <- b
	return <-g.through
}

// kept is Snapshots in memory.
type kept struct {
	mu    sync.Mutex
	mark  app.SnapshotMark
	bytes []byte
	saves int
}

func (k *kept) Save(_ context.Context, m app.SnapshotMark, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mark, k.bytes = m, b.Bytes()
	k.saves++
	return nil
}

func (k *kept) Load(_ context.Context, read func(app.SnapshotMark, io.Reader) error) (bool, error) {
	k.mu.Lock()
	mark, b := k.mark, k.bytes
	k.mu.Unlock()
	if b == nil {
		return false, nil
	}
	return true, read(mark, bytes.NewReader(b))
}

// state is what a ledger on a copy of the log has rebuilt from it.
func rebuilt(t *testing.T, log *apptest.MemoryLog) []byte {
	t.Helper()
	k := &kept{}
	l, err := app.StartLedger(t.Context(), config(log.Crash(), func(c *app.LedgerConfig) { c.Snapshots = k }))
	if err != nil {
		t.Fatal(err)
	}
	shut(t, l)
	return k.bytes
}

// frozenAt is a clock that stands.
func frozenAt(at time.Time) func(*app.LedgerConfig) {
	return func(c *app.LedgerConfig) { c.Clock = func() time.Time { return at } }
}

// t0 is now, to the microsecond.
func t0() time.Time { return time.Now().Truncate(time.Microsecond) }

// until waits for something that is about to happen.
func until(t *testing.T, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !happened(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

// pass lets time pass in a bubble of synctest.
func pass(d time.Duration) { <-time.After(d) }
