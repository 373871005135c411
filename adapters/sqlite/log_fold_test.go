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
	const batches, bytes = 400, 32 << 10
	for i := range batches {
		row := app.Row{Seq: bank.Seq(i + 1), Data: make([]byte, bytes)}
		b := app.Batch{Term: 1, Number: uint64(i + 1), After: bank.Seq(i), Rows: []app.Row{row}}
		if err := l.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(db.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if most := int64(batches * bytes / 2); info.Size() > most {
		t.Errorf("the write-ahead log grew to %d bytes, of %d that were written", info.Size(), batches*bytes)
	}
	rows, err := l.Read(t.Context(), 0, batches+1)
	if err != nil || len(rows) != batches {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}
