package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"bankforge/app/bank"
	"bankforge/app/codec"
)

// Ledger is the one write path. A single goroutine, the decider, owns the state of all accounts: it takes what is
// queued as one batch, decides each command upon the ones before it, commits them together, and only then
// answers. Nothing tentative leaves; a batch that fails leaves no trace in memory.
// It is safe for concurrent use.
type Ledger struct {
	conf    LedgerConfig
	queue   chan *request
	waiting atomic.Int64  // what is in the queue, by weight
	stop    chan struct{} // closed: take nothing more
	stopped chan struct{} // closed: the decider has ended
	leased  *leased       // nil: nobody shares the log
	closing atomic.Bool
	fault   atomic.Pointer[error] // why it does not decide now
	ctx     context.Context       //nolint:containedctx // of all that the decider asks, until Close loses patience
	cancel  context.CancelFunc

	// Only the decider touches these.
	state    *bank.State
	head     Head
	carried  []*request    // taken, but too much for the last batch
	saving   chan struct{} // closed when the snapshot that is being made is done; nil: none is
	saved    bank.Seq      // of the last snapshot that was begun
	restless time.Time     // holds are not expired before: the last try has failed
	alarm    *time.Timer
}

// LedgerConfig is what a Ledger needs. Zero values mean the defaults that are named.
type LedgerConfig struct {
	Log       Log
	Lookup    Lookup
	Tide      *Tide            // told of every commit; nil: one of its own
	Lease     Lease            // of Log, when processes share it; nil: none do
	Snapshots Snapshots        // nil: none are kept
	Replica   *Replica         // follows the log already; nil: the state begins with the snapshot. It is used up
	Clock     func() time.Time // nil: time.Now
	Owner     string           // who this process is, for the head of the log
	Metrics   Metrics          // nil: none
	Logger    *slog.Logger     // nil: nothing is logged
	QueueSize int              // commands, or items of bulks, that may wait; 0: 8,192
	// QueueWait is how long a command may wait to be taken out of the queue; 0: as long as it takes. Who has waited longer
	// is turned away: a late answer helps nobody, and makes all behind it late.
	QueueWait time.Duration
	MaxBatch  int // commands, or items of bulks, at which a batch is full; 0: 1,024
	// SnapshotEvery is the number of events between snapshots; 0: only when it is closed.
	SnapshotEvery int
	// ResolveWithin is how long callers wait for an unknown commit to be resolved; 0: 10 s.
	ResolveWithin time.Duration
	// CommitWithin bounds each call of Log and Lookup; 0: 15 s.
	CommitWithin time.Duration
	// RenewEvery is how often the lease is renewed; 0: 1 s. Others take the ledger when that has not come through for as
	// long as the lease is.
	RenewEvery time.Duration
}

func (c *LedgerConfig) defaults() {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Tide == nil {
		c.Tide = NewTide()
	}
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.QueueSize <= 0 {
		c.QueueSize = 8192
	}
	if c.MaxBatch <= 0 {
		c.MaxBatch = 1024
	}
	if c.ResolveWithin <= 0 {
		c.ResolveWithin = 10 * time.Second
	}
	if c.CommitWithin <= 0 {
		c.CommitWithin = 15 * time.Second
	}
}

// Ask is one command on its way to a decision.
type Ask struct {
	Call    Call
	Name    string // of the command; permanent, for it is part of the outcome
	Command bank.Command
	// Refusal is what was found before deciding. It is the outcome, unless the key is known.
	Refusal *bank.Error
}

// Answer is what became of an Ask that was not refused.
type Answer struct {
	Done
	Events  []bank.Event     // what it made, in order; the last is the command's own
	Account *bank.Account    // as commands on accounts leave it
	Items   []codec.BulkItem // of a bulk, in order
}

// last is the command's own event. Others before it are what it needed, as a currency's first cash account.
func (a *Answer) last() *bank.Event { return &a.Events[len(a.Events)-1] }

