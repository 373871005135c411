package kafka_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"bankforge/adapters/kafka"
	"bankforge/api"
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

// schemas are the AsyncAPI document's, by the type of the message: headers and payload.
func schemas(t *testing.T) map[string][2]*jsonschema.Schema {
	t.Helper()
	var doc struct {
		Components struct {
			Messages map[string]struct {
				Name             string
				Headers, Payload struct {
					Ref string `yaml:"$ref"`
				}
			}
		}
	}
	var whole any
	if err := yaml.Unmarshal(api.AsyncAPI, &doc); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(api.AsyncAPI, &whole); err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("asyncapi.yaml", whole); err != nil {
		t.Fatal(err)
	}
	out := map[string][2]*jsonschema.Schema{}
	for _, m := range doc.Components.Messages {
		var both [2]*jsonschema.Schema
		for i, ref := range []string{m.Headers.Ref, m.Payload.Ref} {
			schema, err := compiler.Compile("asyncapi.yaml" + ref)
			if err != nil {
				t.Fatal(err)
			}
			both[i] = schema
		}
		out[m.Name] = both
	}
	return out
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
	documented := schemas(t)
	for topic, n := range map[bank.Topic]int{bank.AccountsTopic: 110, bank.TransactionsTopic: 50, bank.OpsTopic: 12} {
		for _, m := range records(t, c, topic, partitions, n) {
			headers := map[string]any{}
			for _, h := range m.Headers {
				if name := string(h.Key); !strings.HasPrefix(name, "_watermill") {
					headers[name] = string(h.Value)
				}
			}
			kind, _ := headers["ce_type"].(string)
			schema, ok := documented[kind]
			if !ok {
				t.Fatalf("there is no document of %q", kind)
			}
			payload, err := jsonschema.UnmarshalJSON(bytes.NewReader(m.Value))
			if err != nil {
				t.Fatal(err)
			}
			for i, part := range []any{headers, payload} {
				if err := schema[i].Validate(part); err != nil {
					t.Errorf("%s at %v: %v", kind, headers["position"], err)
				}
			}
			if key := string(m.Key); key != headers["key"] || router.PartitionOf(key, partitions) != int(m.Partition) {
				t.Errorf("%v has key %q in partition %d", headers, key, m.Partition)
			}
		}
	}
}
