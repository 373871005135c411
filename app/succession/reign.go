package succession

import (
	"context"
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
	if s.holder.Owner != holder.Owner {
		s.hasChanged()
	}
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

// reign takes the ledger over, and has it decide until it steps down, because another process has it, or until this
// process ends.
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
			ledger, ended = got.ledger, got.ledger.Done()
			continue
		case <-tick.C:
			if ledger != nil || s.nearer() {
				continue
			}
		case <-ended: // it has stepped down, and has said why
		case <-s.stop:
		}
		s.abdicate(ledger, taken, cancel)
		return
	}
}

// nearer reports whether this process may still get the ledger, or has got it and is reading on: no other one has it.
func (s *Succession) nearer() bool {
	holder, err := s.look()
	return err != nil || holder.Owner == s.conf.Ledger.Owner || !holder.Valid
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
		return false
	}
	s.confirm()
	s.ledger.Store(got.ledger)
	s.become(Owning)
	s.conf.Logger.Info("the ledger is taken over", "seq", got.ledger.Committed(),
		"took", time.Since(began).Round(time.Millisecond))
	return true
}

// confirm renews the lease once more, so that it is known since when it is good. The ledger does so from now on.
func (s *Succession) confirm() {
	ctx, cancel := context.WithTimeout(s.ctx, s.conf.Term/2)
	defer cancel()
	if err := s.conf.Ledger.Lease.Renew(ctx); err != nil && s.ctx.Err() == nil {
		s.conf.Logger.Warn("the lease on the ledger could not be renewed", "error", err)
	}
}

// abdicate ends the ledger, which lets others have it at once. Callers whose commands were accepted hear what became of
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
}

// closing is how long ending the ledger may take: as long as Close has time, or for who has lost it, Patience.
func (s *Succession) closing() (context.Context, context.CancelFunc) {
	if ctx := s.lastWords(); ctx != nil {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(context.WithoutCancel(s.ctx), s.conf.Patience)
}

// timed notes when the lease was renewed last.
type timed struct {
	app.Lease

	s *Succession
}

// Renew implements app.Lease.
func (t timed) Renew(ctx context.Context) error {
	asked := time.Since(t.s.began)
	err := t.Lease.Renew(ctx)
	if err == nil {
		t.s.renewed.Store(int64(asked))
	}
	return err
}