// request is an Ask in the queue.
type request struct {
	Ask
	arrived time.Time
	claimed atomic.Bool   // by the decider, or by the caller who has left
	done    chan struct{} // closed when what follows is final
	answer  Answer
	err     *bank.Error
	known   *Outcome // the command has been decided earlier
	first   *request // the one with the same key in the same batch, whose answer it shares
}

func (r *request) finish() { close(r.done) }

// claim is true once: for the decider, or for the caller who goes away first.
func (r *request) claim() bool { return !r.claimed.Swap(true) }

// StartLedger takes the log over, rebuilds the state from it, and starts to decide. Close ends it; so does another
// process that takes the log over: see Done. While another's lease is valid, it stands by until ctx ends.
// It refuses a log that is damaged, and says where.
func StartLedger(ctx context.Context, conf LedgerConfig) (*Ledger, error) {
	conf.defaults()
	l := &Ledger{
		conf: conf, queue: make(chan *request, conf.QueueSize),
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := l.load(ctx); err != nil {
		close(l.stopped)
		l.released()
		l.cancel()
		return nil, fmt.Errorf("start the ledger: %w", err)
	}
	l.conf.Tide.Begin(l.head.Seq)
	l.alarm = time.NewTimer(0)
	go l.run()
	return l, nil
}

// Execute has a command decided, and returns what became of it after that was committed. A refusal is a
// *bank.Error; the Answer's Done is set then too. Besides the refusals of business there are: CodeKeyReused,
// CodeOverloaded (the queue is full or slow), CodeUnavailable (nothing was done) and CodeOutcomeUnknown (ask again with
// the same key). When ctx ends before the decision, nothing is done; afterwards the outcome stands.
func (l *Ledger) Execute(ctx context.Context, ask Ask) (Answer, error) {
	answer, err := l.execute(ctx, ask)
	if err != nil {
		l.conf.Metrics.Answered(ask.Name, err.Code)
		return answer, err
	}
	l.conf.Metrics.Answered(ask.Name, "")
	return answer, nil
}

func (l *Ledger) execute(ctx context.Context, ask Ask) (Answer, *bank.Error) {
	if err := l.Ready(); err != nil {
		return Answer{}, unavailable(err)
	}
	r := &request{Ask: ask, arrived: time.Now(), done: make(chan struct{})}
	if !l.enqueue(r) {
		return Answer{}, overloaded()
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.claim() || ask.Call.DryRun {
			return Answer{}, unavailable(ctx.Err())
		}
		if !r.isDone() {
			return Answer{}, outcomeUnknown(ctx.Err())
		}
	case <-l.stopped:
		if !r.isDone() {
			return Answer{}, unavailable(errStopped)
		}
	}
	if r.known != nil {
		return l.replay(ctx, r)
	}
	if r.err != nil {
		return Answer{Done: r.answer.Done}, r.err
	}
	return r.answer, nil
}

// enqueue is false when the queue is full. Items of bulks count, because they take the memory; one
// command finds a place in an empty queue, however large it is.
func (l *Ledger) enqueue(r *request) bool {
	weight := int64(r.weight())
	if sum := l.waiting.Add(weight); sum == weight || sum <= int64(l.conf.QueueSize) {
		select {
		case l.queue <- r:
			return true
		default:
		}
	}
	l.waiting.Add(-weight)
	return false
}

func (l *Ledger) dequeued(r *request) *request {
	l.waiting.Add(-int64(r.weight()))
	return r
}

func (r *request) isDone() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

var errStopped = errors.New("the ledger is stopping")

// Ready says why the ledger does not decide now; nil: it does.
func (l *Ledger) Ready() error {
	if l.closing.Load() {
		return errStopped
	}
	if fault := l.fault.Load(); fault != nil {
		return *fault
	}
	return nil
}

// Waiting is how many commands are in the queue.
func (l *Ledger) Waiting() int { return len(l.queue) }

// Close takes nothing more, finishes what was accepted, keeps a snapshot, and ends the decider. When ctx ends first,
// it is cut short.
func (l *Ledger) Close(ctx context.Context) error {
	if !l.closing.Swap(true) {
		close(l.stop)
	}
	defer l.cancel()
	defer l.released()
	select {
	case <-l.stopped:
		return nil
	case <-ctx.Done():
		l.cancel()
		<-l.stopped
		return fmt.Errorf("close the ledger: %w", ctx.Err())
	}
}

// run is the decider.
func (l *Ledger) run() {
	defer close(l.stopped)
	defer l.alarm.Stop()
	for l.fault.Load() == nil {
		first, ok := l.next()
		if !ok {
			break
		}
		l.step(l.inTime(l.take(first)))
		l.keepSnapshot()
	}
	l.lastSnapshot()
}

// next waits for something to do: a command, or nil when holds are due. ok is false at the end.
func (l *Ledger) next() (first *request, ok bool) {
	if len(l.carried) > 0 {
		return nil, true
	}
	select {
	case r := <-l.queue:
		return l.dequeued(r), true
	default:
	}
	select {
	case r := <-l.queue:
		return l.dequeued(r), true
	case <-l.expiry():
		return nil, true
	case <-l.saving:
		l.saving = nil
		return nil, true
	case err := <-l.lost():
		l.stepDown(err)
		return nil, false
	case <-l.stop:
		select {
		case r := <-l.queue:
			return l.dequeued(r), true
		default:
			return nil, false
		}
	}
}

// expiry rings when the next hold is due.
func (l *Ledger) expiry() <-chan time.Time {
	due, some := l.state.NextExpiry()
	if !some {
		return nil
	}
	at := due.Std()
	if at.Before(l.restless) {
		at = l.restless
	}
	l.alarm.Reset(max(at.Sub(l.conf.Clock()), 0))
	return l.alarm.C
}

// The decider lets others run before it begins with a batch that is not full: those who have just been answered, or
// have just read a request, get into the queue meanwhile. Twice as many commands then share a commit, and where nobody
// else has something to do, it costs nothing. But where others have much to do that is no command, it only waits for
// them; so it goes on once that has taken a while.
const (
	yields      = 3
	yieldWithin = 500 * time.Microsecond
)

// take makes up a batch: what was carried over, first, and what is queued, until it is full. It never waits.
func (l *Ledger) take(first *request) []*request {
	taken := l.carried
	l.carried = nil
	weight := 0
	for _, r := range taken {
		weight += r.weight()
	}
	if first != nil {
		taken = append(taken, first)
		weight += first.weight()
	}
	began := time.Now()
	for yielded := 0; weight < l.conf.MaxBatch; {
		select {
		case r := <-l.queue:
			taken = append(taken, l.dequeued(r))
			weight += r.weight()
		default:
			if yielded == yields || time.Since(began) > yieldWithin {
				return taken
			}
			yielded++
			runtime.Gosched()
		}
	}
	return taken
}

// inTime is what is left when those who have waited too long have been turned away.
func (l *Ledger) inTime(taken []*request) []*request {
	if l.conf.QueueWait <= 0 {
		return taken
	}
	now := time.Now()
	return slices.DeleteFunc(taken, func(r *request) bool {
		late := now.Sub(r.arrived) > l.conf.QueueWait
		if late && r.claim() {
			r.err = overloaded()
			r.finish()
		}
		return late
	})
}

func overloaded() *bank.Error {
	return bank.Refuse(CodeOverloaded, "", "Too many commands are waiting. Try again in a moment.")
}

// weight is how many decisions a command needs.
func (r *request) weight() int {
	if b, ok := r.Command.(bank.Bulk); ok {
		return max(1, len(b.Items))
	}
	return 1
}
