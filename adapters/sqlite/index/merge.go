package index

import "math/bits"

// Runs of about the same size are merged when there are so many of them side by side.
const fanIn = 4

// level is the same for runs of about the same size. The tables that were written are on level 0.
func (x *Index) level(r *run) int {
	return (bits.Len64(r.count/uint64(2*x.tableSize)) + 1) / 2
}

// mergeable is the first stretch of runs side by side that are to become one; from the newest on, because those are
// many.
func (x *Index) mergeable(runs []*run) []*run {
	for end := len(runs); end > 0; {
		begin := end - 1
		for begin > 0 && x.level(runs[begin-1]) == x.level(runs[end-1]) {
			begin--
		}
		if end-begin >= fanIn {
			return runs[begin:end]
		}
		end = begin
	}
	return nil
}

// merged gives all records of the runs in their order.
func merged(runs []*run) (footer, source, error) {
	f := footer{from: runs[0].from, to: runs[len(runs)-1].to}
	heads := make([]*cursor, 0, len(runs))
	for _, r := range runs {
		f.count += r.count
		c := &cursor{run: r}
		if err := c.first(); err != nil {
			return f, nil, err
		}
		heads = append(heads, c)
	}
	return f, func() (Record, bool, error) {
		if len(heads) == 0 {
			return Record{}, false, nil
		}
		least, r := 0, heads[0].record()
		for i := 1; i < len(heads); i++ {
			if other := heads[i].record(); other.Compare(r) < 0 {
				least, r = i, other
			}
		}
		more, err := heads[least].next()
		if !more {
			heads = append(heads[:least], heads[least+1:]...)
		}
		return r, true, err
	}, nil
}
