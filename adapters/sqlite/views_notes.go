package sqlite

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"bankforge/app/bank"
	"bankforge/handlers"
)

// A movement of money changes a row of each account that it touches. Among many accounts each of those rows is on
// another page, and pages are what a commit costs. So when many have changed, it is only noted what they are now: in
// the order of the log, a few rows for a whole delivery, and in memory. Once much is noted, the rows are written in
// the order of their table, so that a page is written once for many changes, and the notes go.
//
// Who reads takes what is noted first and the row then, and the newer one of them counts. A row is there for
// every account that has notes.

// accountKey is the text of an account's id, filled up with zeros: the collector of garbage need not look at it.
type accountKey [30]byte

func keyOf(id bank.AccountID) (k accountKey) {
	copy(k[:], id.String())
	return k
}

func (k accountKey) String() string { return strings.TrimRight(string(k[:]), "\x00") }

// noteLimits say when rows are noted, and when they are written.
type noteLimits struct {
	from   int // changed rows in a delivery: fewer are written at once
	few    int // changes that notes may tell of, however few rows they are of
	open   int // rows that differ from their notes, in a bank that keeps up
	behind int // the same while much more waits: about 250 bytes of memory for each
	step   int // rows that are written with a delivery, at least
}

var usualNotes = noteLimits{from: 256, few: 1 << 16, open: 1 << 18, behind: 1 << 20, step: 1 << 13}

const (
	noteBytes   = 3900            // of one note: it fits on a page
	manyChanges = 4               // times as many changes as rows are told by notes at most
	turnWithin  = 5 * time.Second // rows are written in one transaction: a handler's has half a minute
)

// known is what is remembered of a row.
type known[V any] struct {
	row  V
	note int64 // the last note of it; 0: the table has it
}

// changed is what a row becomes.
type changed[V any] struct {
	key accountKey
	row V
}

// writer writes rows to their table; they are in its order.
type writer[V any] func(ctx context.Context, rows []changed[V]) error

// notes keep the rows of one table. The writer's methods belong into a transaction; the others are for everybody.
type notes[V any] struct {
	db     *DB
	table  string // of the notes
	forget string // takes away those up to a number
	of     string // the table of the rows
	fields func(p *packing, row *V)
	gone   func(row *V) bool // it says that there is no row any more
	write  writer[V]
	limits noteLimits

	mu       sync.RWMutex // guards the rest but tx
	loaded   bool
	complete bool // a row that is not known is not there
	rows     map[accountKey]known[V]
	drops    uint64 // counts when rows were forgotten
	last     int64  // the newest note
	changes  int    // that the notes tell of
	open     int    // rows that have notes, which may be in the table, too
	turn     turn

	tx noting[V] // the writer's
}

// turn is a round of writing rows down. Until it is over, the notes of those that are written are there, too: a process
// that ends meanwhile leaves them to the next one. So who changes such a row has to note it.
type turn struct {
	keys    []accountKey
	done    int   // how many of them are written
	through int64 // the notes that go at its end
	changes int   // that those tell of
}

// noting is what a transaction does.
type noting[V any] struct {
	rows    map[accountKey]known[V]
	more    bool // much more waits
	last    int64
	changes int
	turn    turn
	over    turn // the one that has ended
}

