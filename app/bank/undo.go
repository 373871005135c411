package bank

// Mark is a point to roll back to. It is valid until the next Settle.
type Mark struct {
	seq     Seq
	time    Time
	settled uint64
	// how much there is to undo in each part
	accounts, external, holds, transactions int
}

// Mark remembers where the state stands.
func (s *State) Mark() Mark {
	return Mark{
		seq: s.seq, time: s.time, settled: s.settled,
		accounts: len(s.before), external: len(s.external.before),
		holds: len(s.holds.before), transactions: len(s.transactions.before),
	}
}

// Rollback undoes everything since m, what was brought in included. It panics if the state was settled since:
// what has been committed cannot be undone.
func (s *State) Rollback(m Mark) {
	if m.settled != s.settled {
		panic("bank: Rollback to a Mark from before Settle")
	}
	for len(s.before) > m.accounts {
		last := s.before[len(s.before)-1]
		s.before = s.before[:len(s.before)-1]
		if last.was.Version == 0 {
			delete(s.accounts, last.was.ID)
			s.opened = s.opened[:len(s.opened)-1]
		} else {
			*last.account = last.was
		}
	}
	s.external.rollback(m.external, nil)
	s.transactions.rollback(m.transactions, nil)
	s.holds.rollback(m.holds, func(id HoldID, h *Hold, there bool) {
		if there {
			s.due.follow(h)
		} else {
			s.due.remove(id)
		}
	})
	s.seq, s.time = m.seq, m.time
}

// Settle forgets how to undo, and what was brought in: everything up to here has been committed.
// Who replays a log settles after each page, else all of it is kept to be undone.
func (s *State) Settle() {
	s.before = emptied(s.before)
	s.external.settle(nil)
	s.holds.settle(func(h *Hold) bool { return h.Status == HoldActive })
	s.transactions.settle(func(t *Transaction) bool { return t.Status == PendingReview })
	s.settled++
}

// undone is what an account was before a change; its version is 0 if it was not there.
type undone struct {
	account *Account
	was     Account
}

// table is a map that remembers what it was.
type table[K comparable, V any] struct {
	rows   map[K]V
	before []row[K, V]
}

type row[K comparable, V any] struct {
	key   K
	was   V
	there bool
}

func newTable[K comparable, V any]() table[K, V] { return table[K, V]{rows: make(map[K]V)} }

func (t *table[K, V]) set(k K, v V) {
	was, there := t.rows[k]
	t.before = append(t.before, row[K, V]{k, was, there})
	t.rows[k] = v
}

func (t *table[K, V]) drop(k K) {
	was, there := t.rows[k]
	t.before = append(t.before, row[K, V]{k, was, there})
	delete(t.rows, k)
}

// rollback undoes all but the first n changes, and tells restored, unless it is nil, what is there again.
func (t *table[K, V]) rollback(n int, restored func(k K, v V, there bool)) {
	for len(t.before) > n {
		last := t.before[len(t.before)-1]
		t.before = t.before[:len(t.before)-1]
		if last.there {
			t.rows[last.key] = last.was
		} else {
			delete(t.rows, last.key)
		}
		if restored != nil {
			restored(last.key, last.was, last.there)
		}
	}
}

// settle forgets how to undo, and of what has changed it keeps only what keep says, or all if that is nil.
func (t *table[K, V]) settle(keep func(V) bool) {
	if keep != nil {
		for _, b := range t.before {
			if v, there := t.rows[b.key]; there && !keep(v) {
				delete(t.rows, b.key)
			}
		}
	}
	t.before = emptied(t.before)
}

// roomKept is how many changes a journal keeps room for when it is emptied: some large batches' worth.
const roomKept = 1 << 14

// emptied is s without content, so that nothing is kept alive by it.
func emptied[E any](s []E) []E {
	if cap(s) > roomKept {
		return nil
	}
	clear(s)
	return s[:0]
}
