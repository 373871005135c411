package main

import (
	"runtime"
	"sync"
	"testing"
)

func TestTheHeapGrowsToItsFloorThenByItsPercentAndByLessWhenItIsLarge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		live, roots uint64
		want        int
	}{
		{0, 0, 25500}, {1 << 20, 0, 25500}, {16 << 20, 0, 1500}, {64 << 20, 0, 300}, {heapFloor / 3, 0, gcPercent},
		{100 << 20, 0, gcPercent}, {heapFloor, 0, gcPercent}, {320 << 20, 0, 140},
		{heapMuch / 2, 0, gcLeast}, {8 << 30, 0, gcLeast},
		{1 << 20, 4 << 20, 5100}, {16 << 20, 32 << 20, 500}, {16 << 20, 1 << 30, gcLeast},
	} {
		if got := percentFor(c.live, c.roots); got != c.want {
			t.Errorf("%d bytes alive, %d of roots: %d %% instead of %d %%", c.live, c.roots, got, c.want)
		}
	}
}

// TestStacksAreNoReasonForMoreHeap: what Go makes of the percentage is what was meant, also with many goroutines.
func TestStacksAreNoReasonForMoreHeap(t *testing.T) {
	t.Parallel()
	var ready, done sync.WaitGroup
	stop := make(chan struct{})
	for range 300 {
		ready.Add(1)
		done.Go(func() { deep(&ready, stop, 64) })
	}
	ready.Wait()
	runtime.GC()
	live, roots := newCollector().read()
	close(stop)
	done.Wait()
	if live == 0 || roots < 10<<20 {
		t.Fatalf("%d bytes alive, %d of roots", live, roots)
	}
	percent := uint64(percentFor(live, roots))
	if grown := live + (live+roots)*percent/100; percent > gcPercent && grown > heapFloor {
		t.Errorf("with %d bytes alive and %d of roots the heap grows to %d bytes", live, roots, grown)
	}
}

// deep waits with about a KiB of stack for each level.
func deep(ready *sync.WaitGroup, stop <-chan struct{}, level int) byte {
	var room [1 << 10]byte
	if level == 0 {
		ready.Done()
		<-stop
		return room[0]
	}
	return deep(ready, stop, level-1) + room[level]
}
