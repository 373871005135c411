package kafka

import (
	"bytes"
	"errors"
	"reflect"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	wmkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/router"
)

// The marshaler writes what watermill-kafka's writes.
func TestRecordsAreWatermillKafkas(t *testing.T) {
	t.Parallel()
	theirs := wmkafka.NewWithPartitioningMarshaler(func(_ string, m *message.Message) (string, error) {
		return m.Metadata.Get(keyName), nil
	})
	for name, metadata := range map[string]message.Metadata{
		"a message of the relay": {"key": "acc_1", "ce_id": "inc-1-0", "position": "1.0", "prev": ""},
		"others":                 {"key": "k", "my header": "x\x00y"},
	} {
		msg := message.NewMessage("uuid", []byte("payload"))
		msg.Metadata = metadata
		want, err := theirs.Marshal("topic", msg)
		if err != nil {
			t.Fatal(err)
		}
		got, err := newMarshaler().Marshal("topic", msg)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []*sarama.ProducerMessage{got, want} {
			slices.SortFunc(m.Headers, func(a, b sarama.RecordHeader) int { return bytes.Compare(a.Key, b.Key) })
		}
		key, err := got.Key.Encode()
		if err != nil || string(key) != metadata["key"] {
			t.Errorf("%s: the key is %q, %v", name, key, err)
		}
		got.Key = want.Key
		if len(got.Headers) != len(want.Headers) || got.Topic != want.Topic || !reflect.DeepEqual(got.Value, want.Value) {
			t.Errorf("%s:\n%+v\nwant\n%+v", name, got, want)
		}
		for i, h := range want.Headers {
			if string(h.Key) != string(got.Headers[i].Key) || string(h.Value) != string(got.Headers[i].Value) {
				t.Errorf("%s: header %s = %q; want %s = %q", name, got.Headers[i].Key, got.Headers[i].Value, h.Key, h.Value)
			}
		}
	}
	msg := message.NewMessage("uuid", nil)
	msg.Metadata.Set(wmkafka.UUIDHeaderKey, "x")
	if _, err := newMarshaler().Marshal("topic", msg); err == nil {
		t.Error("a reserved header is taken")
	}
	if m, err := newMarshaler().Marshal("topic", message.NewMessage("uuid", nil)); err != nil || m.Key != nil {
		t.Errorf("without a key: %v, %v", m.Key, err)
	}
}

// many are records in memory, as the messages that they are.
type many []*message.Message

func (m many) Len() int { return len(m) }

func (m many) Record(i int, header func(name, value []byte)) []byte {
	for name, value := range m[i].Metadata {
		header([]byte(name), []byte(value))
	}
	return m[i].Payload
}

// What a batch carries becomes what its messages would have become one by one.
func TestRecordsOfABatchAreThoseOfItsMessages(t *testing.T) {
	t.Parallel()
	all := many{message.NewMessage("id-1", []byte("one")), message.NewMessage("id-2", nil)}
	for _, m := range all {
		m.Metadata = message.Metadata{idName: m.UUID, keyName: "key of " + m.UUID, "position": "1.0"}
	}
	all[1].Metadata.Set("prev", "1.0")
	p := NewPublisher(PublisherConfig{})
	got, err := p.records("topic", router.NewBatch(router.WithPartition(t.Context(), 7), "batch", all))
	if err != nil || len(got) != len(all) {
		t.Fatalf("%d records, %v", len(got), err)
	}
	for i, m := range all {
		want, err := newMarshaler().Marshal("topic", m)
		if err != nil {
			t.Fatal(err)
		}
		want.Metadata = int32(7)
		for _, m := range []*sarama.ProducerMessage{got[i], want} {
			slices.SortFunc(m.Headers, func(a, b sarama.RecordHeader) int { return bytes.Compare(a.Key, b.Key) })
		}
		if len(m.Payload) == 0 {
			got[i].Value, want.Value = nil, nil
		}
		if !reflect.DeepEqual(got[i], want) {
			t.Errorf("record %d:\n%+v\nwant\n%+v", i, got[i], want)
		}
	}
}

func TestThePartitionIsWhatTheRelaySays(t *testing.T) {
	t.Parallel()
	m := &sarama.ProducerMessage{Key: sarama.StringEncoder("foobar"), Metadata: int32(5)}
	if p, err := (chosen{}).Partition(m, 16); p != 5 || err != nil {
		t.Errorf("partition %d, %v", p, err)
	}
	m.Metadata = nil
	if p, err := (chosen{}).Partition(m, 16); int(p) != router.PartitionOf("foobar", 16) || err != nil {
		t.Errorf("by the key: partition %d, %v", p, err)
	}
}

// failing is a producer that fails once it is told to.
type failing struct {
	sarama.SyncProducer
	begun, fail chan struct{}
	closed      atomic.Int32
}

func (f *failing) SendMessages([]*sarama.ProducerMessage) error {
	close(f.begun)
	<-f.fail
	return errors.New("Kafka is away")
}

func (f *failing) Close() error {
	f.closed.Add(1)
	return nil
}

// A producer that fails while the publisher is being closed is closed once: twice, and the process would panic.
func TestAProducerThatFailsAtTheEndIsClosedOnce(t *testing.T) {
	t.Parallel()
	f := &failing{begun: make(chan struct{}), fail: make(chan struct{})}
	p := NewPublisher(PublisherConfig{})
	p.current = &producer{SyncProducer: f}
	published, closed := make(chan error), make(chan error)
	go func() { published <- p.Publish("topic", message.NewMessage("uuid", nil)) }()
	<-f.begun
	go func() { closed <- p.Close() }()
	for {
		other, err := p.use()
		if errors.Is(err, ErrClosed) {
			break
		}
		other.users.Done()
		runtime.Gosched()
	}
	close(f.fail)
	if err := <-published; err == nil {
		t.Error("it was published")
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	p.old.Wait()
	if n := f.closed.Load(); n != 1 {
		t.Errorf("it was closed %d times", n)
	}
}

// Closing does not wait for a broker that hangs.
func TestThePublisherClosesWhileKafkaHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &failing{begun: make(chan struct{}), fail: make(chan struct{})}
		p := NewPublisher(PublisherConfig{})
		p.current = &producer{SyncProducer: f}
		published := make(chan error)
		go func() { published <- p.Publish("topic", message.NewMessage("uuid", nil)) }()
		<-f.begun
		began := time.Now()
		if err := p.Close(); err != nil || time.Since(began) != leaveWithin {
			t.Errorf("it took %s: %v", time.Since(began), err)
		}
		close(f.fail)
		if err := <-published; err == nil {
			t.Error("it was published")
		}
	})
}
