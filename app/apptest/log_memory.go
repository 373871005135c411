package apptest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"bankforge/app"
	"bankforge/app/bank"
)

// MemoryLog is a log in memory: an app.Log, app.Lookup and app.VerifiedLog for fast tests, on which faults can be
// injected. It keeps all promises that do not need a disk. The zero value is an empty log.
type MemoryLog struct {
	mu       sync.RWMutex
	head     app.Head
	rows     []app.Row
	touches  map[string]map[bank.Version]bank.Seq
	outcomes map[app.Key]app.Outcome
	decided  []app.Key // in the order of their outcomes
	faults   Faults
	sharing  sharing
}

// Faults are called at their moments when they are set, never under a lock: they may also wait. What
// they return is returned to the caller.
type Faults struct {
	BeforeAppend func(app.Batch) error // an error: nothing has been written
	AfterAppend  func(app.Batch) error // only after a commit, which an error does not undo
	Resolve      func(app.Batch) error // an error: no new term was taken
	Read         func() error          // before Read, Head, and every lookup
}

// Inject replaces the faults.
func (l *MemoryLog) Inject(f Faults) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = f
}

func (l *MemoryLog) fault() Faults {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.faults
}

// Crash returns a log with what the process would find after it died now, without faults.
func (l *MemoryLog) Crash() *MemoryLog {
	l.mu.RLock()
	defer l.mu.RUnlock()
	c := &MemoryLog{
		head: l.head, rows: slices.Clone(l.rows), outcomes: maps.Clone(l.outcomes),
		decided: slices.Clone(l.decided),
		touches: map[string]map[bank.Version]bank.Seq{},
	}
	for subject, versions := range l.touches {
		c.touches[subject] = maps.Clone(versions)
	}
	return c
}

