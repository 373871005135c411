package bench

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A quantile is never less than the true one, and at most 1/64 more.
func TestHistogramQuantiles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		of := rapid.OneOf(rapid.Int64Range(0, 300), rapid.Int64Range(0, math.MaxInt64))
		times := rapid.SliceOfN(of, 1, 200).Draw(t, "times")
		var one, two Histogram
		for i, v := range times {
			h := &one
			if i%2 == 1 {
				h = &two
			}
			h.Add(time.Duration(v))
		}
		one.Merge(&two)
		slices.Sort(times)
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		rank := max(int(math.Ceil(q*float64(len(times)))), 1)
		want, got := float64(times[rank-1]), float64(one.Quantile(q))
		if got < want || got > want+want/64+1 {
			t.Fatalf("quantile %v of %v is %v, not %v", q, times, got, want)
		}
	})
}

func TestHistogramOfNothing(t *testing.T) {
	t.Parallel()
	var h Histogram
	if got := h.Quantile(0.99); got != 0 {
		t.Errorf("p99 of nothing is %s", got)
	}
	h.Add(-time.Second)
	if got := h.Quantile(1); got != 0 || h.Count() != 1 {
		t.Errorf("a time below zero counts as %s", got)
	}
}
