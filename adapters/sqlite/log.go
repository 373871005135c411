package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"bankforge/app"
	"bankforge/app/bank"
)

// Log is the log in bank.db, and the index beside it. It implements app.Log, app.Lookup, app.VerifiedLog,
// app.FileCheck and app.KeyCheck.
type Log struct {
	db    *DB
	read  *prepared
	index *indexed

	fold *folder
	tip  tip
}

var (
	_ app.Log         = (*Log)(nil)
	_ app.Lookup      = (*Log)(nil)
	_ app.VerifiedLog = (*Log)(nil)
	_ app.FileCheck   = (*Log)(nil)
	_ app.KeyCheck    = (*Log)(nil)
)

const (
	selectHead = `SELECT incarnation, term, batch, seq, chain, owner FROM head`
	// The fence: exactly one row, or somebody else owns the ledger.
	moveHead = `UPDATE head SET batch = ?, seq = ?, chain = coalesce(?, chain) WHERE term = ? AND batch = ? AND seq = ?`
	takeHead = `INSERT INTO head (id, incarnation, term, batch, seq, chain, owner) VALUES (1, ?, 1, 0, 0, zeroblob(32), ?)
		ON CONFLICT DO UPDATE SET term = term + 1, owner = excluded.owner`
	refreshHead = `UPDATE head SET term = term + 1 WHERE term = ?`

	selectRows = `SELECT seq, data, chain FROM event WHERE seq > ? ORDER BY seq LIMIT ?`
)

// Acquire takes the ledger over.
func (l *Log) Acquire(ctx context.Context, owner string) (head app.Head, err error) {
	defer l.index.stale.Store(true)
	err = l.commit(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, takeHead, rand.Text(), owner); err != nil {
			return err
		}
		head, err = scanHead(tx.QueryRowContext(ctx, selectHead))
		return err
	})
	if err != nil {
		return app.Head{}, fmt.Errorf("acquire the ledger: %w", err)
	}
	l.tip.begin(head)
	return head, nil
}

// Append commits b, or nothing.
func (l *Log) Append(ctx context.Context, b app.Batch) error {
	for i := range b.Rows {
		if want := b.After + 1 + bank.Seq(i); b.Rows[i].Seq != want {
			return fmt.Errorf("append batch %d: row %d has seq %d instead of %d", b.Number, i, b.Rows[i].Seq, want)
		}
	}
	entries, end, err := l.index.begin(ctx, l, &b)
	if err != nil {
		return fmt.Errorf("append batch %d: %w", b.Number, err)
	}
	defer end()
	committing, err := l.append(ctx, &b, entries)
	switch {
	case err == nil:
		entries.add()
		l.tip.add(&b)
		l.fold.committed(context.WithoutCancel(ctx), l.db.write, &b)
		return nil
	case isFull(err):
		// Also at COMMIT: the frame that commits is the last to be written, and it was not.
		return fmt.Errorf("append batch %d: %w: %w", b.Number, app.ErrFull, err)
	case errors.Is(err, app.ErrFenced):
		l.tip.begin(app.Head{}) // somebody else appends, so the file must be asked
		return fmt.Errorf("append batch %d: %w", b.Number, err)
	case committing:
		l.tip.begin(app.Head{})
		// A failed flush leaves it open what the disk has: only a later write over it decides.
		return fmt.Errorf("append batch %d: %w: %w", b.Number, app.ErrUnknownCommit, err)
	default:
		return fmt.Errorf("append batch %d: %w", b.Number, err)
	}
}

func (l *Log) append(ctx context.Context, b *app.Batch, entries *batchEntries) (committing bool, err error) {
	if err := l.mayWrite(ctx); err != nil {
		return false, err
	}
	return l.db.append(ctx, b, entries.firstOutcome, func() error { return entries.check(ctx, l, b) })
}

// mayWrite is for the last moment at which ctx counts.
func (l *Log) mayWrite(ctx context.Context) error {
	if l.db.write == nil {
		return errors.New("the log is open for reading only")
	}
	return ctx.Err()
}

