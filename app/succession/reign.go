package succession

import (
	"context"
	"errors"
	"time"

	"bankforge/app"
)

// standBy follows the log as long as another process has the lease; false: until it ends.
func (s *Succession) standBy(replica *app.Replica) bool {
	tick := time.NewTicker(s.conf.Term / perTerm)
	defer tick.Stop()
	following := true
	for !s.stopping() {
		holder, err := s.look()
		if err == nil && !holder.Valid && !s.conf.Watches {
			return true
		}
		if !s.conf.Watches && s.follow(replica, &following) {
			continue
		}
		select {
		case <-s.stop:
		case <-tick.C:
		}
	}
	return false
}

// look finds out who has the lease.
func (s *Succession) look() (app.Holder, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.conf.Term/2)
	defer cancel()
	holder, err := s.conf.Lease.Holder(ctx)
	if err != nil {
		if s.ctx.Err() == nil {
			s.conf.Logger.Warn("it cannot be found out who owns the ledger", "error", err)
		}
		return holder, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holder.Term != holder.Term {
		s.conf.Logger.Info("the ledger has an owner",
			"owner", holder.Owner, "address", holder.Address, "term", holder.Term)
	}
	s.holder = holder
	return holder, nil
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
			if s.renew() {
				continue
			}
		case <-ended: // it has stepped down
		case <-s.stop:
		case <-tick.C:
			if ledger != nil && s.renew() || ledger == nil && s.nearer() {
				continue
			}
		}
		s.abdicate(ledger, taken, cancel)
		return
	}
}

// nearer renews the lease while the ledger is being taken over, if this process has got it. False: another one has.
func (s *Succession) nearer() bool {
	holder, err := s.look()
	switch {
	case err != nil:
		return true
	case holder.Owner == s.conf.Ledger.Owner:
		return s.renew()
	}
	return !holder.Valid
}

// renew reports whether the ledger is not another one's. What cannot be found out, is not: until then the term keeps
// the ledger from doing harm, and Execute from answering.
func (s *Succession) renew() bool {
	ctx, cancel := context.WithTimeout(s.ctx, s.conf.Term/2)
	defer cancel()
	asked := time.Since(s.began)
	err := s.conf.Lease.Renew(ctx)
	switch {
	case err == nil:
		s.renewed.Store(int64(asked))
	case errors.Is(err, app.ErrFenced):
		s.conf.Logger.Error("another process has taken the ledger over")
		return false
	case s.ctx.Err() == nil:
		s.conf.Logger.Warn("the lease on the ledger could not be renewed", "error", err)
	}
	return true
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

// abdicate ends the ledger, and lets others have it at once. Callers whose commands were accepted hear what became of
// them.
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
	err := s.conf.Lease.Release(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		s.conf.Logger.Warn("the lease on the ledger runs out by itself", "error", err)
	}
}
