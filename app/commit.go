package app

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"bankforge/app/bank"
	"bankforge/app/fault"
)

// commit appends the batch, if there is something to append, and answers its requests. When it fails, the
// state is as it was before the batch.
func (l *Ledger) commit(b *batch) error {
	start := time.Now()
	if fault.Planted(fault.NoWait) {
		b.succeed(Timing{})
	}
	if len(b.Rows) > 0 || len(b.Outcomes) > 0 {
		if err := l.append(b); err != nil {
			if !fault.Planted(fault.NoUndo) {
				l.state.Rollback(b.mark)
			}
			l.rest()
			b.fail(err)
			return err
		}
		l.conf.Metrics.Committed(len(b.answered), len(b.Rows), time.Since(start))
	}
	l.state.Settle()
	if n := len(b.Rows); n > 0 {
		l.head.Seq, l.head.Chain = b.Rows[n-1].Seq, b.chain
		l.conf.Tide.Rise(l.head.Seq, l.conf.Clock())
	}
	fault.Here(fault.BeforeReply)
	b.succeed(Timing{Decide: b.decided.Sub(b.start), Commit: time.Since(start)})
	return nil
}

// append returns nil only when the batch is in the log, and keeps the head.
func (l *Ledger) append(b *batch) error {
	err := l.tryAppend(b)
	switch {
	case err == nil:
		l.head.Batch = b.Number
		return nil
	case errors.Is(err, ErrUnknownCommit):
		l.conf.Logger.Warn("a commit is unknown; resolving it", "batch", b.Number, "error", err)
		return l.resolve(b)
	case errors.Is(err, ErrFenced):
		l.stepDown(err)
		return unavailable(err)
	default:
		l.conf.Logger.Error("a batch could not be appended", "batch", b.Number, "error", err)
		return unavailable(err)
	}
}

// tryAppend takes a panic for what it is: nobody knows what was committed.
func (l *Ledger) tryAppend(b *batch) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: panic: %v", ErrUnknownCommit, p)
			l.conf.Logger.Error("appending panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	ctx, cancel := context.WithTimeout(l.ctx, l.conf.CommitWithin)
	defer cancel()
	if fault.Planted(fault.NoOutcome) {
		b.Outcomes = nil
	}
	fault.Here(fault.BeforeAppend)
	err = l.conf.Log.Append(ctx, b.Batch)
	fault.Here(fault.AfterCommit)
	return err
}

// resolve asks until it is known whether the batch was committed: nil says yes. Callers are not kept waiting
// longer than ResolveWithin; then they are told that the outcome is unknown, and no commands are taken
// until it is known.
func (l *Ledger) resolve(b *batch) error {
	deadline := time.Now().Add(l.conf.ResolveWithin)
	patient := true
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		ctx, cancel := context.WithTimeout(l.ctx, l.conf.CommitWithin)
		committed, head, err := l.conf.Log.Resolve(ctx, b.Batch)
		cancel()
		switch {
		case err == nil:
			l.fault.Store(nil)
			return l.resolved(b, committed, head)
		case errors.Is(err, ErrFenced):
			return l.resolveFenced(b, err)
		}
		l.conf.Logger.Warn("an unknown commit is not resolved yet", "batch", b.Number, "error", err)
		if patient && time.Now().After(deadline) {
			patient = false
			fault := fmt.Errorf("the commit of batch %d is unknown: %w", b.Number, err)
			l.fault.Store(&fault)
			b.fail(outcomeUnknown(err))
		}
		if !patient {
			l.emptyQueue()
		}
		select {
		case <-time.After(pause):
		case <-l.ctx.Done():
			return l.giveUp(b, l.ctx.Err())
		}
		if !patient && l.closing.Load() {
			return l.giveUp(b, errStopped)
		}
	}
}

// giveUp leaves a commit unknown: the next start finds it in the log, or not.
func (l *Ledger) giveUp(b *batch, err error) error {
	l.stepDown(fmt.Errorf("batch %d is left unresolved: %w", b.Number, err))
	return outcomeUnknown(err)
}

// emptyQueue answers what is queued while nothing can be decided.
func (l *Ledger) emptyQueue() {
	for {
		select {
		case r := <-l.queue:
			turnAway([]*request{l.dequeued(r)}, l.Ready())
		default:
			return
		}
	}
}

// resolved goes on from the head that Resolve has left.
func (l *Ledger) resolved(b *batch, committed bool, head Head) error {
	want, number := b.After, b.Number-1
	if committed {
		want, number = b.After+bank.Seq(len(b.Rows)), b.Number
	}
	if head.Seq != want || head.Batch != number {
		err := fmt.Errorf("the head is at event %d, batch %d instead of %d, %d", head.Seq, head.Batch, want, number)
		l.stepDown(err)
		return outcomeUnknown(err)
	}
	l.head.Term, l.head.Batch = head.Term, head.Batch
	if !committed {
		return unavailable(ErrUnknownCommit)
	}
	return nil
}

