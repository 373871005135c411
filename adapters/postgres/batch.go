package postgres

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"bankforge/app"
)

// params are the arguments of append_batch in PostgreSQL's binary form. Encoding them by hand, into one piece of memory,
// takes a quarter of the time that a driver for anything takes.
type params struct {
	buf  []byte
	ends []int // of each argument in buf
	null []bool
}

// Numbers of PostgreSQL's types.
const (
	oidBytea = 17
	oidInt8  = 20
	oidInt4  = 23
	oidText  = 25
	oidUUID  = 2950
)

// arguments are those of append_batch, one array for each column.
func arguments(b *app.Batch) *params {
	p := &params{buf: make([]byte, 0, 1024+sizeOf(b)), ends: make([]int, 0, 20), null: make([]bool, 0, 20)}
	last, chain := b.After, []byte(nil)
	if n := len(b.Rows); n > 0 {
		last, chain = b.Rows[n-1].Seq, b.Rows[n-1].Chain[:]
	}
	p.one([]byte(ledgerName))
	for _, n := range [...]uint64{b.Term, b.Number, uint64(b.After), uint64(last)} {
		p.one(binary.BigEndian.AppendUint64(nil, n))
	}
	p.one(chain)
	p.rows(b.Rows)
	p.outcomes(b.Outcomes)
	return p
}

// sizeOf is about what the batch takes, so that memory is asked for once.
func sizeOf(b *app.Batch) (n int) {
	for i := range b.Rows {
		n += len(b.Rows[i].Data) + 48 + 48*len(b.Rows[i].Touches)
	}
	for i := range b.Outcomes {
		n += len(b.Outcomes[i].Reply) + 250
	}
	return n
}

// one is a single value; nil is NULL.
func (p *params) one(value []byte) {
	p.buf = append(p.buf, value...)
	p.ends, p.null = append(p.ends, len(p.buf)), append(p.null, value == nil)
}

// array has n elements, each of which is appended by element, in the form of its type; ok is false for NULL.
func (p *params) array(oid uint32, n int, element func(to []byte, i int) (out []byte, ok bool)) {
	if n == 0 {
		p.one(binary.BigEndian.AppendUint32(make([]byte, 8), oid)) // of no dimension
		return
	}
	for _, head := range [...]uint32{1, 1, oid, uint32(n), 1} { // dimensions, maybe NULLs, type, length, first index
		p.buf = binary.BigEndian.AppendUint32(p.buf, head)
	}
	for i := range n {
		at := len(p.buf)
		out, ok := element(append(p.buf, 0xff, 0xff, 0xff, 0xff), i) // of length −1: NULL
		if ok {
			binary.BigEndian.PutUint32(out[at:], uint32(len(out)-at-4))
		}
		p.buf = out
	}
	p.ends, p.null = append(p.ends, len(p.buf)), append(p.null, false)
}

func (p *params) texts(n int, of func(i int) string) {
	p.array(oidText, n, func(to []byte, i int) ([]byte, bool) { return append(to, of(i)...), true })
}

func (p *params) numbers(n int, of func(i int) uint64) {
	p.array(oidInt8, n, func(to []byte, i int) ([]byte, bool) { return binary.BigEndian.AppendUint64(to, of(i)), true })
}

func (p *params) hashes(n int, of func(i int) *[32]byte) {
	p.array(oidBytea, n, func(to []byte, i int) ([]byte, bool) { return append(to, of(i)[:]...), true })
}

// values are the arguments, each a part of the same memory.
func (p *params) values() [][]byte {
	out := make([][]byte, len(p.ends))
	from := 0
	for i, end := range p.ends {
		if !p.null[i] {
			out[i] = p.buf[from:end:end]
		}
		from = end
	}
	return out
}

func (p *params) rows(rows []app.Row) {
	touches := make([]touch, 0, 4*len(rows))
	for i := range rows {
		r := &rows[i]
		for _, t := range r.Touches {
			touches = append(touches, touch{short(t.Subject), uint64(t.Version), uint64(r.Seq)})
		}
	}
	// In the order of the index: what belongs on one page comes together.
	slices.SortFunc(touches, func(a, b touch) int {
		return cmp.Or(bytes.Compare(a.subject[:], b.subject[:]), cmp.Compare(a.version, b.version))
	})
	p.array(oidBytea, len(rows), func(to []byte, i int) ([]byte, bool) { return append(to, rows[i].Data...), true })
	p.hashes(len(rows), func(i int) *[32]byte { return (*[32]byte)(&rows[i].Chain) })
	p.array(oidUUID, len(touches), func(to []byte, i int) ([]byte, bool) {
		return append(to, touches[i].subject[:]...), true
	})
	p.numbers(len(touches), func(i int) uint64 { return touches[i].version })
	p.numbers(len(touches), func(i int) uint64 { return touches[i].seq })
}

// touch is a row of the index of versions.
type touch struct {
	subject      [16]byte
	version, seq uint64
}

func (p *params) outcomes(all []app.Outcome) {
	n := len(all)
	p.hashes(n, func(i int) *[32]byte { return (*[32]byte)(&all[i].Key) })
	p.hashes(n, func(i int) *[32]byte { return (*[32]byte)(&all[i].Fingerprint) })
	p.numbers(n, func(i int) uint64 { return uint64(all[i].Seq) })
	p.array(oidInt4, n, func(to []byte, i int) ([]byte, bool) {
		return binary.BigEndian.AppendUint32(to, uint32(all[i].Events)), true
	})
	p.texts(n, func(i int) string { return string(all[i].Code) })
	p.array(oidBytea, n, func(to []byte, i int) ([]byte, bool) {
		return append(to, all[i].Reply...), all[i].Reply != nil
	})
	p.texts(n, func(i int) string { return all[i].Subject })
	p.texts(n, func(i int) string { return all[i].Command })
	p.numbers(n, func(i int) uint64 { return uint64(all[i].At) })
}

// notNull is never nil, which would be NULL.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// masks tell ids of different kinds apart that have the same bytes. They are permanent.
var masks = [...]struct {
	prefix string
	mask   [16]byte
}{
	{"txn_", [16]byte{}},
	{"acc_", sha128("acc_")},
	{"hold_", sha128("hold_")},
}

const (
	digits   = "0123456789abcdefghijklmnopqrstuv" // of ids
	idDigits = 26
)

// short is a subject as the index of versions has it: of an id its 16 bytes under the mask of its kind, so that new
// transactions, whose ids ascend with time, stand at the index's end; of anything else the beginning of its SHA-256.
func short(subject string) [16]byte {
	for i := range masks {
		text, ok := strings.CutPrefix(subject, masks[i].prefix)
		if !ok || len(text) != idDigits {
			continue
		}
		id, ok := bytesOf(text)
		if !ok {
			break
		}
		for n := range id {
			id[n] ^= masks[i].mask[n]
		}
		return id
	}
	return sha128(subject)
}

// bytesOf reads what bank.MakeID wrote.
func bytesOf(text string) (id [16]byte, ok bool) {
	bits, left, n := uint32(0), 0, 0
	for i := range len(text) {
		d := strings.IndexByte(digits, text[i])
		if d < 0 {
			return id, false
		}
		bits, left = bits<<5|uint32(d), left+5
		if left >= 8 {
			left -= 8
			id[n] = byte(bits >> left)
			n++
		}
	}
	return id, bits&(1<<left-1) == 0 // the last two bits are of no byte
}

func sha128(text string) [16]byte {
	sum := sha256.Sum256([]byte(text))
	return [16]byte(sum[:16])
}
