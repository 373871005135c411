package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"bankforge/app/bank"
)

// Tide knows how far the log has come, as far as this process knows: who appends to it tells the tide, and where others
// append, Watch does. It is safe for concurrent use.
type Tide struct {
	mu    sync.Mutex
	seq   bank.Seq
	next  chan struct{} // closed by the next rise; nil: nobody waits
	marks []tideMark    // the last seconds, oldest first
}

type tideMark struct {
	since, until time.Time // of the commits that it stands for
	seq          bank.Seq  // of the last of them
}

const (
	tideMarks = 16
	tideSpan  = 250 * time.Millisecond // what one mark stands for
)

// NewTide knows of no event yet.
func NewTide() *Tide { return &Tide{marks: []tideMark{{}}} }

// Begin tells of what had been committed before anybody here looked.
func (t *Tide) Begin(seq bank.Seq) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seq > t.seq {
		t.seq, t.marks = seq, []tideMark{{seq: seq}}
		t.tell()
	}
}

// Rise tells that everything up to seq has been committed at the time now. Nothing is told twice: a seq that is
// not above the last one changes nothing.
func (t *Tide) Rise(seq bank.Seq, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seq <= t.seq {
		return
	}
	t.seq = seq
	t.tell()
	last := &t.marks[len(t.marks)-1]
	if now.Sub(last.since) < tideSpan {
		last.until, last.seq = now, seq
		return
	}
	if len(t.marks) == tideMarks {
		t.marks = append(t.marks[:0], t.marks[1:]...)
	}
	t.marks = append(t.marks, tideMark{now, now, seq})
}

// tell wakes who waits; t.mu is held.
func (t *Tide) tell() {
	if t.next != nil {
		close(t.next)
		t.next = nil
	}
}

// Committed is the last event that is in the log for good.
func (t *Tide) Committed() bank.Seq {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seq
}

// Next returns a channel that is closed by the next rise. Ask for it before Committed, and nothing is missed between
// the two.
func (t *Tide) Next() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == nil {
		t.next = make(chan struct{})
	}
	return t.next
}

// Before is an event that had been committed at a time of the last seconds, and about the last one then.
func (t *Tide) Before(at time.Time) bank.Seq {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range slices.Backward(t.marks) {
		if !m.until.After(at) {
			return m.seq
		}
	}
	return 0
}

// Committed is the last event that is in the log for good, as far as the ledger's tide knows.
func (l *Ledger) Committed() bank.Seq { return l.conf.Tide.Committed() }

// Tide is what the ledger tells of its commits.
func (l *Ledger) Tide() *Tide { return l.conf.Tide }

// ErrReincarnated means that the log is another one than it was: restored, or failed over to a server that had lost
// something. Nothing that is known of the old one is true of the new one.
var ErrReincarnated = errors.New("the log has another incarnation than when this process began")

// Watching says what Watch looks at.
type Watching struct {
	Log         Log
	Tide        *Tide
	Incarnation string        // of the log
	Every       time.Duration // how often it looks
	Logger      *slog.Logger
}

// Watch lets the tide rise with what any process appends to the log, until ctx ends. It returns ErrReincarnated when
// the log is not the one any more that it was.
func Watch(ctx context.Context, w Watching) error {
	tick := time.NewTicker(w.Every)
	defer tick.Stop()
	failing := false
	for {
		head, err := w.Log.Head(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if !failing {
				w.Logger.WarnContext(ctx, "the end of the log cannot be read", "error", err)
			}
		case head.Incarnation != w.Incarnation:
			return fmt.Errorf("%w: %s instead of %s", ErrReincarnated, head.Incarnation, w.Incarnation)
		default:
			w.Tide.Rise(head.Seq, time.Now())
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
