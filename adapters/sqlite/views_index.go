package sqlite

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"bankforge/app"
	"bankforge/app/bank"
)

// Rows that are looked for by something random (an account, a key) would each go to another page of an index, and be
// written there one by one. So indexes are cut into segments of the log: what is added goes into the last segment,
// which is small enough to stay in memory, and who reads walks over the segments in the order of the log.

const (
	// segmentBits say how many events a segment has: few enough that its pages are few, as each commit writes all that
	// it has touched, and many enough that looking into each of them is quick. Of 16, 14 and 13 the last one takes half
	// the CPU time of the first in small deliveries, and what is rare is still found in milliseconds among millions.
	segmentBits = 13
	// valueBits are for what is looked for. Others with the same bits are few; 41 bits are left for the seq.
	valueBits = 22
)

// slot is the place of a row: its segment, then what it is looked for by, then its event. As one integer it is
// as short, and found as fast, as SQLite can.
func slot(value uint64, seq bank.Seq) int64 {
	const low = 1<<segmentBits - 1
	return int64(seq>>segmentBits)<<(valueBits+segmentBits) | int64(value)<<segmentBits | int64(seq&low)
}

// slots are the places of a value in the part of a segment.
func slots(value uint64, part span) (from, through int64) {
	return slot(value, bank.Seq(part.from)), slot(value, bank.Seq(part.to-1))
}

// aspect is something that transactions are looked for by.
type aspect byte

const (
	ofAccount     aspect = 'a'
	ofCustomer    aspect = 'c'
	ofKey         aspect = 'k'
	ofCorrelation aspect = 'o'
	ofReference   aspect = 'r'
	ofHold        aspect = 'h'
	ofKind        aspect = 't' // not of transfers: nearly all are
	ofStatus      aspect = 's' // not of posted ones: nearly all are
)

// value is a text as a number. Several texts may have the same one, so who finds a row looks at it again.
// No text has 0.
func value(a aspect, text string) uint64 {
	if text == "" {
		return 0
	}
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	h := (uint64(offset) ^ uint64(a)) * prime
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * prime
	}
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return max(1, h>>(64-valueBits))
}

// found is how a transaction is found: each text that it has.
type found struct {
	payer, payee, payerCustomer, payeeCustomer string
	key, correlation, reference, hold          string
	kind                                       bank.TransactionKind
	status                                     bank.TransactionStatus
	seq                                        bank.Seq
}

// appendTo appends the slots in the index, each once.
func (f *found) appendTo(rows []int64) []int64 {
	at := len(rows)
	for _, v := range [...]uint64{
		value(ofAccount, f.payer), value(ofAccount, f.payee),
		value(ofCustomer, f.payerCustomer), value(ofCustomer, f.payeeCustomer),
		value(ofKey, f.key), value(ofCorrelation, f.correlation), value(ofReference, f.reference),
		value(ofHold, f.hold), kindValue(f.kind), statusValue(f.status),
	} {
		row := slot(v, f.seq)
		if v != 0 && !slices.Contains(rows[at:], row) {
			rows = append(rows, row)
		}
	}
	return rows
}

func kindValue(k bank.TransactionKind) uint64 {
	if k == bank.TransferKind {
		return 0
	}
	return value(ofKind, k.String())
}

func statusValue(s bank.TransactionStatus) uint64 {
	if s == bank.Posted {
		return 0
	}
	return value(ofStatus, s.String())
}

// selective is the value under which the fewest transactions that a filter wants are found; 0: all must be looked at.
func selective(f *app.TransactionFilter) uint64 {
	v := cmp.Or(value(ofKey, f.IdempotencyKey), value(ofCorrelation, f.CorrelationID),
		value(ofReference, f.Reference), value(ofHold, f.Hold.String()),
		value(ofAccount, f.Account.String()), value(ofCustomer, f.Customer.String()))
	if v == 0 && f.Kind != 0 {
		v = kindValue(f.Kind)
	}
	if v == 0 && f.Status != 0 {
		v = statusValue(f.Status)
	}
	return v
}

// span is a range of events, from ≤ seq < to.
type span struct{ from, to int64 }

// parts cuts the span into segments, in the order asked for.
func (s span) parts(ascending bool) []span {
	var out []span
	for from := s.from; from < s.to; {
		to := min(s.to, (from>>segmentBits+1)<<segmentBits)
		out = append(out, span{from, to})
		from = to
	}
	if !ascending {
		slices.Reverse(out)
	}
	return out
}

// spanOf is where the transactions of a page are: their times never go back from event to event.
func (v *Views) spanOf(ctx context.Context, p app.Page) (s span, err error) {
	q := v.db.querier(ctx)
	err = q.QueryRowContext(ctx, selectSpan).Scan(&s.from, &s.to)
	if err != nil {
		return s, err
	}
	from, to := p.From, p.To
	if p.AfterTime != 0 && p.Ascending {
		from = max(from, p.AfterTime)
	}
	if p.AfterTime != 0 && !p.Ascending && (to == 0 || to > p.AfterTime) {
		to = p.AfterTime + 1
	}
	all := s
	if from != 0 {
		if s.from, err = v.firstSeq(ctx, all, from); err != nil {
			return s, err
		}
	}
	if to != 0 {
		s.to, err = v.firstSeq(ctx, all, to)
	}
	return s, err
}

// firstSeq is that of the first transaction at the time or after it; the span's end when there is none.
func (v *Views) firstSeq(ctx context.Context, s span, at bank.Time) (int64, error) {
	q := v.db.querier(ctx)
	low, high := s.from, s.to // what is looked for is from low to high
	for low < high {
		var seq int64
		var time bank.Time
		middle := low + (high-low)/2
		err := q.QueryRowContext(ctx, selectNextTransaction, middle).Scan(&seq, &time)
		if err != nil {
			return 0, err
		}
		if time < at {
			low = seq + 1
		} else {
			high = middle
		}
	}
	return low, nil
}

// lookedInto are how many segments are just looked into: mostly the page is full by then.
const lookedInto = 4

// walk calls visit with the number of one span of slots after the other, while it wants more. When there are many,
// one statement finds those of the rest that have rows: what is rare is in few of them.
func (v *Views) walk(ctx context.Context, t table, spans []span, visit func(i int) (more bool, err error)) error {
	for i := range spans {
		if i == lookedInto {
			rest, err := v.occupied(ctx, t, spans[i:])
			for n := 0; err == nil && n < len(rest); n++ {
				var more bool
				if more, err = visit(i + rest[n]); !more {
					break
				}
			}
			return err
		}
		if more, err := visit(i); err != nil || !more {
			return err
		}
	}
	return nil
}

// occupied are the numbers of those of the spans that have rows.
func (v *Views) occupied(ctx context.Context, t table, spans []span) (numbers []int, err error) {
	list := make([]byte, 0, 48*len(spans))
	for _, s := range spans {
		list = fmt.Appendf(list, ",[%d,%d]", s.from, s.to)
	}
	list[0] = '['
	rows, err := v.db.querier(ctx).QueryContext(ctx, `SELECT key FROM json_each(?) s WHERE EXISTS (SELECT 1 FROM `+
		t.name+` WHERE slot >= s.value ->> 0 AND slot < s.value ->> 1)`, string(append(list, ']')))
	if err != nil {
		return nil, err
	}
	err = eachRow(rows, func(scan func(...any) error) error {
		var n int
		err := scan(&n)
		numbers = append(numbers, n)
		return err
	})
	slices.Sort(numbers)
	return numbers, err
}
