package router

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/handlers"
)

// attempts are the failed tries of one delivery, for the parking lot.
type attempts struct{ list []Attempt }

type attemptsKey struct{}

func withAttempts(ctx context.Context, a *attempts) context.Context {
	return context.WithValue(ctx, attemptsKey{}, a)
}

// maxAttempts bounds what is remembered of one message in memory: the first ones and the last.
const maxAttempts = 100

func (a *attempts) add(one Attempt) {
	if len(a.list) == maxAttempts {
		a.list = a.list[:maxAttempts-1]
	}
	a.list = append(a.list, one)
}

// retried tries again in place what may help, and holds as long as something is down. What it returns is errEnding,
// what elsewhere knows, or an error to give up on. Facts that come together are not tried again together when one of
// them may be the cause: parking tries them one by one.
func (w *worker) retried(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		ctx := msg.Context()
		tries := map[handlers.Class]int{}
		for {
			began := time.Now()
			_, err := next(msg)
			if err == nil {
				w.release(ctx)
				return nil, nil
			}
			if w.over(ctx) {
				return nil, errEnding
			}
			if elsewhere(err) {
				return nil, err
			}
			class := w.note(ctx, err, began)
			tries[class]++
			switch {
			case class == handlers.Unavailable:
				if err := w.hold(ctx, tries[class], err); err != nil {
					return nil, err
				}
			case tries[class] >= w.policy.Tries[class] || class == handlers.Unknown && len(deliveryOf(msg).Facts) > 1:
				return nil, err
			case !w.wait(ctx, w.policy.Backoff.After(tries[class])):
				return nil, errEnding
			}
		}
	}
}

// note counts and remembers a failed try.
func (w *worker) note(ctx context.Context, err error, began time.Time) handlers.Class {
	class := w.class(err)
	took := time.Since(began)
	w.metrics.Tried(w.Name, class, took)
	w.standing.failed(err)
	if a, ok := ctx.Value(attemptsKey{}).(*attempts); ok {
		a.add(attemptOf(err, class, began, took))
	}
	w.log.WarnContext(ctx, "try failed", "handler", w.Name, "class", class.String(), "error", err)
	return class
}

func attemptOf(err error, class handlers.Class, began time.Time, took time.Duration) Attempt {
	one := Attempt{At: began.UTC().Truncate(time.Microsecond), Took: took, Class: class, Error: err.Error()}
	if p, ok := errors.AsType[*panicked](err); ok {
		one.Stack = p.stack
	}
	return one
}

// class is Classify with what makes a handler wait.
func (w *worker) class(err error) handlers.Class {
	if errors.Is(err, ErrOtherLog) || errors.Is(err, ErrLotFull) {
		return handlers.Unavailable
	}
	return Classify(err, w.classify...)
}

// Policy is how a handler treats failures.
type Policy struct {
	// Tries is how often a message is tried in place before it is parked, by class. Classes that are not
	// named are tried once.
	Tries map[handlers.Class]int
	// Backoff is the pause between tries in place.
	Backoff Backoff
	// Hold is the pause between tries while something that the handler needs is down.
	Hold Backoff
	// Timeout is how long one try may take.
	Timeout time.Duration
	// Outage is how many different keys must fail one after another, without one success between, to be
	// taken for an outage: then the handler holds instead of parking more.
	Outage int
	// PerKey is how many messages may wait in one sequence.
	PerKey int
}

// DefaultPolicy is what handlers have that say nothing else.
func DefaultPolicy() Policy {
	return Policy{
		Tries:   map[handlers.Class]int{handlers.Transient: 8, handlers.Unknown: 3},
		Backoff: Backoff{First: 10 * time.Millisecond, Most: 2 * time.Second, Jitter: HalfJitter},
		Hold:    Backoff{First: 100 * time.Millisecond, Most: 15 * time.Second, Jitter: HalfJitter},
		Timeout: 30 * time.Second,
		Outage:  10,
		PerKey:  10_000,
	}
}

// Backoff doubles a pause with each failure.
type Backoff struct {
	First, Most time.Duration
	// Jitter changes each pause; nil leaves it exact.
	Jitter func(time.Duration) time.Duration
}

// After is the pause after the n-th failure, from 1.
func (b Backoff) After(n int) time.Duration {
	d := b.First
	for ; n > 1 && d < b.Most; n-- {
		d *= 2
	}
	d = min(d, b.Most)
	if b.Jitter != nil {
		d = b.Jitter(d)
	}
	return d
}

// HalfJitter takes a random part of up to half of the pause away, so that what failed together does not
// come back together.
func HalfJitter(d time.Duration) time.Duration {
	return d - rand.N(d/2+1) //nolint:gosec // a spread, not a secret
}
