package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"strings"
	"sync"

	"bankforge/adapters/sqlite/index"
	"bankforge/app"
	"bankforge/app/bank"
)

const (
	outcomeColumns = `key, fingerprint, seq, events, code, reply, subject, command, at`
	selectOutcome  = `SELECT ` + outcomeColumns + ` FROM outcome WHERE id = ?`
	selectDecided  = `SELECT id, ` + outcomeColumns + ` FROM outcome WHERE id > ? ORDER BY id LIMIT ?`
	selectSeqs     = `SELECT seq, data, chain FROM event WHERE seq IN `
)

// chunks are how many rows one statement asks for: few sizes, so that the statements stay prepared.
var chunks = [...]int{128, 16, 1}

// ForDecider looks up in the same log on a connection of its own, so that no number of readers holds up who decides.
func (l *Log) ForDecider() app.Lookup {
	return &Log{db: l.db, read: prepare(l.db.own), index: l.index}
}

// Outcomes returns those of the keys that have one.
func (l *Log) Outcomes(ctx context.Context, keys []app.Key) (map[app.Key]app.Outcome, error) {
	if err := l.upToDate(ctx); err != nil {
		return nil, fmt.Errorf("look up outcomes: %w", err)
	}
	out := map[app.Key]app.Outcome{}
	for _, key := range keys {
		o, found, err := l.outcome(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("look up outcomes: %w", err)
		}
		if found {
			out[key] = o
		}
	}
	return out, nil
}

// outcome looks at all that the index knows of half the key.
func (l *Log) outcome(ctx context.Context, key app.Key) (o app.Outcome, found bool, err error) {
	ids, err := l.index.files.Values(hashOfKey(key), 0)
	if err != nil || len(ids) == 0 {
		return o, false, err
	}
	s, err := l.read.get(ctx, selectOutcome)
	if err != nil {
		return o, false, err
	}
	for _, id := range ids {
		rows, err := s.QueryContext(ctx, int64(id))
		if err != nil {
			return o, false, err
		}
		there := false
		for rows.Next() {
			if o, err = scanOutcome(rows); err != nil {
				return o, false, errors.Join(err, rows.Close())
			}
			there = true
		}
		err = errors.Join(rows.Err(), rows.Close())
		if err == nil && !there { // the key may be known: nothing may be decided about it
			err = fmt.Errorf("bank.db has lost outcome %d", id)
		}
		if err != nil || o.Key == key {
			return o, err == nil, err
		}
	}
	return o, false, nil
}

// scanOutcome scans a row that has what is in first, and then an outcome.
func scanOutcome(rows *sql.Rows, first ...any) (o app.Outcome, err error) {
	var seq, at int64
	err = rows.Scan(append(first, hash{(*[32]byte)(&o.Key)}, hash{(*[32]byte)(&o.Fingerprint)}, &seq, &o.Events, &o.Code,
		&o.Reply, &o.Subject, &o.Command, &at)...)
	o.Seq, o.At = bank.Seq(seq), bank.Time(at)
	return o, err
}

// Decided returns outcomes in the order in which they were appended, which is that of their ids.
func (l *Log) Decided(ctx context.Context, after int64, limit int) (page []app.Outcome, last int64, err error) {
	last = after
	err = l.eachDecided(ctx, after, limit, func(id int64, o *app.Outcome) {
		last = id
		page = append(page, *o)
	})
	return page, last, err
}

func (l *Log) eachDecided(ctx context.Context, after int64, limit int, each func(int64, *app.Outcome)) error {
	rows, err := l.db.read.QueryContext(ctx, selectDecided, after, max(limit, 0))
	if err != nil {
		return fmt.Errorf("read outcomes: %w", err)
	}
	defer rows.Close()
	id := after
	for rows.Next() {
		o, err := scanOutcome(rows, &id)
		if err != nil {
			return fmt.Errorf("read the outcome behind number %d: %w", id, err)
		}
		each(id, &o)
	}
	return rows.Err()
}

// Latest returns for each subject that exists the row of its newest version.
func (l *Log) Latest(ctx context.Context, subjects []string) (map[string]app.Row, error) {
	if err := l.upToDate(ctx); err != nil {
		return nil, fmt.Errorf("look up: %w", err)
	}
	out := map[string]app.Row{}
	for _, subject := range subjects {
		newest, found, err := l.index.files.Newest(hashOf(subject))
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", subject, err)
		}
		if !found {
			continue
		}
		rows, err := l.rowsOf(ctx, []index.Record{newest})
		if err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			return nil, fmt.Errorf("look up %s: bank.db has lost event %d", subject, newest.Value)
		}
		out[subject] = rows[0]
	}
	return out, nil
}

// Versions returns the rows of subject behind version after, ascending.
func (l *Log) Versions(ctx context.Context, subject string, after bank.Version, limit int) ([]app.Row, error) {
	if err := l.upToDate(ctx); err != nil {
		return nil, fmt.Errorf("look up %s: %w", subject, err)
	}
	found, err := l.index.files.Ascend(hashOf(subject), uint64(after), max(limit, 0))
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", subject, err)
	}
	return l.rowsOf(ctx, found)
}

