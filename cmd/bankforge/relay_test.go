package main

import (
	"context"
	"io"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/cmd/bankforge/stores"
	"bankforge/router"
	"bankforge/router/relay"
)

// silent is a broker, and an empty log, of which nobody wants anything but that it is closed.
type silent struct{ closed int }

func (*silent) Read(context.Context, bank.Seq, int) ([]app.Recorded, error) { return nil, nil }
func (*silent) Head(context.Context) (app.Head, error)                      { return app.Head{Incarnation: "i"}, nil }
func (*silent) Missing(context.Context, map[bank.Topic]int) (none []bank.Topic, _ error) {
	return none, nil
}
func (*silent) Make(context.Context, bank.Topic, int) error { return nil }
func (*silent) Publish(string, ...*message.Message) error   { return nil }

func (s *silent) Close() error {
	s.closed++
	return nil
}

func TestTheRelaysPublisherIsClosedAtTheEnd(t *testing.T) {
	t.Parallel()
	s, store := &silent{}, &apptest.MemoryRelayStore{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := &bankProcess{published: router.NewPublished(router.PublishedConfig{Cursors: store})}
	b.routing.Source = s
	b.stores = &stores.Stores{Broker: &stores.Broker{
		Relay: func(c relay.Config) (*relay.Relay, io.Closer, error) {
			c.Publisher, c.Topics, c.Store, c.Partitions = s, s, store, map[bank.Topic]int{bank.AccountsTopic: 1}
			c.Log = nil
			r, err := relay.New(c)
			cancel()
			return r, s, err
		},
		Mirror: func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		},
	}}
	if err := runRelay(ctx, b); err != nil {
		t.Fatal(err)
	}
	if s.closed != 1 {
		t.Errorf("it was closed %d times", s.closed)
	}
}
