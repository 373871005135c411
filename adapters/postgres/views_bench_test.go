package postgres

import (
	"context"
	"fmt"
	"hash/maphash"
	"strconv"
	"testing"

	"golang.org/x/sync/errgroup"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/history"
	"bankforge/handlers/projection"
	"bankforge/router"
)

// messages are what a busy bank tells, by topic and partition, as a broker with so many partitions delivers it.
func (g *busy) messages(transfers, partitions int) map[bank.Topic][][]handlers.Fact {
	out := map[bank.Topic][][]handlers.Fact{}
	seed := maphash.MakeSeed()
	for range (transfers + len(g.accounts)) / 1000 {
		g.batch(app.Head{}, 1000)
		for i := range g.events {
			for _, c := range g.events[i].Changes() {
				if out[c.Topic()] == nil {
					out[c.Topic()] = make([][]handlers.Fact, partitions)
				}
				f := handlers.Fact{Change: c, Incarnation: "bench", IdempotencyKey: fmt.Sprintf("%x", g.next())}
				p := maphash.String(seed, c.Key()) % uint64(partitions)
				out[c.Topic()][p] = append(out[c.Topic()][p], f)
			}
		}
	}
	return out
}

// kept are the handlers that keep the views.
func kept(v *Views) []struct {
	router.Stream
	handle handlers.Func
} {
	return []struct {
		router.Stream
		handle handlers.Func
	}{
		{router.Stream{Handler: app.BalancesHandler, Topic: bank.AccountsTopic}, projection.Balances(v)},
		{router.Stream{Handler: app.HistoryHandler, Topic: bank.AccountsTopic}, history.Entries(v)},
		{router.Stream{Handler: app.TransactionsHandler, Topic: bank.TransactionsTopic}, history.Transactions(v)},
	}
}

// BenchmarkViews says how many messages a second the handlers take in, in deliveries of one partition, with their
// checkpoints. Each handler takes each message of its topic.
func BenchmarkViews(b *testing.B) {
	for _, which := range []string{"all", app.BalancesHandler, app.HistoryHandler, app.TransactionsHandler} {
		for _, size := range []int{100, 500} {
			b.Run(which+"/"+strconv.Itoa(size), func(b *testing.B) {
				all := newBusy(b, 1000).messages(30_000, 16)
				taken := 0
				for b.Loop() {
					b.StopTimer()
					db := openAs(b, Options{Prefix: "bench_" + strconv.Itoa(b.N) + "_", MaxConns: 16})
					before := db.serverTime(b)
					b.StartTimer()
					taken += takeAll(b, db, all, which, size)
					b.StopTimer()
					b.ReportMetric(float64((db.serverTime(b)-before).Microseconds())/float64(taken), "server-µs/message")
					b.StartTimer()
				}
				b.ReportMetric(float64(taken)/b.Elapsed().Seconds(), "messages/s")
			})
		}
	}
}

func takeAll(b *testing.B, db *DB, all map[bank.Topic][][]handlers.Fact, which string, size int) (taken int) {
	b.Helper()
	s := NewHandlerStore(db.Derived())
	group, ctx := errgroup.WithContext(b.Context())
	for _, h := range kept(db.Views()) {
		if which != "all" && which != h.Handler {
			continue
		}
		for p, facts := range all[h.Topic] {
			taken += len(facts)
			of := h.Stream
			of.Partition = p
			group.Go(func() error {
				for len(facts) > 0 {
					n := min(size, len(facts))
					if err := deliver(ctx, s, of, h.handle, facts[:n]); err != nil {
						return err
					}
					facts = facts[n:]
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	return taken
}

// deliver is what the router does with a delivery.
func deliver(ctx context.Context, s *HandlerStore, of router.Stream, handle handlers.Func, facts []handlers.Fact) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		if _, err := s.Checkpoint(ctx, of); err != nil {
			return err
		}
		keys := make([]string, len(facts))
		for i := range facts {
			keys[i] = facts[i].Key()
		}
		if _, err := s.Blocked(ctx, of.Handler, keys); err != nil {
			return err
		}
		if err := handle(ctx, facts); err != nil {
			return err
		}
		last := &facts[len(facts)-1]
		return s.Advance(ctx, of, router.Checkpoint{Incarnation: last.Incarnation, Position: last.Position()})
	})
}
