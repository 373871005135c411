package broker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/adapters/postgres"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

var errBoom = errors.New("boom")

func TestASessionStartsAtTheCheckpoint(t *testing.T) {
	t.Parallel()
	b := openBooks(t, 150)
	b.append(t, 30)
	asked := 0
	tail := tailFrom(handlers.Position{})
	tail.Start = func(context.Context, string) (handlers.Position, error) {
		if asked++; asked < 3 {
			return handlers.Position{}, errBoom
		}
		return handlers.Position{Seq: 5, N: 1}, nil // event 5 has more to come
	}
	_, msgs := subscribe(t, b.broker(), tail, 3)
	expect(t, msgs, 5, 6).Ack() // deliveries end at multiples of their size
	expect(t, msgs, 7, 9).Ack()
}

// Everything of a topic comes, in deliveries of many events, each of which says what came before it.
func TestTheLogComesWholeAndInOrder(t *testing.T) {
	t.Parallel()
	b := openBooks(t, 200)
	b.append(t, len(b.coming))
	var want, got []handlers.Position
	for _, e := range b.events(t) {
		for _, c := range e.Changes() {
			if c.Topic() == bank.AccountsTopic {
				want = append(want, handlers.Position{Seq: c.Seq, N: c.N})
			}
		}
	}
	_, msgs := subscribe(t, b.broker(), tailFrom(handlers.Position{}), 64)
	for len(got) < len(want) {
		msg, _, _ := next(t, msgs)
		facts, err := router.Facts(msg)
		if err != nil {
			t.Fatal(err)
		}
		for i := range facts {
			if facts[i].Incarnation != b.head.Incarnation {
				t.Fatalf("a fact of incarnation %q", facts[i].Incarnation)
			}
			got = append(got, facts[i].Position())
		}
		msg.Ack()
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("message %d is %v; want %v", i, got[i], want[i])
		}
	}
}

// A refused message is read again; what another process has done meanwhile is of no matter.
func TestARefusedMessageComesAgain(t *testing.T) {
	t.Parallel()
	b := openBooks(t, 150)
	b.append(t, 20)
	_, msgs := subscribe(t, b.broker(), tailFrom(handlers.Position{}), 4)
	for range 3 {
		msg := expect(t, msgs, 1, 4)
		msg.Nack()
		select {
		case <-msg.Context().Done():
		case <-time.After(patient):
			t.Fatal("a refused message's context goes on")
		}
	}
	expect(t, msgs, 1, 4).Ack()
	expect(t, msgs, 5, 8).Ack()
}

// While a handler works, nothing is kept open for it in the server: it may hold for hours.
func TestNothingIsOpenWhileAHandlerWorks(t *testing.T) {
	t.Parallel()
	b := openBooks(t, 150)
	b.append(t, 20)
	narrow := openDB(t, postgres.Options{Prefix: b.prefix, Existing: true, MaxConns: 1})
	defer narrow.Close()
	_, msgs := subscribe(t, New(narrow.Ledger()), tailFrom(handlers.Position{}), 4)
	_, others := subscribe(t, New(narrow.Ledger()), tailFrom(handlers.Position{}), 4)
	msg, other := expect(t, msgs, 1, 4), expect(t, others, 1, 4)
	rows, err := b.Ledger().Query(t.Context(), `SELECT count(*) FROM pg_stat_activity
		WHERE application_name = $1 AND (state LIKE 'idle in transaction%' OR backend_xmin IS NOT NULL)
		AND pid <> pg_backend_pid()`, "bankforge "+b.prefix+"ledger")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var open int
	for rows.Next() {
		if err := rows.Scan(&open); err != nil {
			t.Fatal(err)
		}
	}
	if rows.Err() != nil || open != 0 {
		t.Errorf("%d transactions are open, %v", open, rows.Err())
	}
	msg.Ack()
	other.Ack()
	expect(t, msgs, 5, 8).Ack()
}

