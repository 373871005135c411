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
	messages map[bank.Topic][]*message.Message // of each topic one for each partition, with all that it gets, in order
	after    router.Cursor                     // where the relay stands once all of it is acknowledged
}

// outgoing is a message to be: which fact, where to, and what comes before it there.
type outgoing struct {
	fact handlers.Fact
	to   *outbox
	at   int // of what the outbox gets
	prev handlers.Position
}

// outbox is what a partition gets.
type outbox struct {
	ctx     context.Context //nolint:containedctx // carries the partition
	records router.Encoded
	count   int
}

// expander turns events into messages. What one message says of the one before it in its partition depends on
// the order, so that is done in order; writing payloads costs most, and is done on all processors.
type expander struct {
	at       router.Cursor
	boxes    map[bank.Topic][]outbox // by partition
	encoders []router.Encoder
	plan     []outgoing
}

func newExpander(at router.Cursor) *expander {
	x := &expander{at: at, boxes: map[bank.Topic][]outbox{}}
	for topic, last := range at.Last {
		for i := range last {
			x.boxes[topic] = append(x.boxes[topic], outbox{ctx: router.WithPartition(context.Background(), i)})
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
			to := &x.boxes[topic][p]
			out := outgoing{router.FactOf(c, &e.Meta, x.at.Incarnation), to, to.count, partitions[p]}
			partitions[p] = out.fact.Position()
			to.count++
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
	for _, boxes := range x.boxes {
		for i := range boxes {
			boxes[i].records, boxes[i].count = make(router.Encoded, boxes[i].count), 0
		}
	}
	var workers errgroup.Group
	share := (len(x.plan) + len(x.encoders) - 1) / len(x.encoders)
	share = max(share, leastShare)
	for i := 0; i*share < len(x.plan); i++ {
		workers.Go(func() error {
			for j := i * share; j < min((i+1)*share, len(x.plan)); j++ {
				out := &x.plan[j]
				if err := x.encoders[i].Encode(&out.to.records[out.at], &out.fact, out.prev); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := workers.Wait(); err != nil {
		return nil, err
	}
	messages := map[bank.Topic][]*message.Message{}
	for topic, boxes := range x.boxes {
		for i := range boxes {
			if box := &boxes[i]; len(box.records) > 0 {
				id := fmt.Sprintf("%s-%d-%d", x.at.Incarnation, x.at.Seq, i)
				messages[topic] = append(messages[topic], router.NewBatch(box.ctx, id, box.records))
			}
			boxes[i].records = nil
		}
	}
	return messages, nil
}

// leastShare is how many messages are worth a goroutine.
const leastShare = 64
