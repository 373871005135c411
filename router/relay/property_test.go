package relay_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"pgregory.net/rapid"

	"bankforge/adapters/sqlite"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/relay"
)

// From the log to the handler: whatever the relay, the broker and the consumers suffer, each handler has the effect of
// each message once, and those of a key in order.

// act is one step of a story.
type act struct {
	What     string
	From, To int
}

var stories = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) act {
	return act{
		What: rapid.SampledFrom([]string{
			"transfer", "transfer", "burst", "refuse", "half", "lie", "hole", "down", "up", "crash", "takeover", "lose",
			"restart", "await", "restore", "upgrade", "act", "act",
		}).Draw(t, "what"),
		From: rapid.IntRange(0, accounts/2-1).Draw(t, "from"), To: rapid.IntRange(accounts/2, accounts-1).Draw(t, "to"),
	}
}), 5, 40)

// dying is a relay.Store and a broker as a process sees them that can die: from then on it reaches neither.
type dying struct {
	relay.Store
	*broker
	dead func() error
}

func (d dying) Save(ctx context.Context, term uint64, c router.Cursor, lease time.Duration) error {
	if err := d.dead(); err != nil {
		return err
	}
	return d.Store.Save(ctx, term, c, lease)
}

func (d dying) Publish(topic string, messages ...*message.Message) error {
	if err := d.dead(); err != nil {
		return err
	}
	return d.broker.Publish(topic, messages...)
}

func (d dying) Close() error { return nil }

// stage is where a story is told.
type stage struct {
	name   string
	ledger *ledger
	broker *broker
	store  *apptest.MemoryRelayStore
	views  router.Store

	relays    int
	topics    map[bank.Topic]int // that its relays know
	kill      context.CancelFunc
	relaying  sync.WaitGroup
	committed sync.Map
	book      *book
	published *router.Published
	progress  *router.Progress
	stop      func() error
}

// begin starts a relay, under another name than those before it.
func (s *stage) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	s.kill = cancel
	s.relays++
	d := dying{s.store, s.broker, ctx.Err}
	r, err := relay.New(relay.Config{
		Source: s.ledger, Hints: s.ledger.hints, Publisher: d, Topics: s.broker, Store: d, Partitions: s.topics,
		Owner: fmt.Sprint("relay-", s.relays), Lease: 20 * time.Millisecond, Poll: time.Millisecond,
		Again: time.Millisecond, Batch: 4,
	})
	if err != nil {
		panic(err)
	}
	s.relaying.Go(func() {
		if err := r.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			panic(err)
		}
	})
}

// consume starts the handler's process.
func (s *stage) consume() error {
	s.published = router.NewPublished(router.PublishedConfig{Cursors: s.store, Every: time.Millisecond})
	s.progress = router.NewProgress()
	policy := router.DefaultPolicy()
	policy.Backoff = router.Backoff{First: time.Microsecond, Most: time.Millisecond}
	policy.Hold = router.Backoff{First: time.Millisecond, Most: 5 * time.Millisecond}
	r, err := router.New("", []router.Route{
		{Name: s.name, Topic: bank.AccountsTopic, Handler: s.book.handle, Store: s.views},
	}, router.Config{
		Source: s.ledger, Progress: s.progress, Policy: policy, Classify: []router.Classifier{sqlite.Classify},
		Broker: &router.Broker{
			Subscribe: func(router.Route) (message.Subscriber, error) {
				return newConsumer(s.broker, &s.committed, uint64(len(s.name))), nil
			},
			Partitions: everyTopic(), Published: s.published, Patience: 50 * time.Millisecond,
		},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = s.published.Run(ctx) })
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	s.stop = func() error {
		cancel()
		all.Wait()
		return <-done
	}
	return nil
}

// do is one act.
func (s *stage) do(a act) error {
	switch a.What {
	case "transfer":
		s.ledger.transfer(a.From, a.To)
	case "burst":
		for i := range 12 {
			s.ledger.transfer(i%(accounts/2), a.To)
		}
	case "down", "up":
		s.broker.set("", a.What == "down")
	case "refuse", "half", "lie", "hole":
		s.broker.set(a.What, false)
	case "lose":
		s.broker.lose(bank.AccountsTopic)
		s.committed.Clear()
	case "crash":
		s.kill()
		s.relaying.Wait()
		s.begin()
	case "takeover":
		s.kill()
		s.begin()
	case "upgrade":
		s.kill()
		s.relaying.Wait()
		s.topics = everyTopic()
		s.begin()
	case "act":
		if len(s.topics) == len(everyTopic()) { // older ones write none
			s.ledger.acted(a.From)
		}
	case "restart":
		if err := s.stop(); err != nil {
			return err
		}
		return s.consume()
	case "await":
		s.await(200 * time.Millisecond)
	case "restore":
		s.book.fail(errors.New("a failure that passes"))
	}
	return nil
}

