package router_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// numbers is a feed of one message for each number up to last.
type numbers struct {
	last  atomic.Uint64
	fails atomic.Int32 // so many reads fail first
}

func (n *numbers) Next(ctx context.Context, _ string, after bank.Seq) (*message.Message, bank.Seq, error) {
	if n.fails.Add(-1) >= 0 {
		return nil, 0, errBoom
	}
	if uint64(after) >= n.last.Load() {
		return nil, after, nil
	}
	return message.NewMessageWithContext(ctx, "", message.Payload{byte(after + 1)}), after + 1, nil
}

func tailOf(n *numbers, h *router.Hints, start func() (handlers.Position, error)) *router.Tail {
	return router.NewTail(router.TailConfig{
		Feed: n, Hints: h, Poll: time.Minute, Again: time.Second, Log: slog.New(slog.DiscardHandler),
		Start: func(context.Context, string) (handlers.Position, error) { return start() },
	})
}

func fromStart() (handlers.Position, error) { return handlers.Position{}, nil }

func TestTheTailIsWokenAndPolls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, hints := &numbers{}, router.NewHints()
		tail := tailOf(n, hints, fromStart)
		defer tail.Close()
		msgs, err := tail.Subscribe(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		expect := func(number byte, after time.Duration) {
			t.Helper()
			msg := <-msgs
			if msg.Payload[0] != number || time.Since(began) != after {
				t.Fatalf("message %d after %s; want %d after %s", msg.Payload[0], time.Since(began), number, after)
			}
			msg.Ack()
			synctest.Wait()
		}
		synctest.Wait()
		n.last.Store(1)
		hints.Wake()
		expect(1, 0)
		n.last.Store(2) // without a hint
		expect(2, time.Minute)
		n.fails.Store(3)
		n.last.Store(3)
		hints.Wake()
		expect(3, time.Minute+3*time.Second)
	})
}

func TestTheTailStartsWhereItIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &numbers{}
		n.last.Store(9)
		asked := 0
		tail := tailOf(n, nil, func() (handlers.Position, error) {
			if asked++; asked < 3 {
				return handlers.Position{}, errBoom
			}
			return handlers.Position{Seq: 5, N: 1}, nil // event 5 has more to come
		})
		defer tail.Close()
		msgs, err := tail.Subscribe(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []byte{5, 6, 7} {
			msg := <-msgs
			if msg.Payload[0] != want {
				t.Fatalf("message %d; want %d", msg.Payload[0], want)
			}
			msg.Ack()
		}
	})
}

func TestDrainingWaitsForWhatIsOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &numbers{}
		n.last.Store(9)
		tail := tailOf(n, nil, fromStart)
		msgs, err := tail.Subscribe(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		msg := <-msgs
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		tail.Drain(ctx)
		if ctx.Err() == nil || msg.Context().Err() != nil {
			t.Fatal("draining did not wait, or cancelled what is being handled")
		}
		drained := make(chan struct{})
		go func() { tail.Drain(context.Background()); close(drained) }()
		synctest.Wait()
		msg.Ack()
		<-drained
		select {
		case m, open := <-msgs:
			t.Fatalf("after draining came %v, %v", m, open)
		default:
		}
		if err := tail.Close(); err != nil {
			t.Fatal(err)
		}
		if _, open := <-msgs; open {
			t.Fatal("the channel is open after Close")
		}
		if _, err := tail.Subscribe(t.Context(), "t"); !errors.Is(err, router.ErrClosed) {
			t.Fatalf("subscribed to a closed tail: %v", err)
		}
	})
}

// A tail that has delivered much gathers before it reads again, and not longer than somebody can wait.
func TestTheTailGathers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, urgent := &numbers{}, make(chan struct{})
		n.last.Store(4)
		waits := []time.Duration{0, -time.Second, 3 * time.Second, time.Hour, 0}
		var asked atomic.Int32
		tail := router.NewTail(router.TailConfig{
			Feed: n, Poll: time.Minute, Again: time.Second, Log: slog.New(slog.DiscardHandler),
			Start: func(context.Context, string) (handlers.Position, error) { return fromStart() },
			Gather: func(after, through bank.Seq, took time.Duration) (time.Duration, <-chan struct{}) {
				if through != after+1 || int(through) != int(asked.Load())+1 {
					t.Errorf("told of what is behind %d up to %d", after, through)
				}
				return waits[asked.Add(1)-1] - took, urgent
			},
		})
		defer tail.Close()
		msgs, err := tail.Subscribe(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for i, after := range []time.Duration{0, 0, 0, 3 * time.Second} {
			msg := <-msgs
			if time.Since(began) != after {
				t.Errorf("message %d came after %s instead of %s", i+1, time.Since(began), after)
			}
			msg.Ack()
		}
		n.last.Store(5)
		synctest.Wait()
		close(urgent)
		if (<-msgs).Ack(); time.Since(began) != 3*time.Second {
			t.Errorf("the urgent message came after %s", time.Since(began))
		}
	})
}
