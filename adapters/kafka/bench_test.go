package kafka_test

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"bankforge/adapters/kafka"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/router"
	"bankforge/router/relay"
)

// partitions of the benchmarks' topics.
const partitions = 16

// prefix keeps the topics of a test apart from all others.
func prefix() string { return strconv.FormatInt(time.Now().UnixNano(), 36) + "." }

// relayAll runs a relay until it has brought the whole log to the broker.
func relayAll(t testing.TB, l *transfers, c relay.Config) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.Source, c.Owner = l.source(), "bench"
	c.Saw = func(at router.Cursor) {
		if at.Seq == bank.Seq(len(l.rows)) {
			cancel()
		}
	}
	r, err := relay.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkRelay is what a backlog costs for each event: reading, encoding, and until Kafka has it.
func BenchmarkRelay(b *testing.B) {
	c := broker(b)
	l := newTransfers(b.N, 1000)
	c.Prefix = prefix()
	codec, _ := strconv.Atoi(os.Getenv("CODEC"))
	batch, _ := strconv.Atoi(os.Getenv("BATCH"))
	p := kafka.NewPublisher(kafka.PublisherConfig{Config: c, Compression: sarama.CompressionCodec(codec)})
	defer p.Close()
	b.ReportAllocs()
	b.ResetTimer()
	relayAll(b, l, relay.Config{
		Publisher: p, Topics: &kafka.Topics{Config: c}, Store: &apptest.MemoryRelayStore{}, Batch: batch,
		Partitions: map[bank.Topic]int{bank.AccountsTopic: partitions, bank.TransactionsTopic: partitions},
	})
	b.StopTimer()
	b.ReportMetric(3*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
