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
	// heapMuch is what the heap does not grow beyond by gcPercent, in bytes, but only by as much as is alive: a process
	// whose memory comes and goes, as messages do that wait to be handled, should keep within a gigabyte.
	heapMuch = 768 << 20
	gcLeast  = 100
)

// collector has garbage collected when the heap has grown by gcPercent, and has reached heapFloor.
type collector struct {
	found   []gauges.Sample
	percent int // in force
}

// newCollector reads what is alive, and what of stacks and globals was looked through for it.
func newCollector() *collector {
	return &collector{percent: gcPercent, found: []gauges.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}}
}

// collectLess starts a collector for the whole process, for as long as it lives. Whoever sets GOGC decides instead.
func collectLess() {
	c := newCollector()
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
	next := percentFor(c.read())
	if next < c.percent*9/10 || next > c.percent*11/10 { // setting it stops the world for a moment, so not for little
		c.percent = next
		debug.SetGCPercent(next)
	}
}

func (c *collector) read() (live, roots uint64) {
	gauges.Read(c.found)
	return c.found[0].Value.Uint64(), c.found[1].Value.Uint64() + c.found[2].Value.Uint64()
}

// percentFor is by how much the heap may grow when so many bytes of it are alive. Go takes the percentage of the roots,
// too, which are much when there are many connections.
func percentFor(live, roots uint64) int {
	live = max(live, 1<<20)
	upTo := func(heap uint64) int {
		if heap <= live {
			return 0
		}
		return int((heap - live) * 100 / (live + roots))
	}
	return max(upTo(heapFloor), min(gcPercent, max(gcLeast, upTo(heapMuch))))
}
