package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"bankforge/app/bank"
	"bankforge/app/codec"
)

// replayPage is how many events are in memory at once while the log is replayed.
const replayPage = 1024

// load takes the ledger over, and rebuilds the state.
func (l *Ledger) load(ctx context.Context) error {
	head, err := l.conf.Log.Acquire(ctx, l.conf.Owner)
	if err != nil {
		return err
	}
	l.keepLease()
	r := l.conf.Replica
	if r == nil {
		r = NewReplica(l.conf)
	}
	l.conf.Replica = nil
	if err := r.reach(ctx, head); err != nil {
		return err
	}
	l.head, l.state, l.saved = head, r.state, r.saved
	beyond, err := l.conf.Log.Read(ctx, head.Seq, 1)
	if err == nil && len(beyond) > 0 {
		err = fmt.Errorf("the head is at event %d, but the log goes on behind it", head.Seq)
	}
	return err
}

// Replica is the state of all accounts as it follows a log that somebody else appends to: a standby that has one takes
// the ledger over without a long replay. It is not safe for concurrent use.
type Replica struct {
	conf        LedgerConfig
	incarnation string      // of the log that state and chain are of
	state       *bank.State // nil: not begun
	chain       Hash
	saved       bank.Seq // of the last snapshot
}

// NewReplica follows nothing yet. Of the settings it needs Log, Snapshots and Logger.
func NewReplica(conf LedgerConfig) *Replica {
	conf.defaults()
	return &Replica{conf: conf}
}

// Follow reads on, at most limit events, and reports whether there are more. After an error it begins again.
func (r *Replica) Follow(ctx context.Context, limit int) (more bool, err error) {
	head, err := r.conf.Log.Head(ctx)
	if err == nil && head.Seq > 0 {
		err = r.begin(ctx, head)
	}
	if err != nil || head.Seq == 0 {
		return false, err
	}
	if err := r.read(ctx, min(head.Seq, r.state.Seq()+bank.Seq(limit))); err != nil {
		r.state = nil
		return false, err
	}
	return r.state.Seq() < head.Seq, nil
}

// Keep keeps a snapshot of what it has come to, if that is more than the last one.
func (r *Replica) Keep(ctx context.Context) error {
	if r.conf.Snapshots == nil || r.state == nil || r.state.Seq() == r.saved {
		return nil
	}
	r.saved = r.state.Seq()
	return keep(ctx, r.conf.Snapshots, r.state, Head{Incarnation: r.incarnation, Seq: r.saved, Chain: r.chain})
}

// reach makes the state at the head. It checks that the events behind where it began are the log's: dense, chained,
// and ending at the head.
func (r *Replica) reach(ctx context.Context, head Head) error {
	if err := r.begin(ctx, head); err != nil {
		return err
	}
	if err := r.read(ctx, head.Seq); err != nil {
		return err
	}
	if r.chain != head.Chain {
		return fmt.Errorf("the chain of event %d is not the head's", head.Seq)
	}
	return nil
}

// begin takes the newest snapshot, unless the state is of this log already.
func (r *Replica) begin(ctx context.Context, head Head) (err error) {
	if r.state != nil && r.incarnation == head.Incarnation {
		if r.state.Seq() > head.Seq {
			return fmt.Errorf("%w: it had %d events, and ends at %d", ErrLostTail, r.state.Seq(), head.Seq)
		}
		return nil
	}
	r.incarnation = head.Incarnation
	if r.state, r.chain, err = r.fromSnapshot(ctx, head); err != nil {
		r.state = nil
		return err
	}
	r.saved = r.state.Seq()
	return nil
}

// read reads on to an event that the log has.
func (r *Replica) read(ctx context.Context, to bank.Seq) error {
	for s := r.state; s.Seq() < to; {
		rows, err := r.conf.Log.Read(ctx, s.Seq(), int(min(replayPage, to-s.Seq())))
		if err != nil {
			return fmt.Errorf("read the log behind event %d: %w", s.Seq(), err)
		}
		if len(rows) == 0 {
			return fmt.Errorf("the log ends at event %d, but its head is at %d", s.Seq(), to)
		}
		for i := range rows {
			if r.chain, err = evolveRow(s, r.chain, &rows[i]); err != nil {
				return err
			}
		}
		s.Settle()
	}
	return nil
}