// Acquire implements app.Log.
func (l *MemoryLog) Acquire(ctx context.Context, owner string) (app.Head, error) {
	if err := ctx.Err(); err != nil {
		return app.Head{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acquire(owner), nil
}

func (l *MemoryLog) acquire(owner string) app.Head {
	if l.head.Incarnation == "" {
		l.head.Incarnation = rand.Text()
	}
	l.head.Term++
	l.head.Owner = owner
	return l.head
}

// Append implements app.Log.
func (l *MemoryLog) Append(ctx context.Context, b app.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f := l.fault()
	if f.BeforeAppend != nil {
		if err := f.BeforeAppend(b); err != nil {
			return err
		}
	}
	if err := l.append(b); err != nil {
		return fmt.Errorf("append batch %d: %w", b.Number, err)
	}
	if f.AfterAppend != nil {
		return f.AfterAppend(b)
	}
	return nil
}

func (l *MemoryLog) append(b app.Batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.head.Incarnation == "" || l.head.Term != b.Term || l.head.Batch+1 != b.Number || l.head.Seq != b.After {
		return app.ErrFenced
	}
	if err := l.check(b); err != nil {
		return err
	}
	l.head.Batch = b.Number
	for _, r := range b.Rows {
		for _, t := range r.Touches {
			if l.touches[t.Subject] == nil {
				if l.touches == nil {
					l.touches = map[string]map[bank.Version]bank.Seq{}
				}
				l.touches[t.Subject] = map[bank.Version]bank.Seq{}
			}
			l.touches[t.Subject][t.Version] = r.Seq
		}
		l.rows = append(l.rows, app.Row{Seq: r.Seq, Data: bytes.Clone(r.Data), Chain: r.Chain})
		l.head.Seq, l.head.Chain = r.Seq, r.Chain
	}
	if l.outcomes == nil {
		l.outcomes = map[app.Key]app.Outcome{}
	}
	for _, o := range b.Outcomes {
		o.Reply = bytes.Clone(o.Reply)
		l.outcomes[o.Key] = o
		l.decided = append(l.decided, o.Key)
	}
	return nil
}

// check refuses what would not be dense or is there already, before anything is written.
func (l *MemoryLog) check(b app.Batch) error {
	touched := map[app.Touch]bool{}
	for i, r := range b.Rows {
		if r.Seq != b.After+1+bank.Seq(i) {
			return fmt.Errorf("row %d has seq %d", i, r.Seq)
		}
		for _, t := range r.Touches {
			if _, taken := l.touches[t.Subject][t.Version]; taken || touched[t] {
				return fmt.Errorf("version %d of %s exists", t.Version, t.Subject)
			}
			touched[t] = true
		}
	}
	keys := map[app.Key]bool{}
	for _, o := range b.Outcomes {
		if _, taken := l.outcomes[o.Key]; taken || keys[o.Key] {
			return fmt.Errorf("outcome %x exists", o.Key)
		}
		keys[o.Key] = true
	}
	return nil
}

// Resolve implements app.Log.
func (l *MemoryLog) Resolve(ctx context.Context, b app.Batch) (bool, app.Head, error) {
	if err := ctx.Err(); err != nil {
		return false, app.Head{}, err
	}
	if f := l.fault(); f.Resolve != nil {
		if err := f.Resolve(b); err != nil {
			return false, app.Head{}, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.head.Term != b.Term {
		return false, app.Head{}, app.ErrFenced
	}
	committed := l.head.Batch == b.Number
	if !committed && l.head.Batch+1 != b.Number {
		return false, app.Head{}, errors.New("resolve: not the last batch of its term")
	}
	l.head.Term++
	return committed, l.head, nil
}

// look locks for reading; the caller unlocks unless there is an error.
func (l *MemoryLog) look(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if f := l.fault(); f.Read != nil {
		if err := f.Read(); err != nil {
			return err
		}
	}
	l.mu.RLock()
	return nil
}

// Read implements app.Log.
func (l *MemoryLog) Read(ctx context.Context, after bank.Seq, limit int) ([]app.Row, error) {
	if err := l.look(ctx); err != nil {
		return nil, err
	}
	defer l.mu.RUnlock()
	if after >= bank.Seq(len(l.rows)) {
		return nil, nil
	}
	var out []app.Row
	for _, r := range l.rows[after:][:min(max(limit, 0), len(l.rows)-int(after))] {
		out = append(out, copyOf(r))
	}
	return out, nil
}

func copyOf(r app.Row) app.Row {
	r.Data = bytes.Clone(r.Data)
	return r
}

// Head implements app.Log.
func (l *MemoryLog) Head(ctx context.Context) (app.Head, error) {
	if err := l.look(ctx); err != nil {
		return app.Head{}, err
	}
	defer l.mu.RUnlock()
	return l.head, nil
}

// Outcomes implements app.Lookup.
func (l *MemoryLog) Outcomes(ctx context.Context, keys []app.Key) (map[app.Key]app.Outcome, error) {
	if err := l.look(ctx); err != nil {
		return nil, err
	}
	defer l.mu.RUnlock()
	out := map[app.Key]app.Outcome{}
	for _, k := range keys {
		if o, ok := l.outcomes[k]; ok {
			o.Reply = bytes.Clone(o.Reply)
			out[k] = o
		}
	}
	return out, nil
}

// Latest implements app.Lookup.
func (l *MemoryLog) Latest(ctx context.Context, subjects []string) (map[string]app.Row, error) {
	out := map[string]app.Row{}
	for _, s := range subjects {
		rows, err := l.VersionsBefore(ctx, s, ^bank.Version(0), 1)
		if err != nil {
			return nil, err
		}
		if len(rows) > 0 {
			out[s] = rows[0]
		}
	}
	return out, nil
}

// Versions implements app.Lookup.
func (l *MemoryLog) Versions(
	ctx context.Context, subject string, after bank.Version, limit int,
) ([]app.Row, error) {
	return l.versions(ctx, subject, func(all []bank.Version) []bank.Version {
		all = slices.DeleteFunc(all, func(v bank.Version) bool { return v <= after })
		return all[:min(len(all), max(limit, 0))]
	})
}

// VersionsBefore implements app.Lookup.
func (l *MemoryLog) VersionsBefore(
	ctx context.Context, subject string, before bank.Version, limit int,
) ([]app.Row, error) {
	return l.versions(ctx, subject, func(all []bank.Version) []bank.Version {
		all = slices.DeleteFunc(all, func(v bank.Version) bool { return v >= before })
		slices.Reverse(all)
		return all[:min(len(all), max(limit, 0))]
	})
}

// versions returns the rows of those versions that choose leaves of all, which are ascending.
func (l *MemoryLog) versions(
	ctx context.Context, subject string, choose func(all []bank.Version) []bank.Version,
) ([]app.Row, error) {
	if err := l.look(ctx); err != nil {
		return nil, err
	}
	defer l.mu.RUnlock()
	var out []app.Row
	for _, v := range choose(slices.Sorted(maps.Keys(l.touches[subject]))) {
		out = append(out, copyOf(l.rows[l.touches[subject][v]-1]))
	}
	return out, nil
}

// IndexedAs implements app.VerifiedLog.
func (*MemoryLog) IndexedAs(subject string) string { return subject }

// Touches implements app.VerifiedLog.
func (l *MemoryLog) Touches(ctx context.Context, until bank.Seq, each func(app.Touch, bank.Seq) error) error {
	if err := l.look(ctx); err != nil {
		return err
	}
	var all []app.Touch
	seqs := map[app.Touch]bank.Seq{}
	for subject, versions := range l.touches {
		for v, seq := range versions {
			if t := (app.Touch{Subject: subject, Version: v}); seq <= until {
				all = append(all, t)
				seqs[t] = seq
			}
		}
	}
	l.mu.RUnlock()
	for _, t := range all {
		if err := each(t, seqs[t]); err != nil {
			return err
		}
	}
	return nil
}

// Decided implements app.VerifiedLog.
func (l *MemoryLog) Decided(ctx context.Context, after int64, limit int) (page []app.Outcome, last int64, err error) {
	if err := l.look(ctx); err != nil {
		return nil, after, err
	}
	defer l.mu.RUnlock()
	from := max(after, 0)
	for _, k := range l.decided[from:][:min(max(limit, 0), len(l.decided)-int(from))] {
		o := l.outcomes[k]
		o.Reply = bytes.Clone(o.Reply)
		page = append(page, o)
	}
	return page, from + int64(len(page)), nil
}
