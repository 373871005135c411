// Package index finds in a log of events what was made of a subject or a key, at a cost that does not grow with
// the log. It is log-structured: what is new is in memory, is written as sorted runs in the background, and runs are
// merged. It is only a cache of the log, and never flushed by a commit: what a crash takes away is indexed again.
package index

import (
	"cmp"
	"errors"
	"log/slog"
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
)

// Index is safe for concurrent use, but Add and Room are for one writer at a time.
type Index struct {
	dir       string
	log       *slog.Logger
	tableSize int // records
	create    func(path string) (file, error)
	readOnly  bool

	mu     sync.RWMutex
	active *table
	frozen []*table // oldest first
	runs   *runs
	failed error // why the oldest frozen table could not be written
	broken error // that a run is damaged; nothing is answered
	anew   bool  // it is broken, but was emptied, and is being filled again
	closed bool

	steps sync.RWMutex // held for reading while a file is being written: Reset waits for that

	cursors sync.Pool

	wake, merge chan struct{} // there is something to write, to merge
	room        chan struct{} // closed when a frozen table has been written
	noticed     chan struct{} // a run is damaged
	done        chan struct{}
	background  sync.WaitGroup
}

// runs are those of one moment, oldest first. They are open as long as somebody uses them.
type runs struct {
	all   []*run
	users atomic.Int32
}

func newRuns(all []*run) *runs {
	for _, r := range all {
		r.owners.Add(1)
	}
	s := &runs{all: all}
	s.users.Add(1)
	return s
}

func (s *runs) release() (err error) {
	if s.users.Add(-1) > 0 {
		return nil
	}
	for _, r := range s.all {
		err = errors.Join(err, r.release())
	}
	return err
}

// Limits, unless a test has others.
const (
	tableSize = 1 << 16 // records in memory before they are written
	maxFrozen = 8       // tables that wait for being written; a table takes about 6 MB
)

// Errors to be tested with errors.Is.
var (
	// ErrFull means that what is new cannot be written, and that there is too much of it already.
	ErrFull = errors.New("the index cannot write, and too much is waiting in memory")
	// ErrClosed means that the index was closed.
	ErrClosed = errors.New("the index is closed")
)

// Reached is how far into the log everything is in the index.
func (x *Index) Reached() Mark {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.active.to
}

// Marks are the ends of the runs, oldest first. Each must be in the log, else nothing of the index belongs to it.
func (x *Index) Marks() (marks []Mark) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, r := range x.runs.all {
		marks = append(marks, r.to)
	}
	return marks
}

// Add takes in what the log has got, through to. It is in memory, and readers see all of it or nothing.
func (x *Index) Add(records []Record, to Mark) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, r := range records {
		x.active.add(r)
	}
	x.active.to = to
	if x.active.count >= x.tableSize && !x.readOnly {
		x.freeze()
	}
}

// freeze is called with mu held.
func (x *Index) freeze() {
	x.frozen = append(x.frozen, x.active)
	x.active = newTable(x.active.to, min(x.tableSize, tableSize))
	poke(x.wake)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// view is what there is at one moment. Its user releases the runs.
type view struct {
	lists  [maxFrozen + 2][]entry // in memory of one hash, newest first
	tables int
	runs   *runs
}

func (x *Index) view(h Hash, v *view) error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	switch {
	case x.closed:
		return ErrClosed
	case x.broken != nil:
		return x.broken
	}
	v.lists[0], v.tables = x.active.list(h), 1
	for _, t := range slices.Backward(x.frozen) {
		v.lists[v.tables] = t.list(h)
		v.tables++
	}
	v.runs = x.runs
	v.runs.users.Add(1)
	return nil
}

func (v *view) memory() [][]entry { return v.lists[:v.tables] }

// inRuns calls each with the runs that may have h, newest first, until it wants no more.
func (x *Index) inRuns(s *runs, h Hash, each func(*cursor) (more bool, err error)) (err error) {
	defer func() { err = errors.Join(x.condemn(err), s.release()) }()
	if len(s.all) == 0 {
		return nil
	}
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if p := recover(); p != nil {
			err = faulted(p)
		}
	}()
	c := x.cursor()
	defer x.cursors.Put(c)
	for _, r := range slices.Backward(s.all) {
		may, err := c.may(r, h)
		if err != nil {
			return err
		}
		if !may {
			continue
		}
		c.run = r
		if more, err := each(c); err != nil || !more {
			return err
		}
	}
	return nil
}

