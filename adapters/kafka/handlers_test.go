package kafka_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/adapters/kafka"
	"bankforge/adapters/sqlite"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/relay"
)

// From the log through a real Kafka to handlers.

func topicsOf(n int) map[bank.Topic]int {
	topics := map[bank.Topic]int{}
	for _, topic := range bank.Topics() {
		topics[topic] = n
	}
	return topics
}

// house is a log that is relayed to Kafka, and a file that handlers write to.
type house struct {
	log       *transfers
	broker    kafka.Config
	cursors   *apptest.MemoryRelayStore
	published *router.Published
	views     router.Store
	book      *book
}

func newHouse(tb testing.TB, partitions int) *house {
	tb.Helper()
	h := &house{log: newTransfers(0, 20), broker: broker(tb), cursors: &apptest.MemoryRelayStore{}, views: openViews(tb)}
	h.broker.Prefix = prefix()
	h.book = &book{store: h.views}
	h.published = router.NewPublished(router.PublishedConfig{Cursors: h.cursors})
	r, err := relay.New(relay.Config{
		Source: h.log.source(), Publisher: publisher(tb, h.broker), Topics: &kafka.Topics{Config: h.broker},
		Store: h.cursors, Partitions: topicsOf(partitions), Owner: "relay", Saw: h.published.Saw, Poll: 5 * time.Millisecond,
		Batch: 64,
	})
	if err != nil {
		tb.Fatal(err)
	}
	background(tb, r.Run)
	background(tb, h.published.Run)
	return h
}

// background runs something until the test ends, or until stop.
func background(tb testing.TB, run func(context.Context) error) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(stop)
	return stop
}

func openViews(tb testing.TB) router.Store {
	tb.Helper()
	db, err := sqlite.Open(tb.Context(), filepath.Join(tb.TempDir(), "views.db"), sqlite.ViewsFile)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	return sqlite.NewHandlerStore(db)
}

// process starts a router of the house's handler, as a process of its own would.
func (h *house) process(t *testing.T, partitions int) (progress *router.Progress, stop func()) {
	t.Helper()
	return h.handling(t, partitions, h.book.handle, sqlite.Classify)
}

