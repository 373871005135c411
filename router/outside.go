package router

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/handlers"
)

// Marks stand beside what a handler writes outside of its Store's database, one for each partition: where the data is
// lost, they are lost with it. They are safe for concurrent use.
type Marks interface {
	// Mark returns the mark of a stream; the zero one when there is none: nothing was written yet, or all is lost.
	Mark(ctx context.Context, s Stream) (Mark, error)
	// Move replaces the mark that was seen by the next one; ErrMoved: another one stands there now, and stays.
	// What was written for other incarnations than the next mark's need not be kept.
	Move(ctx context.Context, s Stream, seen, next Mark) error
}

// Mark says how far what stands outside has come. What is parked is left out of it, as of a Checkpoint.
type Mark struct {
	Checkpoint
	Target handlers.Position // what stands outside is built anew up to here, and is no view before
}

// Complete reports whether what stands outside can be read.
func (m Mark) Complete() bool { return m.Incarnation != "" && !m.Position.Before(m.Target) }

// ErrMoved means that what stands outside is not what it was when the step began: it was lost, or somebody else goes on
// with it. Nothing is wrong with the facts; the step looks again.
var ErrMoved = errors.New("what stands outside has been moved meanwhile")

// Fence is the mark under which a handler writes outside. A write that can look at the mark must refuse to
// happen under another one, with ErrMoved.
type Fence struct {
	Stream Stream
	Mark   Mark
}

type fenceKey struct{}

// WithFence puts f into the context.
func WithFence(ctx context.Context, f Fence) context.Context {
	return context.WithValue(ctx, fenceKey{}, f)
}

// FenceOf is what WithFence put there: set while a handler of a route with Marks handles facts.
func FenceOf(ctx context.Context) (f Fence, ok bool) {
	f, ok = ctx.Value(fenceKey{}).(Fence)
	return f, ok
}

// behind says that what stands outside has not what the checkpoint says, or not all that it was to be built up to.
type behind struct {
	has Mark
	at  Checkpoint
}

func (b *behind) Error() string {
	return fmt.Sprintf("what stands outside is at %s of %q, and to be at %s; the checkpoint is at %s of %q",
		formatPosition(b.has.Position), b.has.Incarnation, formatPosition(b.has.Target),
		formatPosition(b.at.Position), b.at.Incarnation)
}

// outside makes each try three steps, for effects that no transaction of the Store can hold: one transaction looks at the
// checkpoint and at what is parked; then the handler writes; then another one advances the checkpoint, if
// it is where it was. What comes twice because of a crash between must have its effect once: so the
// handler's writes compare versions. Before it writes, what stands outside is compared with the checkpoint.
func (w *worker) outside(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		ctx, d := msg.Context(), deliveryOf(msg)
		s, err := w.look(ctx, d)
		if err != nil {
			return nil, err
		}
		mark, err := w.stands(ctx, d, s.at)
		if err != nil {
			return nil, err
		}
		if s.rest == nil {
			w.took(s.at.Position)
			return nil, nil
		}
		if len(s.rest.Facts) > 0 {
			fenced := WithFence(ctx, Fence{w.stream(), mark})
			if err := w.call(fenced, msg, next, s.rest); err != nil {
				return nil, err
			}
		}
		if err := w.mark(ctx, d, mark); err != nil {
			return nil, err
		}
		if err := w.settle(ctx, d, s); err != nil {
			return nil, err
		}
		if len(s.rest.Facts) > 0 {
			w.standing.succeeded()
		}
		for range s.blocked.Facts {
			w.metrics.Parked(w.Name, Waiting)
		}
		w.took(d.Through)
		return nil, nil
	}
}

// sight is what the first step saw. rest is nil when the checkpoint has all of the delivery.
type sight struct {
	at            Checkpoint
	rest, blocked *Delivery
}

// look is the first step.
func (w *worker) look(ctx context.Context, d *Delivery) (s sight, err error) {
	err = w.Store.InTx(ctx, func(ctx context.Context) error {
		var fresh *Delivery
		if s.at, fresh, err = w.fresh(ctx, d); err != nil || fresh == nil {
			return err
		}
		s.rest, s.blocked, err = w.part(ctx, fresh)
		return err
	})
	if errors.Is(err, ErrOtherLog) {
		return s, &behind{at: s.at}
	}
	return s, err
}

// stands is the mark, if it says that what stands outside has all that the checkpoint says.
func (w *worker) stands(ctx context.Context, d *Delivery, at Checkpoint) (Mark, error) {
	m, err := w.Outside.Mark(ctx, w.stream())
	if err != nil {
		return m, err
	}
	if m.Incarnation != d.Incarnation || m.Position.Before(at.Position) || !m.Complete() && !repairing(ctx) {
		return m, &behind{m, at}
	}
	return m, nil
}

// mark says outside that all of d has been written there. It also finds out whether what was written still stands there.
func (w *worker) mark(ctx context.Context, d *Delivery, seen Mark) error {
	next := seen
	if next.Position.Before(d.Through) {
		next.Position = d.Through
	}
	return w.Outside.Move(ctx, w.stream(), seen, next)
}

// settle is the last step: it advances the checkpoint and parks what belongs behind something parked, if both are
// still as they were seen.
func (w *worker) settle(ctx context.Context, d *Delivery, s sight) error {
	return w.Store.InTx(ctx, func(ctx context.Context) error {
		at, err := w.Store.Checkpoint(ctx, w.stream())
		switch {
		case err != nil:
			return err
		case at != s.at:
			return ErrMoved
		}
		freed, _, err := w.part(ctx, s.blocked)
		switch {
		case err != nil:
			return err
		case len(freed.Facts) > 0: // replayed meanwhile: they flow again
			return ErrMoved
		}
		if err := w.parkAll(ctx, s.blocked); err != nil {
			return err
		}
		return w.Store.Advance(ctx, w.stream(), Checkpoint{Incarnation: d.Incarnation, Position: d.Through})
	})
}

// outsideToo says outside what the checkpoint is about to say: that the handler is done with d, which will be parked.
func (w *worker) outsideToo(ctx context.Context, d *Delivery) error {
	if w.Outside == nil {
		return nil
	}
	seen, err := w.Outside.Mark(ctx, w.stream())
	if err != nil {
		return err
	}
	if seen.Incarnation != d.Incarnation {
		return &behind{has: seen}
	}
	return w.mark(ctx, d, seen)
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