func (s *stage) await(d time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return s.progress.Await(ctx, s.name, s.ledger.head())
}

// play tells the story, mends everything, and says what is wrong in the end.
func (s *stage) play(story []act) (err error) {
	s.begin()
	if err := s.consume(); err != nil {
		return err
	}
	for _, a := range story {
		if err := s.do(a); err != nil {
			return err
		}
	}
	s.broker.set("", false)
	arrived := s.await(10 * time.Second)
	published := s.published.AwaitPublished(context.Background(), s.ledger.head())
	err = s.stop()
	s.kill()
	s.relaying.Wait()
	if !arrived || !published {
		err = errors.Join(err, fmt.Errorf("the handler stands at %d of %d", s.progress.At(s.name), s.ledger.head()))
	}
	return errors.Join(err, s.book.check(s.ledger), s.broker.check(s.ledger))
}

func views(t *testing.T) router.Store {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "views.db"), sqlite.ViewsFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return sqlite.NewHandlerStore(db)
}

func TestEveryMessageHasItsEffectOnceAndInOrder(t *testing.T) {
	t.Parallel()
	store, told := views(t), 0
	rapid.Check(t, func(rt *rapid.T) {
		told++
		if err := newStage(fmt.Sprint("story-", told), store, store).play(stories.Draw(rt, "story")); err != nil {
			rt.Fatal(err)
		}
	})
}

func newStage(name string, store, planted router.Store) *stage {
	return &stage{
		name: name, topics: older(), ledger: newLedger(), broker: newBroker(),
		store: &apptest.MemoryRelayStore{}, views: planted,
		book: &book{name: name, store: store},
	}
}

// forgetful advances no checkpoint of a partition.
type forgetful struct{ router.Store }

func (f forgetful) Advance(ctx context.Context, s router.Stream, c router.Checkpoint) error {
	if s.Topic == bank.AccountsTopic {
		return nil
	}
	return f.Store.Advance(ctx, s, c)
}

// muddled keeps one checkpoint for all partitions.
type muddled struct{ router.Store }

func (m muddled) Checkpoint(ctx context.Context, s router.Stream) (router.Checkpoint, error) {
	s.Partition = 0
	return m.Store.Checkpoint(ctx, s)
}

func (m muddled) Advance(ctx context.Context, s router.Stream, c router.Checkpoint) error {
	s.Partition = 0
	return m.Store.Advance(ctx, s, c)
}

func TestThePropertyFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(router.Store) router.Store{
		"no checkpoints":                    func(s router.Store) router.Store { return forgetful{s} },
		"one checkpoint for all partitions": func(s router.Store) router.Store { return muddled{s} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := views(t)
			for seed := range 30 {
				told := newStage(fmt.Sprint("story-", seed), store, plant(store))
				story := append(stories.Example(seed), act{"burst", 0, 3}, act{"await", 0, 0}, act{"restart", 0, 0})
				if err := told.play(story); err != nil {
					t.Logf("story %d: %v", seed, err)
					return
				}
			}
			t.Fatal("thirty stories did not show it")
		})
	}
}

// book is a handler that counts for each account, in its own transaction, that every version comes once and in order.
type book struct {
	name  string
	store router.Store
	mu    sync.Mutex
	next  error
	wrong []error
}

func (b *book) page(key string) router.Stream {
	return router.Stream{Handler: b.name + "-book", Topic: bank.Topic(key)}
}

func (b *book) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next = err
}

func (b *book) handle(ctx context.Context, facts []handlers.Fact) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.next; err != nil {
		b.next = nil
		return err
	}
	for i := range facts {
		f := &facts[i]
		c, err := b.store.Checkpoint(ctx, b.page(f.Key()))
		if err != nil {
			return err
		}
		if bank.Version(c.Position.Seq)+1 != f.Version() {
			b.wrong = append(b.wrong, fmt.Errorf("%s: version %d came behind %d", f.Key(), f.Version(), c.Position.Seq))
		}
		next := router.Checkpoint{Position: handlers.Position{Seq: bank.Seq(f.Version())}}
		if err := b.store.Advance(ctx, b.page(f.Key()), next); err != nil {
			return err
		}
	}
	return nil
}

func (b *book) check(l *ledger) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, want := range l.versions {
		c, err := b.store.Checkpoint(context.Background(), b.page(account(i).String()))
		if err != nil || bank.Version(c.Position.Seq) != want {
			b.wrong = append(b.wrong, fmt.Errorf("account %d has %d of %d versions: %w", i, c.Position.Seq, want, err))
		}
	}
	return errors.Join(b.wrong...)
}
