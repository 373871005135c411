package bank

import (
	"cmp"
	"container/heap"
)

// NextExpiry is when the next hold expires.
func (s *State) NextExpiry() (Time, bool) {
	if s.due.Len() == 0 {
		return 0, false
	}
	return s.due.queue[0].at, true
}

// Expire returns the events that end the holds that are due at now, earliest first, at most limit of them.
// It leaves the state as it was.
func Expire(s *State, now Time, limit int) []Event {
	now = max(now, s.time)
	mark := s.Mark()
	defer s.Rollback(mark)
	var events []Event
	for len(events) < limit && s.due.Len() > 0 && s.due.queue[0].at <= now {
		d := desk{s: s, now: now}
		d.release(s.holds.rows[s.due.queue[0].hold], HoldExpired, HoldExpiredEvent)
		s.Evolve(d.events[0])
		events = append(events, d.events[0])
	}
	return events
}

// deadlines are the active holds, the next to expire first. It is the heap.Interface of itself.
type deadlines struct {
	queue []deadline
	place map[HoldID]int // in queue
}

type deadline struct {
	at   Time
	hold HoldID
}

func newDeadlines() deadlines { return deadlines{place: make(map[HoldID]int)} }

// follow has h in the queue if and only if it is active. When a hold expires never changes.
func (d *deadlines) follow(h *Hold) {
	_, there := d.place[h.ID]
	switch {
	case h.Status == HoldActive && !there:
		heap.Push(d, deadline{h.ExpiresAt, h.ID})
	case h.Status != HoldActive:
		d.remove(h.ID)
	}
}

func (d *deadlines) remove(id HoldID) {
	if i, there := d.place[id]; there {
		heap.Remove(d, i)
	}
}

// Len is for package heap.
func (d *deadlines) Len() int { return len(d.queue) }

// Less is for package heap. Holds that are due at the same time go by id, so that replaying gives the same order.
func (d *deadlines) Less(i, j int) bool {
	a, b := d.queue[i], d.queue[j]
	return cmp.Or(cmp.Compare(a.at, b.at), a.hold.compare(b.hold)) < 0
}

// Swap is for package heap.
func (d *deadlines) Swap(i, j int) {
	d.queue[i], d.queue[j] = d.queue[j], d.queue[i]
	d.place[d.queue[i].hold], d.place[d.queue[j].hold] = i, j
}

// Push is for package heap.
func (d *deadlines) Push(x any) {
	if next, ok := x.(deadline); ok { // always
		d.place[next.hold] = len(d.queue)
		d.queue = append(d.queue, next)
	}
}

// Pop is for package heap.
func (d *deadlines) Pop() any {
	last := d.queue[len(d.queue)-1]
	d.queue[len(d.queue)-1] = deadline{}
	d.queue = d.queue[:len(d.queue)-1]
	delete(d.place, last.hold)
	return last
}
