package router

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/ops"
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
		var tries map[handlers.Class]int
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
			if tries == nil {
				tries = map[handlers.Class]int{}
			}
			tries[class]++
			switch {
			case class == handlers.Unavailable:
				if err := w.hold(ctx, tries[class], err); err != nil {
					return nil, err
				}
			case tries[class] >= w.policy().Tries[class] || class == handlers.Unknown && len(deliveryOf(msg).Facts) > 1:
				return nil, err
			case !w.wait(ctx, later(err, w.policy().Backoff.After(tries[class]))):
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
	d := deliveryIn(ctx)
	a, trying := ctx.Value(attemptsKey{}).(*attempts)
	if trying && len(d.Facts) > 1 && class != handlers.Unavailable { // their parts are tried next, and tell why they fail
		w.log.WarnContext(ctx, "try failed", "handler", w.Name, "class", class.String(), "facts", len(d.Facts))
		return class
	}
	text := w.says(err, d.payloads())
	w.standing.failed(text)
	if trying {
		a.add(w.attemptOf(err, text, class, began, took, ops.ByStream))
	}
	w.log.WarnContext(ctx, "try failed", "handler", w.Name, "class", class.String(), "error", ops.Masked(text))
	return class
}

// says is what operators are told of an error: what it quotes of the payloads that it is about is marked as theirs.
func (w *worker) says(err error, payloads [][]byte) string {
	if w.Topic == bank.OpsTopic { // what operators did is not hidden from them
		return err.Error()
	}
	var secrets []string
	for _, p := range payloads {
		secrets = append(secrets, ops.Secrets(p)...)
	}
	return ops.Discreet(err.Error(), secrets)
}

// attemptOf takes what is told of err as its text.
func (w *worker) attemptOf(
	err error, text string, class handlers.Class, began time.Time, took time.Duration, by string,
) Attempt {
	one := Attempt{At: began.UTC().Truncate(time.Microsecond), Took: took, Class: class, Error: text, By: by}
	if p, ok := errors.AsType[*panicked](err); ok {
		one.Stack = p.stack
	}
	one.Fingerprint = ops.Fingerprint(w.Name, class.String(), err.Error(), one.Stack)
	return one
}

// maxRetryAfter bounds what an error may ask for: after that it is looked at again.
const maxRetryAfter = 15 * time.Minute

// later is the pause before the next try, and no shorter than what the error asks for, if it does.
func later(err error, pause time.Duration) time.Duration {
	if asks, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err); ok {
		return max(pause, min(asks.RetryAfter(), maxRetryAfter))
	}
	return pause
}

