package kafka_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/adapters/kafka"
	"bankforge/app/bank"
	"bankforge/router/relay"
)

// newTopic makes one with some messages in it, all of one key.
func newTopic(t *testing.T, c kafka.Config, partitions, messages int) (topic string) {
	t.Helper()
	topic = prefix() + "topic"
	topics := kafka.Topics{Config: c}
	if err := topics.Make(t.Context(), bank.Topic(topic), partitions); err != nil {
		t.Fatal(err)
	}
	publish(t, c, topic, messages)
	return topic
}

func publish(t *testing.T, c kafka.Config, topic string, n int) {
	t.Helper()
	msgs := make([]*message.Message, n)
	for i := range msgs {
		msgs[i] = message.NewMessage(strconv.Itoa(i), []byte(strconv.Itoa(i)))
		msgs[i].Metadata.Set("key", "one")
	}
	if err := publisher(t, c).Publish(topic, msgs...); err != nil {
		t.Fatal(err)
	}
}

func subscribe(t *testing.T, s *kafka.Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	t.Cleanup(func() { s.Close() })
	out, err := s.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func next(t *testing.T, out <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case msg, ok := <-out:
		if !ok {
			t.Fatal("the session is over")
		}
		return msg
	case <-time.After(30 * time.Second):
		t.Fatal("nothing comes")
		return nil
	}
}

// none fails the test if something comes.
func none(t *testing.T, out <-chan *message.Message) {
	t.Helper()
	select {
	case msg, ok := <-out:
		if ok {
			t.Errorf("%s comes", msg.UUID)
		}
	case <-time.After(200 * time.Millisecond):
	}
}

func TestDrainFinishesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	c := broker(t)
	topic := newTopic(t, c, 1, 3)
	s := kafka.NewSubscriber(kafka.SubscriberConfig{Config: c, Group: topic, Records: 1})
	out := subscribe(t, s, topic)
	next(t, out).Ack()
	under := next(t, out)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.Drain(t.Context())
	}()
	none(t, out)
	select {
	case <-drained:
		t.Error("it is drained with a message under way")
	default:
	}
	if err := under.Context().Err(); err != nil {
		t.Errorf("what is under way is interrupted: %v", err)
	}
	under.Ack()
	<-drained
	none(t, out)
	if _, err := s.Subscribe(t.Context(), topic); !errors.Is(err, kafka.ErrClosed) {
		t.Errorf("subscribing afterwards: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := <-out; ok {
		t.Error("the session goes on")
	}
	again := subscribe(t, kafka.NewSubscriber(kafka.SubscriberConfig{Config: c, Group: topic, Records: 1}), topic)
	if msg := next(t, again); string(msg.Payload) != "2" {
		t.Errorf("the next one begins with %s: what was acknowledged is not committed", msg.Payload)
	}
}

func TestADrainEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c := broker(t)
	topic := newTopic(t, c, 1, 1)
	s := kafka.NewSubscriber(kafka.SubscriberConfig{Config: c, Group: topic})
	msg := next(t, subscribe(t, s, topic))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	s.Drain(ctx)
	go s.Close()
	<-msg.Context().Done()
}

// A member that joins gets some of the partitions; who had them stops what it does there.
func TestAPartitionThatIsTakenAwayEndsItsMessage(t *testing.T) {
	t.Parallel()
	c := broker(t)
	topic := newTopic(t, c, 1, 5)
	first := kafka.NewSubscriber(kafka.SubscriberConfig{Config: c, Group: topic, Records: 1})
	out := subscribe(t, first, topic)
	held := next(t, out)
	go first.Close()
	<-held.Context().Done()
	held.Nack()
	second := subscribe(t, kafka.NewSubscriber(kafka.SubscriberConfig{Config: c, Group: topic, Records: 1}), topic)
	if msg := next(t, second); string(msg.Payload) != "0" {
		t.Errorf("the next member begins with %s", msg.Payload)
	}
}

