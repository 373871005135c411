package app

import (
	"context"
	"errors"
	"time"
)

// leased is what keeps a ledger's lease.
type leased struct {
	lost chan error    // has one when somebody else owns the log
	over chan struct{} // closed when the lease has been released
}

// releaseWithin is how long giving the lease up may take; when it does not work, the others wait until it runs out.
const releaseWithin = 2 * time.Second

// keepLease renews the lease from now on, until the ledger ends. Loading takes time, too.
func (l *Ledger) keepLease() {
	if l.conf.Lease == nil {
		return
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
