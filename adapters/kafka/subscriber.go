package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	wmkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
)

// SubscriberConfig says what to read, and how much at once.
type SubscriberConfig struct {
	Config
	// Group is the consumer group: its members share the partitions, and go on where it has come to; a new one begins with
	// the oldest message. "": no group, and every partition from Since on.
	Group string
	Since time.Time // without a group; zero: what comes from now on
	// Records is how many records one message carries at most (see router.NewBatch); default 1000. One record
	// alone always comes as a message of its own, with its payload and headers.
	Records int
	Again   time.Duration // the pause before a refused message comes again, and after a failure; default 100 ms
	// Room bounds what is read ahead; default: 64 MiB for this subscriber alone.
	Room *Room
	// Partitions is how many a topic gets that SubscribeInitialize makes; default 1.
	Partitions int
}

// Subscriber is a message.Subscriber whose messages carry many records of one partition, in order. Of each partition
// one message is under way; what it brought is committed, within a second, once it is acknowledged; refused, it
// comes again. When the partition goes to another member, the message's context ends.
type Subscriber struct {
	c        SubscriberConfig
	gather   func(n int, took time.Duration) (wait time.Duration, urgent <-chan struct{})
	closing  chan struct{}
	draining chan struct{}
	once     struct{ close, drain sync.Once }
	mu       sync.Mutex // orders Subscribe, handing out, Drain and Close
	sessions sync.WaitGroup
	busy     sync.WaitGroup
	warned   struct {
		sync.Mutex
		at map[string]time.Time // by what was said
	}
}

// NewSubscriber makes a subscriber. It connects when it is subscribed, and again after a failure.
func NewSubscriber(c SubscriberConfig) *Subscriber {
	if c.Records == 0 {
		c.Records = 1000
	}
	if c.Again == 0 {
		c.Again = 100 * time.Millisecond
	}
	if c.Partitions == 0 {
		c.Partitions = 1
	}
	if c.Room == nil {
		c.Room = NewRoom(64 << 20)
	}
	return &Subscriber{c: c, closing: make(chan struct{}), draining: make(chan struct{})}
}

// consumer is how records are read.
func consumer() *sarama.Config {
	s := client()
	// What one fetch brings is in memory at once, several times as large as it was in Kafka: of a partition, and in all.
	s.Consumer.Fetch.Default, s.Consumer.Fetch.MaxBytes = 128<<10, 2<<20
	s.ChannelBufferSize = 128
	s.Consumer.Return.Errors = true
	s.Consumer.MaxWaitTime = 250 * time.Millisecond
	s.Consumer.Retry.Backoff = 250 * time.Millisecond
	s.Consumer.Offsets.Initial = sarama.OffsetOldest
	s.Consumer.Offsets.AutoCommit.Interval = time.Second
	s.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	s.Consumer.Group.Rebalance.Timeout = 20 * time.Second
	s.Consumer.Group.Session.Timeout = 10 * time.Second
	s.Consumer.Group.Heartbeat.Interval = time.Second
	return s
}

// Gather says how long a partition waits for more once a message of n records, fewer than there could be, is done; it
// took so long. The wait ends early when urgent is closed. It is said before Subscribe.
func (s *Subscriber) Gather(how func(n int, took time.Duration) (wait time.Duration, urgent <-chan struct{})) {
	s.gather = how
}

// SubscribeInitialize makes the topic if it is not there.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	topics := Topics{Config: s.c.Config}
	return topics.Make(context.Background(), bank.Topic(topic), s.c.Partitions)
}

// Subscribe starts a session. Its channel is closed when ctx ends, or by Close.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isClosed(s.closing) || isClosed(s.draining) {
		return nil, ErrClosed
	}
	out := make(chan *message.Message)
	ctx, cancel := context.WithCancel(ctx)
	s.sessions.Go(func() {
		defer cancel()
		select {
		case <-s.closing:
		case <-ctx.Done():
		}
	})
	in := make(chan *message.Message)
	s.sessions.Go(func() {
		defer cancel()
		follow := s.followGroup
		if s.c.Group == "" {
			follow = s.followAll
		}
		for ctx.Err() == nil {
			if err := follow(ctx, s.c.Prefix+topic, in); err != nil && ctx.Err() == nil {
				s.warn(ctx, topic, err)
			}
			pause(ctx, s.c.Again)
		}
	})
	s.sessions.Go(func() { pass(ctx, in, out) })
	return out, nil
}

