package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"

	"bankforge/app"
	"bankforge/app/bank"
)

const (
	selectOutcomes = `SELECT key, fingerprint, seq, events, code, reply, subject, command, at FROM outcome WHERE key IN `
	selectLatest   = `SELECT seq, data, chain FROM event
		WHERE seq = (SELECT seq FROM touch WHERE subject = ? ORDER BY version DESC LIMIT 1)`
	selectVersions = `SELECT e.seq, e.data, e.chain FROM touch t JOIN event e ON e.seq = t.seq
		WHERE t.subject = ? AND t.version > ? ORDER BY t.version LIMIT ?`
	selectVersionsBefore = `SELECT e.seq, e.data, e.chain FROM touch t JOIN event e ON e.seq = t.seq
		WHERE t.subject = ? AND t.version < ? ORDER BY t.version DESC LIMIT ?`
	selectDecided = `SELECT rowid, key, fingerprint, seq, events, code, reply, subject, command, at FROM outcome
		WHERE rowid > ? ORDER BY rowid LIMIT ?`
	selectTouches = `SELECT subject, version, seq FROM touch WHERE seq <= ?`
)

// chunks are how many keys one statement asks for: few sizes, so that the statements stay prepared.
var chunks = [...]int{128, 16, 1}

// ForDecider looks up in the same log on a connection of its own, so that no number of readers holds up who decides.
func (l *Log) ForDecider() app.Lookup {
	return &Log{db: l.db, write: l.write, read: prepare(l.db.own)}
}

// Outcomes returns those of the keys that have one.
func (l *Log) Outcomes(ctx context.Context, keys []app.Key) (map[app.Key]app.Outcome, error) {
	out := map[app.Key]app.Outcome{}
	args := make([]any, 0, chunks[0])
	for _, size := range chunks {
		for len(keys) >= size {
			args = args[:0]
			for i := range keys[:size] {
				args = append(args, keys[i][:])
			}
			if err := l.outcomes(ctx, args, out); err != nil {
				return nil, fmt.Errorf("look up outcomes: %w", err)
			}
			keys = keys[size:]
		}
	}
	return out, nil
}

func (l *Log) outcomes(ctx context.Context, keys []any, out map[app.Key]app.Outcome) error {
	s, err := l.read.get(ctx, selectOutcomes+"(?"+strings.Repeat(",?", len(keys)-1)+")")
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, keys...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		o, err := scanOutcome(rows)
		if err != nil {
			return err
		}
		out[o.Key] = o
	}
	return rows.Err()
}

// scanOutcome scans a row that has what is in first, and then an outcome.
func scanOutcome(rows *sql.Rows, first ...any) (o app.Outcome, err error) {
	var seq, at int64
	err = rows.Scan(append(first, hash{(*[32]byte)(&o.Key)}, hash{(*[32]byte)(&o.Fingerprint)}, &seq, &o.Events, &o.Code,
		&o.Reply, &o.Subject, &o.Command, &at)...)
	o.Seq, o.At = bank.Seq(seq), bank.Time(at)
	return o, err
}

// Decided returns outcomes in the order in which they were appended, which is that of their rows.
func (l *Log) Decided(ctx context.Context, after int64, limit int) (page []app.Outcome, last int64, err error) {
	rows, err := l.db.read.QueryContext(ctx, selectDecided, after, max(limit, 0))
	if err != nil {
		return nil, after, fmt.Errorf("read outcomes: %w", err)
	}
	defer rows.Close()
	last = after
	for rows.Next() {
		o, err := scanOutcome(rows, &last)
		if err != nil {
			return nil, after, fmt.Errorf("read the outcome behind row %d: %w", last, err)
		}
		page = append(page, o)
	}
	return page, last, rows.Err()
}

// Latest returns for each subject that exists the row of its newest version.
func (l *Log) Latest(ctx context.Context, subjects []string) (map[string]app.Row, error) {
	out := map[string]app.Row{}
	for _, subject := range subjects {
		rows, err := l.rows(ctx, selectLatest, subject)
		if err != nil {
			return nil, err
		}
		if len(rows) > 0 {
			out[subject] = rows[0]
		}
	}
	return out, nil
}

// Versions returns the rows of subject behind version after, ascending.
func (l *Log) Versions(ctx context.Context, subject string, after bank.Version, limit int) ([]app.Row, error) {
	return l.rows(ctx, selectVersions, subject, clamp(uint64(after)), max(limit, 0))
}

// VersionsBefore returns the rows of subject before version before, descending.
func (l *Log) VersionsBefore(
	ctx context.Context, subject string, before bank.Version, limit int,
) ([]app.Row, error) {
	return l.rows(ctx, selectVersionsBefore, subject, clamp(uint64(before)), max(limit, 0))
}

// Touches calls each with the index of versions, as far as it is about events up to until.
func (l *Log) Touches(ctx context.Context, until bank.Seq, each func(app.Touch, bank.Seq) error) error {
	rows, err := l.db.read.QueryContext(ctx, selectTouches, clamp(uint64(until)))
	if err != nil {
		return fmt.Errorf("read the index of versions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var t app.Touch
		var version, seq int64
		if err := rows.Scan(&t.Subject, &version, &seq); err != nil {
			return fmt.Errorf("read the index of versions: %w", err)
		}
		t.Version = bank.Version(version)
		if err := each(t, bank.Seq(seq)); err != nil {
			return err
		}
	}
	return rows.Err()
}

// prepared keeps the statements of one pool, which live as long as the pool. It is safe for concurrent use.
type prepared struct {
	db    *sql.DB
	mu    sync.RWMutex
	stmts map[string]*sql.Stmt
}

func prepare(db *sql.DB) *prepared { return &prepared{db: db, stmts: map[string]*sql.Stmt{}} }

// get prepares query when it is asked for the first time.
func (p *prepared) get(ctx context.Context, query string) (*sql.Stmt, error) {
	p.mu.RLock()
	s := p.stmts[query]
	p.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.stmts[query]; s != nil {
		return s, nil
	}
	s, err := p.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare %q", query), err)
	}
	p.stmts[query] = s
	return s, nil
}
