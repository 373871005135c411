package router

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app"
	"bankforge/app/bank"
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

// ReplayError is a message that failed again.
type ReplayError struct {
	Class handlers.Class
	err   error
}

// Error is the failure.
func (e *ReplayError) Error() string { return e.err.Error() }

// Unwrap gives what the handler said.
func (e *ReplayError) Unwrap() error { return e.err }

// ReplayHead handles the first parked message of the key again, through the same handler and in one transaction,
// and ends its waiting when that succeeds. A failure is added to the message's attempts, unless something is down
// that the handler needs, and returned as a *ReplayError.
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
	began := time.Now()
	_, err := step(message.NewMessageWithContext(ctx, "replay", nil))
	if err == nil || head.Key == "" || head.Paused || ctx.Err() != nil {
		return err
	}
	class, took := w.class(err), time.Since(began)
	w.metrics.Tried(w.Name, class, took)
	if class == handlers.Unavailable {
		return &ReplayError{class, err}
	}
	err = errors.Join(err, w.attempted(ctx, head, w.attemptOf(err, class, began, took, by.Cause)))
	return &ReplayError{class, err}
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

// ErrNoRebuild means that the handler's view of one key cannot be written anew.
var ErrNoRebuild = errors.New("the view of one key cannot be written anew here")

// Versions is what the log has of one key. It is safe for concurrent use.
type Versions interface {
	// Versions returns the rows of one subject with version > after, ascending, at most limit, and is dense: the first is
	// version after + 1.
	Versions(ctx context.Context, subject string, after bank.Version, limit int) ([]app.Row, error)
}

// Limits of writing the view of one key anew: the handler waits meanwhile.
const (
	rebuiltAtOnce = 1_000   // versions that the handler is handed together
	rebuiltMost   = 100_000 // versions that a key may have
	rebuiltWithin = 60 * time.Second
)

// Rebuild writes the handler's view of a key anew from the log, up to where its checkpoint is, in one transaction. In
// it lock is called first, to see that nobody else works on the key, and whether it is wanted still; and in the end
// done, which ends the waiting of what is parked of the key.
func (r *Router) Rebuild(
	ctx context.Context, handler, key string, lock func(context.Context) (bool, error),
	done func(context.Context) error,
) error {
	w := r.worker(handler)
	if w == nil || w.Forget == nil || r.c.Versions == nil {
		return noRebuild(handler, "the handler keeps no view that could be")
	}
	within, cancel := context.WithTimeout(ctx, rebuiltWithin)
	defer cancel()
	step := w.recovered(func(msg *message.Message) ([]*message.Message, error) {
		if w.Outside != nil {
			return nil, w.rebuildOutside(msg.Context(), r.c.Versions, key, lock, done)
		}
		return nil, w.locked(msg.Context(), key, lock, func(ctx context.Context, at Checkpoint) error {
			if _, err := w.anew(ctx, r.c.Versions, key, at); err != nil {
				return err
			}
			return done(ctx)
		})
	})
	_, err := step(message.NewMessageWithContext(within, "rebuild", nil))
	switch {
	case err == nil, errors.Is(err, ErrNoRebuild):
		return err
	case within.Err() != nil && ctx.Err() == nil:
		return noRebuild(handler, fmt.Sprintf("it takes longer than %s", rebuiltWithin))
	}
	return &ReplayError{w.class(err), err}
}

// locked runs fn in a transaction that has locked the checkpoint of the key's stream, and then the key; not when nobody
// wants it any more.
func (w *worker) locked(
	ctx context.Context, key string, lock func(context.Context) (bool, error),
	fn func(ctx context.Context, at Checkpoint) error,
) error {
	return w.Store.InTx(ctx, func(ctx context.Context) error {
		at, err := w.Store.Checkpoint(ctx, w.streamOf(key))
		if err != nil {
			return err
		}
		if wanted, err := lock(ctx); err != nil || !wanted {
			return err
		}
		return fn(ctx, at)
	})
}

// rebuildOutside is Rebuild in three steps. The key does not flow meanwhile, but more may come to wait: then all begins
// anew.
func (w *worker) rebuildOutside(
	ctx context.Context, log Versions, key string, lock func(context.Context) (bool, error),
	done func(context.Context) error,
) error {
	for n := 1; ; n++ {
		err := w.rebuildOnce(ctx, log, key, lock, done)
		if !errors.Is(err, ErrMoved) {
			return err
		}
		if n == replayTries || !w.wait(ctx, w.policy().Backoff.After(n)) {
			return handlers.As(handlers.Unavailable, err) // later, then
		}
	}
}