func evolveRow(s *bank.State, chain Hash, row *Row) (Hash, error) {
	want := s.Seq() + 1
	if row.Seq != want {
		return chain, fmt.Errorf("event %d is missing: the log goes on with %d", want, row.Seq)
	}
	if codec.Chain(chain, row.Data) != row.Chain {
		return chain, fmt.Errorf("event %d is damaged: its chain does not follow from the event before", want)
	}
	e, _, err := codec.Decode(row.Data)
	if err == nil && e.Seq != want {
		err = fmt.Errorf("it says that it is event %d", e.Seq)
	}
	if err != nil {
		return chain, fmt.Errorf("event %d cannot be read: %w", want, err)
	}
	s.Evolve(e)
	return row.Chain, nil
}

// ErrLostTail means that events have been in the log that are not there any more.
var ErrLostTail = errors.New("the log has lost its end; put it back from a backup")

// fromSnapshot is the state of the newest snapshot and the chain there, or the state before the first event when there
// is none that fits the log. A snapshot that knows more than the log is proof of a loss.
func (r *Replica) fromSnapshot(ctx context.Context, head Head) (*bank.State, Hash, error) {
	if r.conf.Snapshots == nil {
		return bank.NewState(), Hash{}, nil
	}
	var s *bank.State
	var chain Hash
	found, err := r.conf.Snapshots.Load(ctx, func(m SnapshotMark, in io.Reader) (err error) {
		if err = r.fits(ctx, m, head); err == nil {
			s, err = codec.ReadState(in)
		}
		if err == nil && s.Seq() != m.Seq {
			err = fmt.Errorf("it is marked as of event %d, but holds %d", m.Seq, s.Seq())
		}
		chain = m.Chain
		return err
	})
	if errors.Is(err, ErrLostTail) {
		return nil, Hash{}, err
	}
	if err != nil {
		r.conf.Logger.Warn("the snapshot is discarded; replaying the whole log", "reason", err)
		found = false
	}
	if !found {
		return bank.NewState(), Hash{}, nil
	}
	return s, chain, nil
}

func (r *Replica) fits(ctx context.Context, m SnapshotMark, head Head) error {
	switch {
	case m.Schema != codec.StateSchema:
		return fmt.Errorf("its schema is %d, not %d", m.Schema, codec.StateSchema)
	case m.Incarnation != head.Incarnation:
		return errors.New("it is of another incarnation of the log")
	case m.Seq > head.Seq:
		return fmt.Errorf("%w: there is a snapshot of event %d, but the log ends at %d", ErrLostTail, m.Seq, head.Seq)
	case m.Seq == 0:
		return nil
	}
	from := max(m.Seq, 2) - 2
	rows, err := r.conf.Log.Read(ctx, from, int(m.Seq-from))
	if err != nil {
		return err
	}
	var chain Hash
	if len(rows) == 2 {
		chain, rows = rows[0].Chain, rows[1:]
	}
	if len(rows) != 1 || rows[0].Chain != m.Chain || codec.Chain(chain, rows[0].Data) != m.Chain {
		return fmt.Errorf("the log has another event %d", m.Seq)
	}
	return nil
}

// keepSnapshot begins a snapshot when it is time for one. It is made beside the decider, from the one before and the
// log, so that commands are not held up by it; for that while, the state is in memory twice.
func (l *Ledger) keepSnapshot() {
	select {
	case <-l.saving:
		l.saving = nil
	default:
	}
	if l.conf.Snapshots == nil || l.conf.SnapshotEvery <= 0 || l.saving != nil ||
		l.head.Seq-l.saved < bank.Seq(l.conf.SnapshotEvery) {
		return
	}
	done, head := make(chan struct{}), l.head
	l.saving, l.saved = done, head.Seq
	go func() {
		defer close(done)
		r := NewReplica(l.conf)
		err := r.reach(l.ctx, head)
		if err == nil {
			err = keep(l.ctx, l.conf.Snapshots, r.state, head)
		}
		if err != nil {
			l.conf.Logger.Warn("no snapshot was kept", "seq", head.Seq, "error", err)
		}
	}()
}

func keep(ctx context.Context, in Snapshots, s *bank.State, head Head) error {
	mark := SnapshotMark{Schema: codec.StateSchema, Incarnation: head.Incarnation, Seq: head.Seq, Chain: head.Chain}
	return in.Save(ctx, mark, func(w io.Writer) error { return codec.WriteState(w, s) })
}

// lastSnapshot is kept when the decider ends, unless the state is not to be trusted.
func (l *Ledger) lastSnapshot() {
	if l.saving != nil {
		<-l.saving
	}
	if l.conf.Snapshots == nil || l.fault.Load() != nil || l.head.Seq == l.saved {
		return
	}
	if err := keep(l.ctx, l.conf.Snapshots, l.state, l.head); err != nil {
		l.conf.Logger.Warn("no snapshot was kept", "seq", l.head.Seq, "error", err)
	}
}

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