// commit runs fn in one transaction of the writer. From here on ctx no longer ends it, else the caller would not know
// what became of it.
func (l *Log) commit(ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
	if err := l.mayWrite(ctx); err != nil {
		return err
	}
	return l.db.InTx(context.WithoutCancel(ctx), func(ctx context.Context) error {
		tx, err := l.db.tx(ctx)
		if err != nil {
			return err
		}
		return fn(ctx, tx)
	})
}

// exactlyOne turns an update of the head that met no row into ErrFenced.
func exactlyOne(r driver.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err == nil && n != 1 {
		return app.ErrFenced
	}
	return err
}

// Resolve takes a new term, which also writes over what a failed commit may have left on the disk.
func (l *Log) Resolve(ctx context.Context, b app.Batch) (committed bool, head app.Head, err error) {
	defer l.index.stale.Store(true)
	err = l.commit(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := exactlyOne(tx.ExecContext(ctx, refreshHead, int64(b.Term))); err != nil {
			return err
		}
		if head, err = scanHead(tx.QueryRowContext(ctx, selectHead)); err != nil {
			return err
		}
		committed = head.Batch == b.Number
		if !committed && head.Batch+1 != b.Number {
			return fmt.Errorf("the ledger is at batch %d of the same term", head.Batch)
		}
		return nil
	})
	if err != nil {
		return false, app.Head{}, fmt.Errorf("resolve batch %d: %w", b.Number, err)
	}
	l.tip.begin(head)
	return committed, head, nil
}

// Read returns rows behind after, as they are in the file.
func (l *Log) Read(ctx context.Context, after bank.Seq, limit int) ([]app.Row, error) {
	return l.rows(ctx, selectRows, clamp(uint64(after)), max(limit, 0))
}

// Head returns the head as it is now.
func (l *Log) Head(ctx context.Context) (app.Head, error) {
	s, err := l.read.get(ctx, selectHead)
	if err != nil {
		return app.Head{}, fmt.Errorf("read the head: %w", err)
	}
	return headOf(s.QueryRowContext(ctx))
}

// HeadOf returns the head of the log in db, also when its index is not open.
func HeadOf(ctx context.Context, db *DB) (app.Head, error) {
	return headOf(db.read.QueryRowContext(ctx, selectHead))
}

func headOf(row *sql.Row) (app.Head, error) {
	head, err := scanHead(row)
	if errors.Is(err, sql.ErrNoRows) {
		return app.Head{}, nil
	}
	if err != nil {
		return app.Head{}, fmt.Errorf("read the head: %w", err)
	}
	return head, nil
}

func scanHead(row *sql.Row) (h app.Head, err error) {
	var term, batch, seq int64
	err = row.Scan(&h.Incarnation, &term, &batch, &seq, hash{(*[32]byte)(&h.Chain)}, &h.Owner)
	h.Term, h.Batch, h.Seq = uint64(term), uint64(batch), bank.Seq(seq)
	return h, err
}

// rows runs a query that selects seq, data and chain.
func (l *Log) rows(ctx context.Context, query string, args ...any) ([]app.Row, error) {
	s, err := l.read.get(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	found, err := s.QueryContext(ctx, args...)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	defer found.Close()
	var out []app.Row
	for found.Next() {
		var r app.Row
		var seq int64
		if err := found.Scan(&seq, &r.Data, hash{(*[32]byte)(&r.Chain)}); err != nil {
			return nil, fmt.Errorf("read events: %w", err)
		}
		r.Seq = bank.Seq(seq)
		out = append(out, r)
	}
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return out, nil
}

// Following is the log for those who follow it: what was just committed is read from memory.
func (l *Log) Following() app.Log { return following{l} }

type following struct{ *Log }

// Read returns rows behind after.
func (f following) Read(ctx context.Context, after bank.Seq, limit int) ([]app.Row, error) {
	if rows, ok := f.tip.read(after, limit); ok {
		return rows, nil
	}
	return f.Log.Read(ctx, after, limit)
}

// Head returns the head as of the last append.
func (f following) Head(ctx context.Context) (app.Head, error) {
	if head := f.tip.latest(); head.Incarnation != "" {
		return head, nil
	}
	return f.Log.Head(ctx)
}

// tip is the end of the log in memory, since its owner has taken it over: one process owns the file, by one Log.
type tip struct {
	mu   sync.RWMutex
	head app.Head  // zero: not known, so that the file must be asked
	rows []app.Row // ascending, without gaps, up to the head
	size int       // bytes of them
}

// At either of these, the older half is forgotten.
const (
	tipRows  = 16_384
	tipBytes = 16 << 20
)

// begin is for a head that was read; the zero Head for when it is not known what was committed.
func (t *tip) begin(head app.Head) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.head, t.rows, t.size = head, nil, 0
}