func TestDrainingWaitsForWhatIsOut(t *testing.T) {
	t.Parallel()
	b := openBooks(t, 150)
	b.append(t, 20)
	sub, msgs := subscribe(t, b.broker(), tailFrom(handlers.Position{}), 4)
	s, ok := sub.(*Subscriber)
	if !ok {
		t.Fatalf("%T cannot drain", sub)
	}
	msg := expect(t, msgs, 1, 4)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	s.Drain(ctx)
	if ctx.Err() == nil || msg.Context().Err() != nil {
		t.Fatal("draining did not wait, or cancelled what is being handled")
	}
	drained := make(chan struct{})
	go func() { s.Drain(context.Background()); close(drained) }()
	msg.Ack()
	<-drained
	select {
	case m, open := <-msgs:
		t.Fatalf("after draining came %v, %v", m, open)
	default:
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, open := <-msgs; open {
		t.Fatal("the channel is open after Close")
	}
	if _, err := s.Subscribe(t.Context(), "t"); !errors.Is(err, router.ErrClosed) {
		t.Fatalf("subscribed to a closed subscriber: %v", err)
	}
}

// An event that cannot be decoded holds up its handlers, and is never left out.
func TestADamagedEventIsNotSkipped(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]string{
		"garbage":      `UPDATE event SET data = 'garbage' WHERE seq = 6`,
		"another":      `UPDATE event SET data = (SELECT data FROM event WHERE seq = 5) WHERE seq = 6`,
		"none":         `UPDATE event SET seq = -6 WHERE seq = 6`,
		"unknown head": `UPDATE ledger_head SET ledger = 'x'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := openBooks(t, 150)
			b.append(t, 20)
			failed := make(chan struct{}, 1)
			tail := tailFrom(handlers.Position{})
			tail.Log = noting(failed)
			_, msgs := subscribe(t, b.broker(), tail, 4)
			msg := expect(t, msgs, 1, 4)
			run(t, b.Ledger(), `CREATE TABLE kept AS SELECT * FROM event WHERE seq = 6`)
			run(t, b.Ledger(), damage)
			msg.Ack()
			if name != "unknown head" { // then there is no log at all
				<-failed
			}
			select {
			case m := <-msgs:
				t.Fatalf("a message came: %s", m.Payload)
			case <-time.After(50 * time.Millisecond):
			}
			run(t, b.Ledger(), `DELETE FROM event WHERE seq IN (6, -6)`)
			run(t, b.Ledger(), `INSERT INTO event SELECT * FROM kept`)
			run(t, b.Ledger(), `UPDATE ledger_head SET ledger = 'main'`)
			expect(t, msgs, 5, 8).Ack()
		})
	}
}

// Who has no checkpoint is told of silence, and gets no messages without facts.
func TestSilenceIsTold(t *testing.T) {
	t.Parallel()
	b := openBooks(t, 150)
	b.append(t, 20)
	silent := make(chan bank.Seq, 100)
	tail := tailFrom(handlers.Position{})
	tail.Silent = func(through bank.Seq) { silent <- through }
	sub, err := b.broker().Follow(router.Route{Name: "test"}, tail, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	msgs, err := sub.Subscribe(t.Context(), "nobody.writes.here")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []bank.Seq{8, 16, 20} {
		select {
		case got := <-silent:
			if got != want {
				t.Fatalf("silent through %d; want %d", got, want)
			}
		case m := <-msgs:
			t.Fatalf("a message came: %s", m.Payload)
		case <-time.After(patient):
			t.Fatal("nothing is told")
		}
	}
}

// A hint wakes, whoever has appended; without one, polling finds what is new.
func TestTheSubscriberIsWokenAndPolls(t *testing.T) {
	t.Parallel()
	b := openBooks(t, 150)
	hints, tail := router.NewHints(), tailFrom(handlers.Position{})
	tail.Hints, tail.Poll = hints, time.Hour
	_, woken := subscribe(t, b.broker(), tail, 100)
	polled := tailFrom(handlers.Position{})
	_, polls := subscribe(t, b.broker(), polled, 100)
	for i := range bank.Seq(3) {
		b.append(t, 5)
		hints.Wake()
		for _, msgs := range []<-chan *message.Message{woken, polls} {
			expect(t, msgs, 5*i+1, 5*i+5).Ack()
		}
	}
}

// The handler says how long to gather.
func TestTheSubscriberGathers(t *testing.T) {
	t.Parallel()
	b := openBooks(t, 150)
	b.append(t, 20)
	urgent, gathers := make(chan struct{}), make(chan int, 10)
	tail := tailFrom(handlers.Position{})
	tail.Gather = func(after, through bank.Seq, _ time.Duration) (time.Duration, <-chan struct{}) {
		gathers <- int(through - after)
		return time.Hour, urgent
	}
	_, msgs := subscribe(t, b.broker(), tail, 15)
	expect(t, msgs, 1, 15).Ack()
	if n := <-gathers; n != 15 {
		t.Errorf("told of %d events", n)
	}
	b.append(t, 5)
	select {
	case <-msgs:
		t.Fatal("it has not gathered")
	case <-time.After(30 * time.Millisecond):
	}
	close(urgent)
	expect(t, msgs, 16, 25).Ack()
}

func TestNobodyAppendsThroughTheBroker(t *testing.T) {
	t.Parallel()
	if _, err := new(follower).InsertQuery("t", message.Messages{message.NewMessage("", nil)}); err == nil {
		t.Error("a message was taken")
	}
	db := openPool(nil, nil)
	defer db.Close()
	for _, ask := range []func() error{
		func() error { _, err := db.ExecContext(t.Context(), "DELETE FROM event"); return err },
		func() error { _, err := db.PrepareContext(t.Context(), "DELETE FROM event"); return err },
	} {
		if err := ask(); !errors.Is(err, errOnlyQuestions) {
			t.Errorf("it says %v", err)
		}
	}
}
