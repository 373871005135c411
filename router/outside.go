package router

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/handlers"
)

// Marks stand beside what a handler writes outside of its Store's database, one for each partition: where the data is
// lost, they are lost with it. They are safe for concurrent use.
type Marks interface {
	// Mark returns the mark of a stream in the build that is in use; one of no incarnation when there is none: nothing was
	// written yet, or all is lost.
	Mark(ctx context.Context, s Stream) (Mark, error)
	// Move replaces the mark that was seen by the next one, of the same build; ErrMoved: another one stands there now, and
	// stays, or another build is in use.
	// What was written for other incarnations than the next mark's need not be kept.
	Move(ctx context.Context, s Stream, seen, next Mark) error
}

// Mark says how far what stands outside has come. What is parked is left out of it, as of a Checkpoint.
type Mark struct {
	Checkpoint
	Target handlers.Position // what stands outside is built anew up to here, and is no view before
	// Build is which of several copies of the view it belongs to: who builds one anew makes another one. "": the first.
	Build string
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

// outside makes each try three steps, for effects that no transaction of the Store can hold: one transaction looks at
// the checkpoint and at what is parked; then the handler writes; then another one advances the checkpoint, if it is
// where it was. What comes twice because of a crash between must have its effect once: so the
// handler's writes compare versions. Before it writes, what stands outside is compared with the checkpoint.
func (w *worker) outside(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		ctx, d := msg.Context(), deliveryOf(msg)
		s, err := w.look(ctx, d)
		if err != nil {
			return nil, err
		}
		if s.rest == nil && s.at.Incarnation != "" && s.at.Incarnation != d.Incarnation { // of a log that is gone
			w.took(d.Partition, s.at)
			return nil, nil
		}
		mark, err := w.stands(ctx, d, s.at)
		if err != nil {
			return nil, err
		}
		if s.rest == nil {
			w.took(d.Partition, s.at)
			return nil, nil
		}
		if len(s.rest.Facts) > 0 {
			fenced := WithFence(ctx, Fence{w.stream(d.Partition), mark})
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
		w.took(d.Partition, d.checkpoint())
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
		if s.rest, s.blocked, err = w.part(ctx, fresh); s.blocked == nil {
			s.blocked = &Delivery{}
		}
		return err
	})
	if errors.Is(err, ErrOtherLog) {
		return s, &behind{at: s.at}
	}
	return s, err
}

// stands is the mark, if it says that what stands outside has all that the checkpoint says.
func (w *worker) stands(ctx context.Context, d *Delivery, at Checkpoint) (Mark, error) {
	m, err := w.Outside.Mark(ctx, w.stream(d.Partition))
	if err != nil {
		return m, err
	}
	if m.Incarnation != d.Incarnation || m.Position.Before(at.Position) || !m.Complete() && !repairing(ctx) {
		return m, &behind{m, at}
	}
	return m, nil
}

// mark says outside that all of d has been written there. It also finds out whether what was written still stands.
func (w *worker) mark(ctx context.Context, d *Delivery, seen Mark) error {
	next := seen
	if next.Position.Before(d.Through) {
		next.Position = d.Through
	}
	return w.Outside.Move(ctx, w.stream(d.Partition), seen, next)
}

// settle is the last step: it advances the checkpoint and parks what belongs behind something parked, if both are
// still as they were seen.
func (w *worker) settle(ctx context.Context, d *Delivery, s sight) error {
	return w.Store.InTx(ctx, func(ctx context.Context) error {
		at, err := w.Store.Checkpoint(ctx, w.stream(d.Partition))
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
		return w.Store.Advance(ctx, w.stream(d.Partition), d.checkpoint())
	})
}

// outsideToo says outside what the checkpoint is about to say: that the handler is done with d, which will be parked.
func (w *worker) outsideToo(ctx context.Context, d *Delivery) error {
	if w.Outside == nil {
		return nil
	}
	seen, err := w.Outside.Mark(ctx, w.stream(d.Partition))
	if err != nil {
		return err
	}
	if seen.Incarnation != d.Incarnation {
		return &behind{has: seen}
	}
	return w.mark(ctx, d, seen)
}

type repairKey struct{}

// repairing reports whether what is being delivered builds up what stands outside: then it need not be complete yet.
func repairing(ctx context.Context) bool { return ctx.Value(repairKey{}) != nil }

