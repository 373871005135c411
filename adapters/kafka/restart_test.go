//go:build !race

package kafka_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
)

// What was published comes, although the broker is killed twice meanwhile. Watermill's suite has such a test, which
// counts what was published while it is still being counted. The broker is of the test's own: others would not
// understand.
func TestTheSubscriberOutlivesRestartsOfTheBroker(t *testing.T) {
	t.Parallel()
	c, restart := ownBroker(t)
	outlives(t, batching(c), restart)
	outlives(t, oneByOne(c), restart)
}

const (
	publishers, each = 50, 100
	restartedWithin  = 2 * time.Minute
)

func outlives(t *testing.T, pubSub open, restart func()) {
	t.Helper()
	pub, sub := pubSub(t, t.Name())
	topic := "restarted-" + watermill.NewShortUUID()
	if s, ok := sub.(message.SubscribeInitializer); ok {
		if err := s.SubscribeInitialize(topic); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), restartedWithin)
	defer cancel()
	messages, err := sub.Subscribe(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	var published atomic.Int64
	var all sync.WaitGroup
	sent := make([][each]string, publishers)
	for i := range sent {
		all.Go(func() {
			for n := range sent[i] {
				sent[i][n] = watermill.NewUUID()
				for pub.Publish(topic, message.NewMessage(sent[i][n], []byte("x"))) != nil && ctx.Err() == nil {
					<-time.After(100 * time.Millisecond)
				}
				published.Add(1)
				<-time.After(rand.N(100 * time.Millisecond))
			}
		})
	}
	all.Go(func() {
		for _, part := range []int64{3, 2} {
			for published.Load() < publishers*each/part && ctx.Err() == nil {
				<-time.After(time.Millisecond)
			}
			restart()
		}
	})
	received := map[string]bool{}
	for len(received) < publishers*each {
		select {
		case msg := <-messages:
			received[msg.UUID] = true
			msg.Ack()
		case <-ctx.Done():
			t.Fatalf("%d of %d have come, %d were published", len(received), publishers*each, published.Load())
		}
	}
	all.Wait()
	for i := range sent {
		for _, id := range sent[i] {
			if !received[id] {
				t.Errorf("%s did not come", id)
			}
		}
	}
}
