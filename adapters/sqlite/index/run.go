package index

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/exp/mmap"
)

// ErrDamaged means that a file is not what was written. What it says cannot be told, least of all that something
// is not there.
var ErrDamaged = errors.New("the index is damaged")

// run is one sorted file. It is read where the operating system has it in its memory, so that it takes none of ours.
type run struct {
	footer

	path   string
	data   *mmap.ReaderAt
	crc    uint32 // the seed of the checksums
	owners atomic.Int32
}

func openRun(path string) (r *run, err error) {
	defer guard(&err)()
	data, err := mmap.Open(path)
	if err != nil {
		return nil, err
	}
	r = &run{path: path, data: data}
	if err := r.readFooter(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s: %w", ErrDamaged, filepath.Base(path), err), data.Close())
	}
	return r, nil
}

func (r *run) readFooter() (err error) {
	size := int64(r.data.Len())
	if size < footerSize {
		return errors.New("it is too short")
	}
	b := make([]byte, footerSize)
	if _, err := r.data.ReadAt(b, size-footerSize); err != nil {
		return err
	}
	if r.footer, err = decodeFooter(b); err != nil {
		return err
	}
	if r.fileSize() != size {
		return fmt.Errorf("it has %d bytes instead of %d", size, r.fileSize())
	}
	if name := filepath.Base(r.path); r.name() != name {
		return fmt.Errorf("it says that it is %s", r.name())
	}
	r.crc = r.seed()
	return nil
}

// release gives up one owner's hold on r.
func (r *run) release() error {
	if r.owners.Add(-1) > 0 {
		return nil
	}
	return r.data.Close()
}

func (r *run) damaged(what string, args ...any) error {
	return &damage{r, fmt.Sprintf(what, args...)}
}

type damage struct {
	run  *run
	what string
}

func (d *damage) Error() string {
	return fmt.Sprintf("%v: %s: %s", ErrDamaged, filepath.Base(d.run.path), d.what)
}

func (d *damage) Unwrap() error { return ErrDamaged }

// may reports whether h may be in the run; if not, it is not.
func (c *cursor) may(r *run, h Hash) (bool, error) {
	err := r.line(lineOf(h, r.lines()), &c.line)
	return c.line.has(h), err
}

func (r *run) line(number uint64, l *line) error {
	if _, err := r.data.ReadAt(l[:], r.filterAt()+int64(number)*lineSize); err != nil {
		return err
	}
	if !l.sound(r.crc, number) {
		return r.damaged("line %d of its filter", number)
	}
	return nil
}

// cursor is a place among the records of a run.
type cursor struct {
	run    *run
	number uint64 // of the block
	i      int    // in the block
	block  block
	line   line // of the filter, that was looked at last
}

func (c *cursor) load(number uint64) error {
	if _, err := c.run.data.ReadAt(c.block[:], int64(number)*blockSize); err != nil {
		return err
	}
	if !c.block.sound(c.run.crc, number) {
		return c.run.damaged("block %d", number)
	}
	c.number = number
	return nil
}

func (c *cursor) record() Record { return recordAt(c.block.bytes(c.i)) }

// floor goes to the last record that is not behind key; false when all are.
func (c *cursor) floor(key Record) (bool, error) {
	var k, fence [recordSize]byte
	key.put(k[:])
	if bytes.Compare(k[:], c.run.first[:]) < 0 {
		return false, nil
	}
	low, high := uint64(0), c.run.blocks()
	for low < high {
		middle := (low + high) / 2
		if _, err := c.run.data.ReadAt(fence[:], c.run.fencesAt()+int64(middle)*recordSize); err != nil {
			return false, err
		}
		if bytes.Compare(fence[:], k[:]) <= 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == 0 {
		return false, c.run.damaged("its fences")
	}
	if err := c.load(low - 1); err != nil {
		return false, err
	}
	last := c.number == c.run.blocks()-1
	if c.i = c.block.floor(k[:]); c.i < 0 || !last && bytes.Compare(k[:], c.block.next()) >= 0 {
		return false, c.run.damaged("its fences lead to block %d, which is wrong", c.number)
	}
	return true, nil
}

// behind goes to the first record behind key; false when there is none.
func (c *cursor) behind(key Record) (bool, error) {
	some, err := c.floor(key)
	switch {
	case err != nil:
		return false, err
	case some:
		return c.next()
	}
	return true, c.first()
}

// next goes one record on; false at the end.
func (c *cursor) next() (bool, error) {
	if c.i++; c.i < c.block.count() {
		return true, nil
	}
	if c.number+1 == c.run.blocks() {
		return false, nil
	}
	c.i = 0
	return true, c.load(c.number + 1)
}

// previous goes one record back; false at the beginning.
func (c *cursor) previous() (bool, error) {
	if c.i--; c.i >= 0 {
		return true, nil
	}
	if c.number == 0 {
		return false, nil
	}
	if err := c.load(c.number - 1); err != nil {
		return false, err
	}
	c.i = c.block.count() - 1
	return true, nil
}

// first goes to the first record.
func (c *cursor) first() error {
	c.i = 0
	return c.load(0)
}