// repair builds what stands outside from the log, from what is there up to where the log ends now. It returns once that
// is done, or with errEnding.
func (w *worker) repair(
	ctx context.Context, msg *message.Message, next message.HandlerFunc, d *Delivery, why error,
) error {
	for n := 1; ; n++ {
		began := time.Now()
		todo, err := w.rewind(ctx, d)
		if err == nil {
			w.release(ctx)
			if !todo.from.Before(todo.to) { // the log is empty: nothing is missing anywhere
				return nil
			}
			w.log.WarnContext(ctx, "building from the log", "handler", w.Name, "reason", why)
			return w.fill(context.WithValue(ctx, repairKey{}, true), msg, next, todo)
		}
		if w.over(ctx) {
			return errEnding
		}
		w.note(ctx, err, began)
		if err := w.hold(ctx, n, err); err != nil {
			return err
		}
	}
}

// rewind sets the mark and the checkpoint to what stands outside, and returns what is missing there. The mark comes
// first: once readers see it, they leave the view alone.
func (w *worker) rewind(ctx context.Context, d *Delivery) (*gap, error) {
	head, err := w.feed.source.Head(ctx)
	if err != nil {
		return nil, err
	}
	if head.Incarnation != d.Incarnation {
		return nil, ErrOtherLog // of what was delivered, nothing belongs into this log's view
	}
	seen, err := w.Outside.Mark(ctx, w.stream(d.Partition))
	if err != nil {
		return nil, err
	}
	has := Checkpoint{Incarnation: head.Incarnation}
	if seen.Incarnation == head.Incarnation {
		has = seen.Checkpoint
	}
	target := handlers.End(head.Seq)
	if err := w.Outside.Move(ctx, w.stream(d.Partition), seen, Mark{has, target, seen.Build}); err != nil {
		return nil, err
	}
	from := has.Position
	err = w.Store.InTx(ctx, func(ctx context.Context) error {
		at, err := w.Store.Checkpoint(ctx, w.stream(d.Partition))
		if err != nil {
			return err
		}
		if at.Incarnation == "" || at.Incarnation == head.Incarnation && !has.Position.Before(at.Position) {
			from = at.Position // it has forgotten what stands outside, or both agree
			return nil
		}
		return w.Store.Rewind(ctx, w.stream(d.Partition), has)
	})
	if err != nil {
		return nil, err
	}
	w.took(d.Partition, Checkpoint{head.Incarnation, from})
	return &gap{from, target}, nil
}

// lookAgain makes another try worth while after an error that is elsewhere: it brings what is missing, or waits.
func (w *worker) lookAgain(
	ctx context.Context, msg *message.Message, next message.HandlerFunc, d *Delivery, err error, n int,
) error {
	var missing *gap
	var lost *behind
	switch {
	case errors.As(err, &missing):
		return w.fill(ctx, msg, next, missing)
	case errors.As(err, &lost):
		return w.repair(ctx, msg, next, d, err)
	case !w.wait(ctx, w.policy().Backoff.After(n)):
		return errEnding
	}
	return nil
}

// elsewhere reports whether err says nothing about the facts that were being handled, but about where they belong.
func elsewhere(err error) bool {
	var missing *gap
	var lost *behind
	return errors.As(err, &missing) || errors.As(err, &lost) || errors.Is(err, ErrMoved)
}

// Pulse is a message that brings nothing, and lets a handler look whether what stands outside is still there.
// A subscriber that may be silent for long hands one out when a session begins, and from time to time.
func Pulse(ctx context.Context, log Source) (*message.Message, error) {
	head, err := log.Head(ctx)
	if err != nil {
		return nil, err
	}
	return NewMessage(ctx, &Delivery{Incarnation: head.Incarnation}), nil
}

// pulsing is a feed that hands out a pulse first, and whenever nothing was new for a while. It serves one session.
type pulsing struct {
	facts
	every time.Duration
	at    func() bank.Seq // how far the handler is: it may have read the log by itself
	beat  *time.Time      // when the last one was handed out
}

// Next is a Feed.
func (p pulsing) Next(ctx context.Context, topic string, after bank.Seq) (*message.Message, bank.Seq, error) {
	if p.beat.IsZero() {
		return p.pulse(ctx, after)
	}
	after = max(after, p.at())
	msg, through, err := p.facts.Next(ctx, topic, after)
	if msg != nil || err != nil || through > after || time.Since(*p.beat) < p.every {
		return msg, through, err
	}
	return p.pulse(ctx, after)
}

func (p pulsing) pulse(ctx context.Context, after bank.Seq) (*message.Message, bank.Seq, error) {
	msg, err := Pulse(ctx, p.source)
	if err == nil {
		*p.beat = time.Now()
	}
	return msg, after, err
}
