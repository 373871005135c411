package remote

import (
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/adapters/kafka"
	"bankforge/adapters/postgres"
	"bankforge/app/bank"
	"bankforge/cmd/bankforge/stores"
	"bankforge/router"
	"bankforge/router/relay"
)

// Kafka is the broker of a bank.
type Kafka struct {
	Brokers    []string // host:port; none: the log itself is the broker
	Partitions int      // of each topic
}

// topics are those that there are so far.
var topics = []bank.Topic{bank.AccountsTopic, bank.TransactionsTopic}

// readers are the modules that need Kafka. Those that take commands do not: the log is enough for them.
var readers = []string{"account-query", "transaction-query", "event-store", "push"}

// partitions say where the broker puts what has a key; nil: there are none.
func (b Bank) partitions() postgres.Partitions {
	if len(b.Kafka.Brokers) == 0 {
		return nil
	}
	return func(_ bank.Topic, key string) int { return router.PartitionOf(key, b.Kafka.Partitions) }
}

// attachKafka has the handlers of this process read from Kafka, and brings its relay.
func (b Bank) attachKafka(ctx context.Context, s *stores.Stores, db *postgres.DB, p stores.Process) error {
	conf := kafka.Config{Brokers: b.Kafka.Brokers, Prefix: b.Prefix, Log: p.Log}
	partitions := map[bank.Topic]int{}
	for _, t := range topics {
		partitions[t] = b.Kafka.Partitions
	}
	at := &kafka.Topics{Config: conf}
	for _, module := range readers {
		if !p.Runs(module) {
			continue
		}
		if _, err := at.Missing(ctx, partitions); err != nil {
			return fmt.Errorf("--kafka: %w", err)
		}
		break
	}
	cursors := postgres.NewRelayStore(db)
	s.Broker = &stores.Broker{
		Partitions: partitions, Cursors: cursors, Subscribe: subscribe(conf, b.Kafka.Partitions),
		Relay: func(c relay.Config) (*relay.Relay, error) {
			c.Publisher = kafka.NewPublisher(kafka.PublisherConfig{Config: conf})
			c.Topics, c.Store, c.Partitions = at, cursors, partitions
			return relay.New(c)
		},
	}
	return nil
}

// subscribe makes what a route reads from. A kept one is a member of the consumer group that has its name; a newest one
// reads by itself what has come since the process began.
func subscribe(conf kafka.Config, partitions int) func(router.Route) (message.Subscriber, error) {
	began := time.Now()
	return func(r router.Route) (message.Subscriber, error) {
		c := kafka.SubscriberConfig{Config: conf, Partitions: partitions}
		if r.Kind == router.Newest {
			c.Since = began
		} else {
			c.Group = r.Name
		}
		return kafka.NewSubscriber(c), nil
	}
}
