package succession

import (
	"context"
	"errors"
	"time"

	"bankforge/app"
)

// standBy follows the log until this process has the lease; false: until it ends.
func (s *Succession) standBy(replica *app.Replica) bool {
	tick := time.NewTicker(s.conf.Term / perTerm)
	defer tick.Stop()
	following := true
	for {
		if s.ask() {
			return !s.stopping()
		}
		more := false
		if !s.conf.Watches {
			more = s.follow(replica, &following)
		}
		if more && !s.stopping() {
			continue
		}
		select {
		case <-s.stop:
			return false
		case <-tick.C:
		}
	}
}

// ask asks for the lease, and reports whether this process has it. One that watches only asks whose it is.
func (s *Succession) ask() bool {
	ctx, cancel := context.WithTimeout(s.ctx, s.conf.Term/2)
	defer cancel()
	asked := time.Since(s.began)
	var holder app.Holder
	var err error
	if s.conf.Watches {
		holder, err = s.conf.Lease.Holder(ctx)
	} else {
		holder, err = s.conf.Lease.Hold(ctx, s.conf.Self, s.conf.Term)
	}
	if err != nil {
		if s.ctx.Err() == nil {
			s.conf.Logger.Warn("it cannot be found out who owns the ledger", "error", err)
		}
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holder != holder {
		s.conf.Logger.Info("the lease on the ledger has a holder", "holder", holder.ID, "address", holder.Address)
	}
	s.holder = holder
	if s.conf.Watches || holder.ID != s.conf.Self.ID {
		return false
	}
	s.renewed.Store(int64(asked))
	return true
}

// follow reads on in the log, and reports whether there is more.
func (s *Succession) follow(replica *app.Replica, well *bool) (more bool) {
	more, err := replica.Follow(s.ctx, followed)
	if err != nil && *well && s.ctx.Err() == nil {
		s.conf.Logger.Warn("the log cannot be followed", "error", err)
	}
	*well = err == nil
	return more
}

// started is what became of taking the ledger over.
type started struct {
	ledger *app.Ledger
	err    error
}

// reign takes the ledger over, and holds on to the lease as long as the ledger decides. It returns when the lease is
// lost, when the ledger has stepped down, or when the process ends.
func (s *Succession) reign(replica *app.Replica) {
	s.become(TakingOver)
	began := time.Now()
	loading, cancel := context.WithCancel(s.ctx)
	defer cancel()
	taken := make(chan started, 1)
	conf := s.conf.Ledger
	conf.Replica = replica
	go func() {
		l, err := app.StartLedger(loading, conf)
		taken <- started{l, err}
	}()
	tick := time.NewTicker(s.conf.Term / perTerm)
	defer tick.Stop()
	var ledger *app.Ledger
	var ended <-chan struct{}
	for {
		select {
		case got := <-taken:
			if taken = nil; !s.accede(got, began) {
				return
			}
			ledger, ended = got.ledger, got.ledger.Ended()
		case <-ended: // it has stepped down
			s.abdicate(ledger, taken, cancel)
			return
		case <-s.stop:
			s.abdicate(ledger, taken, cancel)
			return
		case <-tick.C:
			if !s.renew() {
				s.conf.Logger.Error("another process has the lease on the ledger")
				s.abdicate(ledger, taken, cancel)
				return
			}
		}
	}
}

// accede notes what became of taking the ledger over.
func (s *Succession) accede(got started, began time.Time) bool {
	s.mu.Lock()
	s.fault = got.err
	s.mu.Unlock()
	if got.err != nil {
		if s.ctx.Err() == nil {
			s.conf.Logger.Error("the ledger could not be taken over", "error", got.err)
		}
		s.become(StandingBy)
		s.letGo()
		return false
	}
	s.ledger.Store(got.ledger)
	s.become(Owning)
	s.conf.Logger.Info("the ledger is taken over", "seq", got.ledger.Committed(),
		"took", time.Since(began).Round(time.Millisecond))
	return true
}

// renew reports whether the lease is not another one's. What cannot be found out, is not: until then the term
// keeps the ledger from doing harm, and Execute from answering.
func (s *Succession) renew() bool {
	if s.ask() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holder.ID == s.conf.Self.ID
}

// abdicate ends the ledger, and lets the lease go. Callers whose commands were accepted hear what became of them.
func (s *Succession) abdicate(ledger *app.Ledger, taken <-chan started, cancel context.CancelFunc) {
	cancel()
	if ledger == nil && taken != nil {
		got := <-taken
		ledger = got.ledger
	}
	s.ledger.Store(nil)
	if ledger != nil {
		ctx, cancel := s.closing()
		defer cancel()
		if err := ledger.Close(ctx); err != nil {
			s.conf.Logger.Warn("the ledger was cut short", "error", err)
		}
	}
	s.become(StandingBy)
	s.letGo()
}

// closing is how long ending the ledger may take: as long as Close has time, or for who has lost it, Patience.
func (s *Succession) closing() (context.Context, context.CancelFunc) {
	if ctx := s.lastWords(); ctx != nil {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(context.WithoutCancel(s.ctx), s.conf.Patience)
}

// letGo spares the next owner the time that the lease still has.
func (s *Succession) letGo() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.conf.Term/2)
	defer cancel()
	err := s.conf.Lease.Release(ctx, s.conf.Self)
	if err != nil && !errors.Is(err, context.Canceled) {
		s.conf.Logger.Warn("the lease on the ledger runs out by itself", "error", err)
	}
}
