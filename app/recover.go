package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"bankforge/app/bank"
	"bankforge/app/codec"
)

// replayPage is how many events are read at once where the log is gone over.
const replayPage = 1024

// load takes the ledger over, and rebuilds the state.
func (l *Ledger) load(ctx context.Context) error {
	head, err := l.conf.Log.Acquire(ctx, l.conf.Owner)
	if err != nil {
		return err
	}
	l.head = head
	l.keepLease()
	if l.state, l.saved, err = l.restore(ctx, head, max(1, min(runtime.GOMAXPROCS(0), maxReaders))); err != nil {
		return err
	}
	beyond, err := l.conf.Log.Read(ctx, head.Seq, 1)
	if err == nil && len(beyond) > 0 {
		err = fmt.Errorf("the head is at event %d, but the log goes on behind it", head.Seq)
	}
	return err
}

// restore makes the state at the head: from the last snapshot, if it fits, and the events behind it, which so many
// readers decode. It checks that those are the log's: dense, chained, and ending at the head. saved is the snapshot's
// last event.
func (l *Ledger) restore(ctx context.Context, head Head, readers int) (s *bank.State, saved bank.Seq, err error) {
	s, chain, err := l.fromSnapshot(ctx, head)
	if err != nil {
		return nil, 0, err
	}
	saved = s.Seq()
	r := replay{log: l.conf.Log, state: s, chain: chain, until: head.Seq}
	if err := r.run(ctx, readers); err != nil {
		return nil, 0, err
	}
	if r.chain != head.Chain {
		return nil, 0, fmt.Errorf("the chain of event %d is not the head's", head.Seq)
	}
	return s, saved, nil
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
		s, _, err := l.restore(l.ctx, head, 1) // the other cores are for commands
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

// Replaying goes over the log in pieces. Readers read, check and decode them beside one another; one goroutine takes
// their events into the state, in order.
const (
	pieceSize  = 512 // events
	maxReaders = 8   // with more, the state is what is waited for
	inFlight   = 2   // pieces of one reader
)

// replay brings state and chain from where they are to until.
type replay struct {
	log   Log
	state *bank.State
	chain Hash
	until bank.Seq
}

// run has one reader take turns with the state when there is little to do, or when there is only one.
func (r *replay) run(ctx context.Context, readers int) error {
	if readers > 1 && r.until > r.state.Seq()+pieceSize {
		return r.beside(ctx, readers)
	}
	var p piece
	for r.state.Seq() < r.until {
		p.fill(ctx, r.log, r.state.Seq(), r.until)
		if err := r.take(&p); err != nil {
			return err
		}
	}
	return nil
}

// lane is one reader's: it fills pieces that are free. It has each readers-th one of the log.
type lane struct{ free, full chan *piece }

func (r *replay) beside(ctx context.Context, readers int) error {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	lanes := make([]lane, readers)
	for i := range lanes {
		lanes[i] = lane{make(chan *piece, inFlight), make(chan *piece, inFlight)}
		for range inFlight {
			lanes[i].free <- new(piece)
		}
		from := r.state.Seq() + bank.Seq(i*pieceSize)
		all.Go(func() { lanes[i].read(ctx, r.log, from, r.until, bank.Seq(readers*pieceSize)) })
	}
	for i := 0; r.state.Seq() < r.until; i = (i + 1) % readers {
		select {
		case p := <-lanes[i].full:
			if err := r.take(p); err != nil {
				return err
			}
			lanes[i].free <- p
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// read ends after the first piece with an error: whoever takes it goes no further.
func (l *lane) read(ctx context.Context, log Log, from, until, step bank.Seq) {
	for ; from < until; from += step {
		select {
		case p := <-l.free:
			p.fill(ctx, log, from, until)
			l.full <- p
			if p.err != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// take takes in what is in a piece, which must begin where the state is.
func (r *replay) take(p *piece) error {
	if p.begun && p.chainer.Chain(r.chain, p.first) != p.firstChain {
		return damaged(r.state.Seq() + 1)
	}
	if p.count > 0 {
		r.state.Replay(p.events[:p.count])
		r.chain = p.chain
	}
	return p.err
}

// piece is a part of the log, decoded. Its memory is used for the next one.
type piece struct {
	at     bank.Seq // its last event
	chain  Hash     // there
	events []bank.Event
	count  int   // of them
	err    error // what is wrong with the row behind them

	begun      bool   // there is a first row, which only follows from the piece before
	first      string // its data
	firstChain Hash
	chainer    codec.Chainer
}

// fill reads rows behind after, of a log that ends at head. What is in doubt is read once more with Read, to say what
// is wrong.
func (p *piece) fill(ctx context.Context, log Log, after, head bank.Seq) {
	until := min(head, after+pieceSize)
	if fast, ok := log.(ReplayedLog); ok {
		p.begin(after)
		err := fast.Replay(ctx, after, until, func(chain Hash, data string) error {
			return p.row(p.at+1, chain, data)
		})
		if err == nil && p.at == until {
			return
		}
	}
	p.begin(after)
	for p.at < until && p.err == nil {
		rows, err := log.Read(ctx, p.at, int(until-p.at))
		switch {
		case err != nil:
			p.err = fmt.Errorf("read the log behind event %d: %w", p.at, err)
		case len(rows) == 0:
			p.err = fmt.Errorf("the log ends at event %d, but its head is at %d", p.at, head)
		}
		for i := 0; i < len(rows) && p.err == nil; i++ {
			p.err = p.row(rows[i].Seq, rows[i].Chain, string(rows[i].Data))
		}
	}
}

func (p *piece) begin(after bank.Seq) { p.at, p.count, p.begun, p.err = after, 0, false, nil }

// row takes one row in. The texts of its event are parts of data.
func (p *piece) row(seq bank.Seq, chain Hash, data string) error {
	want := p.at + 1
	if seq != want {
		return fmt.Errorf("event %d is missing: the log goes on with %d", want, seq)
	}
	if !p.begun {
		p.begun, p.first, p.firstChain = true, data, chain
	} else if p.chainer.Chain(p.chain, data) != chain {
		return damaged(want)
	}
	if p.count == len(p.events) {
		p.events = append(p.events, bank.Event{})
	}
	e := &p.events[p.count]
	var origin Meta
	err := codec.DecodeInto(data, e, &origin)
	if err == nil && e.Seq != want {
		err = fmt.Errorf("it says that it is event %d", e.Seq)
	}
	if err != nil {
		return fmt.Errorf("event %d cannot be read: %w", want, err)
	}
	p.at, p.chain, p.count = want, chain, p.count+1
	return nil
}

func damaged(seq bank.Seq) error {
	return fmt.Errorf("event %d is damaged: its chain does not follow from the event before", seq)
}