// add takes in what was committed, and forgets what is old.
func (t *tip) add(b *app.Batch) {
	own := cloned(b.Rows)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.head.Incarnation == "" {
		return
	}
	if t.head.Batch = b.Number; len(own) == 0 {
		return
	}
	last := own[len(own)-1]
	t.head.Seq, t.head.Chain = last.Seq, last.Chain
	t.rows = append(t.rows, own...)
	if t.size += sizeOf(own); len(t.rows) > tipRows || t.size > tipBytes {
		t.rows = slices.Clone(t.rows[len(t.rows)/2:])
		t.size = sizeOf(t.rows)
	}
}

func (t *tip) latest() app.Head {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.head
}

// read is not ok where the file must be asked.
func (t *tip) read(after bank.Seq, limit int) (rows []app.Row, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if first := t.head.Seq + 1 - bank.Seq(len(t.rows)); t.head.Incarnation != "" && after+1 >= first {
		rows = t.rows[min(int(after+1-first), len(t.rows)):]
		return cloned(rows[:min(max(limit, 0), len(rows))]), true
	}
	return nil, false
}

// cloned are rows that share nothing with these.
func cloned(rows []app.Row) []app.Row {
	out, data := make([]app.Row, len(rows)), make([]byte, 0, sizeOf(rows))
	for i := range rows {
		from := len(data)
		data = append(data, rows[i].Data...)
		out[i] = app.Row{Seq: rows[i].Seq, Data: data[from:len(data):len(data)], Chain: rows[i].Chain}
	}
	return out
}

func sizeOf(rows []app.Row) (n int) {
	for i := range rows {
		n += len(rows[i].Data)
	}
	return n
}

// CheckFile has SQLite check the pages of the file.
func (l *Log) CheckFile(ctx context.Context) ([]app.Difference, error) {
	name := filepath.Base(l.db.path)
	var wrong []app.Difference
	found, err := l.db.read.QueryContext(ctx, "PRAGMA quick_check")
	if err == nil {
		err = eachRow(found, func(scan func(...any) error) error {
			d := app.Difference{Subject: name}
			if err := scan(&d.What); err != nil || d.What == "ok" {
				return err
			}
			wrong = append(wrong, d)
			return nil
		})
	}
	if hasCode(err, sqlite3.SQLITE_CORRUPT) { // so much that the check itself gives up
		return append(wrong, app.Difference{Subject: name, What: err.Error()}), nil
	}
	if err != nil {
		return nil, fmt.Errorf("check %s: %w", name, err)
	}
	return wrong, nil
}

// hash scans a column of 32 bytes into to.
type hash struct{ to *[32]byte }

// Scan implements sql.Scanner.
func (h hash) Scan(v any) error {
	b, ok := v.([]byte)
	if !ok || len(b) != len(h.to) {
		return fmt.Errorf("expected a blob of %d bytes, not %T of %d", len(h.to), v, len(b))
	}
	copy(h.to[:], b)
	return nil
}

// clamp fits a bound into SQLite's integers.
func clamp(v uint64) int64 { return int64(min(v, math.MaxInt64)) }

func isFull(err error) bool { return hasCode(err, sqlite3.SQLITE_FULL) }

// hasCode compares with SQLite's primary result codes.
func hasCode(err error, code int) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == code
}