func (w *worker) rebuildOnce(
	ctx context.Context, log Versions, key string, lock func(context.Context) (bool, error),
	done func(context.Context) error,
) error {
	var seen *Checkpoint
	err := w.locked(ctx, key, lock, func(_ context.Context, at Checkpoint) error {
		seen = &at
		return nil
	})
	if err != nil || seen == nil {
		return err
	}
	mark, err := w.Outside.Mark(ctx, w.streamOf(key))
	if err != nil {
		return err
	}
	if mark.Incarnation != seen.Incarnation || !mark.Complete() {
		return errIncomplete
	}
	has, err := w.anew(WithFence(ctx, Fence{w.streamOf(key), mark}), log, key, *seen)
	if err != nil {
		return err
	}
	return w.locked(ctx, key, lock, func(ctx context.Context, at Checkpoint) error {
		if at.Incarnation != seen.Incarnation || at.Position.Before(seen.Position) { // what stands outside was lost
			return ErrMoved
		}
		rows, err := log.Versions(ctx, key, has, 1)
		if err != nil {
			return err
		}
		more, err := w.versionsOf(key, rows, has, at)
		switch {
		case err != nil:
			return err
		case len(more) > 0: // it waits, and is not there
			return ErrMoved
		}
		return done(ctx)
	})
}

// noRebuild says what to do instead.
func noRebuild(handler, why string) error {
	if handler == OperationsHandler {
		return fmt.Errorf("%w: the handler keeps no view", ErrNoRebuild)
	}
	return fmt.Errorf("%w: %s; write the whole view anew with bankforge rebuild %s", ErrNoRebuild, why, clip(handler))
}

// streamOf is the stream that brings a key.
func (w *worker) streamOf(key string) Stream {
	if w.partitions == 0 {
		return w.stream(0)
	}
	return w.stream(PartitionOf(key, w.partitions))
}

// anew takes away what the view has of a key, and hands the handler what the log has of it up to the checkpoint. It
// returns the last version of that.
func (w *worker) anew(ctx context.Context, log Versions, key string, at Checkpoint) (has bank.Version, err error) {
	known, err := w.Forget(ctx, key)
	if err != nil || !known {
		return 0, err
	}
	head, err := w.feed.source.Head(ctx)
	switch {
	case err != nil:
		return 0, err
	case at.Incarnation != "" && at.Incarnation != head.Incarnation:
		return 0, noRebuild(w.Name, "the view is of another log")
	}
	more, err := log.Versions(ctx, key, rebuiltMost, 1)
	switch {
	case err != nil:
		return 0, err
	case len(more) > 0:
		return 0, noRebuild(w.Name, fmt.Sprintf("the key has more than %d versions", rebuiltMost))
	}
	for {
		rows, err := log.Versions(ctx, key, has, rebuiltAtOnce)
		if err != nil {
			return has, err
		}
		facts, err := w.versionsOf(key, rows, has, at)
		if err == nil && len(facts) > 0 {
			err = w.Handler(ctx, facts)
		}
		if err != nil {
			return has, err
		}
		has += bank.Version(len(facts))
		if len(rows) == 0 || len(facts) < len(rows) {
			return has, nil
		}
	}
}

// versionsOf are the facts that rows tell of the key, each one version, up to the checkpoint.
func (w *worker) versionsOf(key string, rows []app.Row, after bank.Version, at Checkpoint) ([]handlers.Fact, error) {
	facts := make([]handlers.Fact, 0, len(rows))
	for i := range rows {
		e, err := app.Decode(rows[i])
		if err != nil {
			return nil, err
		}
		for _, c := range e.Changes() {
			if c.Topic() != w.Topic || c.Key() != key {
				continue
			}
			f := FactOf(c, &e.Meta, at.Incarnation)
			if at.Position.Before(f.Position()) { // the handler will come to it by itself
				return facts, nil
			}
			if want := after + 1 + bank.Version(len(facts)); f.Version() != want {
				return nil, fmt.Errorf("the log has version %d of %s where version %d belongs", f.Version(), key, want)
			}
			facts = append(facts, f)
		}
	}
	return facts, nil
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
	e := Ending{As: Resolved, By: by.Cause, At: now}
	if by.Alone {
		e.Next = w.policy().again(now, handlers.Unknown, 0)
	}
	return e
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
		if !errors.Is(err, ErrMoved) || n == replayTries || !w.wait(ctx, w.policy().Backoff.After(n)) {
			return head, err
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
