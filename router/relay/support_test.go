package relay_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

const (
	accounts   = 6
	partitions = 3
)

func everyTopic() map[bank.Topic]int {
	return map[bank.Topic]int{bank.AccountsTopic: partitions, bank.TransactionsTopic: 2, bank.OpsTopic: 2}
}

// older are the topics of a bank before there were acts.
func older() map[bank.Topic]int {
	return map[bank.Topic]int{bank.AccountsTopic: partitions, bank.TransactionsTopic: 2}
}

// ledger is a router.Source in memory, of transfers.
type ledger struct {
	mu          sync.Mutex
	hints       *router.Hints
	incarnation string
	events      []app.Recorded
	versions    map[int]bank.Version
}

func newLedger() *ledger {
	return &ledger{hints: router.NewHints(), incarnation: "inc1", versions: map[int]bank.Version{}}
}

func (l *ledger) Read(_ context.Context, after bank.Seq, limit int) ([]app.Recorded, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := min(int(after), len(l.events))
	return slices.Clone(l.events[from:min(from+limit, len(l.events))]), nil
}

func (l *ledger) Head(context.Context) (app.Head, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return app.Head{Incarnation: l.incarnation, Seq: bank.Seq(len(l.events))}, nil
}

func (l *ledger) head() bank.Seq {
	h, _ := l.Head(context.Background())
	return h.Seq
}

func account(i int) bank.AccountID { return bank.MakeID[bank.Account]([16]byte{15: byte(i)}) }

// transfer appends an event with two legs and a transaction.
func (l *ledger) transfer(from, to int) {
	l.mu.Lock()
	c, err := bank.ParseCurrency("EUR")
	if err != nil {
		panic(err)
	}
	amount, err := bank.NewAmount(1, c)
	if err != nil {
		panic(err)
	}
	seq := bank.Seq(len(l.events) + 1)
	e := bank.Event{Seq: seq, Type: bank.TransactionMade, Time: bank.Time(1_700_000_000_000_000 + int64(seq))}
	for i, who := range []int{from, to} {
		l.versions[who]++
		e.Legs = append(e.Legs, bank.Leg{
			Account: account(who), Currency: c, Amount: int64(2*i - 1), After: bank.AccountState{
				Version: l.versions[who], Status: bank.Active, DailyDebitLimit: bank.NoLimit, ReviewAbove: bank.NoLimit,
			},
		})
	}
	e.Transactions = []bank.Transaction{{
		ID: bank.MakeID[bank.Transaction]([16]byte{14: byte(seq >> 8), 15: byte(seq)}), Kind: bank.TransferKind,
		Status: bank.Posted, Version: 1, Amount: amount, From: account(from), To: account(to), Seq: seq,
	}}
	l.events = append(l.events, app.Recorded{Event: e})
	l.mu.Unlock()
	l.hints.Wake()
}

// acted appends an act about a handler.
func (l *ledger) acted(handler int) {
	l.mu.Lock()
	seq := bank.Seq(len(l.events) + 1)
	l.events = append(l.events, app.Recorded{Event: bank.Event{
		Seq: seq, Type: bank.OperatorActed, Time: bank.Time(1_700_000_000_000_000 + int64(seq)), Act: &bank.Act{
			ID:   bank.MakeID[bank.Act]([16]byte{14: byte(seq >> 8), 15: byte(seq)}),
			Kind: bank.HandlerPause, Handler: fmt.Sprint("handler-", handler), Reason: "seen",
		},
	}})
	l.mu.Unlock()
	l.hints.Wake()
}

// broker is one in memory: relay.Topics, message.Publisher, and what can happen to either.
type broker struct {
	mu     sync.Mutex
	topics map[string][][]*message.Message
	moved  chan struct{} // closed when something was added
	fault  string        // of the next Publish
	down   bool
}

func newBroker() *broker {
	return &broker{topics: map[string][][]*message.Message{}, moved: make(chan struct{})}
}

var errBroker = errors.New("the broker has a bad day")

func (b *broker) Missing(_ context.Context, want map[bank.Topic]int) (missing []bank.Topic, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return nil, errBroker
	}
	for topic := range want {
		if b.topics[string(topic)] == nil {
			missing = append(missing, topic)
		}
	}
	return missing, nil
}

func (b *broker) Make(_ context.Context, topic bank.Topic, partitions int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.topics[string(topic)] == nil {
		b.topics[string(topic)] = make([][]*message.Message, partitions)
	}
	return nil
}

// Publish keeps all, or what the fault leaves of it.
func (b *broker) Publish(topic string, messages ...*message.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	fault := b.fault
	b.fault = ""
	half := len(messages) / 2
	switch {
	case b.down || b.topics[topic] == nil || fault == "refuse":
		return errBroker
	case fault == "half":
		messages = messages[:half]
	case fault == "hole":
		messages = messages[half:]
	}
	for _, m := range messages {
		p, ok := router.PartitionIn(m.Context())
		if key := m.Metadata["key"]; !ok || p != router.PartitionOf(key, len(b.topics[topic])) {
			return fmt.Errorf("key %s is sent to partition %d", key, p)
		}
		b.topics[topic][p] = append(b.topics[topic][p], m)
	}
	close(b.moved)
	b.moved = make(chan struct{})
	if fault != "" {
		return errBroker
	}
	return nil
}

func (b *broker) Close() error { return nil }

func (b *broker) set(fault string, down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault, b.down = fault, down
}

// lose deletes a topic.
func (b *broker) lose(topic bank.Topic) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.topics, string(topic))
}

// check says what is wrong with what the broker has of the log.
func (b *broker) check(l *ledger) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	want := map[string]map[handlers.Position]handlers.Position{} // by topic and partition: what comes before what
	last := map[string]handlers.Position{}
	for i := range l.events {
		for _, c := range l.events[i].Changes() {
			topic := c.Topic()
			p := fmt.Sprint(topic, "/", router.PartitionOf(c.Key(), everyTopic()[topic]))
			if want[p] == nil {
				want[p] = map[handlers.Position]handlers.Position{}
			}
			at := handlers.Position{Seq: c.Seq, N: c.N}
			want[p][at], last[p] = last[p], at
		}
	}
	for topic, all := range b.topics {
		for i, messages := range all {
			p := fmt.Sprint(topic, "/", i)
			have := map[handlers.Position]handlers.Position{}
			for _, m := range messages {
				at, prev, err := positions(m)
				if before, ok := have[at]; err != nil || ok && before != prev {
					return fmt.Errorf("%s: %v says that %v and %v are before it: %w", p, at, before, prev, err)
				}
				have[at] = prev
			}
			if !maps.Equal(have, want[p]) {
				return fmt.Errorf("%s has\n%v\nwant\n%v", p, have, want[p])
			}
		}
	}
	return nil
}

// checkOnce says what was sent twice.
func (b *broker) checkOnce(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for topic, all := range b.topics {
		for p, messages := range all {
			seen := map[string]bool{}
			for _, m := range messages {
				if seen[m.UUID] {
					t.Errorf("%s/%d: %s was sent twice, though nothing failed", topic, p, m.UUID)
				}
				seen[m.UUID] = true
			}
		}
	}
}

func positions(m *message.Message) (at, prev handlers.Position, err error) {
	for name, p := range map[string]*handlers.Position{"position": &at, "prev": &prev} {
		if text := m.Metadata[name]; text != "" {
			if _, err := fmt.Sscanf(text, "%d.%d", &p.Seq, &p.N); err != nil {
				return at, prev, err
			}
		}
	}
	return at, prev, nil
}
