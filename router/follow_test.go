package router_test

import (
	"context"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// stretches are a broker that brings the log itself, by the means of Tail.
type stretches struct {
	*ledger
	events int
}

func (s stretches) Next(ctx context.Context, topic string, after bank.Seq) (*message.Message, bank.Seq, error) {
	events, err := s.Read(ctx, after, s.events)
	if err != nil || len(events) == 0 {
		return nil, after, err
	}
	d := router.DeliveryFrom(s.incarnation, bank.Topic(topic), after, events)
	return router.NewMessage(ctx, d), d.Through.Seq, nil
}

// A broker that brings the log itself is told how to follow it: from the checkpoint of a kept route, and for a newest
// one from where that starts.
func TestABrokerFollowsTheLogAsATailWould(t *testing.T) {
	t.Parallel()
	l, store := newLedger(), openStore(t)
	l.credit(1, 2)
	var mu sync.Mutex
	var seen []bank.Seq
	kept := &book{store: store}
	round := func(until bank.Seq) {
		progress := router.NewProgress()
		r, err := router.New("", []router.Route{
			{Name: handlerName, Topic: bank.AccountsTopic, Handler: kept.handle, Store: store},
			{Name: "newest", Topic: bank.AccountsTopic, Kind: router.Newest, Handler: func(
				_ context.Context, facts []handlers.Fact,
			) error {
				mu.Lock()
				defer mu.Unlock()
				for i := range facts {
					seen = append(seen, facts[i].Seq)
				}
				return nil
			}},
		}, router.Config{
			Source: l, Hints: l.hints, Progress: progress, Batch: 3, Broker: &router.Broker{
				Follow: func(_ router.Route, t router.TailConfig, events int) (message.Subscriber, error) {
					t.Feed = stretches{l, events}
					return router.NewTail(t), nil
				},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		b := &bench{Router: r, name: handlerName, ledger: l, store: store, book: kept, progress: progress}
		stop := b.start(t)
		both := func() {
			for _, b.name = range []string{handlerName, "newest"} {
				b.await(t)
			}
		}
		both() // have started
		for l.head() < until {
			l.credit(1)
		}
		both()
		stop()
	}
	round(8)
	calls := kept.calls
	round(10)
	if kept.calls == calls || kept.at(t, 1) != 10 || kept.at(t, 2) != 1 {
		t.Errorf("the book is at %d, %d", kept.at(t, 1), kept.at(t, 2))
	}
	kept.check(t)
	for i, seq := range seen {
		if seq != bank.Seq(i+2) {
			t.Fatalf("newest saw events %v", seen)
		}
	}
	if len(seen) != 9 {
		t.Errorf("newest saw events %v", seen)
	}
}
