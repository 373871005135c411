package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/jackc/pgx/v5/pgxpool"

	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// The suite that defines Watermill's Publisher and Subscriber runs against the subscriber over tables like that of
// events, one for each topic, in a real PostgreSQL; with a publisher that only this test has, and events that are any
// message. The checkpoint of a group is how far one of its subscribers has been acknowledged.

// tables are logs of arbitrary messages.
type tables struct {
	pool  *pgxpool.Pool
	hints *router.Hints
	made  sync.Map
}

func openTables(t *testing.T, b *books) *tables {
	t.Helper()
	c, err := pgxpool.ParseConfig(servers.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	c.ConnConfig.RuntimeParams["search_path"] = b.prefix + "ledger"
	c.MaxConns = 12
	pool, err := pgxpool.NewWithConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return &tables{pool: pool, hints: router.NewHints()}
}

func tableOf(topic string) string {
	h := fnv.New64a()
	h.Write([]byte(topic))
	return fmt.Sprintf("event_%x", h.Sum64())
}

func (l *tables) SubscribeInitialize(topic string) error {
	once, _ := l.made.LoadOrStore(topic, sync.OnceValue(func() error {
		_, err := l.pool.Exec(context.Background(), `CREATE TABLE IF NOT EXISTS `+tableOf(topic)+
			` (seq bigint PRIMARY KEY, data bytea NOT NULL)`)
		return err
	}))
	return once.(func() error)()
}

// Publish appends the messages in one transaction.
func (l *tables) Publish(topic string, messages ...*message.Message) error {
	if err := l.SubscribeInitialize(topic); err != nil {
		return err
	}
	data := make([][]byte, len(messages))
	for i, m := range messages {
		var err error
		if data[i], err = json.Marshal(envelope{m.UUID, m.Metadata, m.Payload}); err != nil {
			return err
		}
	}
	ctx := context.Background()
	tx, err := l.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // after a commit there is nothing to roll back
	name := tableOf(topic)
	if _, err := tx.Exec(ctx, `LOCK TABLE `+name+` IN EXCLUSIVE MODE`); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO `+name+` SELECT (SELECT coalesce(max(seq), 0) FROM `+name+`) + n, data
		FROM unnest($1::bytea[]) WITH ORDINALITY AS m (data, n)`, data)
	if err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	l.hints.Wake()
	return nil
}

func (l *tables) Close() error { return nil }

type envelope struct {
	UUID     string           `json:"uuid"`
	Metadata message.Metadata `json:"metadata"`
	Payload  []byte           `json:"payload"`
}

func openEnvelope(ctx context.Context, _ string, s *stretch) (msg *message.Message, err error) {
	err = s.each(func(_ bank.Seq, data []byte) error {
		var e envelope
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		msg = message.NewMessageWithContext(ctx, e.UUID, e.Payload)
		msg.Metadata = e.Metadata
		return nil
	})
	return msg, err
}

// group is the checkpoint of one topic's handlers.
type group struct {
	mu sync.Mutex
	at bank.Seq
}

// tail is how a new subscriber of the group follows one topic.
func (g *group) tail() router.TailConfig {
	t := tailFrom(handlers.Position{})
	var own bank.Seq
	t.Start = func(context.Context, string) (handlers.Position, error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		own = g.at
		return handlers.End(own), nil
	}
	t.Gather = func(after, through bank.Seq, _ time.Duration) (time.Duration, <-chan struct{}) {
		g.mu.Lock()
		defer g.mu.Unlock()
		own += through - after
		g.at = max(g.at, own)
		return 0, nil
	}
	return t
}

// ofGroup is a subscriber of a group: a handler reads one topic.
type ofGroup struct {
	name   string
	groups *sync.Map // by name and topic
	all    *tables
	mu     sync.Mutex
	made   []*Subscriber
}

func (o *ofGroup) SubscribeInitialize(topic string) error { return o.all.SubscribeInitialize(topic) }

func (o *ofGroup) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	g, _ := o.groups.LoadOrStore(o.name+"\x00"+topic, new(group))
	tail := g.(*group).tail()
	tail.Hints, tail.Poll, tail.Again = o.all.hints, time.Second, time.Millisecond
	sub := newSubscriber(o.all.pool, o.name, tail, 1, tableOf, openEnvelope)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.made = append(o.made, sub)
	return sub.Subscribe(ctx, topic)
}

func (o *ofGroup) Close() (err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.made {
		err = errors.Join(err, s.Close())
	}
	return err
}

// pubSub makes publishers and subscribers. sharing: those that name no group are of one.
func pubSub(t *testing.T, all *tables, sharing bool) tests.ConsumerGroupPubSubConstructor {
	t.Helper()
	groups := new(sync.Map)
	return func(t *testing.T, name string) (message.Publisher, message.Subscriber) {
		t.Helper()
		sub := &ofGroup{name: name, groups: groups, all: all}
		if !sharing {
			sub.groups = new(sync.Map)
		}
		t.Cleanup(func() { sub.Close() }) // the suite forgets some
		return all, sub
	}
}

// suite runs all of it.
func suite(t *testing.T, f tests.Features, sharing bool) {
	t.Helper()
	f.GuaranteedOrder, f.Persistent = true, true
	f.ExactlyOnceDelivery = false // the checkpoint beside the handler's writes makes the effect exactly once
	// One event a row is a question for each message; of 5,000 for each of 50 subscribers that would be minutes.
	f.ForceShort = true
	open := pubSub(t, openTables(t, openBooks(t, 1)), sharing)
	tests.TestPubSub(t, f, func(t *testing.T) (message.Publisher, message.Subscriber) {
		t.Helper()
		return open(t, "")
	}, open)
}

func TestTheSubscriberPassesWatermillsSuite(t *testing.T) {
	t.Parallel()
	suite(t, tests.Features{ConsumerGroups: true}, true)
}

// A handler without a checkpoint starts where it is told.
func TestASubscriberOfItsOwnPassesWatermillsSuite(t *testing.T) {
	t.Parallel()
	suite(t, tests.Features{NewSubscriberReceivesOldMessages: true}, false)
}
