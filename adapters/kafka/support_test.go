package kafka_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/adapters/kafka"
)

type open = func(t *testing.T, group string) (message.Publisher, message.Subscriber)

func batching(c kafka.Config) open {
	return func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		t.Helper()
		sub := kafka.NewSubscriber(kafka.SubscriberConfig{Config: c, Group: group, Records: 1, Partitions: 4})
		t.Cleanup(func() { sub.Close() }) // the suite forgets some
		return publisher(t, c), sub
	}
}

func publisher(tb testing.TB, c kafka.Config) *kafka.Publisher {
	tb.Helper()
	p := kafka.NewPublisher(kafka.PublisherConfig{Config: c})
	tb.Cleanup(func() { p.Close() })
	return p
}

func oneByOne(c kafka.Config) open {
	return func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		t.Helper()
		sub, err := kafka.NewOneByOne(kafka.SubscriberConfig{Config: c, Group: group, Partitions: 4})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sub.Close() })
		return publisher(t, c), sub
	}
}