func TestARefusedMessageComesAgain(t *testing.T) {
	t.Parallel()
	c := broker(t)
	topic := newTopic(t, c, 1, 40)
	out := subscribe(t, kafka.NewSubscriber(kafka.SubscriberConfig{
		Config: c, Group: topic, Records: 10, Again: time.Millisecond,
	}), topic)
	msg := next(t, out)
	id := msg.UUID
	for range 3 {
		msg.Nack()
		if msg = next(t, out); msg.UUID != id {
			t.Fatalf("%s comes instead of %s", msg.UUID, id)
		}
	}
	msg.Ack()
	if msg = next(t, out); msg.UUID == id {
		t.Error("what was acknowledged comes again")
	}
}

// While little comes, a partition waits for more, unless somebody is in a hurry or there is enough.
func TestASubscriberGathers(t *testing.T) {
	t.Parallel()
	c := broker(t)
	topic := newTopic(t, c, 1, 1)
	s := kafka.NewSubscriber(kafka.SubscriberConfig{Config: c, Group: topic, Records: 10})
	asked, urgent := make(chan int, 100), make(chan struct{})
	s.Gather(func(n int, _ time.Duration) (time.Duration, <-chan struct{}) {
		asked <- n
		return time.Hour, urgent
	})
	out := subscribe(t, s, topic)
	next(t, out).Ack()
	if n := <-asked; n != 1 {
		t.Errorf("it is asked about %d records", n)
	}
	publish(t, c, topic, 2)
	for range 5 { // a second, for both to come
		none(t, out)
	}
	close(urgent)
	msg := next(t, out)
	if n := recordsIn(msg); n != 2 {
		t.Errorf("%d records were gathered", n)
	}
	msg.Ack()
	publish(t, c, topic, 12) // more than one message carries
	for n := 0; n < 10; n += recordsIn(msg) {
		msg = next(t, out)
		msg.Ack()
	}
}

// Without a group everything comes that is published from a moment on, in every process.
func TestWithoutAGroupEveryProcessGetsWhatIsNew(t *testing.T) {
	t.Parallel()
	c := broker(t)
	topic := newTopic(t, c, 2, 3)
	<-time.After(5 * time.Millisecond) // the clocks of records are of whole milliseconds
	began := time.Now()
	outs := []<-chan *message.Message{
		subscribe(t, kafka.NewSubscriber(kafka.SubscriberConfig{Config: c, Since: began, Records: 1}), topic),
		subscribe(t, kafka.NewSubscriber(kafka.SubscriberConfig{Config: c, Since: began, Records: 1}), topic),
	}
	publish(t, c, topic, 2)
	for _, out := range outs {
		for want := range 2 {
			msg := next(t, out)
			if string(msg.Payload) != strconv.Itoa(want) {
				t.Errorf("%s comes; want %d", msg.Payload, want)
			}
			msg.Ack()
		}
		none(t, out)
	}
}

func TestAnotherNumberOfPartitionsIsRefused(t *testing.T) {
	t.Parallel()
	c := broker(t)
	topic := bank.Topic(newTopic(t, c, 2, 0))
	topics := kafka.Topics{Config: c}
	if missing, err := topics.Missing(t.Context(), map[bank.Topic]int{topic: 2}); err != nil || len(missing) > 0 {
		t.Errorf("as it is: %v, %v", missing, err)
	}
	if _, err := topics.Missing(t.Context(), map[bank.Topic]int{topic: 3}); !errors.Is(err, relay.ErrPartitions) {
		t.Errorf("three instead of two: %v", err)
	}
	if missing, err := topics.Missing(t.Context(), map[bank.Topic]int{topic + "x": 3}); err != nil || len(missing) != 1 {
		t.Errorf("one that is not there: %v, %v", missing, err)
	}
	if err := topics.Make(t.Context(), topic, 3); err != nil {
		t.Errorf("one that is there: %v", err)
	}
}
