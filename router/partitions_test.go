package router_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// The hashes are those of Kafka's own test of its Java client.
func TestPartitionsAreThoseOfJavasClients(t *testing.T) {
	t.Parallel()
	for key, hash := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got, want := router.PartitionOf(key, 1<<31), int(hash&0x7fffffff); got != want {
			t.Errorf("the hash of %q is %d; want %d", key, got, want)
		}
		if p := router.PartitionOf(key, 16); p != router.PartitionOf(key, 1<<31)%16 {
			t.Errorf("%q is in partition %d of 16", key, p)
		}
	}
}

// cursors is a cursor that a test moves.
type cursors struct {
	mu sync.Mutex
	at router.Cursor
}

func (c *cursors) Cursor(context.Context) (router.Cursor, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at, nil
}

func (c *cursors) move(seq bank.Seq, last ...handlers.Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = router.Cursor{Incarnation: "inc1", Seq: seq, Last: map[bank.Topic][]handlers.Position{bank.AccountsTopic: last}}
}

// still is a subscriber to which nothing comes, and that cannot drain by itself.
type still struct{ out chan *message.Message }

func (s still) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		for {
			select {
			case m := <-s.out:
				out <- m
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func (still) Close() error { return nil }

// newPartitioned is a bench whose handler reads two partitions of what the returned channel brings.
func newPartitioned(t *testing.T, l *ledger, c *cursors, patience time.Duration) (*bench, chan<- *message.Message) {
	t.Helper()
	store := openStore(t)
	b := &bench{name: handlerName, ledger: l, store: store, book: &book{store: store}, progress: router.NewProgress()}
	published := router.NewPublished(router.PublishedConfig{Cursors: c, Every: time.Millisecond, Idle: time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = published.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	out := make(chan *message.Message)
	var err error
	b.Router, err = router.New("", []router.Route{
		{Name: handlerName, Topic: bank.AccountsTopic, Handler: b.book.handle, Store: store},
	}, router.Config{Source: l, Progress: b.progress, Policy: quick(), Broker: &router.Broker{
		Subscribe:  func(router.Route) (message.Subscriber, error) { return still{out}, nil },
		Partitions: map[bank.Topic]int{bank.AccountsTopic: 2}, Published: published, Patience: patience,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b, out
}

// A handler is complete up to the relay's cursor when it has each partition's last message; another process may have
// brought it there.
func TestProgressOfPartitions(t *testing.T) {
	t.Parallel()
	c := &cursors{}
	c.move(9, handlers.Position{Seq: 7}, handlers.Position{Seq: 4, N: 1})
	b, _ := newPartitioned(t, newLedger(), c, time.Hour)
	b.start(t)
	advance := func(partition int, p handlers.Position) {
		of := router.Stream{Handler: handlerName, Topic: bank.AccountsTopic, Partition: partition}
		err := b.store.InTx(t.Context(), func(ctx context.Context) error {
			_, err := b.store.Checkpoint(ctx, of)
			return errors.Join(err, b.store.Advance(ctx, of, router.Checkpoint{Incarnation: "inc1", Position: p}))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	has := func(seq bank.Seq, d time.Duration) bool {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		return b.progress.Await(ctx, handlerName, seq)
	}
	const soon, long = 60 * time.Millisecond, 20 * time.Second
	advance(0, handlers.Position{Seq: 7})
	if has(1, soon) {
		t.Error("nothing is known of partition 1, and event 1 is complete")
	}
	advance(1, handlers.Position{Seq: 3})
	if !has(2, long) || has(3, soon) {
		t.Errorf("partition 1 has come to message 3.0; complete is %d", b.progress.At(handlerName))
	}
	advance(1, handlers.Position{Seq: 4, N: 1})
	if !has(9, long) || has(10, soon) {
		t.Errorf("everything that was published is here; complete is %d", b.progress.At(handlerName))
	}
	c.move(12, handlers.Position{Seq: 7}, handlers.Position{Seq: 11})
	if !has(3, long) {
		t.Error("what was complete is so no more")
	}
	advance(1, handlers.Position{Seq: 11})
	if !has(12, long) {
		t.Errorf("complete is %d", b.progress.At(handlerName))
	}
	if s := b.status(t); s.Position != handlers.End(12) {
		t.Errorf("the status says %+v", s)
	}
}

// What the broker has lost, and nothing behind it that would tell, is read from the log after a while.
func TestAPartitionThatStandsStillIsHelped(t *testing.T) {
	t.Parallel()
	l, c := newLedger(), &cursors{}
	for range 5 {
		l.credit(1, 2)
	}
	last := [2]handlers.Position{}
	for _, e := range l.events {
		for _, change := range e.Changes() {
			last[router.PartitionOf(change.Key(), 2)] = handlers.Position{Seq: change.Seq, N: change.N}
		}
	}
	c.move(5, last[:]...)
	b, _ := newPartitioned(t, l, c, time.Millisecond)
	b.start(t)
	b.await(t)
	b.expect(t, 5, 5)
}

// What is left of a log that is gone is left out; what is of this one waits until the view is rebuilt.
func TestMessagesOfAnotherLog(t *testing.T) {
	t.Parallel()
	l := newLedger()
	l.credit(1)
	old := broker(t, l)
	l.incarnation = "inc2"
	b := newBench(t, l, openStore(t), quick())
	b.deliver(t, old...)
	b.expect(t, 0)
	b.deliver(t, broker(t, l)...)
	b.deliver(t, old...)
	b.expect(t, 1)
}

// A subscriber that cannot drain by itself brings nothing more once the router ends, and what is under way is finished.
func TestAnySubscriberDrains(t *testing.T) {
	t.Parallel()
	l, c := newLedger(), &cursors{}
	l.credit(1)
	l.credit(1)
	msgs := broker(t, l)
	b, out := newPartitioned(t, l, c, time.Hour)
	began, end := make(chan struct{}), make(chan struct{})
	b.book.setFail(func(*handlers.Fact) error {
		began <- struct{}{}
		<-end
		return nil
	})
	stop := b.start(t)
	out <- msgs[0]
	<-began
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	select {
	case <-stopped:
		t.Error("the router ends with a message under way")
	case <-time.After(20 * time.Millisecond):
	}
	close(end)
	<-stopped
	b.expect(t, 1)
}

// What says that it is in a partition that its key is not in, moves nothing there: else what is in it would be taken
// for handled.
func TestWhatIsInAnotherPartitionIsNoObstacle(t *testing.T) {
	t.Parallel()
	l := newLedger()
	of := map[int]int{} // an account of each partition
	for i := 1; len(of) < 2; i++ {
		of[router.PartitionOf(account(i).String(), 2)] = i
	}
	for range 3 {
		l.credit(of[0])
		l.credit(of[1])
	}
	b, _ := newPartitioned(t, l, &cursors{}, time.Hour)
	chain := b.Chain(handlerName)
	deliver := func(partition int, m *message.Message) {
		t.Helper()
		m = m.Copy()
		delete(m.Metadata, "prev") // those of this ledger are in one row
		m.SetContext(router.WithPartition(t.Context(), partition))
		if _, err := chain(m); err != nil {
			t.Fatal(err)
		}
	}
	msgs := broker(t, l)
	deliver(0, msgs[5])
	for i, m := range msgs {
		deliver(i%2, m)
	}
	for partition, i := range of {
		if got := b.book.at(t, i); got != 3 {
			t.Errorf("the account of partition %d has version %d; want 3", partition, got)
		}
	}
	b.book.check(t)
}
