package router

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/app/fault"
	"bankforge/handlers"
)

// transactional makes each try one transaction: it locks the checkpoint, leaves out what was seen before, parks what
// belongs behind something parked, lets the handler write, and advances the checkpoint.
func (w *worker) transactional(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		d := deliveryOf(msg)
		var done result
		err := w.Store.InTx(msg.Context(), func(ctx context.Context) (err error) {
			done, err = w.transact(ctx, msg, next, d)
			return err
		})
		if err != nil {
			return nil, err
		}
		if done.handled {
			w.standing.succeeded()
		}
		for range done.blocked {
			w.metrics.Parked(w.Name, Waiting)
		}
		w.took(d.Partition, done.at)
		return nil, nil
	}
}

// result is what a transaction did.
type result struct {
	at      Checkpoint
	handled bool
	blocked int
}

func (w *worker) transact(
	ctx context.Context, msg *message.Message, next message.HandlerFunc, d *Delivery,
) (result, error) {
	at, fresh, err := w.fresh(ctx, d)
	if err != nil || fresh == nil {
		return result{at: at}, err
	}
	rest, blocked, err := w.part(ctx, fresh)
	if err != nil {
		return result{}, err
	}
	if blocked != nil {
		if err := w.parkAll(ctx, blocked); err != nil {
			return result{}, err
		}
	}
	if len(rest.Facts) > 0 {
		if err := w.call(ctx, msg, next, rest); err != nil {
			return result{}, err
		}
	}
	fault.Here(fault.InHandler)
	done := result{at: d.checkpoint(), handled: len(rest.Facts) > 0}
	if blocked != nil {
		done.blocked = len(blocked.Facts)
	}
	if fault.Planted(fault.NoCheckpoint) {
		return done, nil
	}
	return done, w.Store.Advance(ctx, w.stream(d.Partition), done.at)
}

// fresh locks the checkpoint, and returns what of d is above it; nil: nothing, not even silence.
func (w *worker) fresh(ctx context.Context, d *Delivery) (Checkpoint, *Delivery, error) {
	at, err := w.Store.Checkpoint(ctx, w.stream(d.Partition))
	if err == nil && at.Incarnation != d.Incarnation {
		at, d, err = w.other(ctx, at, d)
	}
	switch {
	case err != nil || d == nil:
		return at, nil, err
	case !at.Position.Before(d.Through):
		return at, nil, nil
	case at.Position.Before(d.Prev):
		return at, nil, &gap{at.Position, d.Prev}
	}
	return at, d.after(at.Position), nil
}

// other decides about a delivery of another incarnation of the log than the checkpoint's. What a broker has of a log
// that is gone is left out; what the log has instead comes behind it. Acts of operators are known by their ids, and so
// are read anew from the beginning.
func (w *worker) other(ctx context.Context, at Checkpoint, d *Delivery) (Checkpoint, *Delivery, error) {
	head, err := w.feed.source.Head(ctx)
	switch {
	case err != nil:
		return at, nil, err
	case head.Incarnation != d.Incarnation:
		return at, nil, nil
	case at.Incarnation != "" && w.Topic != bank.OpsTopic:
		return at, nil, ErrOtherLog
	}
	return Checkpoint{}, d, nil
}

// part splits off the facts whose keys are parked; blocked is nil when there are none.
func (w *worker) part(ctx context.Context, d *Delivery) (rest, blocked *Delivery, err error) {
	if len(d.Facts) == 0 {
		return d, nil, nil
	}
	keys := make([]string, len(d.Facts))
	for i := range keys {
		keys[i] = d.key(i)
	}
	parked, err := w.Store.Blocked(ctx, w.Name, keys)
	if err != nil || len(parked) == 0 {
		return d, nil, err
	}
	is := map[string]bool{}
	for _, key := range parked {
		is[key] = true
	}
	rest, blocked = d.divide(func(i int) bool { return !is[keys[i]] })
	return rest, blocked, nil
}

// parkAll parks facts behind those that failed before them.
func (w *worker) parkAll(ctx context.Context, d *Delivery) error {
	for i := range d.Facts {
		if err := w.parkOne(ctx, d, i, Waiting, nil); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) parkOne(ctx context.Context, d *Delivery, i int, as Status, tries []Attempt) error {
	stored, err := d.stored(i)
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	p := Parked{
		Stream: w.stream(d.Partition), Key: d.key(i), Incarnation: d.Incarnation, Position: d.Facts[i].Position(), Status: as,
		At:       now.Add(time.Duration(i) * time.Microsecond), // so that the order of a list is the order of parking
		Metadata: stored.metadata, Payload: stored.payload,
		Type: stored.metadata[headerType], Correlation: stored.metadata[headerCorrelationID],
	}
	if _, bad := d.bad[i]; !bad {
		p.Accounts = accountsOf(&d.Facts[i])
	}
	if len(tries) > 0 {
		p.Next = w.policy().again(now, tries[len(tries)-1].Class, 0)
	}
	waiting, err := w.Store.Park(ctx, p, tries)
	w.parked.Store(true)
	if most := w.policy().PerKey; err == nil && waiting > most {
		return fmt.Errorf("%w: more than %d messages of %s", ErrLotFull, most, clip(p.Key))
	}
	return err
}

// accountsOf are the accounts that a fact touches.
func accountsOf(f *handlers.Fact) (out []string) {
	if f.Leg != nil {
		return []string{f.Leg.Account.String()}
	}
	if t := f.Transaction; t != nil {
		for _, id := range []bank.AccountID{t.From, t.To} {
			if !id.IsZero() && !slices.Contains(out, id.String()) {
				out = append(out, id.String())
			}
		}
	}
	return out
}

// call runs the handler on facts that can all be read. A single fact that is rejected is done with: the
// handler has decided about it. Of facts that come together it is not known which one was rejected.
func (w *worker) call(ctx context.Context, msg *message.Message, next message.HandlerFunc, d *Delivery) error {
	if err := d.poison(); err != nil {
		return err
	}
	if d.more {
		ctx = handlers.WithMore(ctx)
	}
	err := within(withDelivery(ctx, d), msg, next)
	if err != nil && len(d.Facts) == 1 && w.class(err) == handlers.Rejected {
		w.log.InfoContext(ctx, "rejected", "handler", w.Name, "fact", d.Facts[0].ID(), "reason", err)
		return nil
	}
	return err
}
