package sqlite

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"bankforge/app/bank"
	"bankforge/handlers/projection"
)

// rememberedAccounts is how many accounts are remembered at most: those that were read last.
const rememberedAccounts = 1 << 14

// recent remembers what was read of the views, as it is committed. Reading an account from the file costs three times
// as much as the rest of a request, and every request asks whether its account is parked.
//
// It is never ahead of the file: what a transaction changes gets in when it is committed. It is never behind it either:
// while a transaction is being committed, nothing is answered from memory, and what was read before or meanwhile is not
// remembered. Whatever the outcome of a commit is not known for, is forgotten altogether. This holds as long as
// accounts are only written by SaveAccounts, or by those who call remove or forget; and by one process, which has the
// directory's lock.
type recent struct {
	mu       sync.Mutex
	commits  uint64 // rises as a commit begins and as it ends: odd while one is under way
	accounts *simplelru.LRU[bank.AccountID, *bank.Account]
	clear    map[string]bool // handlers for which nothing was parked after the last commit

	// Of the transaction that is under way; DB.writing sees to it that there is one at a time.
	changed []projection.Update // without what is only lent
	gone    []bank.AccountID    // were taken away, and may have come again
	all     bool                // it changes more than it says

	followers []follower // also remember what is committed
}

// follower is told when a transaction begins, and what became of it: not ok when that is not known, or when it
// has changed more than it says.
type follower interface {
	begin()
	committed(ok bool)
}

func (r *recent) follow(f follower) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.followers = append(r.followers, f)
}

func newRecent() *recent {
	accounts, _ := simplelru.NewLRU[bank.AccountID, *bank.Account](rememberedAccounts, nil) // fails for sizes below 1
	return &recent{accounts: accounts, clear: map[string]bool{}}
}

// begin starts a transaction. One that was rolled back before has left no trace.
func (r *recent) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed, r.gone, r.all = r.changed[:0], r.gone[:0], false
	for _, f := range r.followers {
		f.begin()
	}
}

// change tells what the transaction writes.
func (r *recent) change(updates []projection.Update) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range updates {
		r.changed = append(r.changed, projection.Update{Account: u.Account, State: u.State, UpdatedAt: u.UpdatedAt})
	}
}

// remove tells what the transaction takes away.
func (r *recent) remove(id bank.AccountID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = append(r.gone, id)
}

// forget says that the transaction writes more than it tells.
func (r *recent) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = true
}

// committing is called before a commit, and committed after it.
func (r *recent) committing() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commits++
}

func (r *recent) committed(ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.followers {
		f.committed(ok && !r.all)
	}
	r.commits++
	clear(r.clear)
	if !ok || r.all {
		r.accounts.Purge()
		return
	}
	for _, id := range r.gone {
		r.accounts.Remove(id)
	}
	for i := range r.changed {
		u := &r.changed[i]
		a, known := r.accounts.Peek(u.Account)
		switch {
		case !known:
		case u.State.DetailsVersion != a.DetailsVersion: // its details are no part of the state
			r.accounts.Remove(u.Account)
		default:
			a.AccountState, a.UpdatedAt = u.State, u.UpdatedAt
		}
	}
}

// moment says between which commits something was read.
type moment uint64

// account is what is remembered of an account; if it is nothing, keep takes what was read instead.
func (r *recent) account(id bank.AccountID) (a bank.Account, ok bool, now moment) {
	if r == nil {
		return a, false, 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.commits%2 == 0 {
		if p, ok := r.accounts.Get(id); ok {
			return *p, true, moment(r.commits)
		}
	}
	return a, false, moment(r.commits)
}

// keep remembers an account that was read, if nothing has been committed since, nor is.
func (r *recent) keep(read moment, a bank.Account) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.still(read) {
		r.accounts.Add(a.ID, &a)
	}
}

