package postgres

import (
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
	subjects := make([][]byte, 0, 4*len(rows))
	versions, seqs := make([]int64, 0, 4*len(rows)), make([]int64, 0, 4*len(rows))
	for i := range rows {
		r := &rows[i]
		data[i], chains[i] = notNull(r.Data), r.Chain[:]
		for _, t := range r.Touches {
			subjects = append(subjects, short(t.Subject))
			versions, seqs = append(versions, int64(t.Version)), append(seqs, int64(r.Seq))
		}
	}
	return append(args, data, chains, subjects, versions, seqs)
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

// kinds are the prefixes of ids, and what stands for them in short. Numbers are permanent.
var kinds = [...]struct {
	prefix string
	number byte
}{{"acc_", 1}, {"txn_", 2}, {"hold_", 3}}

const (
	digits   = "0123456789abcdefghijklmnopqrstuv" // of ids
	idDigits = 26
)

// short is a subject as the index of versions has it: of an id its kind and its 16 bytes, which sort as the id does, so
// that new transactions stand at the index's end; of anything else a zero byte and the text. Each is of one subject only.
func short(subject string) []byte {
	for _, k := range kinds {
		text, ok := strings.CutPrefix(subject, k.prefix)
		if !ok || len(text) != idDigits {
			continue
		}
		out := append(make([]byte, 0, 17), k.number)
		bits, left := uint32(0), 0
		for i := range len(text) {
			d := strings.IndexByte(digits, text[i])
			if d < 0 {
				return verbatim(subject)
			}
			bits, left = bits<<5|uint32(d), left+5
			if left >= 8 {
				left -= 8
				out = append(out, byte(bits>>left))
			}
		}
		if bits&(1<<left-1) != 0 { // two bits that no id has
			return verbatim(subject)
		}
		return out
	}
	return verbatim(subject)
}

func verbatim(subject string) []byte { return append([]byte{0}, subject...) }