// cursor is one that is not in use: they are large.
func (x *Index) cursor() *cursor {
	if c, ok := x.cursors.Get().(*cursor); ok {
		return c
	}
	return new(cursor)
}

// Newest returns the newest version of h. Versions of one hash must have been added in ascending order.
func (x *Index) Newest(h Hash) (newest Record, found bool, err error) {
	var v view
	if err := x.view(h, &v); err != nil {
		return Record{}, false, err
	}
	for _, list := range v.memory() {
		if n := len(list); n > 0 {
			return Record{h, list[n-1].version, list[n-1].value}, true, v.runs.release()
		}
	}
	err = x.inRuns(v.runs, h, func(c *cursor) (bool, error) {
		some, err := c.floor(behind(h, math.MaxUint64))
		if err == nil && some && c.record().Hash == h {
			newest, found = c.record(), true
		}
		return !found, err
	})
	return newest, found, err
}

// Values returns what version of h leads to.
func (x *Index) Values(h Hash, version uint64) (values []uint64, err error) {
	found, err := x.Descend(h, version, version, math.MaxInt)
	for _, r := range found {
		values = append(values, r.Value)
	}
	return values, err
}

// Descend returns the records of h with versions from down to least, descending, at most limit.
func (x *Index) Descend(h Hash, from, least uint64, limit int) (out []Record, err error) {
	var v view
	if err := x.view(h, &v); err != nil {
		return nil, err
	}
	for _, list := range v.memory() {
		taken := 0
		for _, e := range slices.Backward(list[:upTo(list, from)]) {
			if e.version < least || taken == limit {
				break
			}
			out = append(out, Record{h, e.version, e.value})
			taken++
		}
	}
	err = x.inRuns(v.runs, h, func(c *cursor) (bool, error) {
		more, err := c.floor(behind(h, from))
		for taken := 0; err == nil && more && taken < limit; taken++ {
			r := c.record()
			if r.Hash != h || r.Version < least {
				break
			}
			out = append(out, r)
			more, err = c.previous()
		}
		return true, err
	})
	slices.SortFunc(out, func(a, b Record) int { return b.Compare(a) })
	return out[:min(len(out), limit)], err
}

// Ascend returns the records of h with versions behind after, ascending, at most limit.
func (x *Index) Ascend(h Hash, after uint64, limit int) (out []Record, err error) {
	var v view
	if err := x.view(h, &v); err != nil {
		return nil, err
	}
	for _, list := range v.memory() {
		list = list[upTo(list, after):]
		for _, e := range list[:min(len(list), limit)] {
			out = append(out, Record{h, e.version, e.value})
		}
	}
	err = x.inRuns(v.runs, h, func(c *cursor) (bool, error) {
		more, err := c.behind(behind(h, after))
		for taken := 0; err == nil && more && taken < limit; taken++ {
			r := c.record()
			if r.Hash != h {
				break
			}
			out = append(out, r)
			more, err = c.next()
		}
		return true, err
	})
	slices.SortFunc(out, Record.Compare)
	return out[:min(len(out), limit)], err
}

// upTo is how many of the list have versions that are not above v.
func upTo(list []entry, v uint64) int {
	i, _ := slices.BinarySearchFunc(list, v, func(e entry, v uint64) int {
		if e.version <= v {
			return -1
		}
		return 1
	})
	return i
}

// All calls each with every record, in no particular order.
func (x *Index) All(each func(Record) error) (err error) {
	x.mu.RLock()
	if x.closed || x.broken != nil {
		err := x.broken
		x.mu.RUnlock()
		return cmp.Or(err, ErrClosed)
	}
	s := x.runs
	s.users.Add(1)
	tables := append(slices.Clone(x.frozen), x.active)
	newest := x.active.sorted() // the others do not change any more
	x.mu.RUnlock()
	defer func() { err = errors.Join(x.condemn(err), s.release()) }()
	defer guard(&err)()
	for _, r := range s.all {
		if err := r.each(each); err != nil {
			return err
		}
	}
	for _, t := range tables[:len(tables)-1] {
		for _, r := range t.sorted() {
			if err := each(r); err != nil {
				return err
			}
		}
	}
	for _, r := range newest {
		if err := each(r); err != nil {
			return err
		}
	}
	return nil
}

// each reads the run from its beginning to its end.
func (r *run) each(fn func(Record) error) error {
	c := cursor{run: r}
	more, err := true, c.first()
	for err == nil && more {
		if err = fn(c.record()); err == nil {
			more, err = c.next()
		}
	}
	return err
}
