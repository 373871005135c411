package main

import (
	"runtime"
	"runtime/debug"
	gauges "runtime/metrics"
)

const (
	// gcPercent lets the heap grow to three times what is alive, where Go's own default is twice: most of what is alive
	// are accounts, which stay, and marking them more often takes processor time away from commands.
	gcPercent = 200
	// heapFloor is what the heap grows to in any case, in bytes, before garbage is collected. A bank with few accounts has
	// little that is alive, and would collect it several times a second under load.
	heapFloor = 256 << 20
)

// collector has garbage collected when the heap has grown by gcPercent, and has reached heapFloor.
type collector struct {
	live    []gauges.Sample
	percent int // in force
}

// collectLess starts a collector for the whole process, for as long as it lives. Whoever sets GOGC decides instead.
func collectLess() {
	c := &collector{live: []gauges.Sample{{Name: "/gc/heap/live:bytes"}}, percent: gcPercent}
	debug.SetGCPercent(c.percent)
	c.await()
}

// await calls adjust after the next collection, which finds that nobody holds what is made here.
func (c *collector) await() {
	runtime.SetFinalizer(&struct{ *collector }{c}, func(*struct{ *collector }) {
		c.adjust()
		c.await()
	})
}

func (c *collector) adjust() {
	gauges.Read(c.live)
	next := percentFor(c.live[0].Value.Uint64())
	if next < c.percent*9/10 || next > c.percent*11/10 { // setting it stops the world for a moment, so not for little
		c.percent = next
		debug.SetGCPercent(next)
	}
}

// percentFor is by how much the heap may grow when so many bytes of it are alive.
func percentFor(live uint64) int {
	live = max(live, 1<<20)
	if live >= heapFloor {
		return gcPercent
	}
	return max(gcPercent, int((heapFloor-live)*100/live))
}