// nothingParked reports whether it is remembered that nothing is parked for the handler; if not, keepClear takes that.
func (r *recent) nothingParked(handler string) (yes bool, now moment) {
	if r == nil {
		return false, 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.commits%2 == 0 && r.clear[handler], moment(r.commits)
}

func (r *recent) keepClear(read moment, handler string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.still(read) {
		r.clear[handler] = true
	}
}

func (r *recent) still(read moment) bool { return read%2 == 0 && uint64(read) == r.commits }

// viewNotes are those of a file, whoever uses it.
type viewNotes struct {
	once     sync.Once
	accounts *notes[accountRow]
	ends     *notes[endRow]
}

// notes are those of the views' file.
func (d *DB) notes() (*notes[accountRow], *notes[endRow]) {
	n := &d.noted
	n.once.Do(func() {
		n.accounts = &notes[accountRow]{
			db: d, table: "account_note", of: "account", limits: usualNotes,
			forget: `DELETE FROM account_note WHERE n <= ?`,
			fields: func(p *packing, row *accountRow) { row.fields(p) },
			gone:   func(row *accountRow) bool { return row.Version == 0 },
		}
		n.accounts.write = func(ctx context.Context, rows []changed[accountRow]) error {
			return d.writeAccounts(ctx, n.accounts.there(rows), nil)
		}
		n.ends = &notes[endRow]{
			db: d, table: "entry_end_note", of: "entry_end", limits: usualNotes,
			forget: `DELETE FROM entry_end_note WHERE n <= ?`,
			fields: func(p *packing, row *endRow) { row.fields(p) },
			gone:   func(row *endRow) bool { return row.Version == 0 },
		}
		n.ends.write = func(ctx context.Context, rows []changed[endRow]) error {
			return d.writeEnds(ctx, n.ends.there(rows))
		}
		if d.recent != nil {
			d.recent.follow(n.accounts)
			d.recent.follow(n.ends)
		}
	})
	return n.accounts, n.ends
}

// begin and committed are told by the transactions of the file.
func (n *notes[V]) begin() { n.tx = noting[V]{} }

func (n *notes[V]) committed(ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	tx := &n.tx
	if !ok {
		n.loaded, n.rows = false, nil
		n.drops++
	}
	if !n.loaded || tx.rows == nil {
		return
	}
	for key, is := range tx.rows {
		n.put(key, is)
	}
	for _, key := range tx.over.keys {
		if is := n.rows[key]; is.note <= tx.over.through {
			n.put(key, known[V]{row: is.row})
		}
	}
	n.last, n.changes, n.turn = tx.last, tx.changes, tx.turn
	if limit := n.limit(); len(n.rows) > limit && n.open <= limit/2 {
		n.drop()
	}
}

// limit is how many rows may differ from their notes.
func (n *notes[V]) limit() int {
	if n.tx.more {
		return n.limits.behind
	}
	return n.limits.open
}

func (n *notes[V]) put(key accountKey, is known[V]) {
	was := n.rows[key]
	n.open += btoi(is.note != 0) - btoi(was.note != 0)
	n.rows[key] = is
}

// drop forgets what the table has.
func (n *notes[V]) drop() {
	kept := make(map[accountKey]known[V], n.open)
	for key, is := range n.rows {
		if is.note != 0 {
			kept[key] = is
		}
	}
	n.rows, n.complete = kept, false
	n.drops++
}

// remove is told that a row has been taken out of the table. If something is noted of it, it is noted that it has gone:
// notes of many rows stand together.
func (n *notes[V]) remove(ctx context.Context, id bank.AccountID) error {
	if err := n.start(ctx); err != nil {
		return err
	}
	key := keyOf(id)
	n.mu.RLock()
	was, _ := n.known(key)
	n.mu.RUnlock()
	n.tx.rows[key] = known[V]{}
	if was.note == 0 {
		return nil
	}
	return n.note(ctx, []changed[V]{{key: key}})
}

// there leaves out the rows that have gone.
func (n *notes[V]) there(rows []changed[V]) []changed[V] {
	return slices.DeleteFunc(rows, func(c changed[V]) bool { return n.gone(&c.row) })
}

// settle writes down everything that is noted.
func (v *Views) settle(ctx context.Context) error {
	return errors.Join(v.accounts.settle(ctx), v.ends.settle(ctx))
}
