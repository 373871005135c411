// Package succession has one of many processes own a ledger: the others stand by, and one of them takes over when the
// owner is gone.
//
// What makes this safe is not in here: a ledger that another one has taken over is fenced by its term, whatever it
// believes. What is in here makes it quick and quiet. A process that stands by follows the log, so that it has the
// state when it is needed. It asks for the lease again and again, and whoever gets it, takes the ledger over and
// renews the lease; whoever loses it, stands by again.
package succession

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
)

// Config is what a Succession needs.
type Config struct {
	Lease app.Lease
	// Ledger is what the process decides with while it owns the ledger. Its Log and the Lease belong together. Its Owner
	// names this start of this process; no two have the same. Lease, RenewEvery and Replica are set here.
	Ledger app.LedgerConfig
	// Address is where others reach this process. Who was the owner at this address before, is not any more.
	Address string
	// Watches means that the process never takes the ledger over: it only knows who has it.
	Watches bool
	// Term is how long the lease is good without being renewed, which is done four times in it. It is as the Log has it.
	Term time.Duration
	// Patience is how long ending as an owner who has lost the lease may take; 0: 5 s.
	Patience time.Duration
	Logger   *slog.Logger // nil: nothing is logged
}

const (
	defaultPatience = 5 * time.Second
	perTerm         = 4     // how often in one term the lease is looked at, or renewed
	followed        = 16384 // events that are followed before the lease is looked at again
)

// Standing is what a process is to the ledger.
type Standing string

// A process stands by while another one has the lease, then it takes the ledger over, and then it owns it. One that
// watches is never more than that.
const (
	Watching   Standing = "watching"
	StandingBy Standing = "standing by"
	TakingOver Standing = "taking over"
	Owning     Standing = "owning"
)

// Succession is an app.Decider: commands are decided while this process owns the ledger, and else refused with
// CodeUnavailable. It is safe for concurrent use.
type Succession struct {
	conf    Config
	ledger  atomic.Pointer[app.Ledger] // nil: this process does not own it
	renewed atomic.Int64               // when this process asked for the lease that it has got last, since began
	began   time.Time
	stop    chan struct{}   // closed: end
	stopped chan struct{}   // closed: ended
	ctx     context.Context //nolint:containedctx // of what is asked while standing by, until Close
	cancel  context.CancelFunc

	mu       sync.Mutex
	changed  chan struct{} // closed when another one becomes the owner
	standing Standing
	holder   app.Holder      // as the lease said last
	fault    error           // why the ledger was not taken over the last time
	ending   context.Context //nolint:containedctx // of Close
}

// Start begins to stand by. Close ends it.
func Start(ctx context.Context, conf Config) (*Succession, error) {
	if conf.Lease == nil || conf.Term <= 0 || conf.Ledger.Owner == "" && !conf.Watches {
		return nil, errors.New("a succession needs a lease, its term, and a name for this process")
	}
	if conf.Patience <= 0 {
		conf.Patience = defaultPatience
	}
	if conf.Logger == nil {
		conf.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Succession{
		conf: conf, began: time.Now(), stop: make(chan struct{}), stopped: make(chan struct{}), standing: StandingBy,
		changed: make(chan struct{}),
	}
	s.conf.Ledger.Lease, s.conf.Ledger.RenewEvery = timed{conf.Lease, s}, conf.Term/perTerm
	if conf.Watches {
		s.standing = Watching
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go s.run()
	return s, nil
}

var (
	errNotOwner = errors.New("another process owns the ledger, or nobody does yet")
	errStale    = errors.New("the lease on the ledger has not been renewed in time")
)

// Execute implements app.Decider. An owner who could not renew its lease in time does not decide before it has, because
// another process may own the ledger by now: what it would decide upon is perhaps not true any more.
func (s *Succession) Execute(ctx context.Context, ask app.Ask) (app.Answer, error) {
	l, err := s.owned()
	if err != nil {
		refused := bank.Refuse(app.CodeUnavailable, "", "The ledger is being taken over; nothing was done.")
		refused.Cause = err
		return app.Answer{}, refused
	}
	return l.Execute(ctx, ask)
}

func (s *Succession) owned() (*app.Ledger, error) {
	l := s.ledger.Load()
	switch {
	case l == nil:
		return nil, errNotOwner
	case time.Since(s.began)-time.Duration(s.renewed.Load()) > s.conf.Term:
		return nil, errStale
	}
	return l, nil
}

// Owner is where the owner of the ledger is reached, as far as this process knows; here: it is this process. An empty
// address: nobody owns the ledger now. over is closed when another one is the owner.
func (s *Succession) Owner() (address string, here bool, over <-chan struct{}) {
	_, err := s.owned()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		return "", true, s.changed
	case !s.elsewhere(): // this one is taking over, or has just lost the ledger
		return "", false, s.changed
	}
	return s.holder.Address, false, s.changed
}

// elsewhere reports whether another process owns the ledger; s.mu is held.
func (s *Succession) elsewhere() bool {
	h := &s.holder
	return h.Valid && h.Owner != s.conf.Ledger.Owner && (h.Address == "" || h.Address != s.conf.Address)
}

// State is what this process is to the ledger, and who held the lease when it looked last.
func (s *Succession) State() (Standing, app.Holder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standing, s.holder
}

// Ready says why commands cannot be decided, here or elsewhere; nil: they can, as far as this process knows.
func (s *Succession) Ready() error {
	if l, err := s.owned(); err == nil {
		return l.Ready()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.fault != nil:
		return s.fault
	case s.standing == Owning:
		return errStale
	case s.standing == TakingOver:
		return errors.New("the ledger is being taken over")
	case !s.elsewhere():
		return errors.New("nobody owns the ledger")
	}
	return nil
}

// Waiting is how many commands are in the queue.
func (s *Succession) Waiting() int {
	if l := s.ledger.Load(); l != nil {
		return l.Waiting()
	}
	return 0
}

// Close ends it: an owner finishes what it has accepted, and lets the lease go. When ctx ends first, it is cut short.
func (s *Succession) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.ending == nil {
		s.ending = ctx
		close(s.stop)
		s.cancel()
	}
	s.mu.Unlock()
	<-s.stopped
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("close the ledger: %w", err)
	}
	return nil
}

func (s *Succession) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

func (s *Succession) become(standing Standing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.standing = standing; standing == Owning {
		s.hasChanged()
	}
}

// hasChanged tells who waits for another owner that there is one; s.mu is held.
func (s *Succession) hasChanged() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Succession) run() {
	defer close(s.stopped)
	replica := app.NewReplica(s.conf.Ledger)
	for s.standBy(replica) {
		s.reign(replica)
		if s.stopping() {
			return
		}
		if !s.lost() { // else the replica is the proof of it
			replica = app.NewReplica(s.conf.Ledger)
		}
		s.pause()
	}
	if s.conf.Watches {
		return
	}
	if err := replica.Keep(s.lastWords()); err != nil {
		s.conf.Logger.Warn("no snapshot was kept", "error", err)
	}
}

// lost reports whether the log has lost events that this process has seen.
func (s *Succession) lost() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Is(s.fault, app.ErrLostTail)
}

// lastWords is the context of Close.
func (s *Succession) lastWords() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ending
}

// pause lets others be first, after this process has lost the ledger or could not take it over.
func (s *Succession) pause() {
	select {
	case <-s.stop:
	case <-time.After(s.conf.Term / perTerm):
	}
}