// class is Classify with what operators know better, and with what makes a handler wait.
func (w *worker) class(err error) handlers.Class {
	if errors.Is(err, ErrOtherLog) || errors.Is(err, ErrLotFull) {
		return handlers.Unavailable
	}
	if rules := w.policy().Classes; len(rules) > 0 {
		text := err.Error()
		for _, r := range rules {
			if strings.Contains(text, r.Contains) {
				return r.Class
			}
		}
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
	// PerKey and PerHandler are how many messages may wait in one sequence, and in all of a handler. Over either of
	// them the handler pauses.
	PerKey, PerHandler int
	// Again are the pauses before the head of a sequence is tried again by itself; after the last one it is by hand.
	Again []time.Duration
	// Classes overrule what errors are taken for; the first that fits counts.
	Classes []ClassRule
}

// ClassRule gives a class to errors whose text contains something.
type ClassRule struct {
	Contains string
	Class    handlers.Class
}

// PolicyOf is what operators say, as handlers need it.
func PolicyOf(o ops.Policy) Policy {
	p := Policy{
		Tries: map[handlers.Class]int{}, Backoff: backoffOf(o.Backoff), Hold: backoffOf(o.Hold),
		Timeout: time.Duration(o.Timeout) * time.Millisecond, Outage: o.Outage, PerKey: o.PerKey, PerHandler: o.PerHandler,
	}
	for name, n := range o.Attempts {
		if class, ok := handlers.ParseClass(name); ok {
			p.Tries[class] = n
		}
	}
	for _, ms := range o.Again {
		p.Again = append(p.Again, time.Duration(ms)*time.Millisecond)
	}
	for _, r := range o.Classes {
		if class, ok := handlers.ParseClass(r.Class); ok {
			p.Classes = append(p.Classes, ClassRule{r.Contains, class})
		}
	}
	return p
}

func backoffOf(b ops.Backoff) Backoff {
	out := Backoff{First: time.Duration(b.First) * time.Millisecond, Most: time.Duration(b.Most) * time.Millisecond}
	if b.Jitter > 0 {
		out.Jitter = JitterOf(b.Jitter)
	}
	return out
}

// again is when a head that has failed is tried next by itself, after so many tries there; zero: by hand. What is
// broken for good is always by hand.
func (p *Policy) again(now time.Time, class handlers.Class, tries int) time.Time {
	if class == handlers.Poison || tries >= len(p.Again) {
		return time.Time{}
	}
	return now.Add(p.Again[tries])
}

// DefaultPolicy is what handlers have that say nothing else.
func DefaultPolicy() Policy { return PolicyOf(ops.DefaultPolicy()) }

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
func HalfJitter(d time.Duration) time.Duration { return JitterOf(50)(d) }

// JitterOf takes a random part of up to so many percent of each pause away.
func JitterOf(percent int) func(time.Duration) time.Duration {
	return func(d time.Duration) time.Duration {
		return d - rand.N(d*time.Duration(percent)/100+1) //nolint:gosec // a spread, not a secret
	}
}

// Classifier knows the errors of one technology; ok is false for all others.
type Classifier func(err error) (c handlers.Class, ok bool)

// Classify says what is to become of an error: what the handler itself said comes first, then what
// the classifiers know. It is not asked when the handler is ending: then no error is a failure.
func Classify(err error, others ...Classifier) handlers.Class {
	if c, ok := handlers.ClassOf(err); ok {
		return c
	}
	for _, known := range others {
		if c, ok := known(err); ok {
			return c
		}
	}
	var refused *bank.Error
	switch {
	case errors.As(err, &refused):
		return classOfCode(refused.Code)
	case errors.Is(err, app.ErrFull):
		return handlers.Unavailable
	case errors.Is(err, context.DeadlineExceeded):
		return handlers.Transient
	default:
		return handlers.Unknown
	}
}

func classOfCode(c bank.Code) handlers.Class {
	switch c {
	case app.CodeUnavailable:
		return handlers.Unavailable
	case app.CodeOverloaded, app.CodeOutcomeUnknown, app.CodeViewBehind:
		return handlers.Transient
	default:
		return handlers.Rejected
	}
}

// errEnding ends what waits when the session of a message is over. The message comes again; nothing failed.
var errEnding = fmt.Errorf("the handler is ending: %w", context.Canceled)

// gap says that messages are missing between the checkpoint and what was delivered.
type gap struct{ from, to handlers.Position }

func (g *gap) Error() string {
	return "the broker left out what is between " + formatPosition(g.from) + " and " + formatPosition(g.to)
}

// ErrOtherLog means that the handler's checkpoint counts in another incarnation of the log. It waits until
// what it keeps has been rebuilt.
var ErrOtherLog = errors.New("the checkpoint belongs to another incarnation of the log: the view must be rebuilt")

// ErrLotFull means that as many messages wait in one sequence, or in all of a handler, as are allowed to. The handler
// pauses until an operator resumes it; where there are no operators, it waits until
// there are fewer.
var ErrLotFull = errors.New("the parking lot is full")

// panicked is a panic of a handler as an error.
type panicked struct {
	value any
	stack string
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// Unwrap gives the error that was panicked with, if it was one.
func (p *panicked) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

func poison(format string, args ...any) error {
	return handlers.As(handlers.Poison, fmt.Errorf(format, args...))
}

// clip is what of a text from outside is worth quoting.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// Readable says what is wrong with a message as it was parked, read as handlers read it; nil: nothing is.
func Readable(metadata map[string]string, payload []byte) error {
	_, err := today.decode(metadata, payload)
	return err
}
