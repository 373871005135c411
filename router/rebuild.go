package router

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
)

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
	if w == nil || w.Forget == nil && w.Mend == nil || r.c.Versions == nil {
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
	var payloads [][]byte
	if failed, ok := errors.AsType[*factsError](err); ok {
		payloads = (&Delivery{Facts: failed.facts}).payloads()
	}
	return &ReplayError{w.class(err), w.says(err, payloads), err}
}

// factsError are facts that a view could not take in, and why.
type factsError struct {
	facts []handlers.Fact
	err   error
}

func (r *factsError) Error() string { return r.err.Error() }
func (r *factsError) Unwrap() error { return r.err }

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

// anew takes away what the view has of a key, and hands the handler what the log has of it up to the checkpoint; or it
// has what is there mended. It returns the last version of that.
func (w *worker) anew(ctx context.Context, log Versions, key string, at Checkpoint) (has bank.Version, err error) {
	if w.Mend == nil {
		known, err := w.Forget(ctx, key)
		if err != nil || !known {
			return 0, err
		}
		return w.write(ctx, log, key, at, w.Handler)
	}
	m, known, err := w.Mend(ctx, key)
	if err != nil || !known {
		return 0, err
	}
	if has, err = w.write(ctx, log, key, at, m.Take); err != nil {
		return has, err
	}
	return has, m.End(ctx, has, findIn(log))
}

func findIn(log Versions) Find {
	return func(ctx context.Context, subject string, v bank.Version) (e app.Recorded, ok bool, err error) {
		rows, err := log.Versions(ctx, subject, v-1, 1)
		if err != nil || len(rows) == 0 {
			return e, false, err
		}
		e, err = app.Decode(rows[0])
		return e, err == nil, err
	}
}

// write hands out what the log has of a key up to the checkpoint.
func (w *worker) write(
	ctx context.Context, log Versions, key string, at Checkpoint, take handlers.Func,
) (has bank.Version, err error) {
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
			if err = take(ctx, facts); err != nil {
				err = &factsError{facts, err}
			}
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
