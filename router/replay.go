package router

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/ops"
	"bankforge/handlers"
)

// ErrNoSequence means that nothing is parked for the key.
var ErrNoSequence = errors.New("nothing is parked for this key")

// ErrKeyPaused means that an operator has paused the key.
var ErrKeyPaused = errors.New("the key is paused")

// By says what wants a message tried again.
type By struct {
	Cause string // see ops.Attempt
	Alone bool   // it wants the head and nothing behind it, which then waits for its back-off
}

// ReplayError is a message that failed again, or a key that could not be written anew.
type ReplayError struct {
	Class handlers.Class
	Text  string // the failure as operators are told of it: see ops.Discreet
	err   error
}

// Error is the failure.
func (e *ReplayError) Error() string { return e.err.Error() }

// Unwrap gives what the handler said.
func (e *ReplayError) Unwrap() error { return e.err }

// ReplayHead handles the first parked message of the key again, through the same handler and in one transaction,
// and ends its waiting when that succeeds. A failure is added to the message's attempts, unless something is down
// that the handler needs, and returned as a *ReplayError. What is likely to go by itself at once is tried in place, as
// the handler does, and only the last of these tries is added.
// It does not pass gate, parking and checkpoint, and may run beside the handler.
func (r *Router) ReplayHead(ctx context.Context, handler, key string, by By) error {
	w := r.worker(handler)
	if w == nil || w.Kind == Newest {
		return fmt.Errorf("there is no handler %q with a parking lot", clip(handler))
	}
	var head Parked
	step := w.timed(w.recovered(func(msg *message.Message) (_ []*message.Message, err error) {
		if w.Outside != nil {
			head, err = w.againOutside(msg.Context(), key, by)
			return nil, err
		}
		return nil, w.Store.InTx(msg.Context(), func(ctx context.Context) (err error) {
			head, err = w.again(ctx, key, by)
			return err
		})
	}))
	for n, first := 1, time.Now(); ; n++ {
		began := time.Now()
		head = Parked{}
		_, err := step(message.NewMessageWithContext(ctx, "replay", nil))
		if err == nil || head.Handler == "" || head.Paused || w.over(ctx) {
			return err
		}
		class, took := w.class(err), time.Since(began)
		w.metrics.Tried(w.Name, class, took)
		pause, text := later(err, w.policy().Backoff.After(n)), w.says(err, [][]byte{head.Payload})
		switch {
		case class == handlers.Unavailable:
			return &ReplayError{class, text, err}
		case class != handlers.Transient || n >= w.policy().Tries[class] || time.Since(first)+pause > replayAgain:
			return w.failedAgain(ctx, head, err, w.attemptOf(err, text, class, began, took, by.Cause))
		case !w.wait(ctx, pause):
			return errEnding
		}
	}
}

// replayAgain is for how long a head is tried again in place: others wait for the sequence.
const replayAgain = 2 * time.Second

// failedAgain records that a head has failed.
func (w *worker) failedAgain(ctx context.Context, head Parked, err error, a Attempt) error {
	if ill := w.attempted(ctx, head, a); ill != nil {
		return errors.Join(err, ill) // it was not recorded, and so has not failed
	}
	return &ReplayError{a.Class, a.Error, err}
}

// Fronts is what a Lot may be besides: messages of several sequences that end together. It belongs into a transaction.
type Fronts interface {
	// Front returns the first messages that wait in the sequences of these keys, each one's in order from its head, and
	// locks the sequences until the transaction ends. They are all of a sequence, as many sequences as have at most limit
	// messages together; or the first limit of one that has more. Sequences that are paused, that are wanted otherwise or
	// have gone are left out.
	Front(ctx context.Context, handler string, keys []string, limit int) ([]Fronted, error)
	// ResolveFront ends the waiting of all that Front has returned, as Resolve does of one. It returns the keys of which
	// none waits any more.
	ResolveFront(ctx context.Context, handler string, all []Fronted, e Ending) (drained []string, err error)
}

// Fronted is a message that waits, with what the Lot knows it by.
type Fronted struct {
	Parked
	ID      int64
	Waiting int // in its sequence
}

// frontSize is how many messages are replayed in one transaction at most.
const frontSize = 128

