package sqlite

import (
	"log/slog"
	"os"
	"testing"

	"bankforge/app"
	"bankforge/app/bank"
)

// What is appended without a pause must not grow the write-ahead log without bound.
func TestTheWriteAheadLogStaysShort(t *testing.T) {
	t.Parallel()
	db := open(t, BankFile)
	l := openLogOf(t, db)
	if err := l.fold.close(); err != nil {
		t.Fatal(err)
	}
	const after = 64 << 10
	var err error
	if l.fold, err = newFolder(t.Context(), db, after, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Acquire(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	// Its file never shrinks. While it does not grow either, it is written from its beginning again.
	const most, bytes, enough = 5000, 32 << 10, 50
	for n, still, size := 0, 0, int64(0); still < enough; n++ {
		if n == most {
			t.Fatalf("the write-ahead log has grown to %d bytes", size)
		}
		row := app.Row{Seq: bank.Seq(n + 1), Data: make([]byte, bytes)}
		b := app.Batch{Term: 1, Number: uint64(n + 1), After: bank.Seq(n), Rows: []app.Row{row}}
		if err := l.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(db.path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		if still++; info.Size() > size {
			still, size = 0, info.Size()
		}
	}
}
