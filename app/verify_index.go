package app

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"

	"bankforge/app/bank"
	"bankforge/app/codec"
)

// touchSum is the sum of a set of index entries, whatever their order. Two sets with the same sum are the same,
// but for one chance in 2^64.
type touchSum struct {
	count int
	sum   uint64
}

func (s *touchSum) add(seed maphash.Seed, t Touch, seq bank.Seq) {
	s.count++
	s.sum += maphash.Comparable(seed, indexed{t, seq})
}

type indexed struct {
	Touch
	seq bank.Seq
}

// checkIndex compares the index of versions with the events. Only if their sums differ it looks for the places.
func (v *verifier) checkIndex(ctx context.Context) error {
	var sum touchSum
	err := v.log.Touches(ctx, v.seq, func(t Touch, seq bank.Seq) error {
		sum.add(v.seed, t, seq)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the index of versions: %w", err)
	}
	if sum == v.index {
		return nil
	}
	if err := v.findMissing(ctx); err != nil {
		return err
	}
	if err := v.findStray(ctx); err != nil {
		return err
	}
	if v.report.OK() {
		v.differ("the index of versions has %d entries that do not match the %d of the events", sum.count, v.index.count)
	}
	return nil
}

// findMissing looks every version that the events make up in the index.
func (v *verifier) findMissing(ctx context.Context) error {
	for at := bank.Seq(0); at < v.seq; {
		rows, err := v.log.Read(ctx, at, replayPage)
		if err != nil || len(rows) == 0 {
			return err
		}
		for i := range rows {
			at = rows[i].Seq
			if err := v.findIn(ctx, &rows[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *verifier) findIn(ctx context.Context, r *Row) error {
	e, _, err := codec.Decode(r.Data)
	if err != nil || r.Seq > v.seq {
		return nil //nolint:nilerr // it was already told of
	}
	for _, t := range touched(&e) {
		if t.Version == 0 {
			continue // Check has told
		}
		found, err := v.log.Versions(ctx, t.Subject, t.Version-1, 1)
		if err != nil {
			return err
		}
		if len(found) != 1 || found[0].Seq != r.Seq {
			what := fmt.Sprintf("the index of versions does not lead from version %d to here", t.Version)
			v.report.add(Difference{Seq: r.Seq, Subject: t.Subject, What: what})
		}
	}
	return nil
}

// findStray looks for entries of the index that no event made.
func (v *verifier) findStray(ctx context.Context) error {
	return v.log.Touches(ctx, v.seq, func(t Touch, seq bank.Seq) error {
		rows, err := v.log.Read(ctx, max(seq, 1)-1, 1)
		if err != nil {
			return err
		}
		if len(rows) == 1 && rows[0].Seq == seq {
			e, _, err := codec.Decode(rows[0].Data)
			if err != nil || slices.Contains(touched(&e), t) {
				return nil //nolint:nilerr // what cannot be read was already told of
			}
		}
		what := fmt.Sprintf("the index of versions has version %d, which this event did not make", t.Version)
		v.report.add(Difference{Seq: seq, Subject: t.Subject, What: what})
		return nil
	})
}