// load reads the notes that are there, unless it is known what they tell.
func (n *notes[V]) load(ctx context.Context) error {
	n.mu.RLock()
	loaded := n.loaded
	n.mu.RUnlock()
	if loaded {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.loaded {
		return nil
	}
	n.rows, n.last, n.changes, n.open, n.turn = map[accountKey]known[V]{}, 0, 0, 0, turn{}
	q := querier(n.db.read) // not a snapshot that ctx carries: that may be of long ago
	if n.db.writes(ctx) {
		q = n.db.querier(ctx)
	}
	err := q.QueryRowContext(ctx, `SELECT NOT EXISTS (SELECT 1 FROM `+n.of+`)`).Scan(&n.complete)
	if err != nil {
		return fmt.Errorf("read notes of %s: %w", n.of, err)
	}
	err = eachNote(ctx, q, n.table, func(note int64, p *packing) {
		var id string
		is := known[V]{note: note}
		p.text("id", &id)
		n.fields(p, &is.row)
		var key accountKey
		copy(key[:], id)
		n.put(key, is)
		n.last, n.changes = note, n.changes+1
	})
	if err != nil {
		return fmt.Errorf("read notes of %s: %w", n.of, err)
	}
	n.loaded = n.db.write != nil // who only reads does not hear of changes
	return nil
}

// eachNote reads the notes in a table, the oldest first. read takes one change after the other out of each.
func eachNote(ctx context.Context, q querier, table string, read func(note int64, p *packing)) error {
	rows, err := q.QueryContext(ctx, `SELECT n, data FROM `+table+` ORDER BY n`)
	if err != nil {
		return err
	}
	return eachRow(rows, func(scan func(...any) error) error {
		var note int64
		p := packing{reading: true}
		if err := scan(&note, &p.data); err != nil {
			return err
		}
		for len(p.data) > 0 {
			read(note, &p)
		}
		if p.broken {
			return fmt.Errorf("note %d: %w", note, errBroken)
		}
		return nil
	})
}

// peek is what is noted or remembered of an account. To be read before the row.
func (n *notes[V]) peek(ctx context.Context, id bank.AccountID) (row V, ok bool, err error) {
	key := keyOf(id)
	if n.db.writes(ctx) {
		if is, ok := n.tx.rows[key]; ok {
			return is.row, true, nil
		}
	}
	for loaded := false; !loaded; { // a commit that fails meanwhile has all be forgotten
		if err := n.load(ctx); err != nil {
			return row, false, err
		}
		n.mu.RLock()
		var is known[V]
		is, ok = n.rows[key]
		row, loaded = is.row, n.loaded || n.db.write == nil
		n.mu.RUnlock()
	}
	return row, ok, nil
}

// dropped counts when something was forgotten: who has read rows first must read them again if it has risen.
func (n *notes[V]) dropped() uint64 {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.drops
}

// start is called before a transaction uses anything.
func (n *notes[V]) start(ctx context.Context) error {
	if n.tx.rows != nil {
		return nil
	}
	if err := n.load(ctx); err != nil {
		return err
	}
	n.tx = noting[V]{rows: map[accountKey]known[V]{}, last: n.last, changes: n.changes, turn: n.turn}
	return nil
}

// known is what is known of a row in the transaction. n.mu is held.
func (n *notes[V]) known(key accountKey) (is known[V], ok bool) {
	if is, ok = n.tx.rows[key]; !ok {
		is, ok = n.rows[key]
	}
	return is, ok
}

// lookUp calls found with what is known of the rows that there are. Where that is nothing, query tells it, of which
// into are the columns behind the key.
func (n *notes[V]) lookUp(
	ctx context.Context, v *Views, ids []bank.AccountID, query string, into func(row *V) []any,
	found func(id bank.AccountID, row *V),
) error {
	if err := n.start(ctx); err != nil {
		return err
	}
	if len(n.tx.rows) == 0 {
		n.tx.rows = make(map[accountKey]known[V], len(ids))
	}
	var unknown []bank.AccountID
	n.mu.RLock()
	for _, id := range ids {
		key := keyOf(id)
		is, ok := n.known(key)
		switch {
		case ok:
			n.tx.rows[key] = is // which is near by, while all rows are not
			found(id, &is.row)
		case !n.complete:
			unknown = append(unknown, id)
		}
	}
	n.mu.RUnlock()
	return lookUp(ctx, v, query, unknown, func(scan func(...any) error, byText map[string]bank.AccountID) error {
		var text string
		var is known[V]
		err := scan(append([]any{&text}, into(&is.row)...)...)
		id := byText[text]
		n.tx.rows[keyOf(id)] = is
		found(id, &is.row)
		return err
	})
}

// save saves changes, each of another row. Those that must be in the table are written by write, and so are few ones:
// the rest is noted.
func (n *notes[V]) save(
	ctx context.Context, changes []changed[V], must func(i int, was *V) bool, write writer[V],
) error {
	if err := n.start(ctx); err != nil {
		return err
	}
	noted, kept := n.split(changes, must)
	if len(noted) < n.limits.from {
		kept, noted = append(kept, noted...), noted[:0]
	}
	slices.SortFunc(kept, compareKeys)
	if err := write(ctx, kept); err != nil {
		return err
	}
	for _, c := range kept {
		if is, _ := n.known(c.key); is.note != 0 { // a note must not be older than the row
			noted = append(noted, c)
			continue
		}
		n.tx.rows[c.key] = known[V]{row: c.row}
	}
	if err := n.note(ctx, noted); err != nil {
		return err
	}
	return n.turnOver(ctx, 2*len(changes), len(noted) == 0)
}

func (n *notes[V]) split(changes []changed[V], must func(i int, was *V) bool) (noted, kept []changed[V]) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	noted = make([]changed[V], 0, len(changes))
	for i, c := range changes {
		is, ok := n.known(c.key)
		was := &is.row
		if !ok || n.gone(was) {
			was = nil
		}
		if must(i, was) {
			kept = append(kept, c)
		} else {
			noted = append(noted, c)
		}
	}
	return noted, kept
}

