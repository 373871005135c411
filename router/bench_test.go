package router_test

import (
	"context"
	"strconv"
	"testing"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// BenchmarkDelivery is what tail, steps and checkpoints cost for each event, without reading a file and
// with a handler that writes nothing.
func BenchmarkDelivery(b *testing.B) {
	l, progress := newLedger(), router.NewProgress()
	for i := range b.N {
		l.credit(i%100, 100+i%100)
	}
	var facts int
	r, err := router.New("", []router.Route{{
		Name: handlerName, Topic: bank.AccountsTopic, Store: openStore(b),
		Handler: func(_ context.Context, f []handlers.Fact) error { facts += len(f); return nil },
	}}, router.Config{Source: l, Hints: l.hints, Progress: progress})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	run := &bench{Router: r, name: handlerName, ledger: l, progress: progress}
	stop := run.start(b)
	run.await(b)
	b.StopTimer()
	stop()
	if facts != 2*b.N {
		b.Fatalf("%d facts of %d events", facts, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// free is a store whose transactions cost nothing.
type free struct {
	router.Store
	at router.Checkpoint
}

func (*free) InTx(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }

func (s *free) Checkpoint(context.Context, router.Stream) (router.Checkpoint, error) {
	return s.at, nil
}

func (s *free) Advance(_ context.Context, _ router.Stream, c router.Checkpoint) error {
	s.at = c
	return nil
}

func (*free) Blocked(context.Context, string, []string) ([]string, error) { return nil, nil }

// BenchmarkChain is what all steps cost a healthy message, with a transaction and a handler that cost nothing.
func BenchmarkChain(b *testing.B) {
	for _, together := range []int{1, 1000} {
		b.Run(strconv.Itoa(together), func(b *testing.B) {
			l, s := newLedger(), &free{}
			r, err := router.New("", []router.Route{{
				Name: handlerName, Topic: bank.AccountsTopic, Store: s,
				Handler: func(context.Context, []handlers.Fact) error { return nil },
			}}, router.Config{Source: l, Hints: l.hints, Progress: router.NewProgress()})
			if err != nil {
				b.Fatal(err)
			}
			chain, facts := r.Chain(handlerName), make([]handlers.Fact, together)
			for i := range facts {
				l.credit(i)
				facts[i] = handlers.Fact{Change: l.events[i].Changes()[0], Incarnation: l.incarnation}
			}
			var seq bank.Seq
			b.ReportAllocs()
			for b.Loop() {
				prev := s.at.Position
				for i := range facts {
					seq++
					facts[i].Seq = seq
				}
				msg := router.NewMessage(b.Context(), &router.Delivery{
					Incarnation: l.incarnation, Prev: prev, Through: facts[together-1].Position(), Facts: facts,
				})
				if _, err := chain(msg); err != nil {
					b.Fatal(err)
				}
			}
			if s.at.Position != facts[together-1].Position() {
				b.Fatalf("the checkpoint is at %v", s.at)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*together), "ns/message")
		})
	}
}

// BenchmarkEncoder is what a message of a transfer costs until it can be sent.
func BenchmarkEncoder(b *testing.B) {
	fact := samples()["account.credited"]
	var e router.Encoder
	var r router.Record
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Encode(&r, &fact, handlers.Position{Seq: 40, N: 1}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecode is the way back.
func BenchmarkDecode(b *testing.B) {
	fact := samples()["account.credited"]
	msg, err := router.Encode(&fact, handlers.Position{Seq: 40, N: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := router.Decode(msg); err != nil {
			b.Fatal(err)
		}
	}
}
