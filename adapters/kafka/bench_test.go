package kafka_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/adapters/kafka"
	"bankforge/adapters/postgres"
	"bankforge/app/apptest"
	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/history"
	"bankforge/handlers/projection"
	"bankforge/router"
	"bankforge/router/relay"
)

// partitions of the benchmarks' topics.
const partitions = 16

// prefix keeps the topics of a test apart from all others.
func prefix() string { return strconv.FormatInt(time.Now().UnixNano(), 36) + "." }

// relayAll runs a relay until it has brought the whole log to the broker.
func relayAll(tb testing.TB, l *transfers, c relay.Config) {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	defer cancel()
	c.Source, c.Owner = l.source(), "bench"
	c.Saw = func(at router.Cursor) {
		if at.Seq == bank.Seq(len(l.rows)) {
			cancel()
		}
	}
	r, err := relay.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	if err := r.Run(ctx); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkRelay is what a backlog costs for each event: reading, encoding, and until Kafka has it.
func BenchmarkRelay(b *testing.B) {
	c := broker(b)
	l := newTransfers(b.N, 1000)
	c.Prefix = prefix()
	codec, _ := strconv.Atoi(os.Getenv("CODEC"))
	batch, _ := strconv.Atoi(os.Getenv("BATCH"))
	p := kafka.NewPublisher(kafka.PublisherConfig{Config: c, Compression: new(sarama.CompressionCodec(codec))})
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

// BenchmarkSubscriber is what a record costs until a handler could begin: with nothing done, and decoded into facts.
func BenchmarkSubscriber(b *testing.B) {
	for name, decode := range map[string]bool{"nothing": false, "facts": true} {
		b.Run(name, func(b *testing.B) {
			c := broker(b)
			c.Prefix = prefix()
			p := kafka.NewPublisher(kafka.PublisherConfig{Config: c})
			defer p.Close()
			relayAll(b, newTransfers(b.N/2+1, 1000), relay.Config{
				Publisher: p, Topics: &kafka.Topics{Config: c}, Store: &apptest.MemoryRelayStore{},
				Partitions: topicsOf(partitions),
			})
			s := kafka.NewSubscriber(kafka.SubscriberConfig{Config: c, Group: "bench"})
			defer s.Close()
			b.ReportAllocs()
			b.ResetTimer()
			out, err := s.Subscribe(b.Context(), string(bank.AccountsTopic))
			if err != nil {
				b.Fatal(err)
			}
			for n := 0; n < b.N; {
				msg := <-out
				if decode {
					facts, err := router.Facts(msg)
					if err != nil {
						b.Fatal(err)
					}
					n += len(facts)
				} else {
					n += recordsIn(msg)
				}
				msg.Ack()
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// recordsIn is how many a message carries, by its payload.
func recordsIn(msg *message.Message) int {
	var said struct {
		Records int `json:"records"`
	}
	if json.Unmarshal(msg.Payload, &said) != nil || said.Records == 0 {
		return 1
	}
	return said.Records
}

// BenchmarkViews is what a message costs on the way from Kafka into the views in PostgreSQL, checkpoints included. Each
// of three handlers takes each message of its topic.
func BenchmarkViews(b *testing.B) {
	c := broker(b)
	c.Prefix = prefix()
	p := kafka.NewPublisher(kafka.PublisherConfig{Config: c})
	defer p.Close()
	l, cursors := newTransfers(b.N/5+1, 1000), &apptest.MemoryRelayStore{}
	relayAll(b, l, relay.Config{
		Publisher: p, Topics: &kafka.Topics{Config: c}, Store: cursors, Partitions: topicsOf(partitions),
	})
	o := postgres.Options{Prefix: servers.Name() + "_", MaxConns: 32}
	db, err := postgres.Open(b.Context(), servers.Postgres(b), o)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Drop(context.Background()) //nolint:errcheck // it is a benchmark
	published := router.NewPublished(router.PublishedConfig{Cursors: cursors})
	go published.Run(b.Context()) //nolint:errcheck // it never fails
	views, progress := db.Views(), router.NewProgress()
	routes := router.Routes(router.Reactions{
		Balances: projection.Balances(views), Entries: history.Entries(views), Transactions: history.Transactions(views),
	}, router.Stores{Views: postgres.NewHandlerStore(db.Derived())})
	kept := slices.DeleteFunc(routes, func(r router.Route) bool { return r.Kind == router.Newest })
	r, err := router.New("", kept, router.Config{
		Source: l.source(), Progress: progress, Classify: []router.Classifier{postgres.Classify},
		Log: slog.New(slog.NewTextHandler(b.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		Broker: &router.Broker{
			Subscribe: func(r router.Route) (message.Subscriber, error) {
				return kafka.NewSubscriber(kafka.SubscriberConfig{Config: c, Group: r.Name}), nil
			},
			Partitions: topicsOf(partitions), Published: published,
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for _, route := range kept {
		if !progress.Await(b.Context(), route.Name, bank.Seq(len(l.rows))) {
			b.Fatal(route.Name)
		}
	}
	b.StopTimer()
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkLatency is the time of one event from the log to a handler without group, as push is.
func BenchmarkLatency(b *testing.B) {
	const partitions = 16
	h := newHouse(b, partitions)
	got := make(chan struct{}, 16)
	r, err := router.New("", []router.Route{{
		Name: "push", Topic: bank.AccountsTopic, Kind: router.Newest,
		Handler: func(_ context.Context, facts []handlers.Fact) error {
			for range facts {
				got <- struct{}{}
			}
			return nil
		},
	}}, router.Config{Source: h.log.source(), Progress: router.NewProgress(), Broker: &router.Broker{
		Subscribe: func(router.Route) (message.Subscriber, error) {
			return kafka.NewSubscriber(kafka.SubscriberConfig{Config: h.broker, Since: time.Now().Add(-time.Minute)}), nil
		},
		Partitions: topicsOf(partitions), Published: h.published,
	}})
	if err != nil {
		b.Fatal(err)
	}
	background(b, r.Run)
	for range len(h.log.versions) { // openings
		<-got
	}
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		h.transfer(1)
		<-got
		<-got
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