// ReplayFront handles messages from the heads of several sequences on, as ReplayHead does one, in one transaction for
// all: either all of them end, or none. It returns how many did, and which of the keys have nothing left. An error says
// nothing about any of them, and nothing of it is recorded: ReplayHead finds out which one fails. It may also leave all
// to that.
func (r *Router) ReplayFront(
	ctx context.Context, handler string, keys []string, by By,
) (handled int, drained []string, err error) {
	w := r.worker(handler)
	if w == nil || w.Kind == Newest || w.Outside != nil {
		return 0, nil, nil
	}
	fronts, ok := w.Store.(Fronts)
	if !ok {
		return 0, nil, nil
	}
	step := w.timed(w.recovered(func(msg *message.Message) ([]*message.Message, error) {
		return nil, w.Store.InTx(msg.Context(), func(ctx context.Context) (err error) {
			handled, drained, err = w.front(ctx, fronts, keys, by)
			return err
		})
	}))
	if _, err := step(message.NewMessageWithContext(ctx, "replay", nil)); err != nil {
		return 0, nil, err
	}
	return handled, drained, nil
}

func (w *worker) front(ctx context.Context, fronts Fronts, keys []string, by By) (int, []string, error) {
	all, err := fronts.Front(ctx, w.Name, keys, frontSize)
	if err != nil || len(all) == 0 {
		return 0, nil, err
	}
	facts := make([]handlers.Fact, len(all))
	for i := range all {
		if facts[i], err = today.decode(all[i].Metadata, all[i].Payload); err != nil {
			return 0, nil, err
		}
	}
	if err := w.Handler(ctx, facts); err != nil {
		return 0, nil, err
	}
	drained, err := fronts.ResolveFront(ctx, w.Name, all, w.ending(by))
	return len(all), drained, err
}

// ReplaySequence replays the key's messages in their order, until none waits or one fails. It
// returns how many were handled.
func (r *Router) ReplaySequence(ctx context.Context, handler, key string) (handled int, err error) {
	for {
		err := r.ReplayHead(ctx, handler, key, By{Cause: ops.ByBackoff})
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
func (w *worker) again(ctx context.Context, key string, by By) (Parked, error) {
	head, fact, err := w.parkedFirst(ctx, key)
	if err != nil {
		return head, err
	}
	ctx = handlers.WithOrigin(ctx, fact.Origin())
	if err := w.Handler(ctx, []handlers.Fact{fact}); err != nil && w.class(err) != handlers.Rejected {
		return head, err
	}
	return head, w.Store.Resolve(ctx, head, w.ending(by))
}

// ending is how a message ends that was handled.
func (w *worker) ending(by By) Ending {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return Ending{As: Resolved, By: by.Cause, At: now, Next: w.policy().again(now, handlers.Unknown, 0)}
}

// parkedFirst is the head of the sequence, decoded.
func (w *worker) parkedFirst(ctx context.Context, key string) (Parked, handlers.Fact, error) {
	head, ok, err := w.Store.Head(ctx, w.Name, key)
	if err != nil {
		return Parked{}, handlers.Fact{}, err
	}
	switch {
	case !ok:
		return Parked{}, handlers.Fact{}, ErrNoSequence
	case head.Paused:
		return head, handlers.Fact{}, ErrKeyPaused
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
		return w.Store.Attempted(ctx, head, a, w.policy().again(time.Now().UTC(), a.Class, head.Tries+1))
	})
}

// errIncomplete means that a replay has to wait: what it would write belongs behind what is not there yet.
var errIncomplete = handlers.As(handlers.Unavailable, errors.New("what stands outside is being built from the log"))

// replayTries is how often a replay looks again when the handler goes on beside it.
const replayTries = 20

// againOutside is again in three steps.
func (w *worker) againOutside(ctx context.Context, key string, by By) (head Parked, err error) {
	for n := 1; ; n++ {
		head, err = w.replayOutside(ctx, key, by)
		if !errors.Is(err, ErrMoved) {
			return head, err
		}
		if n == replayTries || !w.wait(ctx, w.policy().Backoff.After(n)) {
			return head, handlers.As(handlers.Unavailable, err) // nothing is wrong with the message: later, then
		}
	}
}

func (w *worker) replayOutside(ctx context.Context, key string, by By) (head Parked, err error) {
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
		return w.Store.Resolve(ctx, now, w.ending(by))
	})
}
