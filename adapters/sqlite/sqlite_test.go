package sqlite

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"bankforge/app"
)

// open opens a file of its own for a test.
func open(t *testing.T, f File) *DB {
	t.Helper()
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "a b#%.db"), f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// openLogOf opens the log in db with an index beside the file.
func openLogOf(t *testing.T, db *DB) *Log {
	t.Helper()
	return openLogFor(t, db, touchesOf)
}

func openLogFor(t *testing.T, db *DB, touches func(*app.Row) ([]app.Touch, error)) *Log {
	t.Helper()
	l, err := openLogWith(t.Context(), db, db.path+".index", slog.New(slog.DiscardHandler), touches)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func set(ctx context.Context, db *DB) error {
	tx, err := db.tx(ctx)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO about (name, value) VALUES ('k', 'v')`)
	return err
}

func count(t *testing.T, db *DB) (n int) {
	t.Helper()
	if err := db.read.QueryRowContext(t.Context(), `SELECT count(*) FROM about WHERE name = 'k'`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestInTxRollsBackWhatFails(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	ways := map[string]func(context.Context, context.CancelFunc) error{
		"error":     func(context.Context, context.CancelFunc) error { return boom },
		"cancelled": func(_ context.Context, cancel context.CancelFunc) error { cancel(); return nil },
	}
	for name, end := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := open(t, ViewsFile)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := db.InTx(ctx, func(ctx context.Context) error {
				if err := set(ctx, db); err != nil {
					return err
				}
				return end(ctx, cancel)
			})
			if err == nil || count(t, db) != 0 {
				t.Fatalf("error %v, rows %d; want an error and no row", err, count(t, db))
			}
			if err := db.InTx(t.Context(), func(ctx context.Context) error { return set(ctx, db) }); err != nil {
				t.Fatalf("the writer is not usable afterwards: %v", err)
			}
			if count(t, db) != 1 {
				t.Fatal("the committed row is missing")
			}
		})
	}
}

func TestWritesNeedATransaction(t *testing.T) {
	t.Parallel()
	db, other := open(t, ViewsFile), open(t, ViewsFile)
	if err := set(t.Context(), db); !errors.Is(err, ErrNoTx) {
		t.Fatalf("outside a transaction: %v", err)
	}
	err := other.InTx(t.Context(), func(ctx context.Context) error { return set(ctx, db) })
	if !errors.Is(err, ErrNoTx) {
		t.Fatalf("inside the transaction of another file: %v", err)
	}
}

// TestOpenRefusesAFileThatIsNotAsSafeAsItMustBe: SQLite takes settings that it cannot keep without a word.
func TestOpenRefusesAFileThatIsNotAsSafeAsItMustBe(t *testing.T) {
	t.Parallel()
	for path, c := range map[string]struct {
		f    File
		want string
	}{
		":memory:":                            {BankFile, "its journal_mode is memory instead of wal"},
		filepath.Join(t.TempDir(), "bank.db"): {File{"bank", 9, 1000}, "its synchronous is 1 instead of 9"},
	} {
		db, err := Open(t.Context(), path, c.f)
		if err == nil {
			t.Errorf("%s is open", path)
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v; want %q, and the name %s", err, c.want, path)
		}
	}
}
