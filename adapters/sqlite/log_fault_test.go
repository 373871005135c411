package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"modernc.org/sqlite"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
)

// openLog is a log with one batch of believable events, its head, and what makes more of them.
func openLog(t *testing.T) (*Log, app.Head, *apptest.Ledger) {
	t.Helper()
	l := openLogOf(t, open(t, BankFile))
	head, err := l.Acquire(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := apptest.NewLedger(1)
	if err != nil {
		t.Fatal(err)
	}
	return l, appendNext(t, l, head, ledger), ledger
}

func next(head app.Head, ledger *apptest.Ledger, n int) app.Batch {
	return apptest.Batch(head, ledger.Events(n))
}

func moved(head app.Head, b app.Batch) app.Head {
	last := b.Rows[len(b.Rows)-1]
	head.Batch, head.Seq, head.Chain = b.Number, last.Seq, last.Chain
	return head
}

func appendNext(t *testing.T, l *Log, head app.Head, ledger *apptest.Ledger) app.Head {
	t.Helper()
	b := next(head, ledger, 10)
	if err := l.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return moved(head, b)
}

func untouched(t *testing.T, l *Log, want app.Head, b app.Batch) {
	t.Helper()
	got, err := l.Head(t.Context())
	if err != nil || got != want {
		t.Fatalf("the head is %+v instead of %+v, error %v", got, want, err)
	}
	rows, err := l.Read(t.Context(), want.Seq, 1)
	if err != nil || len(rows) != 0 {
		t.Fatalf("%d rows are behind the head, error %v", len(rows), err)
	}
	found, err := l.Outcomes(t.Context(), []app.Key{b.Outcomes[0].Key})
	if err != nil || len(found) != 0 {
		t.Fatalf("there is an outcome, error %v", err)
	}
}

// TestAFullDiskIsToldAndLeavesNoTrace takes away the room that the file may have, and gives it back.
func TestAFullDiskIsToldAndLeavesNoTrace(t *testing.T) {
	t.Parallel()
	l, head, ledger := openLog(t)
	limit := func(pages string) {
		t.Helper()
		if _, err := l.db.write.ExecContext(t.Context(), "PRAGMA max_page_count = "+pages); err != nil {
			t.Fatal(err)
		}
	}
	limit("1") // as small as it is already
	b := next(head, ledger, 500)
	for range 2 {
		if err := l.Append(t.Context(), b); !errors.Is(err, app.ErrFull) || errors.Is(err, app.ErrUnknownCommit) {
			t.Fatalf("the error is %v, want ErrFull", err)
		}
		untouched(t, l, head, b)
	}
	limit("1000000")
	if err := l.Append(t.Context(), b); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	appendNext(t, l, moved(head, b), ledger)
}

// failCommit has the next COMMIT fail, or, with false, succeed again.
func failCommit(t *testing.T, l *Log, fail bool) {
	t.Helper()
	c, err := l.db.write.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	err = c.Raw(func(driver any) error {
		hooks, ok := driver.(sqlite.HookRegisterer)
		if !ok {
			return fmt.Errorf("%T takes no hooks", driver)
		}
		hooks.RegisterCommitHook(func() int32 {
			if fail {
				return 1
			}
			return 0
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAFailedCommitIsUnknownUntilResolved(t *testing.T) {
	t.Parallel()
	l, head, ledger := openLog(t)
	b := next(head, ledger, 10)
	failCommit(t, l, true)
	if err := l.Append(t.Context(), b); !errors.Is(err, app.ErrUnknownCommit) || errors.Is(err, app.ErrFull) {
		t.Fatalf("the error is %v, want ErrUnknownCommit", err)
	}
	if _, _, err := l.Resolve(t.Context(), b); err == nil || errors.Is(err, app.ErrFenced) {
		t.Fatalf("resolving while commits fail: %v", err)
	}
	failCommit(t, l, false)
	committed, resolved, err := l.Resolve(t.Context(), b)
	head.Term++
	if err != nil || committed || resolved != head {
		t.Fatalf("committed: %t, the head is %+v instead of %+v, error %v", committed, resolved, head, err)
	}
	if err := l.Append(t.Context(), b); !errors.Is(err, app.ErrFenced) {
		t.Fatalf("the batch came late: %v", err)
	}
	b.Term = head.Term
	if err := l.Append(t.Context(), b); err != nil {
		t.Fatalf("the batch in the new term: %v", err)
	}
	if r, err := app.Verify(t.Context(), l); err != nil || !r.OK() {
		t.Fatalf("%v, error %v", r.Differences, err)
	}
}

func TestResolveRefusesAnEarlierBatch(t *testing.T) {
	t.Parallel()
	l, head, ledger := openLog(t)
	first := next(head, ledger, 1)
	if err := l.Append(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	head = appendNext(t, l, moved(head, first), ledger)
	if _, _, err := l.Resolve(t.Context(), first); err == nil {
		t.Fatal("it cannot know, and says that it does")
	}
	untouched(t, l, head, next(head, ledger, 1))
}

func TestALogForReadingOnly(t *testing.T) {
	t.Parallel()
	l, head, ledger := openLog(t)
	db, err := OpenReadOnly(l.db.path, BankFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	reading := openLogOf(t, db)
	head = appendNext(t, l, head, ledger) // it reads beside a writer
	if r, err := app.Verify(t.Context(), reading); err != nil || !r.OK() || r.Head != head {
		t.Fatalf("%v, the head is %+v, error %v", r.Differences, r.Head, err)
	}
	if _, err := reading.Acquire(t.Context(), "second"); err == nil {
		t.Fatal("the ledger was taken over")
	}
	if err := reading.Append(t.Context(), next(head, ledger, 1)); err == nil || errors.Is(err, app.ErrFenced) {
		t.Fatalf("an append: %v", err)
	}
	if _, _, err := reading.Resolve(t.Context(), next(head, ledger, 1)); err == nil || errors.Is(err, app.ErrFenced) {
		t.Fatalf("resolving: %v", err)
	}
}

// TestVerifyFindsWhatWasChangedInTheFile changes tables behind the log's back.
func TestVerifyFindsWhatWasChangedInTheFile(t *testing.T) {
	t.Parallel()
	for statement, want := range map[string]bank.Seq{
		`UPDATE event SET data = CAST(substr(data, 1, length(data) - 1) || x'00' AS BLOB) WHERE seq = 40`: 40,
		`UPDATE event SET chain = zeroblob(32) WHERE seq = 40`:                                            40,
		`DELETE FROM event WHERE seq = 40`:                                                                41,
		`DELETE FROM event WHERE seq > 40`:                                                                40,
		`UPDATE event SET seq = 1000 WHERE seq = 40`:                                                      41,
		`UPDATE head SET seq = 40, chain = (SELECT chain FROM event WHERE seq = 40)`:                      41,
		`DELETE FROM outcome WHERE seq = 40`:                                                              40,
		`UPDATE outcome SET events = 2 WHERE seq = 40`:                                                    41,
		`UPDATE outcome SET events = 0 WHERE seq = 40`:                                                    40,
		`UPDATE outcome SET seq = 41 WHERE seq = 40`:                                                      40,
		`UPDATE outcome SET seq = 1000 WHERE seq = 40`:                                                    1000,
		`UPDATE outcome SET fingerprint = zeroblob(32) WHERE seq = 40`:                                    40,
		`UPDATE outcome SET key = zeroblob(32) WHERE seq = 40`:                                            40,
		`UPDATE outcome SET code = 'not_found' WHERE seq = 40`:                                            40,
		`UPDATE outcome SET subject = 'txn_x' WHERE seq = 40`:                                             40,
		`INSERT INTO outcome SELECT NULL, randomblob(32), fingerprint, 1000, 1, '', NULL, '', '', 0
			FROM outcome WHERE seq = 40`: 1000,
		`INSERT INTO outcome (id, key, fingerprint, seq, events, code, subject, command, at)
			SELECT -1, randomblob(32), fingerprint, 40, 1, '', '', '', 0 FROM outcome WHERE seq = 40`: 40,
	} {
		t.Run(statement, func(t *testing.T) {
			t.Parallel()
			l, head, ledger := openLog(t)
			for range 5 {
				head = appendNext(t, l, head, ledger)
			}
			if r, err := app.Verify(t.Context(), l); err != nil || !r.OK() {
				t.Fatalf("before: %v, error %v", r.Differences, err)
			}
			if _, err := l.db.write.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
			r, err := app.Verify(t.Context(), l)
			if err != nil || r.OK() || r.Differences[0].Seq != want {
				t.Fatalf("%v, error %v; want event %d first", r.Differences, err, want)
			}
		})
	}
}

// TestVerifyFindsADamagedPage damages a table that verifying the log does not read.
func TestVerifyFindsADamagedPage(t *testing.T) {
	t.Parallel()
	l, head, ledger := openLog(t)
	appendNext(t, l, head, ledger)
	var page, size int64
	err := l.db.read.QueryRowContext(t.Context(), `SELECT rootpage, (SELECT page_size FROM pragma_page_size)
		FROM sqlite_schema WHERE name = 'goose_db_version'`).Scan(&page, &size)
	if err == nil {
		err = errors.Join(l.Close(), l.db.Close()) // which brings everything into the file
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(l.db.path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(bytes.Repeat([]byte{0xff}, 8), (page-1)*size+8) // where its first cells begin
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	db, err := OpenReadOnly(l.db.path, BankFile)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r, err := app.Verify(t.Context(), openLogOf(t, db))
	if err != nil || r.OK() || r.Differences[0].Subject != filepath.Base(l.db.path) {
		t.Fatalf("%v, error %v", r.Differences, err)
	}
}

func TestRowsAreWhatWasAppended(t *testing.T) {
	t.Parallel()
	l, head, ledger := openLog(t)
	b := next(head, ledger, 200)
	if err := l.Append(context.WithoutCancel(t.Context()), b); err != nil {
		t.Fatal(err)
	}
	copied := openLogOf(t, reopen(t, l.db))
	for _, l := range []*Log{l, copied} {
		rows, err := l.Read(t.Context(), head.Seq, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Rows {
			want := b.Rows[i]
			want.Touches = nil
			if !reflect.DeepEqual(rows[i], want) {
				t.Fatalf("row %d of %s is another", i, filepath.Base(l.db.path))
			}
		}
	}
}
