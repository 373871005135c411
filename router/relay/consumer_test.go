package relay_test

import (
	"context"
	"math/rand/v2"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/router"
)

// consumer is a message.Subscriber of a broker in memory. It hands out batches of random sizes, and what the group has
// committed it may hand out again.
type consumer struct {
	b         *broker
	committed *sync.Map // partition → how many were acknowledged
	random    *rand.Rand
	mu        sync.Mutex // of random
	closing   <-chan struct{}
	close     context.CancelFunc
	sessions  sync.WaitGroup
}

func newConsumer(b *broker, committed *sync.Map, seed uint64) *consumer {
	c := &consumer{b: b, committed: committed, random: rand.New(rand.NewPCG(seed, 1))}
	ctx, cancel := context.WithCancel(context.Background())
	c.closing, c.close = ctx.Done(), cancel
	return c
}

func (c *consumer) Close() error {
	c.close()
	c.sessions.Wait()
	return nil
}

func (c *consumer) dice(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.random.IntN(n)
}

func (c *consumer) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-c.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	var all sync.WaitGroup
	for p := range partitions {
		all.Go(func() { c.follow(router.WithPartition(ctx, p), topic, p, out) })
	}
	c.sessions.Go(func() {
		defer close(out)
		all.Wait()
		cancel()
	})
	return out, nil
}

// follow reads a partition, in sessions that end when they like.
func (c *consumer) follow(ctx context.Context, topic string, p int, out chan<- *message.Message) {
	for ctx.Err() == nil {
		at := 0
		if v, ok := c.committed.Load(p); ok {
			at = max(v.(int)-c.dice(5), 0)
		}
		session, end := context.WithCancel(ctx)
		for n := 0; session.Err() == nil && c.dice(6) > 0; n++ {
			at = c.deliver(session, end, topic, p, at, out)
		}
		end()
	}
}

// deliver hands out the next messages behind at, and returns where it goes on.
func (c *consumer) deliver(
	ctx context.Context, end func(), topic string, p, at int, out chan<- *message.Message,
) int {
	got, moved, size := c.next(topic, p, at)
	if at > size {
		return 0 // the topic is another one
	}
	if len(got) == 0 {
		select {
		case <-moved:
		case <-ctx.Done():
		}
		return at
	}
	got = got[:1+c.dice(len(got))]
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	msg := got[0].CopyWithContext()
	msg.SetContext(inner)
	if len(got) > 1 {
		msg = router.NewBatch(inner, "batch", batch(got))
	}
	select {
	case out <- msg:
	case <-ctx.Done():
		return at
	}
	if c.dice(8) == 0 {
		end() // the partition goes to somebody else while the message is handled
	}
	select {
	case <-msg.Acked():
		c.committed.Store(p, at+len(got))
		return at + len(got)
	case <-msg.Nacked():
	case <-c.closing:
	}
	return at
}

func (c *consumer) next(topic string, p, at int) (got []*message.Message, moved <-chan struct{}, size int) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	all := c.b.topics[topic]
	if len(all) <= p {
		return nil, c.b.moved, at
	}
	if at < len(all[p]) {
		got = append(got, all[p][at:]...)
	}
	return got, c.b.moved, len(all[p])
}

// batch is router.Records.
type batch []*message.Message

func (b batch) Len() int { return len(b) }

func (b batch) Record(i int, header func(name, value []byte)) []byte {
	for name, value := range b[i].Metadata {
		header([]byte(name), []byte(value))
	}
	return b[i].Payload
}
