package broker

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"bankforge/adapters/postgres"
	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/apptest/servers"
	"bankforge/router"
)

// backlog is how many events wait when the handlers start.
const backlog = 500_000

// BenchmarkBacklog says how many messages a second the three handlers of the views take in together, checkpoints
// included, while a backlog of 500,000 events waits; and how fast it is read without handlers.
func BenchmarkBacklog(b *testing.B) {
	prefix := "bench_" + servers.Name() + "_"
	db := openDB(b, postgres.Options{Prefix: prefix, MaxConns: 8})
	b.Cleanup(func() {
		if err := db.Drop(context.Background()); err != nil {
			b.Error(err)
		}
	})
	fill(b, db)
	b.Run("read", func(b *testing.B) {
		_, msgs := subscribe(b, New(db.Ledger()), tailFrom(router.Checkpoint{}.Position), 4096)
		n := 0
		for b.Loop() {
			for n = 0; n < backlog; {
				msg := <-msgs
				facts, err := router.Facts(msg)
				if err != nil {
					b.Fatal(err)
				}
				n = int(facts[len(facts)-1].Seq)
				msg.Ack()
			}
		}
		b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("views", func(b *testing.B) { views(b, db) })
}

// fill appends the backlog.
func fill(b *testing.B, db *postgres.DB) {
	b.Helper()
	log := db.Log(postgres.LogConfig{})
	head, err := log.Acquire(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	l, err := apptest.NewLedger(1)
	if err != nil {
		b.Fatal(err)
	}
	for head.Seq < backlog {
		batch := apptest.Batch(head, l.Events(1000))
		if err := log.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		last := batch.Rows[len(batch.Rows)-1]
		head.Batch, head.Seq, head.Chain = batch.Number, last.Seq, last.Chain
	}
}

// taken counts messages.
type taken struct {
	router.NoMetrics
	messages atomic.Int64
}

func (t *taken) Delivered(_ string, facts int, _ time.Duration, ok bool) {
	if ok {
		t.messages.Add(int64(facts))
	}
}

// views handles the backlog for a while, or to its end.
func views(b *testing.B, db *postgres.DB) {
	b.Helper()
	const measure = 30 * time.Second
	ctx, cancel := context.WithTimeout(b.Context(), measure)
	defer cancel()
	counts, progress := &taken{}, router.NewProgress()
	routes := handlersOf(db, "")[:3]
	r, err := router.New("", routes, router.Config{
		Source: router.FromLog(db.Log(postgres.LogConfig{})), Progress: progress, Metrics: counts,
		Classify: []router.Classifier{postgres.Classify}, Broker: &router.Broker{Follow: New(db.Ledger()).Follow},
	})
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		for _, name := range []string{app.BalancesHandler, app.HistoryHandler, app.TransactionsHandler} {
			progress.Await(ctx, name, backlog)
		}
		cancel()
	}()
	b.ResetTimer()
	if err := r.Run(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(counts.messages.Load())/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64(counts.messages.Load()), "messages")
}
