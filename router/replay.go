package router

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/handlers"
)

// ErrNoSequence means that nothing is parked for the key.
var ErrNoSequence = errors.New("nothing is parked for this key")

// ReplayHead handles the first parked message of the key again, through the same handler and in one transaction,
// and ends its waiting when that succeeds. A failure is added to the message's attempts, and returned.
// It does not pass gate, parking and checkpoint, and may run beside the handler.
func (r *Router) ReplayHead(ctx context.Context, handler, key string) error {
	w := r.worker(handler)
	if w == nil || w.Kind == Newest {
		return fmt.Errorf("there is no handler %q with a parking lot", clip(handler))
	}
	var head Parked
	step := w.timed(w.recovered(func(msg *message.Message) (_ []*message.Message, err error) {
		if w.Outside != nil {
			head, err = w.againOutside(msg.Context(), key)
			return nil, err
		}
		return nil, w.Store.InTx(msg.Context(), func(ctx context.Context) (err error) {
			head, err = w.again(ctx, key)
			return err
		})
	}))
	began := time.Now()
	_, err := step(message.NewMessageWithContext(ctx, "replay", nil))
	if err == nil || head.Key == "" || ctx.Err() != nil {
		return err
	}
	class := w.class(err)
	w.metrics.Tried(w.Name, class, time.Since(began))
	return errors.Join(err, w.attempted(ctx, head, attemptOf(err, class, began, time.Since(began))))
}

// ReplaySequence replays the key's messages in their order, until none waits or one fails. It
// returns how many were handled.
func (r *Router) ReplaySequence(ctx context.Context, handler, key string) (handled int, err error) {
	for {
		err := r.ReplayHead(ctx, handler, key)
		if errors.Is(err, ErrNoSequence) && handled > 0 {
			return handled, nil
		}
		if err != nil {
			return handled, err
		}
		handled++
	}
}

// again handles the head of the sequence within a transaction.
func (w *worker) again(ctx context.Context, key string) (Parked, error) {
	head, fact, err := w.parkedFirst(ctx, key)
	if err != nil {
		return head, err
	}
	ctx = handlers.WithOrigin(ctx, fact.Origin())
	if err := w.Handler(ctx, []handlers.Fact{fact}); err != nil && w.class(err) != handlers.Rejected {
		return head, err
	}
	return head, w.Store.Resolve(ctx, head, Resolved, time.Now().UTC().Truncate(time.Microsecond))
}

// parkedFirst is the head of the sequence, decoded.
func (w *worker) parkedFirst(ctx context.Context, key string) (Parked, handlers.Fact, error) {
	head, ok, err := w.Store.Head(ctx, w.Name, key)
	if err != nil {
		return Parked{}, handlers.Fact{}, err
	}
	if !ok {
		return Parked{}, handlers.Fact{}, ErrNoSequence
	}
	fact, err := today.decode(head.Metadata, head.Payload)
	return head, fact, err
}

// attempted records a failed replay, if the message still waits at the head.
func (w *worker) attempted(ctx context.Context, p Parked, a Attempt) error {
	return w.Store.InTx(ctx, func(ctx context.Context) error {
		head, ok, err := w.Store.Head(ctx, w.Name, p.Key)
		if err != nil || !ok || head.Position != p.Position || head.Incarnation != p.Incarnation {
			return err
		}
		return w.Store.Attempted(ctx, head, a)
	})
}

// errIncomplete means that a replay has to wait: what it would write belongs behind what is not there yet.
var errIncomplete = handlers.As(handlers.Unavailable, errors.New("what stands outside is being built from the log"))

// replayTries is how often a replay looks again when the handler goes on beside it.
const replayTries = 20

// againOutside is again in three steps.
func (w *worker) againOutside(ctx context.Context, key string) (head Parked, err error) {
	for n := 1; ; n++ {
		head, err = w.replayOutside(ctx, key)
		if !errors.Is(err, ErrMoved) || n == replayTries || !w.wait(ctx, w.policy.Backoff.After(n)) {
			return head, err
		}
	}
}

func (w *worker) replayOutside(ctx context.Context, key string) (head Parked, err error) {
	var fact handlers.Fact
	err = w.Store.InTx(ctx, func(ctx context.Context) error {
		head, fact, err = w.parkedFirst(ctx, key)
		return err
	})
	if err != nil {
		return head, err
	}
	mark, err := w.Outside.Mark(ctx, head.Stream)
	if err != nil {
		return head, err
	}
	if mark.Incarnation != head.Incarnation || !mark.Complete() {
		return head, errIncomplete
	}
	fenced := handlers.WithOrigin(WithFence(ctx, Fence{head.Stream, mark}), fact.Origin())
	if err := w.Handler(fenced, []handlers.Fact{fact}); err != nil && w.class(err) != handlers.Rejected {
		return head, err
	}
	return head, w.Store.InTx(ctx, func(ctx context.Context) error {
		now, ok, err := w.Store.Head(ctx, w.Name, key)
		switch {
		case err != nil:
			return err
		case !ok || now.Position != head.Position || now.Incarnation != head.Incarnation:
			return ErrMoved
		}
		return w.Store.Resolve(ctx, now, Resolved, time.Now().UTC().Truncate(time.Microsecond))
	})
}
