package sqlite_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/codec"
	"bankforge/handlers/history"
	"bankforge/handlers/projection"
	"bankforge/router"
)

// stored writes the log to a file, as the ledger does.
func (l *log) stored(b *testing.B) *sqlite.Log {
	b.Helper()
	db, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "bank.db"), sqlite.BankFile)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	out, err := sqlite.OpenLog(b.Context(), db, filepath.Join(b.TempDir(), "index"), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	head, err := out.Acquire(b.Context(), "test")
	if err != nil {
		b.Fatal(err)
	}
	for at := 0; at < len(l.events); {
		batch := app.Batch{Term: head.Term, Number: head.Batch + 1, After: bank.Seq(at)}
		for _, e := range l.events[at:min(at+1000, len(l.events))] {
			batch.Rows = append(batch.Rows, app.Row{Seq: e.Seq, Data: codec.Encode(nil, &e.Event, e.Meta)})
		}
		if err := out.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		head.Batch++
		at += len(batch.Rows)
	}
	return out
}

// BenchmarkReplay says how many events a second the handlers take in from a log, as at the start of a bank without
// views.db.
func BenchmarkReplay(b *testing.B) {
	l := transfers(b, 50_000, 1000)
	stored := l.stored(b)
	events, before := 0, cpuTime(b)
	for b.Loop() {
		replay(b, stored, bank.Seq(len(l.events)))
		events += len(l.events)
	}
	report(b, events, before)
}

func replay(b *testing.B, stored *sqlite.Log, until bank.Seq) {
	b.Helper()
	db, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "views.db"), sqlite.ViewsFile)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	v, err := sqlite.NewViews(b.Context(), db)
	if err != nil {
		b.Fatal(err)
	}
	routes := router.Routes(router.Reactions{
		Balances: projection.Balances(v), Entries: history.Entries(v), Transactions: history.Transactions(v),
	}, router.Stores{Views: sqlite.NewHandlerStore(db)})[:3]
	progress := router.NewProgress()
	r, err := router.New("", routes, router.Config{Source: router.FromLog(stored), Progress: progress})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for _, route := range routes {
		if !progress.Await(b.Context(), route.Name, until) {
			b.Error("the handlers have not come to the end")
		}
	}
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}
