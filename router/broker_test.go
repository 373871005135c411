package router_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// Messages as a broker brings them: encoded, alone or in batches, with gaps, repetitions and damage.

// broker has the messages of a ledger's topic of accounts.
func broker(t *testing.T, l *ledger) (msgs []*message.Message) {
	t.Helper()
	var prev handlers.Position
	for i := range l.events {
		e := &l.events[i]
		for _, c := range e.Changes() {
			f := handlers.Fact{Change: c, Incarnation: l.incarnation, CorrelationID: e.Meta.CorrelationID}
			msg, err := router.Encode(&f, prev)
			if err != nil {
				t.Fatal(err)
			}
			prev = f.Position()
			msgs = append(msgs, msg)
		}
	}
	return msgs
}

func batch(t *testing.T, msgs ...*message.Message) *message.Message {
	t.Helper()
	msg, err := router.Batch("batch", msgs)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// deliver gives messages to all steps.
func (b *bench) deliver(t *testing.T, msgs ...*message.Message) {
	t.Helper()
	chain := b.Chain(handlerName)
	for _, m := range msgs {
		if _, err := chain(m.Copy()); err != nil {
			t.Fatal(err)
		}
	}
}

func (b *bench) expect(t *testing.T, want ...bank.Version) {
	t.Helper()
	for i, v := range want {
		if got := b.book.at(t, i+1); got != v {
			t.Errorf("account %d has version %d; want %d", i+1, got, v)
		}
	}
	b.book.check(t)
}

func TestRepetitionsHaveNoEffect(t *testing.T) {
	t.Parallel()
	l := newLedger()
	l.credit(1, 2)
	l.credit(1)
	b, msgs := newBench(t, l, openStore(t), quick()), broker(t, l)
	b.deliver(t, msgs[0], msgs[0], msgs[1], batch(t, msgs...), msgs[2], batch(t, msgs[1], msgs[2]))
	b.expect(t, 2, 1)
}

func TestWhatTheBrokerLeftOutIsReadFromTheLog(t *testing.T) {
	t.Parallel()
	l := newLedger()
	for range 40 {
		l.credit(1, 2)
	}
	b, msgs := newBench(t, l, openStore(t), quick()), broker(t, l)
	b.book.fail = failing(2, 7, handlers.As(handlers.Poison, errBoom)) // parked while the gap is filled
	b.deliver(t, msgs[0], msgs[75], msgs[76])
	b.expect(t, 40, 6) // the log is read in batches, and may be ahead of the broker
	if head, ok := b.head(t, 2); !ok || head.Position != (handlers.Position{Seq: 7, N: 1}) {
		t.Errorf("the head is %v %+v", ok, head.Position)
	}
}

func TestADamagedMessageIsParkedAsItCame(t *testing.T) {
	t.Parallel()
	for name, together := range map[string]bool{"alone": false, "in a batch": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLedger()
			for range 3 {
				l.credit(1)
				l.credit(2)
			}
			b, msgs := newBench(t, l, openStore(t), quick()), broker(t, l)
			msgs[2].Payload = []byte(`{"account":"damaged"}`)
			if together {
				b.deliver(t, batch(t, msgs...))
			} else {
				b.deliver(t, msgs...)
			}
			b.expect(t, 1, 3)
			head, ok := b.head(t, 1)
			if !ok || string(head.Payload) != `{"account":"damaged"}` || head.Attempts[0].Class != handlers.Poison {
				t.Fatalf("parked %v: %s %+v", ok, head.Payload, head.Attempts)
			}
			if n, err := b.ReplaySequence(t.Context(), handlerName, account(1).String()); n != 0 || err == nil {
				t.Errorf("replayed %d, %v", n, err)
			}
		})
	}
}

// Bytes that are not even JSON are kept too, as text.
func TestABatchKeepsBrokenBytes(t *testing.T) {
	t.Parallel()
	l := newLedger()
	l.credit(1)
	l.credit(2)
	b, msgs := newBench(t, l, openStore(t), quick()), broker(t, l)
	msgs[0].Payload = []byte("\x00{")
	b.deliver(t, batch(t, msgs...))
	b.expect(t, 0, 1)
	if _, err := router.Facts(batch(t, msgs...)); err == nil {
		t.Error("a batch with a broken message is read")
	}
	if facts, err := router.Facts(batch(t, msgs[1])); err != nil || len(facts) != 1 || facts[0].Version() != 1 {
		t.Errorf("a good batch is read as %+v, %v", facts, err)
	}
}

// A message without a position cannot be ours; if it was, the next one shows that it is missing.
func TestAMessageWithoutPositionIsNoObstacle(t *testing.T) {
	t.Parallel()
	l := newLedger()
	for range 3 {
		l.credit(1)
	}
	b, msgs := newBench(t, l, openStore(t), quick()), broker(t, l)
	delete(msgs[1].Metadata, "position")
	b.deliver(t, msgs[0], msgs[1])
	b.expect(t, 1)
	b.deliver(t, msgs[2], batch(t, msgs[2], msgs[0]), batch(t))
	b.expect(t, 3)
}

// Others can write to a broker, too. What says that it stands where the log has nothing like it, loses nothing of what
// comes after it, and is not parked; what is broken and does not say what came before it, leaves nothing out.
func TestWhatIsNotOfTheLogIsNoObstacle(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]func(m *message.Message){
		"behind the end": func(m *message.Message) { m.Metadata["position"] = "1099511627776.0" },
		"broken, behind the end": func(m *message.Message) {
			m.Metadata["position"], m.Payload = "9.0", []byte("\xff\x00")
		},
		"broken, of nothing":       func(m *message.Message) { m.Metadata["position"], m.Payload = "6.7", nil },
		"broken, of another key":   func(m *message.Message) { m.Metadata["key"], m.Payload = "acc_strange", nil },
		"broken, of another log":   func(m *message.Message) { m.Metadata["incarnation"], m.Payload = "inc0", nil },
		"broken, out of the blue":  func(m *message.Message) { m.Payload = []byte(`{"account":`) },
		"broken, and seen already": func(m *message.Message) { m.Metadata["position"], m.Payload = "1.0", nil },
	} {
		for _, together := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", together), func(t *testing.T) {
				t.Parallel()
				l := newLedger()
				for range 4 {
					l.credit(1)
					l.credit(2)
				}
				b, msgs := newBench(t, l, openStore(t), quick()), broker(t, l)
				lying := msgs[5].Copy()
				delete(lying.Metadata, "prev")
				lie(lying)
				all := slices.Insert(slices.Clone(msgs), 2, lying)
				if together {
					all = []*message.Message{batch(t, all...)}
				}
				b.deliver(t, all...)
				b.expect(t, 4, 4)
				for i := range 2 {
					if head, ok := b.head(t, i+1); ok {
						t.Errorf("parked is %+v", head)
					}
				}
			})
		}
	}
}

func TestNothingIsDeliveredWhileEnding(t *testing.T) {
	t.Parallel()
	l := newLedger()
	l.credit(1)
	b := newBench(t, l, openStore(t), quick())
	b.book.fail = failing(1, 1, handlers.As(handlers.Poison, errBoom))
	b.Drain()
	if _, err := b.Chain(handlerName)(broker(t, l)[0]); err == nil {
		t.Error("a message that failed while ending was acknowledged")
	}
	if _, ok := b.head(t, 1); ok {
		t.Error("it was parked")
	}
}