func compareKeys[V any](a, b changed[V]) int { return bytes.Compare(a.key[:], b.key[:]) }

// note adds notes.
func (n *notes[V]) note(ctx context.Context, changes []changed[V]) error {
	var full [][]byte
	first := n.tx.last + 1
	data := make([]byte, 0, noteBytes+512)
	for i := range changes {
		c := &changes[i]
		id := c.key.String()
		p := packing{data: data}
		p.text("id", &id)
		n.fields(&p, &c.row)
		data = p.data
		n.tx.rows[c.key] = known[V]{c.row, first + int64(len(full))}
		if len(data) >= noteBytes || i == len(changes)-1 {
			full = append(full, data)
			data = make([]byte, 0, noteBytes+512)
		}
	}
	n.tx.last += int64(len(full))
	n.tx.changes += len(changes)
	into := table{name: n.table, columns: 2}
	return n.db.insertRows(ctx, into, len(full), func(args []any, i int) []any {
		return append(args, first+int64(i), full[i])
	})
}

// turnOver writes down some of what is noted, at least step rows, when it is time: when there is much, or little else
// to do. It goes on with it when it is too much for a bank that keeps up.
func (n *notes[V]) turnOver(ctx context.Context, step int, idle bool) error {
	tx := &n.tx
	tx.more = handlers.More(ctx)
	begin := n.limit()
	goOn := tx.more || n.open > begin
	if !goOn {
		begin /= 2
	}
	full := n.open >= begin || n.changes >= n.limits.few+manyChanges*n.open
	if len(tx.turn.keys)+len(tx.over.keys) == 0 && n.open > 0 && (idle || full) {
		tx.turn = n.round()
	}
	return n.writeDown(ctx, max(step, n.limits.step), goOn)
}

// writeDown writes the next rows of the turn. The notes go at its end.
func (n *notes[V]) writeDown(ctx context.Context, step int, goOn bool) error {
	tx := &n.tx
	t := &tx.turn
	left := t.keys[t.done:]
	for began, end := time.Now(), false; len(left) > 0 && !end; end = !goOn || time.Since(began) > turnWithin {
		rows := make([]changed[V], min(step, len(left)))
		n.mu.RLock()
		for i := range rows {
			is, _ := n.known(left[i])
			rows[i] = changed[V]{left[i], is.row}
		}
		n.mu.RUnlock()
		if err := n.write(ctx, rows); err != nil {
			return err
		}
		left = left[len(rows):]
	}
	if t.done = len(t.keys) - len(left); t.done == 0 || len(left) > 0 {
		return nil
	}
	tx.changes -= t.changes
	tx.over, tx.turn = *t, turn{}
	on, err := n.db.tx(ctx)
	if err == nil {
		_, err = on.ExecContext(ctx, n.forget, tx.over.through)
	}
	return err
}

// round is one of all that is noted before this transaction.
func (n *notes[V]) round() turn {
	n.mu.RLock()
	defer n.mu.RUnlock()
	t := turn{keys: make([]accountKey, 0, n.open), through: n.last, changes: n.changes}
	for key, is := range n.rows {
		if is.note != 0 {
			t.keys = append(t.keys, key)
		}
	}
	slices.SortFunc(t.keys, func(a, b accountKey) int { return bytes.Compare(a[:], b[:]) })
	return t
}

// settle writes down everything that is noted.
func (n *notes[V]) settle(ctx context.Context) error {
	if err := n.start(ctx); err != nil {
		return err
	}
	n.tx.turn = n.round()
	return n.writeDown(ctx, n.open, false)
}
