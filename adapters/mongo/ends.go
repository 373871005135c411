package mongo

import (
	"sync"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/history"
	"bankforge/router"
)

// endsKept is how many accounts of a partition are remembered; then all are forgotten.
const endsKept = 1 << 18

// ends remembers where the entries of accounts end, so that they need not be looked for with each delivery. What is
// remembered holds as long as the mark stands where this process has left it: then nobody else has gone on, and
// nothing is lost. Replays elsewhere do not move the mark, nor does mending a key; what they leave outdated shows as a
// gap, or as something that comes again: see View.Entries.
type ends struct {
	mu sync.Mutex
	of map[router.Stream]*partitionEnds
}

type partitionEnds struct {
	mark  router.Mark
	whole bool // what is not remembered is not there
	last  map[bank.AccountID]history.Last
}

// get returns what is known of the accounts; unknown are those to look for.
func (e *ends) get(
	f router.Fence, accounts []bank.AccountID,
) (known map[bank.AccountID]history.Last, unknown []bank.AccountID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.partition(f)
	known = make(map[bank.AccountID]history.Last, len(accounts))
	for _, id := range accounts {
		if last, ok := p.last[id]; ok {
			known[id] = last
		} else if !p.whole {
			unknown = append(unknown, id)
		}
	}
	return known, unknown
}

// keep remembers where accounts end.
func (e *ends) keep(f router.Fence, last map[bank.AccountID]history.Last) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.partition(f)
	if len(p.last)+len(last) > endsKept {
		p.last, p.whole = map[bank.AccountID]history.Last{}, false
	}
	for id, l := range last {
		if l.Version >= p.last[id].Version {
			p.last[id] = l
		}
	}
}

// partition is what is remembered under the fence's mark; e.mu is held.
func (e *ends) partition(f router.Fence) *partitionEnds {
	p := e.of[f.Stream]
	if p == nil || p.mark != f.Mark {
		p = &partitionEnds{mark: f.Mark, last: map[bank.AccountID]history.Last{}, whole: f.Mark.Position.Seq == 0}
		e.of[f.Stream] = p
	}
	return p
}

// moved is told of each move of a mark by this process.
func (e *ends) moved(s router.Stream, seen, next router.Mark) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p := e.of[s]; p != nil && p.mark == seen && !next.Position.Before(seen.Position) {
		p.mark = next
	} else {
		delete(e.of, s)
	}
}

// forget drops what is remembered of a partition.
func (e *ends) forget(s router.Stream) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.of, s)
}

// doubt drops what is remembered of accounts of which something comes that should be there already.
func (e *ends) doubt(s router.Stream, facts []handlers.Fact) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.of[s]
	if p == nil {
		return
	}
	for i := range facts {
		leg := facts[i].Leg
		if leg == nil {
			continue
		}
		if last, ok := p.last[leg.Account]; ok && last.Version >= leg.After.Version {
			delete(p.last, leg.Account)
			p.whole = false
		}
	}
}
