package relay_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"

	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a relay at work.
type running struct {
	stop func() error // ends it
	end  func() error // waits until it ends by itself
	saw  chan router.Cursor
}

func run(t *testing.T, owner string, l *ledger, b *broker, s relay.Store) *running {
	t.Helper()
	return runWith(t, owner, l, b, s, everyTopic())
}

func runWith(
	t *testing.T, owner string, l *ledger, b *broker, s relay.Store, topics map[bank.Topic]int, at ...relay.Topics,
) *running {
	t.Helper()
	at = append(at, b)
	saw := make(chan router.Cursor, 1024)
	r, err := relay.New(relay.Config{
		Source: l, Hints: l.hints, Publisher: b, Topics: at[0], Store: s, Partitions: topics, Owner: owner,
		Saw: func(c router.Cursor) { saw <- c }, Lease: 4 * time.Second, Again: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	end := sync.OnceValue(func() error { return <-done })
	stop := func() error {
		cancel()
		return end()
	}
	t.Cleanup(func() { _ = stop() })
	return &running{stop, end, saw}
}

// await returns once the relay has saved the event.
func (r *running) await(t *testing.T, seq bank.Seq) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case c := <-r.saw:
			if c.Seq >= seq {
				return
			}
		case <-deadline:
			t.Fatalf("the relay does not come to event %d", seq)
		}
	}
}

func TestAStandbyTakesOverAtOnceWhenTheRelayEnds(t *testing.T) {
	t.Parallel()
	l, b, s := newLedger(), newBroker(), &apptest.MemoryRelayStore{}
	first := run(t, "first", l, b, s)
	l.transfer(1, 2)
	first.await(t, 1)
	second := run(t, "second", l, b, s)
	l.transfer(1, 2)
	first.await(t, 2)
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	l.transfer(1, 2)
	second.await(t, 3)
	if err := b.check(l); err != nil {
		t.Error(err)
	}
	b.checkOnce(t)
}

// hanging is a broker that does not answer until it is let go.
type hanging struct {
	*broker
	asked, letGo chan struct{}
}

func (h *hanging) Publish(topic string, messages ...*message.Message) error {
	select {
	case h.asked <- struct{}{}:
	default:
	}
	<-h.letGo
	return h.broker.Publish(topic, messages...)
}

// A relay ends also when the broker hangs, and leaves to the next one what was not acknowledged.
func TestARelayEndsWhileTheBrokerHangs(t *testing.T) {
	t.Parallel()
	l, b, s := newLedger(), newBroker(), &apptest.MemoryRelayStore{}
	h := &hanging{b, make(chan struct{}, 1), make(chan struct{})}
	defer close(h.letGo)
	first, err := relay.New(relay.Config{
		Source: l, Hints: l.hints, Publisher: h, Topics: b, Store: s, Partitions: everyTopic(), Owner: "first",
		Lease: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	l.transfer(1, 2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- first.Run(ctx) }()
	<-h.asked
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it waits for the broker")
	}
	run(t, "second", l, b, s).await(t, 1)
	if err := b.check(l); err != nil {
		t.Error(err)
	}
}

// A bank whose topics were recorded before there were acts gets the new one beside them, and the others are not filled
// again; also when the first relay that knows it dies before there is a topic.
func TestATopicThatIsNewIsAdded(t *testing.T) {
	t.Parallel()
	for name, dies := range map[string]bool{"at once": false, "after a crash": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, b, s := newLedger(), newBroker(), &apptest.MemoryRelayStore{}
			l.transfer(1, 2)
			l.transfer(3, 4)
			before := runWith(t, "before", l, b, s, older())
			before.await(t, 2)
			if err := before.stop(); err != nil {
				t.Fatal(err)
			}
			if dies {
				cut := &unmade{b, make(chan struct{}, 1)}
				first := runWith(t, "cut", l, b, s, everyTopic(), cut)
				<-cut.asked
				if err := first.stop(); err != nil {
					t.Fatal(err)
				}
			}
			l.acted(1)
			l.transfer(1, 2)
			l.acted(2)
			run(t, "after", l, b, s).await(t, 5)
			if err := b.check(l); err != nil {
				t.Error(err)
			}
			b.checkOnce(t)
			if c, err := s.Cursor(t.Context()); err != nil || len(c.Last[bank.OpsTopic]) != 2 {
				t.Errorf("the cursor is %+v, %v", c, err)
			}
		})
	}
}

// unmade are topics of which none can be made.
type unmade struct {
	relay.Topics
	asked chan struct{}
}

func (u *unmade) Make(context.Context, bank.Topic, int) error {
	select {
	case u.asked <- struct{}{}:
	default:
	}
	return errBroker
}

// A topic that is lost is filled again if anything was in it.
func TestALostTopicIsFilledAgain(t *testing.T) {
	t.Parallel()
	for name, acts := range map[string]int{"with acts": 2, "without": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, b, s := newLedger(), newBroker(), &apptest.MemoryRelayStore{}
			l.transfer(1, 2)
			for i := range acts {
				l.acted(i)
			}
			first := run(t, "first", l, b, s)
			first.await(t, l.head())
			if err := first.stop(); err != nil {
				t.Fatal(err)
			}
			b.lose(bank.OpsTopic)
			l.transfer(1, 2)
			l.acted(1)
			run(t, "second", l, b, s).await(t, l.head())
			if err := b.check(l); err != nil {
				t.Error(err)
			}
			if acts == 0 {
				b.checkOnce(t)
			}
		})
	}
}