// resolveFenced ends a term: somebody else owns the ledger, so nothing more of the batch can get into the log. What
// is in its place there tells what became of it.
func (l *Ledger) resolveFenced(b *batch, fenced error) error {
	l.stepDown(fenced)
	ctx, cancel := context.WithTimeout(l.ctx, l.conf.CommitWithin)
	defer cancel()
	if len(b.Rows) > 0 {
		there, err := l.conf.Log.Read(ctx, b.After, 1)
		switch {
		case err != nil:
			return outcomeUnknown(err)
		case len(there) == 0 || there[0].Chain != b.Rows[0].Chain:
			return unavailable(fenced)
		}
		return nil
	}
	first := b.Outcomes[0] // nothing but refusals
	known, err := l.conf.Lookup.Outcomes(ctx, []Key{first.Key})
	if err != nil {
		return outcomeUnknown(err)
	}
	if o, ok := known[first.Key]; !ok || o.Seq != first.Seq || o.At != first.At {
		return unavailable(fenced)
	}
	return nil
}

// stepDown ends the decider after this batch.
func (l *Ledger) stepDown(err error) {
	err = fmt.Errorf("stepped down: %w", err)
	l.fault.Store(&err)
	l.conf.Logger.Error("the ledger stops deciding", "error", err)
}

// fail answers all requests of the batch that have none yet.
func (b *batch) fail(err error) {
	for _, r := range b.answered {
		r.answer, r.err = Answer{}, refusal(err)
		r.finish()
	}
	b.answered = nil
}

// succeed answers all requests of the batch.
func (b *batch) succeed(t Timing) {
	for _, r := range b.answered {
		if r.first != nil {
			r.answer, r.err = r.first.answer, r.first.err
			r.answer.Replayed = true
		}
		r.answer.Timing = t
		r.answer.Timing.Queue = b.start.Sub(r.arrived)
		r.finish()
	}
	b.answered = nil
}

// leased is what keeps a ledger's lease.
type leased struct {
	lost chan error    // has one when somebody else owns the log
	over chan struct{} // closed when the lease has been released
}

// releaseWithin is how long giving the lease up may take; when it does not work, the others wait until it runs out.
const releaseWithin = 2 * time.Second

// Done is closed when the ledger has ended: after Close, or when it has stepped down, and Ready says why. Close must be
// called then, too; whoever wants to go on stands by with another Ledger.
func (l *Ledger) Done() <-chan struct{} { return l.stopped }

// keepLease renews the lease from now on, until the ledger ends. Loading takes time, too.
func (l *Ledger) keepLease() {
	if l.conf.Lease == nil {
		return
	}
	if l.conf.RenewEvery <= 0 {
		l.conf.RenewEvery = time.Second
	}
	l.leased = &leased{lost: make(chan error, 1), over: make(chan struct{})}
	go l.renew()
}

func (l *Ledger) renew() {
	defer close(l.leased.over)
	tick := time.NewTicker(l.conf.RenewEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.stopped:
			l.release()
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(l.ctx, l.conf.CommitWithin)
		err := l.conf.Lease.Renew(ctx)
		cancel()
		switch {
		case errors.Is(err, ErrFenced):
			l.leased.lost <- err
			return
		case err != nil && l.ctx.Err() == nil:
			// As long as nobody takes the ledger, it goes on. If somebody does, the next append or renewal tells.
			l.conf.Logger.Warn("the lease of the ledger was not renewed", "error", err)
		}
	}
}

func (l *Ledger) release() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), releaseWithin)
	defer cancel()
	if err := l.conf.Lease.Release(ctx); err != nil {
		l.conf.Logger.Warn("the lease of the ledger was not released; others wait until it runs out", "error", err)
	}
}

// lost has an error when the lease is somebody else's.
func (l *Ledger) lost() <-chan error {
	if l.leased == nil {
		return nil
	}
	return l.leased.lost
}

// released waits until the lease is given up. The decider has ended before.
func (l *Ledger) released() {
	if l.leased != nil {
		<-l.leased.over
	}
}

// Metrics counts what a Ledger does. Calls must be quick, and may be concurrent.
type Metrics interface {
	// Committed tells of one batch: commands decided, events written, and how long the append took.
	Committed(commands, events int, took time.Duration)
	// Answered tells of one command: its name, and the code of its refusal, or "".
	Answered(command string, code bank.Code)
}

type noMetrics struct{}

func (noMetrics) Committed(int, int, time.Duration) {}
func (noMetrics) Answered(string, bank.Code)        {}

func unavailable(cause error) *bank.Error {
	e := bank.Refuse(CodeUnavailable, "", "The ledger cannot take the command now; nothing was done.")
	e.Cause = cause
	return e
}

func outcomeUnknown(cause error) *bank.Error {
	e := bank.Refuse(CodeOutcomeUnknown, "", "It is not known what became of the command. Ask again with the same key.")
	e.Cause = cause
	return e
}
