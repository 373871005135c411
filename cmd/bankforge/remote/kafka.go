package remote

import (
	"context"
	"errors"
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

// topics are all that there are.
var topics = bank.Topics()

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
	partitions := b.counts()
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

// fillTopics deletes the topics, and brings all of the log to new ones. No other relay may run; handlers may: they
// leave out what they have.
func (b Bank) fillTopics(ctx context.Context, db *postgres.DB) (r stores.Rebuilt, err error) {
	if len(b.Kafka.Brokers) == 0 {
		return r, errors.New("topics are for --broker kafka")
	}
	conf := kafka.Config{Brokers: b.Kafka.Brokers, Prefix: b.Prefix}
	at, cursors, partitions := &kafka.Topics{Config: conf}, postgres.NewRelayStore(db), b.counts()
	source := router.FromLog(db.Log(postgres.LogConfig{}))
	head, err := source.Head(ctx)
	if err != nil {
		return r, err
	}
	if err := b.emptyTopics(ctx, at, cursors); err != nil {
		return r, err
	}
	publisher := kafka.NewPublisher(kafka.PublisherConfig{Config: conf})
	defer func() { err = errors.Join(err, publisher.Close()) }()
	inner, done := context.WithCancel(ctx)
	defer done()
	again, err := relay.New(relay.Config{
		Source: source, Publisher: publisher, Topics: at, Store: cursors, Partitions: partitions, Owner: rebuilder,
		Saw: func(c router.Cursor) {
			if c.Seq >= head.Seq {
				done()
			}
		},
	})
	if err != nil {
		return r, err
	}
	if err := again.Run(inner); err != nil {
		return r, err
	}
	return stores.Rebuilt{Views: []string{Topics}, Through: head.Seq}, ctx.Err()
}

// rebuilder is the name of the relay that fills the topics; rebuildLease is how long others leave them to it.
const (
	rebuilder    = "bankforge rebuild"
	rebuildLease = time.Minute
)

// emptyTopics deletes them, with the relay's lease held, and sets its cursor back.
func (b Bank) emptyTopics(ctx context.Context, at *kafka.Topics, cursors *postgres.RelayStore) error {
	term, was, err := cursors.Acquire(ctx, rebuilder, rebuildLease)
	if errors.Is(err, relay.ErrHeld) {
		return errors.New("a relay runs: stop the processes with the module event-store first")
	}
	if err != nil {
		return err
	}
	for topic, last := range was.Last {
		if len(last) != b.Kafka.Partitions {
			err = fmt.Errorf("--partitions: %s has %d, and what handlers have is counted in these", topic, len(last))
		}
	}
	for _, topic := range topics {
		if err == nil {
			err = at.Delete(ctx, topic)
		}
	}
	if err != nil {
		return errors.Join(err, cursors.Save(context.WithoutCancel(ctx), term, was, 0))
	}
	return cursors.Save(ctx, term, router.Cursor{}, rebuildLease)
}

// counts are the numbers of partitions, by topic.
func (b Bank) counts() map[bank.Topic]int {
	partitions := map[bank.Topic]int{}
	for _, t := range topics {
		partitions[t] = b.Kafka.Partitions
	}
	return partitions
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
