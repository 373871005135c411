package router

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/handlers"
)

type repairKey struct{}

// repairing reports whether what is being delivered builds up what stands outside: then it need not be complete yet.
func repairing(ctx context.Context) bool { return ctx.Value(repairKey{}) != nil }

// repair builds what stands outside from the log, from what is there up to where the log ends now. It returns once that
// is done, or with errEnding.
func (w *worker) repair(ctx context.Context, msg *message.Message, next message.HandlerFunc, d *Delivery, why error) error {
	w.log.WarnContext(ctx, "building from the log", "handler", w.Name, "reason", why)
	for n := 1; ; n++ {
		began := time.Now()
		todo, err := w.rewind(ctx, d)
		if err == nil {
			w.release(ctx)
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

// rewind sets the mark and the checkpoint to what stands outside, and returns what is missing there. The mark comes first:
// once readers see it, they leave the view alone.
func (w *worker) rewind(ctx context.Context, d *Delivery) (*gap, error) {
	head, err := w.feed.source.Head(ctx)
	if err != nil {
		return nil, err
	}
	if head.Incarnation != d.Incarnation {
		return nil, ErrOtherLog // of what was delivered, nothing belongs into this log's view
	}
	seen, err := w.Outside.Mark(ctx, w.stream())
	if err != nil {
		return nil, err
	}
	has := Checkpoint{Incarnation: head.Incarnation}
	if seen.Incarnation == head.Incarnation {
		has = seen.Checkpoint
	}
	target := handlers.End(head.Seq)
	if err := w.Outside.Move(ctx, w.stream(), seen, Mark{has, target}); err != nil {
		return nil, err
	}
	from := has.Position
	err = w.Store.InTx(ctx, func(ctx context.Context) error {
		at, err := w.Store.Checkpoint(ctx, w.stream())
		if err != nil {
			return err
		}
		if at.Incarnation == "" || at.Incarnation == head.Incarnation && !has.Position.Before(at.Position) {
			from = at.Position // it has forgotten what stands outside, or both agree
			return nil
		}
		return w.Store.Rewind(ctx, w.stream(), has)
	})
	if err != nil {
		return nil, err
	}
	w.took(from)
	return &gap{from, target}, nil
}

// lookAgain makes another try worth while after an error that is elsewhere: it brings what is missing, or waits a little.
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
	case !w.wait(ctx, w.policy.Backoff.After(n)):
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
