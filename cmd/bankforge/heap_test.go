package main

import (
	"testing"
)

func TestTheHeapGrowsToItsFloorAndThenByItsPercent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 25500}, {1 << 20, 25500}, {16 << 20, 1500}, {64 << 20, 300}, {heapFloor / 3, gcPercent},
		{100 << 20, gcPercent}, {heapFloor, gcPercent}, {8 << 30, gcPercent},
	} {
		if got := percentFor(c.live); got != c.want {
			t.Errorf("%d bytes alive: %d %% instead of %d %%", c.live, got, c.want)
		}
	}
}