// handling starts a router whose handler "book" is handle.
func (h *house) handling(
	t *testing.T, partitions int, handle handlers.Func, classify router.Classifier,
) (progress *router.Progress, stop func()) {
	t.Helper()
	progress = router.NewProgress()
	r, err := router.New("", []router.Route{
		{Name: "book", Topic: bank.AccountsTopic, Handler: handle, Store: h.views},
	}, router.Config{
		Source: h.log.source(), Progress: progress, Classify: []router.Classifier{classify},
		Broker: &router.Broker{
			Subscribe: func(r router.Route) (message.Subscriber, error) {
				return kafka.NewSubscriber(kafka.SubscriberConfig{Config: h.broker, Group: r.Name}), nil
			},
			Partitions: topicsOf(partitions), Published: h.published,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return progress, background(t, r.Run)
}

func (h *house) transfer(n int) {
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	for range n {
		h.log.add()
	}
}

// act has operators act about some handlers.
func (h *house) act(n int) {
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	for range n {
		h.log.act()
	}
}

// await waits until the handler has all of the log.
func (h *house) await(t *testing.T, p *router.Progress) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	if head := h.head(t); !p.Await(ctx, "book", head) {
		t.Fatalf("the handler stands at %d of %d", p.At("book"), head)
	}
}

func (h *house) head(t *testing.T) bank.Seq {
	t.Helper()
	head, err := h.log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return head.Seq
}

// check says what is wrong with what the handler has.
func (h *house) check(t *testing.T) {
	t.Helper()
	h.book.mu.Lock()
	defer h.book.mu.Unlock()
	for _, wrong := range h.book.wrong {
		t.Error(wrong)
	}
	var keys []string
	for i, want := range h.log.versions {
		key := h.log.account(i).String()
		keys = append(keys, key)
		c, err := h.views.Checkpoint(t.Context(), page(key))
		if err != nil || bank.Version(c.Position.Seq) != want {
			t.Errorf("account %d has %d of %d versions, %v", i, c.Position.Seq, want, err)
		}
	}
	if blocked, err := h.views.Blocked(t.Context(), "book", keys); err != nil || len(blocked) > 0 {
		t.Errorf("parked are %v, %v", blocked, err)
	}
}

// book is a handler that counts for each account, in its own transaction, that every version comes once and in order.
type book struct {
	store router.Store
	mu    sync.Mutex
	calls int
	wrong []string
}

func page(key string) router.Stream { return router.Stream{Handler: "page", Topic: bank.Topic(key)} }

func (b *book) handle(ctx context.Context, facts []handlers.Fact) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	for i := range facts {
		f := &facts[i]
		c, err := b.store.Checkpoint(ctx, page(f.Key()))
		if err != nil {
			return err
		}
		if bank.Version(c.Position.Seq)+1 != f.Version() {
			b.wrong = append(b.wrong, fmt.Sprintf("%s: version %d came behind %d", f.Key(), f.Version(), c.Position.Seq))
		}
		next := router.Checkpoint{Position: handlers.Position{Seq: bank.Seq(f.Version())}}
		if err := b.store.Advance(ctx, page(f.Key()), next); err != nil {
			return err
		}
	}
	return nil
}

func TestHandlersTakeInTheLogThroughKafka(t *testing.T) {
	t.Parallel()
	const partitions = 4
	h := newHouse(t, partitions)
	h.transfer(400)
	progress, stop := h.process(t, partitions)
	h.await(t, progress)
	h.check(t)
	if h.book.calls > 200 {
		t.Errorf("%d facts came in %d calls", 820, h.book.calls)
	}
	h.transfer(1)
	h.await(t, progress)
	h.act(30) // nothing comes on its topic, and it has all nevertheless
	h.await(t, progress)
	stop()
	h.transfer(50)
	h.act(3)
	progress, _ = h.process(t, partitions) // goes on from what was committed, and from its checkpoints
	h.await(t, progress)
	h.check(t)
}

// Rebalances are no failures: nothing is parked, lost, doubled or out of order.
func TestConsumersComeAndGo(t *testing.T) {
	t.Parallel()
	const partitions = 8
	h := newHouse(t, partitions)
	progress, _ := h.process(t, partitions)
	var stop []func()
	for round := range 6 {
		h.transfer(80)
		_, end := h.process(t, partitions)
		stop = append(stop, end)
		if round%2 == 1 {
			h.transfer(80)
			stop[0]()
			stop = stop[1:]
		}
		<-time.After(300 * time.Millisecond)
	}
	h.await(t, progress)
	h.check(t)
}

func TestALostTopicIsFilledAgain(t *testing.T) {
	t.Parallel()
	const partitions = 2
	h := newHouse(t, partitions)
	h.transfer(100)
	progress, stop := h.process(t, partitions)
	h.await(t, progress)
	stop()
	deleteTopic(t, h.broker.Brokers, h.broker.Prefix+string(bank.AccountsTopic))
	h.transfer(100)
	progress, _ = h.process(t, partitions)
	h.await(t, progress)
	h.check(t)
	got := records(t, h.broker, bank.AccountsTopic, partitions, 420)
	if len(got) < 420 {
		t.Errorf("the topic has %d of 420 messages", len(got))
	}
}

// A bank whose topics are from before there were acts gets the new topic beside them, and nothing is sent twice.
func TestAnOlderBankGetsTheTopicOfActs(t *testing.T) {
	t.Parallel()
	c, l, cursors := broker(t), newTransfers(50, 10), &apptest.MemoryRelayStore{}
	c.Prefix = prefix()
	older := topicsOf(2)
	delete(older, bank.OpsTopic)
	conf := relay.Config{
		Publisher: publisher(t, c), Topics: &kafka.Topics{Config: c}, Store: cursors, Partitions: older,
	}
	relayAll(t, l, conf)
	for range 5 {
		l.act()
		l.add()
	}
	conf.Partitions = topicsOf(2)
	relayAll(t, l, conf)
	for topic, n := range map[bank.Topic]int{bank.AccountsTopic: 120, bank.TransactionsTopic: 55, bank.OpsTopic: 5} {
		l.check(t, topic, records(t, c, topic, 2, n))
	}
}

// check compares records with what the log tells on the topic: each once, and each key's in order.
func (l *transfers) check(t *testing.T, topic bank.Topic, got []*sarama.ConsumerMessage) {
	t.Helper()
	events, err := l.source().Read(t.Context(), 0, len(l.rows))
	if err != nil {
		t.Fatal(err)
	}
	want, is := map[string][]string{}, map[string][]string{}
	for _, told := range apptest.Tell(topic, events) {
		want[told.Key()] = append(want[told.Key()], fmt.Sprintf("%d.%d", told.Seq, told.N))
	}
	for _, m := range got {
		for _, h := range m.Headers {
			if string(h.Key) == "position" {
				is[string(m.Key)] = append(is[string(m.Key)], string(h.Value))
			}
		}
	}
	if !maps.EqualFunc(is, want, slices.Equal) {
		t.Errorf("%s has\n%v\nwant\n%v", topic, is, want)
	}
}

// A handler that only wants what is new gets it from the moment on at which its process opened its doors, on every
// process.
func TestNewestHandlersGetWhatHappensFromNowOn(t *testing.T) {
	t.Parallel()
	const partitions = 4
	h := newHouse(t, partitions)
	h.transfer(20)
	before := h.head(t)
	if !h.published.AwaitPublished(t.Context(), before) {
		t.Fatal("nothing is published")
	}
	<-time.After(5 * time.Millisecond) // the clocks of records are of whole milliseconds
	since, got := time.Now(), make(chan handlers.Fact, 1000)
	for range 2 {
		progress := router.NewProgress()
		r, err := router.New("", []router.Route{{
			Name: "push", Topic: bank.AccountsTopic, Kind: router.Newest,
			Handler: func(_ context.Context, facts []handlers.Fact) error {
				for _, f := range facts {
					got <- f
				}
				return nil
			},
		}}, router.Config{Source: h.log.source(), Progress: progress, Broker: &router.Broker{
			Subscribe: func(router.Route) (message.Subscriber, error) {
				return kafka.NewSubscriber(kafka.SubscriberConfig{Config: h.broker, Since: since}), nil
			},
			Partitions: topicsOf(partitions), Published: h.published,
		}})
		if err != nil {
			t.Fatal(err)
		}
		background(t, r.Run)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if !progress.Await(ctx, "push", before) {
			t.Errorf("what was before is not behind it: it stands at %d", progress.At("push"))
		}
	}
	h.transfer(1)
	for range 4 { // two accounts, on two processes
		select {
		case f := <-got:
			if f.Seq != before+1 {
				t.Errorf("event %d comes", f.Seq)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("nothing comes")
		}
	}
}