// VersionsBefore returns the rows of subject before version before, descending.
func (l *Log) VersionsBefore(
	ctx context.Context, subject string, before bank.Version, limit int,
) ([]app.Row, error) {
	if err := l.upToDate(ctx); err != nil {
		return nil, fmt.Errorf("look up %s: %w", subject, err)
	}
	if before == 0 {
		return nil, nil
	}
	found, err := l.index.files.Descend(hashOf(subject), uint64(before)-1, 1, max(limit, 0))
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", subject, err)
	}
	return l.rowsOf(ctx, found)
}

// rowsOf reads the rows that the index leads to, in its order.
func (l *Log) rowsOf(ctx context.Context, found []index.Record) ([]app.Row, error) {
	at := make(map[bank.Seq]app.Row, len(found))
	args := make([]any, 0, chunks[0])
	rest := found
	for _, size := range chunks {
		query := selectSeqs + "(?" + strings.Repeat(",?", size-1) + ")"
		for ; len(rest) >= size; rest = rest[size:] {
			args = args[:0]
			for _, r := range rest[:size] {
				args = append(args, int64(r.Value))
			}
			rows, err := l.rows(ctx, query, args...)
			if err != nil {
				return nil, err
			}
			for _, r := range rows {
				at[r.Seq] = r
			}
		}
	}
	var out []app.Row
	for _, r := range found {
		if row, ok := at[bank.Seq(r.Value)]; ok {
			out = append(out, row)
		}
	}
	return out, nil
}

// IndexedAs is what stands for a subject in Touches.
func (*Log) IndexedAs(subject string) string {
	h := hashOf(subject)
	return string(h[:])
}

// Touches calls each with the index of versions, as far as it is about events up to until.
func (l *Log) Touches(ctx context.Context, until bank.Seq, each func(app.Touch, bank.Seq) error) error {
	if err := l.upToDate(ctx); err != nil {
		return fmt.Errorf("read the index of versions: %w", err)
	}
	return advised(l.index.files.All(func(r index.Record) error {
		if r.Version == 0 || r.Value > uint64(until) {
			return nil
		}
		return each(app.Touch{Subject: string(r.Hash[:]), Version: bank.Version(r.Version)}, bank.Seq(r.Value))
	}))
}

// CheckKeys compares the index of keys with the outcomes.
func (l *Log) CheckKeys(ctx context.Context) ([]app.Difference, error) {
	var wrong []app.Difference
	if l.index.wrong != nil {
		wrong = append(wrong, app.Difference{Subject: "index", What: l.index.wrong.Error()})
	}
	if err := l.upToDate(ctx); err != nil {
		return wrong, fmt.Errorf("read the index of keys: %w", err)
	}
	seed, until := maphash.MakeSeed(), l.index.files.Reached().Outcome
	var has, want struct{ count, sum uint64 }
	err := l.index.files.All(func(r index.Record) error {
		if r.Version == 0 && r.Value <= until {
			has.count, has.sum = has.count+1, has.sum+maphash.Comparable(seed, r)
		}
		return nil
	})
	if err != nil {
		return wrong, fmt.Errorf("read the index of keys: %w", advised(err))
	}
	for at, more := int64(math.MinInt64), true; more; {
		more = false
		err := l.eachDecided(ctx, at, indexPage, func(id int64, o *app.Outcome) {
			if at, more = id, true; id <= int64(until) {
				r := index.Record{Hash: hashOfKey(o.Key), Value: uint64(id)}
				want.count, want.sum = want.count+1, want.sum+maphash.Comparable(seed, r)
			}
		})
		if err != nil {
			return wrong, err
		}
	}
	if has != want {
		what := fmt.Sprintf("its %d keys are not those of the %d outcomes; without the directory it is built anew",
			has.count, want.count)
		wrong = append(wrong, app.Difference{Subject: "index", What: what})
	}
	return wrong, nil
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

// selectTexts has one column, because each one takes as long as stepping to a row does.
const selectTexts = `SELECT chain || data FROM event WHERE seq > ? AND seq <= ? ORDER BY seq`

// Replay implements app.ReplayedLog. It goes by the driver's own connection, as insert does.
func (l *Log) Replay(
	ctx context.Context, after, until bank.Seq, each func(chain app.Hash, data string) error,
) (err error) {
	conn, err := l.db.read.Conn(ctx)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return conn.Raw(func(on any) error {
		query, ok := on.(driver.QueryerContext)
		if !ok {
			return fmt.Errorf("%T does not query", on)
		}
		rows, err := query.QueryContext(ctx, selectTexts, []driver.NamedValue{
			{Ordinal: 1, Value: clamp(uint64(after))}, {Ordinal: 2, Value: clamp(uint64(until))},
		})
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		n, err := texts(rows, each)
		if err = errors.Join(err, rows.Close()); err == nil && n != until-after {
			err = fmt.Errorf("read events: there are %d behind %d up to %d", n, after, until)
		}
		return err
	})
}

// texts goes over rows of one column.
func texts(rows driver.Rows, each func(chain app.Hash, data string) error) (n bank.Seq, err error) {
	var row [1]driver.Value
	for {
		err := rows.Next(row[:])
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		text, ok := row[0].(string)
		if !ok || len(text) < len(app.Hash{}) {
			return n, fmt.Errorf("expected a hash and an event, not %T of %d bytes", row[0], len(text))
		}
		if err := each(app.Hash([]byte(text[:len(app.Hash{})])), text[len(app.Hash{}):]); err != nil {
			return n, err
		}
		n++
	}
}
