package router

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/ops"
	"bankforge/handlers"
)

// parking parks what the inside gives up on, so that all other keys flow. Facts that came together are first tried
// in parts, down to one by one, so that only the culprit is parked.
func (w *worker) parking(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		return nil, w.deliver(msg.Context(), msg, next, deliveryOf(msg))
	}
}

// deliver returns once d is handled or parked, or with errEnding.
func (w *worker) deliver(ctx context.Context, msg *message.Message, next message.HandlerFunc, d *Delivery) error {
	var tries attempts
	of := ctx
	if deliveryIn(ctx) != d { // a part of what came, or what did not come
		of = withOrigin(withDelivery(ctx, d), d)
	}
	of = withAttempts(of, &tries)
	for n := 1; ; n++ {
		err := within(of, msg, next)
		switch {
		case err == nil:
			return nil
		case w.over(ctx):
			return errEnding
		case elsewhere(err):
		case len(d.Facts) > 1:
			return w.inParts(ctx, msg, next, d)
		case len(d.Facts) > 0 && (w.class(err) == handlers.Poison || !w.standing.outage(d.key(0), w.policy().Outage)):
			if err = w.park(ctx, d, tries.list); !elsewhere(err) {
				return err
			}
		}
		if elsewhere(err) {
			if err := w.lookAgain(ctx, msg, next, d, err, n); err != nil {
				return err
			}
			continue
		}
		if err := w.hold(ctx, n, err); err != nil {
			return err
		}
	}
}

func (w *worker) inParts(ctx context.Context, msg *message.Message, next message.HandlerFunc, d *Delivery) error {
	for _, one := range d.split() {
		if w.over(ctx) {
			return errEnding
		}
		if err := w.deliver(ctx, msg, next, one); err != nil {
			return err
		}
	}
	return nil
}

// fill delivers from the log what the broker left out.
func (w *worker) fill(ctx context.Context, msg *message.Message, next message.HandlerFunc, missing *gap) error {
	w.log.WarnContext(ctx, "reading from the log", "handler", w.Name, "reason", missing)
	for at := missing.from; at.Before(missing.to); {
		d, err := w.feed.read(ctx, w.Topic, at.Whole(), w.only(deliveryIn(ctx).Partition))
		switch {
		case w.over(ctx):
			return errEnding
		case err != nil || d == nil:
			if err == nil {
				err = missing
			}
			if err := w.hold(ctx, 1, err); err != nil {
				return err
			}
			continue
		}
		if err := w.deliver(ctx, msg, next, d); err != nil {
			return err
		}
		at = d.Through
	}
	return nil
}

// park parks the only fact of d as failed, in a transaction of its own. It returns once that is done, with
// errEnding, or with an error that says nothing about the fact.
func (w *worker) park(ctx context.Context, d *Delivery, tries []Attempt) error {
	for n := 1; ; n++ {
		began := time.Now()
		parked, err := w.parkFailed(ctx, d, tries)
		if err == nil {
			w.release(ctx)
			if parked {
				w.metrics.Parked(w.Name, Failed)
				w.log.ErrorContext(ctx, "parked", "handler", w.Name, "key", d.key(0), "fact", d.Facts[0].ID(),
					"error", ops.Masked(tries[len(tries)-1].Error))
			}
			w.took(d.Partition, d.checkpoint())
			return nil
		}
		if w.over(ctx) {
			return errEnding
		}
		if elsewhere(err) {
			return err
		}
		w.note(ctx, err, began)
		if err := w.hold(ctx, n, err); err != nil {
			return err
		}
	}
}

// parkFailed parks unless the fact turns out to be handled already.
func (w *worker) parkFailed(ctx context.Context, d *Delivery, tries []Attempt) (parked bool, err error) {
	if err := w.outsideToo(ctx, d); err != nil {
		return false, err
	}
	err = w.Store.InTx(ctx, func(ctx context.Context) error {
		_, fresh, err := w.fresh(ctx, d)
		if err != nil || fresh == nil {
			return err
		}
		if parked = len(fresh.Facts) > 0; parked {
			if err := w.parkOne(ctx, fresh, 0, Failed, tries); err != nil {
				return err
			}
		}
		return w.Store.Advance(ctx, w.stream(d.Partition), d.checkpoint())
	})
	return parked, err
}
