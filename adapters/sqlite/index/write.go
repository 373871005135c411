package index

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const (
	runSuffix  = ".run"
	unfinished = ".tmp"
	syncEvery  = 8 << 20 // bytes, so that no large flush holds up the log's own
)

// file is what a run is written to.
type file interface {
	io.WriterAt
	io.Closer
	Sync() error
}

func createFile(path string) (file, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}

// source gives records in their order; false after the last one.
type source func() (Record, bool, error)

// writeRun writes a run file that is whole under its name, or not there.
func (x *Index) writeRun(f footer, records source) (*run, error) {
	path := filepath.Join(x.dir, f.name())
	err := x.writeFile(path+unfinished, f, records)
	if err == nil {
		err = os.Rename(path+unfinished, path)
	}
	if err == nil {
		err = syncDir(x.dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", filepath.Base(path), err), removeIfThere(path+unfinished))
	}
	return openRun(path)
}

func (x *Index) writeFile(path string, f footer, records source) (err error) {
	out, err := x.create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w := newWriter(out, f)
	for {
		r, more, err := records()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if err := w.add(r); err != nil {
			return err
		}
		if w.unsynced >= syncEvery {
			w.unsynced = 0
			if err := errors.Join(w.blocks.Flush(), out.Sync()); err != nil {
				return err
			}
		}
	}
	if err := w.finish(); err != nil {
		return err
	}
	return out.Sync()
}

// writer writes the parts of a run side by side. Its memory does not grow with the run.
type writer struct {
	footer

	out                    io.WriterAt
	crc                    uint32
	blocks, fences, filter *bufio.Writer
	block                  block
	record                 [recordSize]byte // that is being added
	held                   int              // records in block
	number                 uint64           // of block
	line                   line
	lineNumber             uint64
	written                uint64 // records
	unsynced               int    // bytes
}

func newWriter(out io.WriterAt, f footer) *writer {
	part := func(at int64) *bufio.Writer { return bufio.NewWriterSize(io.NewOffsetWriter(out, at), 1<<16) }
	return &writer{
		footer: f, out: out, crc: f.seed(), blocks: part(0), fences: part(f.fencesAt()), filter: part(f.filterAt()),
	}
}

func (w *writer) add(r Record) error {
	b := &w.record
	r.put(b[:])
	if w.written == 0 {
		w.footer.first = *b
	} else if bytes.Compare(w.footer.last[:], b[:]) >= 0 {
		return fmt.Errorf("record %d is not behind the one before", w.written)
	}
	if w.held == perBlock {
		if err := w.endBlock(b[:]); err != nil {
			return err
		}
	}
	if w.held == 0 {
		if _, err := w.fences.Write(b[:]); err != nil {
			return err
		}
	}
	copy(w.block.bytes(w.held), b[:])
	w.held++
	w.written++
	w.footer.last = *b
	return w.filtered(r.Hash)
}

func (w *writer) endBlock(next []byte) error {
	w.block.seal(w.crc, w.number, w.held, next)
	_, err := w.blocks.Write(w.block[:])
	w.block, w.held, w.number = block{}, 0, w.number+1
	w.unsynced += blockSize
	return err
}

// filtered puts h into its line; the lines before it are finished.
func (w *writer) filtered(h Hash) error {
	if err := w.endLines(lineOf(h, w.lines())); err != nil {
		return err
	}
	w.line.put(h)
	return nil
}

func (w *writer) endLines(until uint64) error {
	for ; w.lineNumber < until; w.lineNumber++ {
		w.line.seal(w.crc, w.lineNumber)
		if _, err := w.filter.Write(w.line[:]); err != nil {
			return err
		}
		w.line = line{}
	}
	return nil
}

func (w *writer) finish() error {
	if w.written != w.count {
		return fmt.Errorf("%d records instead of %d", w.written, w.count)
	}
	end := bytes.Repeat([]byte{0xff}, recordSize)
	if err := errors.Join(w.endBlock(end), w.endLines(w.lines())); err != nil {
		return err
	}
	if err := errors.Join(w.blocks.Flush(), w.fences.Flush(), w.filter.Flush()); err != nil {
		return err
	}
	b, err := w.footer.encode()
	if err != nil {
		return err
	}
	_, err = w.out.WriteAt(b, w.footerAt())
	return err
}

// syncDir has the disk keep the names in dir.
func syncDir(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
