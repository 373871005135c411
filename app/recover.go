package app

import (
	"context"
	"errors"
	"fmt"
	"io"

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
	l.head = head
	l.keepLease()
	if l.state, l.saved, err = l.restore(ctx, head); err != nil {
		return err
	}
	beyond, err := l.conf.Log.Read(ctx, head.Seq, 1)
	if err == nil && len(beyond) > 0 {
		err = fmt.Errorf("the head is at event %d, but the log goes on behind it", head.Seq)
	}
	return err
}

// restore makes the state at the head: from the last snapshot, if it fits, and the events behind it. It checks
// that those are the log's: dense, chained, and ending at the head. saved is the snapshot's last event.
func (l *Ledger) restore(ctx context.Context, head Head) (s *bank.State, saved bank.Seq, err error) {
	s, chain, err := l.fromSnapshot(ctx, head)
	if err != nil {
		return nil, 0, err
	}
	saved = s.Seq()
	for s.Seq() < head.Seq {
		rows, err := l.conf.Log.Read(ctx, s.Seq(), int(min(replayPage, head.Seq-s.Seq())))
		if err != nil {
			return nil, 0, fmt.Errorf("read the log behind event %d: %w", s.Seq(), err)
		}
		if len(rows) == 0 {
			return nil, 0, fmt.Errorf("the log ends at event %d, but its head is at %d", s.Seq(), head.Seq)
		}
		for i := range rows {
			if chain, err = evolveRow(s, chain, &rows[i]); err != nil {
				return nil, 0, err
			}
		}
		s.Settle()
	}
	if chain != head.Chain {
		return nil, 0, fmt.Errorf("the chain of event %d is not the head's", head.Seq)
	}
	return s, saved, nil
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

// errLostTail means that events have been in the log that are not there any more.
var errLostTail = errors.New("the log has lost its end; put it back from a backup")

// fromSnapshot is the state of the newest snapshot and the chain there, or the state before the first event when there
// is none that fits the log. A snapshot that knows more than the log is proof of a loss.
func (l *Ledger) fromSnapshot(ctx context.Context, head Head) (*bank.State, Hash, error) {
	if l.conf.Snapshots == nil {
		return bank.NewState(), Hash{}, nil
	}
	var s *bank.State
	var chain Hash
	found, err := l.conf.Snapshots.Load(ctx, func(m SnapshotMark, r io.Reader) (err error) {
		if err = l.fits(ctx, m, head); err == nil {
			s, err = codec.ReadState(r)
		}
		if err == nil && s.Seq() != m.Seq {
			err = fmt.Errorf("it is marked as of event %d, but holds %d", m.Seq, s.Seq())
		}
		chain = m.Chain
		return err
	})
	if errors.Is(err, errLostTail) {
		return nil, Hash{}, err
	}
	if err != nil {
		l.conf.Logger.Warn("the snapshot is discarded; replaying the whole log", "reason", err)
		found = false
	}
	if !found {
		return bank.NewState(), Hash{}, nil
	}
	return s, chain, nil
}

func (l *Ledger) fits(ctx context.Context, m SnapshotMark, head Head) error {
	switch {
	case m.Schema != codec.StateSchema:
		return fmt.Errorf("its schema is %d, not %d", m.Schema, codec.StateSchema)
	case m.Incarnation != head.Incarnation:
		return errors.New("it is of another incarnation of the log")
	case m.Seq > head.Seq:
		return fmt.Errorf("%w: there is a snapshot of event %d, but the log ends at %d", errLostTail, m.Seq, head.Seq)
	case m.Seq == 0:
		return nil
	}
	from := max(m.Seq, 2) - 2
	rows, err := l.conf.Log.Read(ctx, from, int(m.Seq-from))
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
		s, _, err := l.restore(l.ctx, head)
		if err == nil {
			err = l.save(s, head)
		}
		if err != nil {
			l.conf.Logger.Warn("no snapshot was kept", "seq", head.Seq, "error", err)
		}
	}()
}

func (l *Ledger) save(s *bank.State, head Head) error {
	mark := SnapshotMark{Schema: codec.StateSchema, Incarnation: head.Incarnation, Seq: head.Seq, Chain: head.Chain}
	return l.conf.Snapshots.Save(l.ctx, mark, func(w io.Writer) error { return codec.WriteState(w, s) })
}

// lastSnapshot is kept when the decider ends, unless the state is not to be trusted.
func (l *Ledger) lastSnapshot() {
	if l.saving != nil {
		<-l.saving
	}
	if l.conf.Snapshots == nil || l.fault.Load() != nil || l.head.Seq == l.saved {
		return
	}
	if err := l.save(l.state, l.head); err != nil {
		l.conf.Logger.Warn("no snapshot was kept", "seq", l.head.Seq, "error", err)
	}
}