// pass hands on what comes until ctx ends, and then closes out: a member that has asked to join a group hears nothing
// until all others have, and whoever handles messages must not wait for that.
func pass(ctx context.Context, in <-chan *message.Message, out chan<- *message.Message) {
	defer close(out)
	for {
		select {
		case msg := <-in:
			select {
			case out <- msg:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// leaveWithin is how long Close waits for what Kafka has to be told. What it is not told, it finds out by itself.
const leaveWithin = 2 * time.Second

// Drain ends delivery, and returns once what was delivered is acknowledged or refused, or when ctx ends.
// Sessions stay open until Close: a router that sees them end thinks that they failed.
func (s *Subscriber) Drain(ctx context.Context) {
	s.mu.Lock()
	s.once.drain.Do(func() { close(s.draining) })
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.busy.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Close ends all sessions; messages that are still being handled have their contexts cancelled. What was acknowledged
// is committed, unless Kafka keeps this member waiting: then it comes again, and is found to be done.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.once.close.Do(func() { close(s.closing) })
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.sessions.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(leaveWithin):
		s.c.log().Warn("left without a word to Kafka, which has not answered", "group", s.c.Group)
	}
	return nil
}

// warn logs what fails, but not the same again and again: a broker that is away is told of by every try.
func (s *Subscriber) warn(ctx context.Context, topic string, err error) {
	text := err.Error()
	if of, ok := errors.AsType[*sarama.ConsumerError](err); ok { // all partitions say the same
		text = of.Err.Error()
	}
	s.warned.Lock()
	defer s.warned.Unlock()
	if at, said := s.warned.at[text]; said && time.Since(at) <= sameAgain {
		return
	}
	maps.DeleteFunc(s.warned.at, func(_ string, at time.Time) bool { return time.Since(at) > sameAgain })
	if len(s.warned.at) == 0 || len(s.warned.at) >= maxWarned {
		s.warned.at = map[string]time.Time{}
	}
	s.warned.at[text] = time.Now()
	s.c.log().WarnContext(ctx, "cannot read from Kafka", "group", s.c.Group, "topic", topic, "error", err)
}

// sameAgain is how often the same failure is logged, and maxWarned how many different ones are remembered.
const (
	sameAgain = 30 * time.Second
	maxWarned = 100
)

// followGroup is a member of the group until ctx ends or something fails.
func (s *Subscriber) followGroup(ctx context.Context, topic string, out chan<- *message.Message) error {
	group, err := sarama.NewConsumerGroup(s.c.Brokers, s.c.Prefix+s.c.Group, consumer())
	if err != nil {
		return err
	}
	var logging sync.WaitGroup
	logging.Go(func() {
		for err := range group.Errors() {
			s.warn(ctx, topic, err)
		}
	})
	defer logging.Wait()
	defer group.Close() //nolint:errcheck // what it could not commit comes again
	for ctx.Err() == nil {
		err := group.Consume(ctx, []string{topic}, member{s, group, out})
		switch {
		case errors.Is(err, sarama.ErrClosedConsumerGroup), errors.Is(err, sarama.ErrClosedClient):
			return err
		case err != nil && ctx.Err() == nil: // as the same member, it need not wait until its old self is given up
			s.warn(ctx, topic, err)
			pause(ctx, s.c.Again)
		}
	}
	return nil
}

// member is a sarama.ConsumerGroupHandler.
type member struct {
	s     *Subscriber
	group sarama.ConsumerGroup
	out   chan<- *message.Message
}

// Setup has nothing to do.
func (member) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup has nothing to do.
func (member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim reads a partition until it goes to somebody else, or the session ends.
func (m member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	topic, partition := claim.Topic(), claim.Partition()
	one := map[string][]int32{topic: {partition}}
	r := reader{
		s: m.s, out: m.out, in: claim.Messages(), partition: partition,
		pause:  func() { m.group.Pause(one) },
		resume: func() { m.group.Resume(one) },
		done:   func(offset int64) { session.MarkOffset(topic, partition, offset+1, "") },
	}
	r.read(session.Context())
	return nil
}

// followAll reads every partition of the topic until ctx ends or something fails.
func (s *Subscriber) followAll(ctx context.Context, topic string, out chan<- *message.Message) error {
	c, err := sarama.NewClient(s.c.Brokers, consumer())
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // nothing depends on it
	all, err := sarama.NewConsumerFromClient(c)
	if err != nil {
		return err
	}
	defer all.Close() //nolint:errcheck // nothing depends on it
	partitions, err := c.Partitions(topic)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, len(partitions))
	for _, p := range partitions {
		go func() {
			defer cancel() // one partition alone would hide that the others are missing
			errs <- s.followOne(ctx, c, all, topic, p, out)
		}()
	}
	for range partitions {
		err = errors.Join(err, <-errs)
	}
	return err
}

func (s *Subscriber) followOne(
	ctx context.Context, c sarama.Client, all sarama.Consumer, topic string, partition int32, out chan<- *message.Message,
) error {
	// The end is asked for first: what comes while the other question is asked must not be missed.
	offset, err := c.GetOffset(topic, partition, sarama.OffsetNewest)
	if err != nil {
		return err
	}
	if !s.c.Since.IsZero() {
		at, err := c.GetOffset(topic, partition, s.c.Since.UnixMilli())
		if err != nil {
			return err
		}
		if at >= 0 { // else there is nothing since
			offset = at
		}
	}
	claim, err := all.ConsumePartition(topic, partition, offset)
	if err != nil {
		return err
	}
	defer claim.Close() //nolint:errcheck // they are logged below
	defer context.AfterFunc(ctx, claim.AsyncClose)()
	go func() {
		for err := range claim.Errors() {
			s.warn(ctx, topic, err)
		}
	}()
	r := reader{
		s: s, out: out, in: claim.Messages(), partition: partition, pause: claim.Pause, resume: claim.Resume,
		done: func(int64) {}, // nothing is remembered
	}
	r.read(ctx)
	if ctx.Err() == nil {
		return fmt.Errorf("partition %d cannot be read", partition)
	}
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// NewOneByOne is watermill-kafka's subscriber, for handlers that take one message at a time and have no need of more:
// cooperative, from the oldest message on, and with an unmarshaler that takes everything.
// Its topics are named in full: it knows no prefix.
func NewOneByOne(c SubscriberConfig) (message.Subscriber, error) {
	return wmkafka.NewSubscriber(wmkafka.SubscriberConfig{
		Brokers: c.Brokers, ConsumerGroup: c.Group, OverwriteSaramaConfig: consumer(),
		Unmarshaler: wmkafka.DefaultMarshaler{}, NackResendSleep: c.Again, ReconnectRetrySleep: c.Again,
		InitializeTopicDetails: &sarama.TopicDetail{NumPartitions: int32(max(c.Partitions, 1)), ReplicationFactor: -1},
	}, watermill.NewSlogLogger(c.log()))
}
