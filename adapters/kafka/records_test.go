package kafka_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"bankforge/adapters/kafka"
	"bankforge/api/apitest"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/router"
	"bankforge/router/relay"
)

func plain() *sarama.Config {
	s := sarama.NewConfig()
	s.Version = sarama.V3_6_0_0
	return s
}

// deleteTopic returns when the broker knows of it no more: it answers as soon as the deletion is decided, and serves
// the topic until it has carried that out.
func deleteTopic(t *testing.T, brokers []string, topic string) {
	t.Helper()
	admin, err := sarama.NewClusterAdmin(brokers, plain())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.DeleteTopic(topic); err != nil {
		t.Fatal(err)
	}
	for deadline := time.After(30 * time.Second); ; {
		described, err := admin.DescribeTopics([]string{topic})
		if err != nil {
			t.Fatal(err)
		}
		if described[0].Err == sarama.ErrUnknownTopicOrPartition {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s is still there: %v", topic, described[0].Err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// records are the first n of a topic, as any client sees them.
func records(t *testing.T, c kafka.Config, topic bank.Topic, partitions, n int) (all []*sarama.ConsumerMessage) {
	t.Helper()
	consumer, err := sarama.NewConsumer(c.Brokers, plain())
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	got := make(chan *sarama.ConsumerMessage)
	done := make(chan struct{})
	defer close(done)
	for p := range partitions {
		claim, err := consumer.ConsumePartition(c.Prefix+string(topic), int32(p), sarama.OffsetOldest)
		if err != nil {
			t.Fatal(err)
		}
		defer claim.Close()
		go func() {
			for m := range claim.Messages() {
				select {
				case got <- m:
				case <-done:
				}
			}
		}()
	}
	deadline := time.After(30 * time.Second)
	for len(all) < n {
		select {
		case m := <-got:
			all = append(all, m)
		case <-deadline:
			t.Fatalf("%s has %d of %d messages", topic, len(all), n)
		}
	}
	return all
}

// What any client sees of a topic: keys, CloudEvents headers, and JSON as the AsyncAPI document describes it; each key
// in the partition that the clients of Java choose.
func TestWhatIsInTheTopicsIsAsDocumented(t *testing.T) {
	t.Parallel()
	c, l := broker(t), newTransfers(50, 10)
	c.Prefix = prefix()
	for range 12 {
		l.act()
	}
	const partitions = 3
	relayAll(t, l, relay.Config{
		Publisher: publisher(t, c), Topics: &kafka.Topics{Config: c}, Store: &apptest.MemoryRelayStore{},
		Partitions: topicsOf(partitions),
	})
	documented := apitest.Messages(t)
	for topic, n := range map[bank.Topic]int{bank.AccountsTopic: 110, bank.TransactionsTopic: 50, bank.OpsTopic: 12} {
		for _, m := range records(t, c, topic, partitions, n) {
			headers := map[string]any{}
			for _, h := range m.Headers {
				if name := string(h.Key); !strings.HasPrefix(name, "_watermill") {
					headers[name] = string(h.Value)
				}
			}
			kind, _ := headers["ce_type"].(string)
			described, ok := documented[kind]
			if !ok || described.Topic != string(topic) {
				t.Fatalf("there is no document of %q", kind)
			}
			payload, err := jsonschema.UnmarshalJSON(bytes.NewReader(m.Value))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(described.Headers.Validate(headers), described.Payload.Validate(payload)); err != nil {
				t.Errorf("%s at %v: %v", kind, headers["position"], err)
			}
			if key := string(m.Key); key != headers["key"] || router.PartitionOf(key, partitions) != int(m.Partition) {
				t.Errorf("%v has key %q in partition %d", headers, key, m.Partition)
			}
		}
	}
}
