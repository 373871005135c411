// Package kafka is the broker behind many machines: a publisher for the relay, and subscribers for handlers.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/IBM/sarama"

	"bankforge/app/bank"
	"bankforge/router/relay"
)

// Config says where Kafka is.
type Config struct {
	Brokers []string     // host:port of some brokers; they know of the others
	Prefix  string       // of all topics and groups: several banks can share a cluster
	Log     *slog.Logger // default: discarded
}

func (c Config) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

// client is what all connections have in common. What is not there is not made by asking for it: topics need
// the right number of partitions.
func client() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V3_6_0_0
	c.ClientID = "bankforge"
	c.Metadata.AllowAutoTopicCreation = false
	c.Metadata.Retry.Max, c.Metadata.Retry.Backoff = 10, 100*time.Millisecond
	c.Net.DialTimeout = 5 * time.Second
	return c
}

// keyName is the metadata that says what a message's topic is ordered by.
const keyName = "key"

// Topics makes topics, and checks how many partitions they have.
type Topics struct {
	Config
	Replicas int16 // of each partition; 0: as the broker is configured
}

const topicPatience = 15 * time.Second // until a topic that was made is seen

// Missing returns those of the topics that are not there, and refuses those with another number of partitions.
func (t *Topics) Missing(_ context.Context, partitions map[bank.Topic]int) (missing []bank.Topic, err error) {
	err = t.admin(func(admin sarama.ClusterAdmin) error {
		for topic, want := range partitions {
			have, err := t.count(admin, topic)
			switch {
			case err != nil:
				return fmt.Errorf("topic %s%s: %w", t.Prefix, topic, err)
			case have == 0:
				missing = append(missing, topic)
			case have != want:
				return fmt.Errorf("%w: %s%s has %d in Kafka, and its messages are made for %d; configure %d if nothing was "+
					"published there yet, else delete the topic: it is made anew and filled from the log",
					relay.ErrPartitions, t.Prefix, topic, have, want, have)
			}
		}
		return nil
	})
	return missing, err
}

// Make makes a topic, and returns once it can be written to.
func (t *Topics) Make(ctx context.Context, topic bank.Topic, partitions int) error {
	return t.admin(func(admin sarama.ClusterAdmin) error {
		replicas := t.Replicas
		if replicas == 0 {
			replicas = -1
		}
		err := admin.CreateTopic(t.Prefix+string(topic), &sarama.TopicDetail{
			NumPartitions: int32(partitions), ReplicationFactor: replicas,
		}, false)
		if err == nil || errors.Is(err, sarama.ErrTopicAlreadyExists) { // somebody else may have been faster
			err = t.await(ctx, admin, topic)
		}
		if err != nil {
			return fmt.Errorf("make topic %s%s: %w", t.Prefix, topic, err)
		}
		return nil
	})
}

// admin does something with a connection that can change topics.
func (t *Topics) admin(do func(sarama.ClusterAdmin) error) error {
	admin, err := sarama.NewClusterAdmin(t.Brokers, client())
	if err != nil {
		return fmt.Errorf("reach Kafka at %v: %w", t.Brokers, err)
	}
	defer admin.Close() //nolint:errcheck // it has done its work
	return do(admin)
}

// count is how many partitions the topic has; 0: there is no such topic.
func (t *Topics) count(admin sarama.ClusterAdmin, topic bank.Topic) (int, error) {
	all, err := admin.DescribeTopics([]string{t.Prefix + string(topic)})
	switch {
	case err != nil:
		return 0, err
	case len(all) != 1:
		return 0, fmt.Errorf("%d answers about one topic", len(all))
	case errors.Is(all[0].Err, sarama.ErrUnknownTopicOrPartition):
		return 0, nil
	case !errors.Is(all[0].Err, sarama.ErrNoError):
		return 0, all[0].Err
	}
	return len(all[0].Partitions), nil
}

func (t *Topics) await(ctx context.Context, admin sarama.ClusterAdmin, topic bank.Topic) error {
	ctx, cancel := context.WithTimeout(ctx, topicPatience)
	defer cancel()
	for {
		if have, err := t.count(admin, topic); err != nil || have > 0 {
			return err
		}
		if !pause(ctx, 50*time.Millisecond) {
			return errors.New("it was made, and does not appear")
		}
	}
}

// pause waits; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
