package codec

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"bankforge/app/bank"
)

// ErrMalformed is what every error of this package wraps: the bytes are not what this program, or an
// earlier one, has written. Trying again does not help.
var ErrMalformed = errors.New("malformed")

// The append functions write one field, and nothing at all when it is zero: what is absent is zero.

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

// appendInt writes in zigzag form, so that small negative numbers are short too.
func appendInt(b []byte, num protowire.Number, v int64) []byte {
	return appendUint(b, num, protowire.EncodeZigZag(v))
}

func appendText(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

// begin starts a message inside b, which end finishes; what is appended between them is its content.
// Unlike other fields, a message is written even when it is empty.
func begin(b []byte, num protowire.Number) (with []byte, at int) {
	b = append(protowire.AppendTag(b, num, protowire.BytesType), 0)
	return b, len(b)
}

// end fills in the length. Few messages are longer than 127 bytes, so one byte is kept for it at first.
func end(b []byte, at int) []byte {
	n := len(b) - at
	if n < 0x80 {
		b[at-1] = byte(n)
		return b
	}
	more := protowire.SizeVarint(uint64(n)) - 1
	b = append(b, make([]byte, more)...)
	copy(b[at+more:], b[at:at+n])
	protowire.AppendVarint(b[:at-1], uint64(n))
	return b
}

// reader walks over the fields of one message. It accepts nothing but the one form that the append
// functions write: ascending numbers, shortest varints, no zeros. After an error it stands still.
type reader struct {
	what string // the message's name
	data string // what is left
	num  protowire.Number
	prev protowire.Number
	typ  protowire.Type
	key  string // of the metadata that was read last
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s, field %d: %s", ErrMalformed, r.what, r.num, fmt.Sprintf(format, args...))
	}
	r.data = ""
}

// number takes a varint in its shortest form off the data.
func (r *reader) number() (uint64, bool) {
	if len(r.data) > 0 && r.data[0] < 0x80 {
		v := r.data[0]
		r.data = r.data[1:]
		return uint64(v), true
	}
	return r.longNumber()
}

// longNumber takes one of several bytes.
func (r *reader) longNumber() (v uint64, ok bool) {
	for i := 0; i < len(r.data) && i < binary.MaxVarintLen64; i++ {
		c := r.data[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c >= 0x80 {
			continue
		}
		if c == 0 || i == binary.MaxVarintLen64-1 && c > 1 {
			break // it could be shorter, or is too large
		}
		r.data = r.data[i+1:]
		return v, true
	}
	return 0, false
}

// next steps to the next field, whose number is then r.num.
func (r *reader) next() bool {
	if r.err != nil || len(r.data) == 0 {
		return false
	}
	tag, ok := r.number()
	num, typ := protowire.DecodeTag(tag)
	if !ok || num < protowire.MinValidNumber {
		r.fail("is followed by broken bytes")
		return false
	}
	r.prev, r.num, r.typ = r.num, num, typ
	if r.num < r.prev {
		r.fail("comes after field %d", r.prev)
		return false
	}
	return true
}

// unknown refuses the field: the log is ours, so what we do not know is damage, or a newer program's.
func (r *reader) unknown() { r.fail("is unknown") }

func (r *reader) varint() (v uint64) {
	if r.num == r.prev {
		r.fail("comes twice")
		return 0
	}
	if r.typ != protowire.VarintType {
		r.fail("has wire type %d instead of a number's", r.typ)
		return 0
	}
	v, ok := r.number()
	if !ok || v == 0 {
		r.fail("is not a number in its shortest form")
		return 0
	}
	return v
}

// uint reads a number of at most limit.
func (r *reader) uint(limit uint64) uint64 {
	v := r.varint()
	if v > limit {
		r.fail("is %d, more than %d", v, limit)
		return 0
	}
	return v
}

func (r *reader) int() int64 { return protowire.DecodeZigZag(r.varint()) }

func (r *reader) date() bank.Date {
	v := r.int()
	if v != int64(int32(v)) {
		r.fail("is not a date")
	}
	return bank.Date(v)
}

// bytes reads a field that may be empty and may repeat. What it returns is a part of what is read.
func (r *reader) bytes() string {
	if r.err != nil {
		return ""
	}
	if r.typ != protowire.BytesType {
		r.fail("has wire type %d instead of that of bytes", r.typ)
		return ""
	}
	size, ok := r.number()
	if !ok || size > uint64(len(r.data)) {
		r.fail("is longer than what is there")
		return ""
	}
	v := r.data[:size]
	r.data = r.data[size:]
	return v
}

// lone is bytes for a field that comes once.
func (r *reader) lone() string {
	if r.num == r.prev {
		r.fail("comes twice")
	}
	return r.bytes()
}

func (r *reader) text() string {
	v := r.lone()
	if len(v) == 0 {
		r.fail("is empty")
	}
	return v
}

func (r *reader) currency() bank.Currency {
	c, err := bank.ParseCurrency(r.lone())
	if err != nil {
		r.fail("%v", err)
	}
	return c
}

// readID reads an id; parse is the right one of bank.ParseID.
func readID[ID any](r *reader, parse func(string) (ID, error)) ID { return parseID(r, r.lone(), parse) }

func parseID[ID any](r *reader, text string, parse func(string) (ID, error)) (id ID) {
	if r.err != nil {
		return id
	}
	id, err := parse(text)
	if err != nil {
		r.fail("%v", err)
	}
	return id
}

// each starts reading one message of a repeated field, and one that of a field that comes once.
// When it is read, done hands its error over.
func (r *reader) each(what string) reader { return reader{what: what, data: r.bytes(), err: r.err} }
func (r *reader) one(what string) reader  { return reader{what: what, data: r.lone(), err: r.err} }

func (r *reader) done(m *reader) {
	if m.err != nil {
		r.err, r.data = m.err, ""
	}
}
