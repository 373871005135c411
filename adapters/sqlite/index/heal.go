package index

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// What was there at the start is looked through once, so that damage is not found by chance. It goes slowly: at most
// 16 MB a second.
const (
	scrubStep  = 64 // blocks
	scrubPause = 16 * time.Millisecond
)

// scrub checks every run that was there when x was opened. Those that are merged meanwhile are checked by that.
func (x *Index) scrub() {
	x.mu.RLock()
	all := x.runs.all
	x.mu.RUnlock()
	for _, r := range all {
		x.mu.RLock()
		there := slices.Contains(x.runs.all, r)
		if there {
			r.owners.Add(1)
		}
		x.mu.RUnlock()
		if !there {
			continue
		}
		err := x.condemn(r.check(x.rest))
		if err = errors.Join(err, r.release()); err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrClosed) {
				x.log.Warn("the index is not looked through", "error", err)
			}
			return
		}
	}
}

// rest is a pause of who looks through the index; an error: it is over.
func (x *Index) rest() error {
	select {
	case <-x.done:
	case <-time.After(scrubPause):
	}
	return x.over()
}

// check reads all of the run, and rests now and then.
func (r *run) check(rest func() error) (err error) {
	defer guard(&err)()
	c := cursor{run: r}
	var fence [recordSize]byte
	for n := range r.blocks() {
		if n%scrubStep == scrubStep-1 {
			if err := rest(); err != nil {
				return err
			}
		}
		if err := c.load(n); err != nil {
			return err
		}
		if _, err := r.data.ReadAt(fence[:], r.fencesAt()+int64(n)*recordSize); err != nil {
			return err
		}
		if !bytes.Equal(fence[:], c.block.bytes(0)) {
			return r.damaged("fence %d", n)
		}
	}
	const linesStep = scrubStep * blockSize / lineSize
	var l line
	for n := range r.lines() {
		if n%linesStep == linesStep-1 {
			if err := rest(); err != nil {
				return err
			}
		}
		if err := r.line(n, &l); err != nil {
			return err
		}
	}
	return nil
}

// condemn remembers that a run is damaged: from then on nothing is answered, until the index is built anew.
func (x *Index) condemn(err error) error {
	if err == nil {
		return nil
	}
	var d *damage
	var fault faultError
	switch {
	case errors.As(err, &d):
	case errors.As(err, &fault):
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	default:
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if d != nil && !slices.Contains(x.runs.all, d.run) {
		return err // it is not one of ours any more
	}
	if x.broken != nil && !x.anew {
		return err
	}
	x.broken, x.anew = err, false
	if !x.readOnly {
		x.log.Error("the index is damaged: commands are refused until it is built anew from the log", "error", err)
		if d != nil { // a crash does not make it forgotten
			err = errors.Join(err, os.Rename(d.run.path, d.run.path+damagedSuffix))
		}
	}
	poke(x.noticed)
	return err
}

// hopeless is why nothing can be added; it is called with mu held.
func (x *Index) hopeless() error {
	if x.anew {
		return nil
	}
	return x.broken
}

// Broken is why nothing is answered; nil: all is.
func (x *Index) Broken() error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.broken
}

// Damaged gets something whenever a run is found to be damaged.
func (x *Index) Damaged() <-chan struct{} { return x.noticed }

// ErrEmptied is why nothing is answered after Reset, when nothing was damaged.
var ErrEmptied = errors.New("the index was emptied")

// Reset empties the index, also its directory. Then all is added again, from the beginning of the log, and nothing is
// answered until Refilled is called. It is for the one writer.
func (x *Index) Reset() error {
	x.steps.Lock()
	defer x.steps.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return ErrClosed
	}
	if x.broken == nil {
		x.broken = ErrEmptied
	}
	x.anew = false
	err := errors.Join(x.swap(nil), Clear(x.dir))
	x.frozen, x.active = nil, newTable(Mark{}, min(x.tableSize, tableSize))
	if err != nil {
		return fmt.Errorf("empty the index: %w", err)
	}
	x.anew = true
	return nil
}

// Refilled ends what Reset has begun. It fails when what was written since is damaged again.
func (x *Index) Refilled() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.hopeless(); err != nil {
		return err
	}
	x.broken, x.anew = nil, false
	return nil
}
