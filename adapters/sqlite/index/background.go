package index

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// retryAfter is how long a table waits that could not be written.
const retryAfter = time.Second

// mergeAgain is how long a merge waits that failed: each try may write much, and fill a disk that is nearly full.
const mergeAgain = time.Minute

// Room waits until there is room in memory for more. It fails with ErrFull when that waits for a disk that cannot
// be written to.
func (x *Index) Room(ctx context.Context) error {
	for {
		x.mu.RLock()
		full, failed, broken, room := len(x.frozen) >= maxFrozen, x.failed, x.hopeless(), x.room
		closed := x.closed
		x.mu.RUnlock()
		switch {
		case closed:
			return ErrClosed
		case broken != nil:
			return broken
		case !full:
			return nil
		case failed != nil:
			return fmt.Errorf("%w: %w", ErrFull, failed)
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// start runs what writes tables, and what merges runs: a merge may be long, and a table does not wait for it. What was
// there is looked through.
func (x *Index) start() {
	x.background.Go(func() { x.loop(x.wake, retryAfter, x.writeFrozen) })
	x.background.Go(func() { x.loop(x.merge, mergeAgain, x.mergeOnce) })
	x.background.Go(x.scrub)
	poke(x.merge)
}

// loop does work whenever it is woken; if that fails, only once more a while later.
func (x *Index) loop(wake <-chan struct{}, after time.Duration, work func() (more bool, err error)) {
	for {
		woken := wake
		var retry <-chan time.Time
		for {
			more, err := work()
			if err != nil && !errors.Is(err, ErrDamaged) {
				x.log.Warn("the index waits to write", "error", err)
				woken, retry = nil, time.After(after)
			}
			if err != nil || !more {
				break
			}
		}
		select {
		case <-x.done:
			return
		case <-woken:
		case <-retry:
		}
	}
}

// writeFrozen writes the oldest frozen table.
func (x *Index) writeFrozen() (more bool, err error) {
	x.steps.RLock()
	defer x.steps.RUnlock()
	x.mu.RLock()
	frozen := x.frozen
	x.mu.RUnlock()
	if len(frozen) == 0 {
		return false, nil
	}
	t := frozen[0]
	r, err := x.writeTable(t)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.failed = err
	close(x.room)
	x.room = make(chan struct{})
	if err != nil {
		return false, err
	}
	x.frozen = slices.Clone(x.frozen[1:])
	err = x.swap(append(slices.Clone(x.runs.all), r))
	poke(x.merge)
	return len(x.frozen) > 0, err
}

func (x *Index) writeTable(t *table) (*run, error) {
	records := t.sorted()
	f := footer{count: uint64(len(records)), from: t.from, to: t.to}
	return x.writeRun(f, func() (Record, bool, error) {
		if len(records) == 0 {
			return Record{}, false, nil
		}
		r := records[0]
		records = records[1:]
		return r, true, nil
	})
}

// swap puts other runs in the place of those of now. It is called with mu held.
func (x *Index) swap(all []*run) error {
	old := x.runs
	x.runs = newRuns(all)
	return old.release()
}

// mergeOnce makes one run of several, if there are enough of the same size.
func (x *Index) mergeOnce() (more bool, err error) {
	x.steps.RLock()
	defer x.steps.RUnlock()
	x.mu.RLock()
	s, broken := x.runs, x.hopeless()
	s.users.Add(1)
	x.mu.RUnlock()
	defer func() { err = errors.Join(x.condemn(err), s.release()) }()
	parts := x.mergeable(s.all)
	if len(parts) == 0 || broken != nil {
		return false, nil
	}
	r, err := x.mergeRuns(parts)
	if err != nil {
		return false, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	begin := slices.Index(x.runs.all, parts[0])
	all := slices.Replace(slices.Clone(x.runs.all), begin, begin+len(parts), r)
	err = x.swap(all)
	for _, p := range parts { // who still reads them has them open
		err = errors.Join(err, removeIfThere(p.path))
	}
	return true, err
}

func (x *Index) mergeRuns(parts []*run) (r *run, err error) {
	defer guard(&err)()
	f, records, err := merged(parts)
	if err != nil {
		return nil, err
	}
	n := 0
	return x.writeRun(f, func() (Record, bool, error) {
		if n++; n%(1<<12) == 0 {
			if err := x.over(); err != nil {
				return Record{}, false, err
			}
		}
		return records()
	})
}

// over is why it makes no sense to go on with what is long.
func (x *Index) over() error {
	select {
	case <-x.done:
		return ErrClosed
	default:
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.hopeless()
}

// guard turns a file that cannot be read where it is mapped into an error.
func guard(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if p := recover(); p != nil {
			*err = faulted(p)
		}
	}
}

// faulted is the error that a panic stands for. Other panics go on.
func faulted(p any) error {
	if fault, ok := p.(interface{ Addr() uintptr }); ok {
		return faultError{fault.Addr()}
	}
	panic(p)
}

// faultError says that a mapped file could not be read, as when its disk fails.
type faultError struct{ addr uintptr }

func (f faultError) Error() string { return fmt.Sprintf("read the index: a fault at %x", f.addr) }

// Close writes what is in memory, so that the next start finds it, and ends.
func (x *Index) Close() error {
	x.mu.Lock()
	if x.closed {
		x.mu.Unlock()
		return nil
	}
	x.closed = true
	if x.active.count > 0 && !x.readOnly {
		x.freeze()
	}
	x.mu.Unlock()
	close(x.done)
	x.background.Wait()
	x.mu.RLock()
	more := !x.readOnly && x.hopeless() == nil
	x.mu.RUnlock()
	for more {
		var err error
		if more, err = x.writeFrozen(); err != nil {
			x.log.Warn("the index could not be written whole; the next start reads more of the log", "error", err)
		}
	}
	return x.runs.release()
}
