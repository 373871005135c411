package codec

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"iter"

	"bankforge/app/bank"
)

// StateSchema is the version of what WriteState writes. A snapshot is a cache: one of another version is thrown away.
const StateSchema = 1

// A written state is a row of records, each a byte that says what it is, the length in four bytes, and a
// message: the header, accounts, holds, pending transfers, and at the end the SHA-256 of all that came before.
const (
	headerRecord byte = iota + 1
	accountRecord
	holdRecord
	pendingRecord
	endRecord
)

// maxRecord is in bytes: more than any account or transaction has.
const maxRecord = 1 << 20

// WriteState writes the whole state, which must not change meanwhile.
func WriteState(to io.Writer, s *bank.State) error {
	sum := sha256.New()
	w := stateWriter{to: bufio.NewWriterSize(io.MultiWriter(to, sum), 1<<16)}
	w.record(headerRecord, func(b []byte) []byte {
		b = appendUint(b, 1, StateSchema)
		b = appendUint(b, 2, uint64(s.Seq()))
		return appendInt(b, 3, int64(s.Time()))
	})
	for a := range s.Accounts() {
		w.record(accountRecord, func(b []byte) []byte { return EncodeAccount(b, &a) })
	}
	var alone frame
	for h := range s.Holds() {
		w.record(holdRecord, func(b []byte) []byte { return alone.appendHold(b, 1, &h) })
	}
	for t := range s.Pending() {
		w.record(pendingRecord, func(b []byte) []byte { return alone.appendTransaction(b, 1, &t) })
	}
	if w.err == nil {
		w.err = w.to.Flush() // so that the sum has seen all
	}
	w.record(endRecord, func(b []byte) []byte { return sum.Sum(b) })
	if w.err == nil {
		w.err = w.to.Flush()
	}
	if w.err != nil {
		return fmt.Errorf("write the state: %w", w.err)
	}
	return nil
}

type stateWriter struct {
	to  *bufio.Writer
	buf []byte
	err error
}

func (w *stateWriter) record(kind byte, fill func([]byte) []byte) {
	if w.err != nil {
		return
	}
	w.buf = fill(w.buf[:0])
	if len(w.buf) > maxRecord {
		w.err = fmt.Errorf("a record of %d bytes; at most %d", len(w.buf), maxRecord)
		return
	}
	if _, w.err = w.to.Write(recordHead(kind, len(w.buf))); w.err == nil {
		_, w.err = w.to.Write(w.buf)
	}
}

const recordHeadSize = 5 // bytes

func recordHead(kind byte, n int) []byte {
	return binary.BigEndian.AppendUint32([]byte{kind}, uint32(n))
}

// ReadState reads what WriteState has written. An error of the content wraps ErrMalformed.
func ReadState(from io.Reader) (*bank.State, error) {
	r := stateReader{from: bufio.NewReaderSize(from, 1<<16), sum: sha256.New()}
	r.next()
	seq, time := r.header()
	s, err := bank.RestoreState(seq, time,
		read(&r, accountRecord, readAccount),
		read(&r, holdRecord, alone(func(in *frame, m *reader) bank.Hold { return in.readHold(m) })),
		read(&r, pendingRecord, alone(readPending)))
	r.end()
	switch {
	case r.err != nil:
		return nil, fmt.Errorf("read a state: %w", r.err)
	case err != nil:
		return nil, fmt.Errorf("read a state: %w: %w", ErrMalformed, err)
	}
	return s, nil
}

func readPending(in *frame, m *reader) (t bank.Transaction) {
	in.readTransaction(m, &t)
	return t
}

// stateReader stands on one record.
type stateReader struct {
	from *bufio.Reader
	sum  hash.Hash
	kind byte // 0 after an error
	body []byte
	err  error
}

func (r *stateReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.kind, r.body = 0, nil
}

// next steps to the next record. The sum takes in all records but the last.
func (r *stateReader) next() {
	head := make([]byte, recordHeadSize)
	if _, err := io.ReadFull(r.from, head); err != nil {
		r.fail(fmt.Errorf("%w: it breaks off: %w", ErrMalformed, err))
		return
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxRecord {
		r.fail(fmt.Errorf("%w: a record of %d bytes", ErrMalformed, n))
		return
	}
	r.kind, r.body = head[0], append(r.body[:0], make([]byte, n)...)
	if _, err := io.ReadFull(r.from, r.body); err != nil {
		r.fail(fmt.Errorf("%w: it breaks off: %w", ErrMalformed, err))
		return
	}
	if r.kind != endRecord {
		r.sum.Write(head)
		r.sum.Write(r.body)
	}
}

func (r *stateReader) header() (seq bank.Seq, t bank.Time) {
	if r.err == nil && r.kind != headerRecord {
		r.fail(fmt.Errorf("%w: this is no state", ErrMalformed))
	}
	m := reader{what: "state", data: string(r.body)}
	var schema uint64
	for m.next() {
		switch m.num {
		case 1:
			schema = m.varint()
		case 2:
			seq = bank.Seq(m.varint())
		case 3:
			t = bank.Time(m.int())
		default:
			m.unknown()
		}
	}
	switch {
	case m.err != nil:
		r.fail(m.err)
	case r.err == nil && schema != StateSchema:
		r.fail(fmt.Errorf("%w: a state of schema %d; this program reads %d", ErrMalformed, schema, StateSchema))
	case r.err == nil:
		r.next()
	}
	return seq, t
}

// read takes the records of one kind, as long as they come.
func read[T any](r *stateReader, kind byte, decode func(*reader) T) iter.Seq[T] {
	return func(yield func(T) bool) {
		for r.kind == kind {
			m := reader{what: "state", data: string(r.body)}
			v := decode(&m)
			if m.err != nil {
				r.fail(m.err)
				return
			}
			r.next()
			if !yield(v) {
				return
			}
		}
	}
}

// alone reads a message that stands in a record by itself, with nothing around it.
func alone[T any](decode func(*frame, *reader) T) func(*reader) T {
	return func(m *reader) (v T) {
		if !m.next() || m.num != 1 {
			m.fail("is not what the record says")
			return v
		}
		v = decode(new(frame), m)
		if m.next() {
			m.unknown()
		}
		return v
	}
}

func (r *stateReader) end() {
	switch {
	case r.err != nil:
	case r.kind != endRecord:
		r.fail(fmt.Errorf("%w: a record of kind %d out of place", ErrMalformed, r.kind))
	case !bytes.Equal(r.body, r.sum.Sum(nil)):
		r.fail(fmt.Errorf("%w: the checksum is not that of the content", ErrMalformed))
	}
}
