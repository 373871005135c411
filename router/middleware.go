package router

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/ops"
	"bankforge/handlers"
)

// step is one middleware with its name.
type step struct {
	name string
	wrap message.HandlerMiddleware
}

// steps are what every message goes through, outermost first. The order is part of the guarantees.
func (w *worker) steps() []step {
	eighth := step{"transactional", w.transactional}
	if w.Outside != nil {
		eighth = step{"outside", w.outside}
	}
	return []step{
		{"traced", w.traced},         // 1 sees every message and its whole cost
		{"correlated", w.correlated}, // 2 before anything that logs, publishes or commands
		{"gated", w.gated},           // 3 a paused handler waits here, outside any transaction
		{"parking", w.parking},       // 4 what the inside gives up on is parked, in a fresh transaction
		{"retried", w.retried},       // 5 in place, and never inside a transaction
		{"timed", w.timed},           // 6 each try has its own context
		{"recovered", w.recovered},   // 7 a panic becomes an error before it can skip the steps above
		eighth,                       // 8 each try is one transaction, or three steps outside of one
	} // 9 the handler
}

// newestSteps are for handlers without checkpoint: they get what happens from now on, at most once.
func (w *worker) newestSteps() []step {
	return []step{
		{"traced", w.traced},
		{"correlated", w.correlated},
		{"dropping", w.dropping}, // their clients notice what is missing by its version
		{"recovered", w.recovered},
	}
}

// Chain is a handler behind all of its steps, as Watermill calls it while its router runs; nil: there is no such
// handler. It is for who measures what the steps cost.
func (r *Router) Chain(handler string) message.HandlerFunc {
	w := r.worker(handler)
	if w == nil {
		return nil
	}
	w.standing.change(func() { w.standing.running = true })
	return w.chain()
}

// handle is the last step: the handler itself.
func (w *worker) handle(msg *message.Message) error {
	return w.Handler(msg.Context(), deliveryOf(msg).Facts)
}

// traced opens the message, and counts it. A message that does not say where it stands, or says what is not so, did not
// come from the relay: it is left behind, and should it have been one of ours after all, the next one's prev shows that
// it is missing.
func (w *worker) traced(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		began := time.Now()
		all, err := open(msg, w.believe(msg.Context()))
		if unheard, is := errors.AsType[unheardError](err); is {
			w.log.WarnContext(msg.Context(), "cannot ask the log", "handler", w.Name, "error", err)
			return nil, unheard
		}
		if err != nil {
			w.log.ErrorContext(msg.Context(), "message ignored", "handler", w.Name, "message", msg.UUID, "error", err)
		}
		if len(all) == 0 {
			w.metrics.Delivered(w.Name, 0, time.Since(began), false)
		}
		for _, d := range all {
			w.place(msg.Context(), d)
			err := within(withDelivery(msg.Context(), d), msg, next)
			w.metrics.Delivered(w.Name, len(d.Facts), time.Since(began), err == nil)
			w.standing.count(len(d.Facts))
			if err != nil {
				return nil, err
			}
			began = time.Now()
		}
		return nil, nil
	}
}

// correlated puts the origin of a fact that comes alone into the context. Facts that come together carry their own.
func (w *worker) correlated(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		return nil, within(withOrigin(msg.Context(), deliveryOf(msg)), msg, next)
	}
}

func withOrigin(ctx context.Context, d *Delivery) context.Context {
	if len(d.Facts) != 1 {
		return ctx
	}
	return handlers.WithOrigin(ctx, d.Facts[0].Origin())
}

// gated lets a paused handler wait. The wait ends with the session: that is not a failure.
func (w *worker) gated(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		if err := w.gate(msg.Context()); err != nil {
			return nil, err
		}
		return next(msg)
	}
}

// timed gives each try a context of its own.
func (w *worker) timed(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		ctx, cancel := context.WithTimeout(msg.Context(), w.policy().Timeout)
		defer cancel()
		return nil, within(ctx, msg, next)
	}
}

// recovered turns a panic into an error.
func (w *worker) recovered(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) (_ []*message.Message, err error) {
		ended := false
		defer func() {
			if !ended {
				err = &panicked{value: recover(), stack: string(debug.Stack())}
			}
		}()
		_, err = next(msg)
		ended = true
		return nil, err
	}
}

// dropping logs what fails, and goes on.
func (w *worker) dropping(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		began := time.Now()
		if _, err := next(msg); err != nil && msg.Context().Err() == nil {
			text := w.says(err, deliveryOf(msg).payloads())
			w.standing.failed(text)
			w.metrics.Tried(w.Name, Classify(err, w.classify...), time.Since(began))
			w.log.ErrorContext(msg.Context(), "delivery dropped", "handler", w.Name, "error", ops.Masked(text))
		}
		d := deliveryOf(msg)
		w.took(d.Partition, d.checkpoint())
		return nil, nil
	}
}
