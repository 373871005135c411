package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/adapters/kafka"
	"bankforge/adapters/postgres"
	"bankforge/app/bank"
	"bankforge/cmd/bankforge/stores"
	"bankforge/router"
	"bankforge/router/mirror"
	"bankforge/router/rebuild"
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
	cursors := postgres.NewRelayStore(db)
	if slices.ContainsFunc(readers, p.Runs) {
		if err := b.joinReaders(ctx, s, db, p.Log); err != nil {
			return err
		}
		if _, err := at.Missing(ctx, partitions); err != nil {
			return fmt.Errorf("--kafka: %w", err)
		}
	}
	s.Broker = &stores.Broker{
		Partitions: partitions, Cursors: cursors, Subscribe: subscribe(conf, b.Kafka.Partitions),
		Relay: func(c relay.Config) (*relay.Relay, io.Closer, error) {
			c.Publisher = kafka.NewPublisher(kafka.PublisherConfig{Config: conf, Linger: linger})
			c.Topics, c.Store, c.Partitions = at, cursors, partitions
			r, err := relay.New(c)
			return r, c.Publisher, err
		},
		Mirror: func(ctx context.Context) error {
			publisher := kafka.NewPublisher(kafka.PublisherConfig{Config: conf})
			m := mirror.New(mirror.Config{
				Store: postgres.NewHandlerStore(db.Derived()), Publisher: publisher, Topics: at, Partitions: partitions,
				Prefix: conf.Prefix, Log: p.Log,
			})
			return errors.Join(m.Run(ctx), publisher.Close())
		},
	}
	return nil
}

// fillTopics deletes the topics, and brings all of the log to new ones, with as many partitions as are configured;
// renumbered: these may be others than before. No other relay may run. Handlers may, where the number stays: they leave
// out what they have.
func (b Bank) fillTopics(ctx context.Context, db *postgres.DB, renumbered bool) (r stores.Rebuilt, err error) {
	conf := kafka.Config{Brokers: b.Kafka.Brokers, Prefix: b.Prefix}
	at, cursors, partitions := &kafka.Topics{Config: conf}, postgres.NewRelayStore(db), b.counts()
	source := handlersIn(db).Source
	head, err := source.Head(ctx)
	if err != nil {
		return r, err
	}
	if head.Incarnation == "" {
		return r, errors.New("there is no ledger yet that topics could be filled from")
	}
	// The lease of the relay alone would not keep two of these apart: they have the same name.
	release, err := postgres.NewHandlerStore(db.Derived()).Reserve(ctx, Topics, false)
	if err != nil {
		return r, fmt.Errorf("rebuild topics: %w", err)
	}
	defer release()
	err = relay.Reset(ctx, cursors, rebuilder, partitions, func(was router.Cursor) error {
		if err := b.recorded(was); err != nil && !renumbered {
			return err
		}
		for _, topic := range topics {
			if err := at.Delete(ctx, topic); err != nil {
				return err
			}
			if !renumbered {
				continue
			}
			if err := at.Delete(ctx, mirror.TopicOf(topic)); err != nil { // the relay's next process makes it
				return err
			}
		}
		return nil
	})
	if errors.Is(err, relay.ErrHeld) {
		return r, errors.New("a relay runs: stop the processes with the module event-store first")
	}
	if err != nil {
		return r, err
	}
	publisher := kafka.NewPublisher(kafka.PublisherConfig{Config: conf, Linger: linger})
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
	if err := ctx.Err(); err != nil {
		return r, fmt.Errorf("cut off before the topics had everything: the next relay goes on: %w", err)
	}
	return stores.Rebuilt{Views: []string{Topics}, Through: head.Seq}, nil
}

// rebuilder is the name of the relay that fills the topics.
const rebuilder = "bankforge rebuild"

// recorded refuses other numbers of partitions than those that messages, checkpoints and marks were made for.
func (b Bank) recorded(c router.Cursor) error {
	for topic, last := range c.Last {
		if len(last) != b.Kafka.Partitions {
			return fmt.Errorf("--partitions: %s has %d, and what handlers have is counted in these; say %d again, or stop all "+
				"processes and change it: bankforge rebuild topics --repartition --partitions %d",
				topic, len(last), len(last), b.Kafka.Partitions)
		}
	}
	return nil
}

// Repartition changes the number of partitions to the configured one. Keys go to other partitions by that, so all that
// is counted in partitions begins anew: the views, with their checkpoints, and the topics. All processes of the bank
// must have been stopped. Whenever it is cut off, running it again leads to the same end; processes go on with the old
// number until the topics are deleted, and with the new one after that.
func (b Bank) Repartition(ctx context.Context, outside Outside) (r stores.Rebuilt, err error) {
	if len(b.Kafka.Brokers) == 0 {
		return r, errors.New("--repartition is for --broker kafka")
	}
	db, err := b.open(ctx, true)
	if err != nil {
		return r, err
	}
	defer db.Close()
	at := postgres.NewHandlerStore(db.Derived())
	release, err := at.Reserve(ctx, readsKafka, false)
	if errors.Is(err, rebuild.ErrUnderWay) {
		return r, errors.New("--repartition: processes of the bank run: stop all of them first")
	}
	if err != nil {
		return r, err
	}
	defer release()
	was, err := postgres.NewRelayStore(db).Cursor(ctx)
	if err != nil {
		return r, err
	}
	if b.recorded(was) != nil {
		if r, err = b.recount(ctx, db, at, outside, was); err != nil {
			return stores.Rebuilt{}, err
		}
	}
	filled, err := b.fillTopics(ctx, db, true)
	if err != nil {
		return r, err
	}
	r = r.And(filled)
	for _, name := range outside.Names() {
		done, err := outside.Rebuild(ctx, name, handlersIn(db))
		if err != nil {
			return r, err
		}
		r = r.And(done)
	}
	return r, nil
}

// recount builds the views in the store anew, so that their checkpoints are the same in all partitions, however many
// there are; and forgets those outside, whose rows name their partitions.
func (b Bank) recount(
	ctx context.Context, db *postgres.DB, at *postgres.HandlerStore, outside Outside, was router.Cursor,
) (r stores.Rebuilt, err error) {
	old := func(topic bank.Topic, key string) int { return router.PartitionOf(key, max(len(was.Last[topic]), 1)) }
	done, err := postgres.RebuildViews(ctx, db, handlersIn(db).Source, postgres.ViewNames(), old)
	if err != nil {
		return r, err
	}
	for _, name := range OutsideNames() { // whether they are read now or not
		if err := at.Forget(ctx, name); err != nil {
			return r, err
		}
	}
	for _, name := range outside.Names() {
		if err := outside.forget(ctx, name); err != nil {
			return r, err
		}
	}
	return stores.Rebuilt{
		Views: postgres.ViewNames(), Through: done.Through, Parked: done.Parked, Differences: done.Differences,
		Omitted: done.Omitted,
	}, at.Repartition(ctx, b.Kafka.Partitions)
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
	began, room := time.Now(), kafka.NewRoom(readAhead)
	return func(r router.Route) (message.Subscriber, error) {
		c := kafka.SubscriberConfig{Config: conf, Partitions: partitions, Room: room}
		if r.Kind == router.Newest {
			c.Since = began
		} else {
			c.Group = r.Name
		}
		return kafka.NewSubscriber(c), nil
	}
}

// readAhead is how many bytes of messages the handlers of a process hold, all together.
const readAhead = 96 << 20

// linger lets the messages of an event, which are on two topics, go in one request. It is less than a request takes.
const linger = time.Millisecond
