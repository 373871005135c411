package postgres

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"
	"strings"

	"bankforge/app"
)

// arguments are those of append_batch: one array for each column.
func arguments(b *app.Batch) []any {
	last, chain := b.After, []byte(nil)
	if n := len(b.Rows); n > 0 {
		last, chain = b.Rows[n-1].Seq, b.Rows[n-1].Chain[:]
	}
	args := make([]any, 0, 20)
	args = append(args, ledgerName, int64(b.Term), int64(b.Number), int64(b.After), int64(last), chain)
	args = appendRows(args, b.Rows)
	return appendOutcomes(args, b.Outcomes)
}

func appendRows(args []any, rows []app.Row) []any {
	data, chains := make([][]byte, len(rows)), make([][]byte, len(rows))
	touches := make([]touch, 0, 4*len(rows))
	for i := range rows {
		r := &rows[i]
		data[i], chains[i] = notNull(r.Data), r.Chain[:]
		for _, t := range r.Touches {
			touches = append(touches, touch{short(t.Subject), int64(t.Version), int64(r.Seq)})
		}
	}
	// In the order of the index: what belongs on one page comes together.
	slices.SortFunc(touches, func(a, b touch) int {
		return cmp.Or(bytes.Compare(a.subject[:], b.subject[:]), cmp.Compare(a.version, b.version))
	})
	subjects := make([][16]byte, len(touches))
	versions, seqs := make([]int64, len(touches)), make([]int64, len(touches))
	for i, t := range touches {
		subjects[i], versions[i], seqs[i] = t.subject, t.version, t.seq
	}
	return append(args, data, chains, subjects, versions, seqs)
}

// touch is a row of the index of versions.
type touch struct {
	subject      [16]byte
	version, seq int64
}

func appendOutcomes(args []any, outcomes []app.Outcome) []any {
	n := len(outcomes)
	keys, fingerprints, replies := make([][]byte, n), make([][]byte, n), make([][]byte, n)
	seqs, events, at := make([]int64, n), make([]int32, n), make([]int64, n)
	codes, subjects, commands := make([]string, n), make([]string, n), make([]string, n)
	for i := range outcomes {
		o := &outcomes[i]
		keys[i], fingerprints[i], replies[i] = o.Key[:], o.Fingerprint[:], o.Reply
		seqs[i], events[i], at[i] = int64(o.Seq), int32(o.Events), int64(o.At)
		codes[i], subjects[i], commands[i] = string(o.Code), o.Subject, o.Command
	}
	return append(args, keys, fingerprints, seqs, events, codes, replies, subjects, commands, at)
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
