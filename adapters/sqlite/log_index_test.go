package sqlite

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bankforge/adapters/sqlite/index"
	"bankforge/app"
)

// closedLog is a log of some batches whose index was written to its directory.
func closedLog(t *testing.T) (db *DB, dir string, b app.Batch) {
	t.Helper()
	l, head, ledger := openLog(t)
	for range 5 {
		head = appendNext(t, l, head, ledger)
	}
	b = next(head, ledger, 10)
	if err := errors.Join(l.Append(t.Context(), b), l.Close()); err != nil {
		t.Fatal(err)
	}
	return l.db, l.db.path + ".index", b
}

// knows checks that what b brought is found.
func knows(t *testing.T, l *Log, b app.Batch) {
	t.Helper()
	found, err := l.Outcomes(t.Context(), []app.Key{b.Outcomes[0].Key})
	if err != nil || len(found) != 1 {
		t.Fatalf("%d outcomes, %v", len(found), err)
	}
	touch := b.Rows[0].Touches[0]
	rows, err := l.Versions(t.Context(), touch.Subject, touch.Version-1, 1)
	if err != nil || len(rows) != 1 || rows[0].Seq != b.Rows[0].Seq {
		t.Fatalf("version %d of %s: %d rows, %v", touch.Version, touch.Subject, len(rows), err)
	}
	if r, err := app.Verify(t.Context(), l); err != nil || !r.OK() {
		t.Fatalf("%v, error %v", r.Differences, err)
	}
	b.Term, b.Number, b.After = 1, b.Number+1, b.Rows[len(b.Rows)-1].Seq
	b.Rows = nil
	if err := l.Append(t.Context(), b); err == nil {
		t.Fatal("keys that have outcomes were taken again")
	}
}

func spoilFirst(t *testing.T, dir string, spoil func(path string) error) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Fatalf("%d files in the index, %v", len(entries), err)
	}
	if err := spoil(filepath.Join(dir, entries[0].Name())); err != nil {
		t.Fatal(err)
	}
}

// TestAnIndexThatIsNoGoodIsBuiltAnew: nothing is lost with it.
func TestAnIndexThatIsNoGoodIsBuiltAnew(t *testing.T) {
	t.Parallel()
	for what, spoil := range map[string]func(t *testing.T, dir string){
		"left as it is": func(*testing.T, string) {},
		"deleted": func(t *testing.T, dir string) {
			t.Helper()
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		},
		"cut": func(t *testing.T, dir string) {
			t.Helper()
			spoilFirst(t, dir, func(path string) error { return os.Truncate(path, 5000) })
		},
		"of another log": func(t *testing.T, dir string) {
			t.Helper()
			_, other, _ := closedLog(t)
			if err := errors.Join(os.RemoveAll(dir), os.Rename(other, dir)); err != nil {
				t.Fatal(err)
			}
		},
		"ahead of the log": func(t *testing.T, dir string) {
			t.Helper()
			x, err := index.Open(dir, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			to := x.Reached()
			to.Seq++
			x.Add([]index.Record{{Version: 1, Value: to.Seq}}, to)
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			db, dir, b := closedLog(t)
			spoil(t, dir)
			var told bytes.Buffer
			l, err := OpenLog(t.Context(), db, dir, slog.New(slog.NewTextHandler(&told, nil)))
			if err != nil {
				t.Fatal(err)
			}
			knows(t, l, b)
			if rebuilt := strings.Contains(told.String(), "up to date"); rebuilt == (what == "left as it is") {
				t.Errorf("it told %q", told.String())
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestVerifyChecksTheIndexThatIsThere beside a writer that has it open, and changes nothing.
func TestVerifyChecksTheIndexThatIsThere(t *testing.T) {
	t.Parallel()
	db, dir, b := closedLog(t)
	verify := func() app.VerifyReport {
		t.Helper()
		reading, err := OpenReadOnly(db.path, BankFile)
		if err != nil {
			t.Fatal(err)
		}
		l, err := OpenLog(t.Context(), reading, dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		r, err := app.Verify(t.Context(), l)
		if err := errors.Join(err, l.Close(), reading.Close()); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := verify(); !r.OK() {
		t.Fatalf("of a sound one: %v", r.Differences)
	}
	x, err := index.Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	to := x.Reached()
	to.Outcome++
	stray := index.Record{Hash: hashOf(b.Rows[0].Touches[0].Subject), Version: 1000, Value: 3}
	x.Add([]index.Record{stray, {Hash: index.Hash{1}, Value: 5}}, to)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if r := verify(); r.OK() {
		t.Fatal("entries that nothing has made, or a file that makes no sense, were not noticed")
	}
}

// TestVerifyNeedsNoIndex builds one of its own, and leaves none behind.
func TestVerifyNeedsNoIndex(t *testing.T) {
	t.Parallel()
	db, dir, _ := closedLog(t)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	reading, err := OpenReadOnly(db.path, BankFile)
	if err != nil {
		t.Fatal(err)
	}
	l, err := OpenLog(t.Context(), reading, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r, err := app.Verify(t.Context(), l)
	if err != nil || !r.OK() {
		t.Fatalf("%v, error %v", r.Differences, err)
	}
	scratch := l.index.scratch
	if err := errors.Join(l.Close(), reading.Close()); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{scratch, dir} {
		if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q is there: %v", gone, err)
		}
	}
}

// TestAnUnknownCommitThatWasOne is found after it was resolved.
func TestAnUnknownCommitThatWasOne(t *testing.T) {
	t.Parallel()
	l, head, ledger := openLog(t)
	b := next(head, ledger, 10)
	if err := l.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	// As if the answer had not come: a second log has appended it, and this one does not know of it.
	db := reopen(t, l.db)
	behind := openLogOf(t, db)
	beside, err := OpenLog(t.Context(), db, t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := beside.Close(); err != nil {
			t.Error(err)
		}
	})
	if committed, now, err := beside.Resolve(t.Context(), b); err != nil || !committed {
		t.Fatal(committed, err)
	} else {
		head = now
	}
	more := next(head, ledger, 10)
	if err := beside.Append(t.Context(), more); err != nil {
		t.Fatal(err)
	}
	if committed, _, err := behind.Resolve(t.Context(), more); err != nil || !committed {
		t.Fatal(committed, err)
	}
	found, err := behind.Outcomes(t.Context(), []app.Key{more.Outcomes[0].Key})
	if err != nil || len(found) != 1 {
		t.Fatalf("%d outcomes, %v", len(found), err)
	}
	if r, err := app.Verify(t.Context(), behind); err != nil || !r.OK() {
		t.Fatalf("%v, error %v", r.Differences, err)
	}
}
