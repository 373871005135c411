package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
)

// TestLogConforms crashes by copying the files as they are on the disk while the log is open: what a
// new process finds when the old one is gone.
func TestLogConforms(t *testing.T) {
	t.Parallel()
	err := apptest.TestLog(t.Context(), apptest.LogStore{
		Open: func() (apptest.LogUnderTest, error) { return openLogFor(t, open(t, BankFile), apptest.TouchesOf), nil },
		Crash: func(l apptest.LogUnderTest) (apptest.LogUnderTest, error) {
			open, ok := l.(*Log)
			if !ok {
				return nil, fmt.Errorf("%T is no Log", l)
			}
			return openLogFor(t, reopen(t, open.db), apptest.TouchesOf), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// decided is a log with the lookups that the decider has for itself.
type decided struct {
	app.Log
	app.Lookup
	db *DB
}

func decidedOf(t *testing.T, db *DB) decided {
	t.Helper()
	l := openLogFor(t, db, apptest.TouchesOf)
	return decided{l, l.ForDecider(), db}
}

// TestTheDecidersLookupConforms: it sees all that was committed, though on another connection.
func TestTheDecidersLookupConforms(t *testing.T) {
	t.Parallel()
	err := apptest.TestLog(t.Context(), apptest.LogStore{
		Open: func() (apptest.LogUnderTest, error) { return decidedOf(t, open(t, BankFile)), nil },
		Crash: func(l apptest.LogUnderTest) (apptest.LogUnderTest, error) {
			open, ok := l.(decided)
			if !ok {
				return nil, fmt.Errorf("%T is not the decider's", l)
			}
			return decidedOf(t, reopen(t, open.db)), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTheFollowedLogConforms: what is read from memory is what is in the file.
func TestTheFollowedLogConforms(t *testing.T) {
	t.Parallel()
	followed := func(db *DB) decided {
		l := openLogFor(t, db, apptest.TouchesOf)
		return decided{l.Following(), l, db}
	}
	err := apptest.TestLog(t.Context(), apptest.LogStore{
		Open: func() (apptest.LogUnderTest, error) { return followed(open(t, BankFile)), nil },
		Crash: func(l apptest.LogUnderTest) (apptest.LogUnderTest, error) {
			open, ok := l.(decided)
			if !ok {
				return nil, fmt.Errorf("%T is not followed", l)
			}
			return followed(reopen(t, open.db)), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestReadersDoNotHoldUpTheDecider takes all connections that readers share.
func TestReadersDoNotHoldUpTheDecider(t *testing.T) {
	t.Parallel()
	l, head, ledger := openLog(t)
	own, b := l.ForDecider(), next(head, ledger, 10)
	if err := l.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for range l.db.read.Stats().MaxOpenConnections {
		reader, err := l.db.read.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	found, err := own.Outcomes(ctx, []app.Key{b.Outcomes[0].Key})
	if err != nil || len(found) != 1 {
		t.Errorf("%d outcomes, %v", len(found), err)
	}
	subject := b.Rows[0].Touches[0].Subject
	latest, err := own.Latest(ctx, []string{subject})
	if err != nil || latest[subject].Seq == 0 {
		t.Errorf("the latest row of %s is %d, %v", subject, latest[subject].Seq, err)
	}
}

func TestReplayIsRead(t *testing.T) {
	t.Parallel()
	l, head, ledger := openLog(t)
	b := next(head, ledger, 300)
	if err := l.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	end := b.Rows[len(b.Rows)-1].Seq
	replay := func(after, until bank.Seq) (got []app.Row, err error) {
		err = l.Replay(t.Context(), after, until, func(chain app.Hash, data string) error {
			got = append(got, app.Row{Seq: after + bank.Seq(len(got)) + 1, Data: []byte(data), Chain: chain})
			return nil
		})
		return got, err
	}
	for _, span := range [][2]bank.Seq{{0, end}, {0, 1}, {7, 7}, {17, 200}, {end - 1, end}} {
		want, err := l.Read(t.Context(), span[0], int(span[1]-span[0]))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := replay(span[0], span[1]); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("from %d to %d it is not what Read gives, error %v", span[0], span[1], err)
		}
	}
	if _, err := replay(end-1, end+1); err == nil {
		t.Error("it does not say that the end is not there")
	}
	gone := l.Replay(t.Context(), 0, end, func(app.Hash, string) error { return context.Canceled })
	if !errors.Is(gone, context.Canceled) {
		t.Errorf("it goes on after %v", gone)
	}
	if _, err := l.db.write.ExecContext(t.Context(), "DELETE FROM event WHERE seq = 3"); err != nil {
		t.Fatal(err)
	}
	if got, err := replay(1, 5); err == nil {
		t.Errorf("it says nothing of a gap, and gives %d rows", len(got))
	}
}

func TestOutcomesAreListedInTheirOrder(t *testing.T) {
	t.Parallel()
	l, head, ledger := openLog(t)
	b := next(head, ledger, 20)
	if err := l.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	first, at, err := l.Decided(t.Context(), math.MinInt64, int(head.Seq))
	if err != nil || bank.Seq(len(first)) != head.Seq {
		t.Fatalf("%d of the first %d, %v", len(first), head.Seq, err)
	}
	var got []app.Outcome
	for {
		page, last, err := l.Decided(t.Context(), at, 7)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		got, at = append(got, page...), last
	}
	for i := range got {
		got[i].Reply = nil
	}
	if !reflect.DeepEqual(got, b.Outcomes) {
		t.Fatalf("%+v instead of %+v", got, b.Outcomes)
	}
}

// reopen opens a copy of what db has on the disk.
func reopen(t *testing.T, db *DB) *DB {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy.db")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(db.path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	copied, err := Open(t.Context(), to, BankFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := copied.Close(); err != nil {
			t.Error(err)
		}
	})
	return copied
}
