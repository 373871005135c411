package router_test

import (
	"context"
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
