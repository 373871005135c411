//go:build !race

package kafka_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"bankforge/adapters/kafka"
)

// The suite that defines Watermill's Publisher and Subscriber, against a real Kafka. It mostly waits, so it runs beside
// other tests and without the race detector. Messages without a key go to one partition, and so keep their order.

var features = tests.Features{
	ConsumerGroups:      true,
	ExactlyOnceDelivery: false, // the checkpoint beside the handler's writes makes the effect exactly once
	GuaranteedOrder:     true,
	Persistent:          true,
}

// suite runs all of it. Each subscriber of the suite that names no group has one of its test's own.
func suite(t *testing.T, f tests.Features, pubSub open) {
	t.Helper()
	tests.TestPubSub(t, f, func(t *testing.T) (message.Publisher, message.Subscriber) {
		t.Helper()
		return pubSub(t, t.Name())
	}, pubSub)
}

func TestTheSubscriberPassesWatermillsSuite(t *testing.T) {
	t.Parallel()
	suite(t, features, batching(broker(t)))
}

func TestOneByOnePassesWatermillsSuite(t *testing.T) {
	t.Parallel()
	suite(t, features, oneByOne(broker(t)))
}

// Without a group, every subscriber gets everything, here since the beginning.
func TestASubscriberWithoutGroupPassesWatermillsSuite(t *testing.T) {
	t.Parallel()
	c, f := broker(t), features
	f.ConsumerGroups, f.NewSubscriberReceivesOldMessages = false, true
	suite(t, f, func(t *testing.T, _ string) (message.Publisher, message.Subscriber) {
		t.Helper()
		sub := kafka.NewSubscriber(kafka.SubscriberConfig{Config: c, Records: 1, Since: time.UnixMilli(1), Partitions: 4})
		t.Cleanup(func() { sub.Close() })
		return publisher(t, c), sub
	})
}
