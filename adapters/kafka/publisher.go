package kafka

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
	wmkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/router"
)

// PublisherConfig says how to publish.
type PublisherConfig struct {
	Config
	// Compression is how records are sent and kept; default: Snappy, which costs the publisher next to nothing and saves
	// the broker most of what it does with each record.
	Compression *sarama.CompressionCodec
	// Retries is how often a message is sent again before Publish gives up; between them is a tenth of a second.
	// Default 100: a broker may restart meanwhile.
	Retries int
	// Linger is how long a message waits for others, of all topics, that go in the same request: where several Publish at
	// once, another request would take longer. Default: not at all.
	Linger time.Duration
}

// Publisher is a message.Publisher that returns once all replicas have the messages. Those of one Publish to a
// partition stay in their order. A message of router.NewBatch is as many as it carries. A message
// goes to the partition that its context says (see router.WithPartition), or else to the one of its metadata "key".
// It is safe for concurrent use.
type Publisher struct {
	c       PublisherConfig
	marshal wmkafka.Marshaler

	mu      sync.Mutex
	closed  bool
	current *producer
	old     sync.WaitGroup
}

// producer is one idempotent producer, with those who use it. After a failure nobody knows what the broker has of its
// messages, so it is not used again: a new one begins a row of its own.
type producer struct {
	sarama.SyncProducer
	users sync.WaitGroup
}

// NewPublisher makes a publisher. It connects when it is used first, and again after a failure.
func NewPublisher(c PublisherConfig) *Publisher {
	if c.Compression == nil {
		c.Compression = new(sarama.CompressionSnappy)
	}
	if c.Retries == 0 {
		c.Retries = 100
	}
	return &Publisher{c: c, marshal: newMarshaler()}
}

// ErrClosed means that a publisher or subscriber has been closed.
var ErrClosed = errors.New("closed")

func (c PublisherConfig) sarama() *sarama.Config {
	s := client()
	s.Net.MaxOpenRequests = 1 // with more, a failure changes the order
	s.Producer.RequiredAcks = sarama.WaitForAll
	s.Producer.Idempotent = true
	s.Producer.Return.Successes, s.Producer.Return.Errors = true, true
	s.Producer.Retry.Max, s.Producer.Retry.Backoff = c.Retries, 100*time.Millisecond
	s.Producer.Compression = *c.Compression
	s.Producer.Flush.Frequency = c.Linger
	s.Producer.Partitioner = func(string) sarama.Partitioner { return chosen{} }
	s.ChannelBufferSize = 4096
	return s
}

// chosen is a partitioner for messages whose partition has been decided.
type chosen struct{}

// Partition returns what was decided.
func (chosen) Partition(m *sarama.ProducerMessage, n int32) (int32, error) {
	if p, ok := m.Metadata.(int32); ok {
		return p, nil
	}
	var key []byte
	if m.Key != nil {
		var err error
		if key, err = m.Key.Encode(); err != nil {
			return 0, err
		}
	}
	return int32(router.PartitionOf(string(key), int(n))), nil
}

// RequiresConsistency is true: a partition that cannot be written to is no reason to take another one.
func (chosen) RequiresConsistency() bool { return true }

// Publish sends the messages, and returns once all are acknowledged. With an error, some may be.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 {
		return nil
	}
	var all []*sarama.ProducerMessage
	for _, msg := range messages {
		some, err := p.records(p.c.Prefix+topic, msg)
		if err != nil {
			return fmt.Errorf("message %s: %w", msg.UUID, err)
		}
		if len(messages) == 1 {
			all = some
			break
		}
		all = append(all, some...)
	}
	use, err := p.use()
	if err != nil {
		return err
	}
	defer use.users.Done()
	if err := use.SendMessages(all); err != nil {
		p.drop(use)
		return fmt.Errorf("publish %d messages to %s: %w", len(all), topic, first(err))
	}
	return nil
}

// records are what the message carries: one, or many that router.NewBatch has made it of.
func (p *Publisher) records(topic string, msg *message.Message) (all []*sarama.ProducerMessage, err error) {
	if r, ok := router.RecordsIn(msg); ok {
		all = marshalAll(topic, r)
	} else {
		one, err := p.marshal.Marshal(topic, msg)
		if err != nil {
			return nil, err
		}
		all = []*sarama.ProducerMessage{one}
	}
	if partition, ok := router.PartitionIn(msg.Context()); ok {
		var where any = int32(partition)
		for _, m := range all {
			m.Metadata = where
		}
	}
	return all, nil
}

// first is one error instead of thousands.
func first(err error) error {
	var many sarama.ProducerErrors
	if errors.As(err, &many) && len(many) > 0 {
		return fmt.Errorf("%d failed, the first one: %w", len(many), many[0].Err)
	}
	return err
}

// use returns a producer, which must be released with users.Done.
func (p *Publisher) use() (*producer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if p.current == nil {
		s, err := sarama.NewSyncProducer(p.c.Brokers, p.c.sarama())
		if err != nil {
			return nil, fmt.Errorf("reach Kafka at %v: %w", p.c.Brokers, err)
		}
		p.current = &producer{SyncProducer: s}
	}
	p.current.users.Add(1)
	return p.current, nil
}

// drop gives up a producer that failed, once all who use it are done.
func (p *Publisher) drop(failed *producer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != failed { // it was given up already, or Close ends it
		return
	}
	p.current = nil
	p.old.Go(func() {
		failed.users.Wait()
		if err := failed.Close(); err != nil {
			p.c.log().Warn("a producer did not end well", "error", err)
		}
	})
}

// Close waits for what is being published, but not for long: a broker that hangs does not acknowledge it.
func (p *Publisher) Close() error {
	p.mu.Lock()
	p.closed = true
	last := p.current
	p.current = nil
	p.mu.Unlock()
	ended := make(chan error, 1)
	go func() {
		p.old.Wait()
		if last == nil {
			ended <- nil
			return
		}
		last.users.Wait()
		ended <- last.Close()
	}()
	select {
	case err := <-ended:
		return err
	case <-time.After(leaveWithin):
		p.c.log().Warn("left while messages were not acknowledged: Kafka has not answered")
		return nil
	}
}
