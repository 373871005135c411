package relay

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/sync/errgroup"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// chunk is a stretch of the log, ready to be sent.
type chunk struct {
	messages map[bank.Topic][]*message.Message // of each topic in order
	after    router.Cursor                     // where the relay stands once all of it is acknowledged
}

// outgoing is a message to be: which fact, where to, and what comes before it there.
type outgoing struct {
	fact      handlers.Fact
	topic     bank.Topic
	partition int
	prev      handlers.Position
}

// expander turns events into messages. What one message says of the one before it in its partition depends on
// the order, so that is done in order; writing payloads costs most, and is done on all processors.
type expander struct {
	at       router.Cursor
	contexts map[bank.Topic][]context.Context // carry the partition
	encoders []router.Encoder
	plan     []outgoing
}

func newExpander(at router.Cursor) *expander {
	x := &expander{at: at, contexts: map[bank.Topic][]context.Context{}}
	for topic, last := range at.Last {
		for i := range last {
			x.contexts[topic] = append(x.contexts[topic], router.WithPartition(context.Background(), i))
		}
	}
	x.encoders = make([]router.Encoder, runtime.GOMAXPROCS(0))
	return x
}

// expand makes a chunk of the events behind the expander's place, and moves on.
func (x *expander) expand(events []app.Recorded) (*chunk, error) {
	last := map[bank.Topic][]handlers.Position{}
	for topic, positions := range x.at.Last {
		last[topic] = slices.Clone(positions)
	}
	x.plan = x.plan[:0]
	for i := range events {
		e := &events[i]
		if e.Seq != x.at.Seq+1 {
			return nil, fmt.Errorf("the log goes on with event %d behind %d", e.Seq, x.at.Seq)
		}
		for _, c := range e.Changes() {
			topic := c.Topic()
			partitions := last[topic]
			if len(partitions) == 0 {
				return nil, fmt.Errorf("event %d has a message on %s, and no partitions are configured for it", e.Seq, topic)
			}
			p := router.PartitionOf(c.Key(), len(partitions))
			out := outgoing{router.FactOf(c, &e.Meta, x.at.Incarnation), topic, p, partitions[p]}
			partitions[p] = out.fact.Position()
			x.plan = append(x.plan, out)
		}
		x.at.Seq = e.Seq
	}
	x.at.Last = last
	messages, err := x.encode()
	return &chunk{messages, x.at}, err
}

// encode writes what is planned.
func (x *expander) encode() (map[bank.Topic][]*message.Message, error) {
	all := make([]*message.Message, len(x.plan))
	var workers errgroup.Group
	share := (len(x.plan) + len(x.encoders) - 1) / len(x.encoders)
	share = max(share, leastShare)
	for i := 0; i*share < len(all); i++ {
		workers.Go(func() error {
			for j := i * share; j < min((i+1)*share, len(all)); j++ {
				out := &x.plan[j]
				msg, err := x.encoders[i].Encode(&out.fact, out.prev)
				if err != nil {
					return err
				}
				msg.SetContext(x.contexts[out.topic][out.partition])
				all[j] = msg
			}
			return nil
		})
	}
	if err := workers.Wait(); err != nil {
		return nil, err
	}
	messages := map[bank.Topic][]*message.Message{}
	for i, msg := range all {
		topic := x.plan[i].topic
		messages[topic] = append(messages[topic], msg)
	}
	return messages, nil
}

// leastShare is how many messages are worth a goroutine.
const leastShare = 64
