package bench

import (
	"math/bits"
	"time"
)

// Histogram counts times with a precision of 1/64, in a memory that does not grow. The zero value is empty.
type Histogram struct {
	counts [64 * steps]uint64
	count  uint64
}

const (
	stepBits = 6
	steps    = 1 << stepBits
)

// Add counts one time. Those below zero count as zero.
func (h *Histogram) Add(d time.Duration) {
	h.counts[slot(uint64(max(d, 0)))]++
	h.count++
}

// Merge adds all that other has counted.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.count += other.count
}

// Count is how many times have been added.
func (h *Histogram) Count() uint64 { return h.count }

// Quantile is the time that the share q of all times does not exceed, rounded up to the precision; 0 of nothing.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank, seen := uint64(q*float64(h.count)), uint64(0)
	if float64(rank) < q*float64(h.count) || rank == 0 {
		rank++
	}
	for i, n := range h.counts {
		if seen += n; n > 0 && seen >= rank {
			return time.Duration(top(i))
		}
	}
	return 0
}

// slot: values below 64 have a slot each; above, each power of two has 64.
func slot(v uint64) int {
	shift := bits.Len64(v) - stepBits - 1
	if shift <= 0 {
		return int(v)
	}
	return (shift+1)*steps + int(v>>shift) - steps
}

// top is the highest value of a slot.
func top(i int) uint64 {
	if i < 2*steps {
		return uint64(i)
	}
	shift := i/steps - 1
	return uint64(i%steps+steps+1)<<shift - 1
}
