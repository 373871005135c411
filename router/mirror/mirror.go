// Package mirror shows what is parked to those who watch for dead letters with tools of their own: each parked message
// is published once more, beside the topic that it came from. Nobody here reads that; the parking lot is what counts.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/router/rebuild"
	"bankforge/router/relay"
)

// Store is where messages are parked. It is safe for concurrent use, also by several processes.
type Store interface {
	// Unmirrored returns messages that were parked and that nobody has noted as mirrored, at most limit; those of a key in
	// the order in which they were parked, and none before what was parked of its key before it.
	Unmirrored(ctx context.Context, limit int) ([]Letter, error)
	// Mirrored notes that they are. It survives a crash.
	Mirrored(ctx context.Context, ids []int64) error
	// Reserve makes sure that nobody else has the name, until release. rebuild.ErrUnderWay: somebody has.
	Reserve(ctx context.Context, name string, shared bool) (release func(), err error)
}

// Config is what a Mirror needs. Fields without a default are required.
type Config struct {
	Store      Store
	Publisher  message.Publisher // acknowledges what Publish returned for; keeps the order of each partition
	Topics     relay.Topics
	Partitions map[bank.Topic]int // of the topics that messages come from
	Prefix     string             // of topics and consumer groups, as the publisher puts it before them
	Poll       time.Duration      // how often is looked; default 500 ms
	Again      time.Duration      // the pause after a failure; default 2 s
	Batch      int                // messages that are published at once at most; default 500
	Log        *slog.Logger       // default: discarded
}

// Mirror publishes what is parked, at least once, in the order of each key. It works behind what was committed, so it
// holds up nobody; while the broker is away it waits.
type Mirror struct {
	c      Config
	topics map[bank.Topic]int // the mirror's
	made   bool
}

// New makes a mirror.
func New(c Config) *Mirror {
	if c.Poll == 0 {
		c.Poll = 500 * time.Millisecond
	}
	if c.Again == 0 {
		c.Again = 2 * time.Second
	}
	if c.Batch <= 0 {
		c.Batch = 500
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	m := &Mirror{c: c, topics: map[bank.Topic]int{}}
	for topic, n := range c.Partitions {
		m.topics[TopicOf(topic)] = n
	}
	return m
}

// Run works until ctx ends. Whatever fails, it tries again.
func (m *Mirror) Run(ctx context.Context) error {
	failing := false
	for ctx.Err() == nil {
		err, pause := m.round(ctx), m.c.Poll
		switch {
		case ctx.Err() != nil: // the end, and no failure
			continue
		case err == nil && failing:
			m.c.Log.InfoContext(ctx, "what is parked is shown in the broker again")
		case err != nil:
			pause = m.c.Again
			if !failing {
				m.c.Log.WarnContext(ctx, "what is parked cannot be shown in the broker now", "error", err)
			}
		}
		failing = err != nil
		rest(ctx, pause)
	}
	return nil
}

// name is what the one reserves that publishes now.
const name = "mirror of what is parked"

// round publishes what there is.
func (m *Mirror) round(ctx context.Context) error {
	if err := m.make(ctx); err != nil {
		return err
	}
	some, err := m.c.Store.Unmirrored(ctx, 1)
	if err != nil || len(some) == 0 {
		return err
	}
	release, err := m.c.Store.Reserve(ctx, name, false)
	if errors.Is(err, rebuild.ErrUnderWay) {
		return nil
	}
	if err != nil {
		return err
	}
	defer release()
	for ctx.Err() == nil {
		some, err := m.c.Store.Unmirrored(ctx, m.c.Batch)
		if err != nil || len(some) == 0 {
			return err
		}
		if err := m.publish(ctx, some); err != nil {
			m.made = false // perhaps somebody has deleted a topic
			return err
		}
	}
	return nil
}

// make makes the topics that are missing.
func (m *Mirror) make(ctx context.Context) error {
	if m.made {
		return nil
	}
	missing, err := m.c.Topics.Missing(ctx, m.topics)
	for _, topic := range missing {
		if err == nil {
			err = m.c.Topics.Make(ctx, topic, m.topics[topic])
		}
	}
	m.made = err == nil
	return err
}

// noteWithin is how long it may take to note what was published, also at the end.
const noteWithin = 5 * time.Second

// publish shows the letters, and notes that.
func (m *Mirror) publish(ctx context.Context, letters []Letter) error {
	ids := make([]int64, len(letters))
	to := map[bank.Topic][]*message.Message{}
	for i := range letters {
		l := &letters[i]
		ids[i] = l.ID
		n := m.c.Partitions[l.Topic]
		if n == 0 {
			return fmt.Errorf("message %s was parked from %s, which has no partitions", l.Parked.ID(), l.Topic)
		}
		topic := TopicOf(l.Topic)
		to[topic] = append(to[topic], l.message(m.c.Prefix, n))
	}
	for topic, all := range to {
		if err := m.c.Publisher.Publish(string(topic), all...); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteWithin)
	defer cancel()
	return m.c.Store.Mirrored(ctx, ids)
}

// rest is over after d, or when ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