func TestWhatWasSentIsNotSentOtherwiseAfterwards(t *testing.T) {
	t.Parallel()
	l, s := newLedger(), &apptest.MemoryRelayStore{}
	l.transfer(1, 2)
	first := run(t, "first", l, newBroker(), s)
	first.await(t, 1)
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(c *router.Cursor, b *broker)
		ends   bool
	}{
		"another number of partitions": {func(c *router.Cursor, _ *broker) {
			c.Last[bank.AccountsTopic] = make([]handlers.Position, partitions+1)
		}, true},
		"a log that ends before the cursor": {func(c *router.Cursor, _ *broker) { c.Seq = 99 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, b := &apptest.MemoryRelayStore{}, newBroker()
			term, _, err := s.Acquire(t.Context(), "test", time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			cursor := router.Cursor{Incarnation: "inc1", Seq: 1, Last: map[bank.Topic][]handlers.Position{
				bank.AccountsTopic: make([]handlers.Position, partitions), bank.TransactionsTopic: make([]handlers.Position, 2),
			}}
			c.change(&cursor, b)
			if err := s.Save(t.Context(), term, cursor, 0); err != nil {
				t.Fatal(err)
			}
			r := run(t, "next", l, b, s)
			if c.ends {
				if err := r.end(); !errors.Is(err, relay.ErrPartitions) {
					t.Errorf("it ends with %v", err)
				}
				return
			}
			select {
			case c := <-r.saw:
				t.Errorf("it has sent up to %d", c.Seq)
			case <-time.After(50 * time.Millisecond):
			}
		})
	}
}

func TestAnotherIncarnationGoesOnFromTheCursor(t *testing.T) {
	t.Parallel()
	l, b, s := newLedger(), newBroker(), &apptest.MemoryRelayStore{}
	l.transfer(1, 2)
	first := run(t, "first", l, b, s)
	first.await(t, 1)
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	l.incarnation = "inc2"
	l.mu.Unlock()
	l.transfer(1, 2)
	second := run(t, "second", l, b, s)
	second.await(t, 2)
	if err := b.check(l); err != nil {
		t.Error(err)
	}
	if c, err := s.Cursor(t.Context()); err != nil || c.Incarnation != "inc2" {
		t.Errorf("the cursor is %+v, %v", c, err)
	}
}

func TestAResetBeginsAnew(t *testing.T) {
	t.Parallel()
	l, b, s := newLedger(), newBroker(), &apptest.MemoryRelayStore{}
	l.transfer(1, 2)
	first := run(t, "first", l, b, s)
	first.await(t, 1)
	five := map[bank.Topic]int{bank.AccountsTopic: 5, bank.TransactionsTopic: 5}
	empty := func(router.Cursor) error { return nil }
	if err := relay.Reset(t.Context(), s, "second", five, empty); !errors.Is(err, relay.ErrHeld) {
		t.Errorf("while a relay runs: %v", err)
	}
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	before, _ := s.Cursor(t.Context())
	refusal := errors.New("refused")
	err := relay.Reset(t.Context(), s, "second", five, func(router.Cursor) error { return refusal })
	if after, _ := s.Cursor(t.Context()); !errors.Is(err, refusal) || after.Seq != before.Seq {
		t.Errorf("refused: %v, and the cursor is %+v", err, after)
	}
	if err := relay.Reset(t.Context(), s, "second", everyTopic(), empty); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Cursor(t.Context()); err != nil || c.Seq != 0 || len(c.Last) != len(everyTopic()) {
		t.Errorf("the cursor is %+v, %v", c, err)
	}
	l.transfer(1, 2)
	anew := newBroker()
	run(t, "second", l, anew, s).await(t, 2)
	if err := anew.check(l); err != nil {
		t.Error(err)
	}
}

// Waiting for what was published sees the relay of another process, too.
func TestAwaitPublished(t *testing.T) {
	t.Parallel()
	l, b, s := newLedger(), newBroker(), &apptest.MemoryRelayStore{}
	published := router.NewPublished(router.PublishedConfig{Cursors: s})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { _ = published.Run(ctx) })
	defer all.Wait()
	defer cancel()
	run(t, "relay", l, b, s)
	l.transfer(1, 2)
	if !published.AwaitPublished(t.Context(), 1) {
		t.Error("what is published is not seen")
	}
	b.set("", true)
	l.transfer(1, 2)
	short, end := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer end()
	if published.AwaitPublished(short, 2) {
		t.Error("what the broker does not have is published")
	}
	b.set("", false)
	if !published.AwaitPublished(t.Context(), 2) {
		t.Error("it is not published once the broker is back")
	}
}

func TestARelayNeedsItsParts(t *testing.T) {
	t.Parallel()
	l, b, s := newLedger(), newBroker(), &apptest.MemoryRelayStore{}
	good := relay.Config{Source: l, Publisher: b, Topics: b, Store: s, Partitions: everyTopic(), Owner: "me"}
	if _, err := relay.New(good); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*relay.Config){
		"source":    func(c *relay.Config) { c.Source = nil },
		"publisher": func(c *relay.Config) { c.Publisher = nil },
		"topics":    func(c *relay.Config) { c.Topics = nil },
		"store":     func(c *relay.Config) { c.Store = nil },
		"name":      func(c *relay.Config) { c.Owner = "" },
		"partition": func(c *relay.Config) { c.Partitions = map[bank.Topic]int{bank.AccountsTopic: 0} },
	} {
		c := good
		spoil(&c)
		if _, err := relay.New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}
