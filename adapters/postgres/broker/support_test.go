package broker

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/adapters/postgres"
	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// books is a bank in a real PostgreSQL, in schemas of its own, whose owner is the test.
type books struct {
	*postgres.DB
	prefix string
	log    *postgres.Log
	head   app.Head
	coming []bank.Event // not yet appended
}

// openBooks makes a bank that will have some of everything, from so many commands.
func openBooks(tb testing.TB, commands int) *books {
	tb.Helper()
	b := &books{prefix: servers.Name() + "_"}
	b.DB = openDB(tb, postgres.Options{Prefix: b.prefix, MaxConns: 4})
	tb.Cleanup(func() {
		if err := b.Drop(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	b.log = b.DB.Log(postgres.LogConfig{})
	var err error
	if b.head, err = b.log.Acquire(tb.Context(), "test"); err != nil {
		tb.Fatal(err)
	}
	source := rand.New(rand.NewPCG(5, 6)) // the same each time
	for _, e := range apptest.RandomHistory(source.IntN, commands) {
		b.coming = append(b.coming, e.Event)
	}
	return b
}

func openDB(tb testing.TB, o postgres.Options) *postgres.DB {
	tb.Helper()
	db, err := postgres.Open(tb.Context(), servers.Postgres(tb), o)
	if err != nil {
		tb.Fatal(err)
	}
	return db
}

// append appends the next n events.
func (b *books) append(tb testing.TB, n int) {
	tb.Helper()
	if n > len(b.coming) {
		tb.Fatalf("there are only %d events more", len(b.coming))
	}
	batch := apptest.Batch(b.head, b.coming[:n])
	if err := b.log.Append(tb.Context(), batch); err != nil {
		tb.Fatal(err)
	}
	last := batch.Rows[n-1]
	b.head.Batch, b.head.Seq, b.head.Chain = batch.Number, last.Seq, last.Chain
	b.coming = b.coming[n:]
}

// events are those in the log.
func (b *books) events(tb testing.TB) (all []app.Recorded) {
	tb.Helper()
	rows, err := b.log.Read(tb.Context(), 0, int(b.head.Seq))
	if err != nil || len(rows) != int(b.head.Seq) {
		tb.Fatal(len(rows), err)
	}
	for _, r := range rows {
		e, err := app.Decode(r)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// run runs a statement in a schema.
func run(tb testing.TB, s *postgres.Schema, sql string, args ...any) {
	tb.Helper()
	rows, err := s.Query(tb.Context(), sql, args...)
	if err == nil {
		rows.Close()
		err = rows.Err()
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func (b *books) broker() *Broker { return New(b.Ledger()) }

// tailFrom is how a handler follows that has come to a position.
func tailFrom(at handlers.Position) router.TailConfig {
	return router.TailConfig{
		Start: func(context.Context, string) (handlers.Position, error) { return at, nil },
		Poll:  5 * time.Millisecond, Again: 5 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	}
}

// subscribe starts a session of the topic of accounts.
func subscribe(
	tb testing.TB, b *Broker, t router.TailConfig, events int,
) (message.Subscriber, <-chan *message.Message) {
	tb.Helper()
	sub, err := b.Follow(router.Route{Name: "test"}, t, events)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { sub.Close() })
	msgs, err := sub.Subscribe(tb.Context(), string(bank.AccountsTopic))
	if err != nil {
		tb.Fatal(err)
	}
	return sub, msgs
}

const patient = time.Minute

// next waits for a message, and says which events it is about. It is not acknowledged yet.
func next(tb testing.TB, msgs <-chan *message.Message) (msg *message.Message, first, last bank.Seq) {
	tb.Helper()
	select {
	case msg = <-msgs:
	case <-time.After(patient):
		tb.Fatal("nothing comes")
	}
	facts, err := router.Facts(msg)
	if err != nil || len(facts) == 0 {
		tb.Fatal(len(facts), err)
	}
	return msg, facts[0].Seq, facts[len(facts)-1].Seq
}

func expect(tb testing.TB, msgs <-chan *message.Message, first, last bank.Seq) *message.Message {
	tb.Helper()
	msg, f, l := next(tb, msgs)
	if f != first || l != last {
		tb.Fatalf("a message about events %d to %d; want %d to %d", f, l, first, last)
	}
	return msg
}

// noting is a logger that tells of each line.
func noting(lines chan<- struct{}) *slog.Logger { return slog.New(noter{slog.DiscardHandler, lines}) }

type noter struct {
	slog.Handler
	lines chan<- struct{}
}

func (noter) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }

func (n noter) Handle(context.Context, slog.Record) error {
	select {
	case n.lines <- struct{}{}:
	default:
	}
	return nil
}

func (n noter) WithAttrs([]slog.Attr) slog.Handler { return n }
