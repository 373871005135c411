package sqlite

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"bankforge/adapters/lot"
	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/handlers"
	"bankforge/router"
)

func TestHandlerStoreKeepsItsContract(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]File{"views": ViewsFile, "state": StateFile} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := apptest.HandlerStore(t.Context(), NewHandlerStore(open(t, file))); err != nil {
				t.Fatal(err)
			}
			if err := apptest.Operations(t.Context(), NewHandlerStore(open(t, file))); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestHandlerStoreRefusesWritesOutsideATransaction(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), NewHandlerStore(open(t, ViewsFile))
	p := router.Parked{Stream: router.Stream{Handler: "h"}, Key: "k"}
	_, park := s.Park(ctx, p, nil)
	_, _, head := s.Head(ctx, "h", "k")
	for name, err := range map[string]error{
		"park": park, "head": head,
		"advance":   s.Advance(ctx, p.Stream, router.Checkpoint{}),
		"attempted": s.Attempted(ctx, p, router.Attempt{}, time.Time{}),
		"resolve":   s.Resolve(ctx, p, router.Ending{As: router.Resolved, At: time.Now()}),
	} {
		if !errors.Is(err, ErrNoTx) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOnlyTheHeadOfASequenceIsResolved(t *testing.T) {
	t.Parallel()
	s := NewHandlerStore(open(t, ViewsFile))
	err := s.InTx(t.Context(), func(ctx context.Context) error {
		var second router.Parked
		for i := range 2 {
			second = router.Parked{
				Stream: router.Stream{Handler: "h"}, Key: "k", Position: handlers.Position{Seq: 1, N: i}, Status: router.Failed,
			}
			if _, err := s.Park(ctx, second, nil); err != nil {
				return err
			}
		}
		return s.Resolve(ctx, second, router.Ending{As: router.Resolved, At: time.Now()})
	})
	if !errors.Is(err, lot.ErrNotHead) {
		t.Fatalf("resolved out of order: %v", err)
	}
}

// TestVerifyTellsWhatIsParked: a view that is behind for some keys is not wrong, but somebody must know.
func TestVerifyTellsWhatIsParked(t *testing.T) {
	t.Parallel()
	l, _, _ := openLog(t)
	views := open(t, ViewsFile)
	s := NewHandlerStore(views)
	err := s.InTx(t.Context(), func(ctx context.Context) error {
		for n, at := range []struct{ view, key string }{
			{"history", "a"}, {"history", "b"}, {"history", "a"}, {"balances", "a"},
		} {
			p := router.Parked{
				Stream: router.Stream{Handler: at.view}, Key: at.key, Position: handlers.Position{N: n}, Status: router.Failed,
			}
			if _, err := s.Park(ctx, p, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := app.Verify(t.Context(), l, NewViewsCheck(views, router.FromLog(l), t.TempDir()))
	want := []app.ParkedKeys{{View: "balances", Keys: 1}, {View: "history", Keys: 2}}
	if err != nil || !r.OK() || !slices.Equal(r.Parked, want) {
		t.Fatalf("parked are %v, want %v; %v, error %v", r.Parked, want, r.Differences, err)
	}
}

func TestErrorsOfSQLiteHaveClasses(t *testing.T) {
	t.Parallel()
	db := open(t, ViewsFile)
	read := func(pragma string) error {
		conn, err := db.write.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.ExecContext(t.Context(), pragma); err != nil {
			t.Fatal(err)
		}
		_, err = conn.ExecContext(t.Context(), `CREATE TABLE big AS
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
			SELECT i, hex(randomblob(64)) FROM n`)
		return err
	}
	if c, ok := Classify(read("PRAGMA max_page_count = 40")); !ok || c != handlers.Unavailable {
		t.Errorf("a full disk is %v, %v", c, ok)
	}
	if c, ok := Classify(read("PRAGMA query_only = 1")); !ok || c != handlers.Unavailable {
		t.Errorf("a file that cannot be written is %v, %v", c, ok)
	}
	if c, ok := Classify(locked(t)); !ok || c != handlers.Unavailable {
		t.Errorf("a file that another program has locked is %v, %v", c, ok)
	}
	_, err := db.read.ExecContext(t.Context(), `SELECT nonsense`)
	if _, ok := Classify(err); ok || err == nil {
		t.Errorf("a mistake in a statement is classified: %v", err)
	}
}

// locked is what a write fails with while another program holds the file, after it has waited.
func locked(t *testing.T) (failed error) {
	t.Helper()
	db := open(t, ViewsFile)
	other, err := Open(t.Context(), db.path, ViewsFile)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := db.write.ExecContext(t.Context(), "PRAGMA busy_timeout = 1"); err != nil {
		t.Fatal(err)
	}
	err = other.InTx(t.Context(), func(ctx context.Context) error {
		failed = db.InTx(ctx, func(ctx context.Context) error { return set(ctx, db) })
		return nil
	})
	if err != nil || failed == nil {
		t.Fatalf("the lock: %v; the write beside it: %v", err, failed)
	}
	return failed
}
