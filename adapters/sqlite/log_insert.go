package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bankforge/adapters/sqlite/index"
	"bankforge/app"
)

const (
	insertEvent   = `INSERT INTO event (seq, data, chain) VALUES (?, ?, ?)`
	insertOutcome = `INSERT INTO outcome (id, key, fingerprint, seq, events, code, reply, subject, command, at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	// Most commands make one event and need no reply beside it. What is the same in all of
	// them is not bound, for binding costs more than storing.
	insertPlain = `INSERT INTO outcome (id, key, fingerprint, seq, events, code, reply, subject, command, at)
		VALUES (?, ?, ?, ?, 1, '', x'', ?, ?, ?)`
)

// inserts adds rows on the driver's own connection: what database/sql does for each row costs half of what SQLite
// does for it. The transaction that writes uses it, and so one at a time.
type inserts struct {
	conn driver.Conn        // which the statements are prepared on
	of   map[string]*insert // by their texts
}

// insert is one prepared statement, and room for its arguments.
type insert struct {
	stmt     driver.Stmt
	executes driver.StmtExecContext
	args     []driver.NamedValue
}

const (
	begin    = `BEGIN IMMEDIATE`
	commit   = `COMMIT`
	rollback = `ROLLBACK`
)

// append commits b in one transaction of the writer, or nothing. It is on the driver's own connection: its statements
// stay prepared, also those that begin and end it. check runs within it, before anything is added. committing says
// that an error is that of COMMIT itself. No context ends it, else the caller would not know what became of it.
// Nothing of bank.db is in recent, so that has nothing to be told.
func (d *DB) append(ctx context.Context, b *app.Batch, first uint64, check func() error) (committing bool, err error) {
	d.writing.Lock()
	defer d.writing.Unlock()
	conn, err := d.write.Conn(context.WithoutCancel(ctx))
	if err != nil {
		return false, fmt.Errorf("begin: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	err = d.on(ctx, conn, func(ctx context.Context, i *inserts) (err error) {
		if _, err := i.exec(ctx, begin); err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		done := false
		defer func() { // also after a panic
			if !done {
				_, undone := i.exec(ctx, rollback)
				err = errors.Join(err, undone)
			}
		}()
		if err := i.batch(ctx, b, first, check); err != nil {
			return err
		}
		committing = true
		if _, err := i.exec(ctx, commit); err != nil {
			done = true
			_, _ = i.exec(ctx, rollback) // where SQLite has not done so by itself; else it says that there is nothing to undo
			return fmt.Errorf("commit: %w", err)
		}
		done = true
		return nil
	})
	return committing, err
}

// batch moves the head, and adds what is in b. first is the id of its first outcome.
func (i *inserts) batch(ctx context.Context, b *app.Batch, first uint64, check func() error) error {
	seq, chain := b.After, any(nil)
	if n := len(b.Rows); n > 0 {
		seq, chain = b.Rows[n-1].Seq, b.Rows[n-1].Chain[:]
	}
	err := exactlyOne(i.exec(ctx, moveHead, int64(b.Number), int64(seq), chain, int64(b.Term), int64(b.Number)-1,
		int64(b.After)))
	if err != nil {
		return err
	}
	if err := check(); err != nil {
		return err
	}
	if err := i.rows(ctx, b.Rows); err != nil {
		return err
	}
	return i.outcomes(ctx, b.Outcomes, first)
}

// directly runs fn on the connection of the transaction that ctx carries. Neither that context nor the one given to fn
// must be used for database/sql meanwhile. A statement is not broken off when ctx ends: the transaction is given up.
func (d *DB) directly(ctx context.Context, fn func(ctx context.Context, i *inserts) error) error {
	conn, ok := ctx.Value(connKey{d}).(*sql.Conn)
	if !ok {
		return ErrNoTx
	}
	return d.on(ctx, conn, fn)
}

// on is directly for a connection that the caller has, with the lock of who writes.
func (d *DB) on(ctx context.Context, conn *sql.Conn, fn func(ctx context.Context, i *inserts) error) error {
	return conn.Raw(func(on any) (err error) {
		defer func() { // database/sql waits for ever for a transaction on a connection on which something panicked
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}()
		conn, ok := on.(driver.Conn)
		if !ok {
			return fmt.Errorf("%T is no connection", on)
		}
		if d.inserts.conn != conn { // there is another one after an error
			d.inserts = inserts{conn, map[string]*insert{}}
		}
		return fn(context.WithoutCancel(ctx), &d.inserts)
	})
}

// exec runs a statement that is not a row's.
func (i *inserts) exec(ctx context.Context, query string, values ...any) (driver.Result, error) {
	stmt, err := i.get(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.exec(ctx, values...)
}

func (i *inserts) rows(ctx context.Context, rows []app.Row) error {
	event, err := i.get(ctx, insertEvent)
	if err != nil {
		return err
	}
	for n := range rows {
		r := &rows[n]
		if err := event.run(ctx, int64(r.Seq), r.Data, r.Chain[:]); err != nil {
			return fmt.Errorf("event %d: %w", r.Seq, err)
		}
	}
	return nil
}

func (i *inserts) outcomes(ctx context.Context, outcomes []app.Outcome, first uint64) error {
	outcome, err := i.get(ctx, insertOutcome)
	if err != nil {
		return err
	}
	plain, err := i.get(ctx, insertPlain)
	if err != nil {
		return err
	}
	for n := range outcomes {
		o := &outcomes[n]
		if o.Events == 1 && o.Code == "" && o.Reply != nil && len(o.Reply) == 0 {
			err = plain.run(ctx, int64(first)+int64(n), o.Key[:], o.Fingerprint[:], int64(o.Seq), o.Subject, o.Command,
				int64(o.At))
			if err != nil {
				return fmt.Errorf("outcome %x: %w", o.Key, err)
			}
			continue
		}
		err := outcome.run(ctx, int64(first)+int64(n), o.Key[:], o.Fingerprint[:], int64(o.Seq), int64(o.Events),
			string(o.Code), o.Reply, o.Subject, o.Command, int64(o.At))
		if err != nil {
			return fmt.Errorf("outcome %x: %w", o.Key, err)
		}
	}
	return nil
}

// get prepares a statement when it is asked for the first time.
func (i *inserts) get(ctx context.Context, query string) (*insert, error) {
	if known := i.of[query]; known != nil {
		return known, nil
	}
	made, err := newInsert(ctx, i.conn, query)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, err)
	}
	i.of[query] = made
	return made, nil
}

func newInsert(ctx context.Context, conn driver.Conn, query string) (*insert, error) {
	preparer, ok := conn.(driver.ConnPrepareContext)
	if !ok {
		return nil, fmt.Errorf("%T does not prepare", conn)
	}
	stmt, err := preparer.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	executes, ok := stmt.(driver.StmtExecContext)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%T does not execute", stmt), stmt.Close())
	}
	i := &insert{stmt, executes, make([]driver.NamedValue, strings.Count(query, "?"))}
	for n := range i.args {
		i.args[n].Ordinal = n + 1
	}
	return i, nil
}

func (i *insert) run(ctx context.Context, values ...any) error {
	_, err := i.exec(ctx, values...)
	return err
}

func (i *insert) exec(ctx context.Context, values ...any) (driver.Result, error) {
	for n, v := range values {
		i.args[n].Value = v
	}
	return i.executes.ExecContext(ctx, i.args)
}

// close gives the statements up, on the connection that they are of.
func (i *inserts) close(db *sql.DB) error {
	if i.conn == nil {
		return nil
	}
	conn, err := db.Conn(context.Background())
	if err != nil {
		return err
	}
	err = conn.Raw(func(on any) (err error) {
		if on == i.conn { // else they went with it
			for _, made := range i.of {
				err = errors.Join(err, made.stmt.Close())
			}
		}
		i.conn, i.of = nil, nil
		return err
	})
	return errors.Join(err, conn.Close())
}

// batchEntries are what an append adds to the index.
type batchEntries struct {
	of           *indexed
	records      []index.Record // sorted
	to           index.Mark
	firstOutcome uint64
	added        bool
}

// begin makes the entries of b, when the index is ready for them. end is called when the append is over.
func (i *indexed) begin(ctx context.Context, l *Log, b *app.Batch) (e *batchEntries, end func(), err error) {
	i.mu.Lock()
	if err = i.files.Broken(); err == nil && i.stale.Load() {
		err = l.catchUp(ctx)
	}
	if err == nil {
		err = i.files.Room(ctx)
	}
	if err != nil {
		i.mu.Unlock()
		if errors.Is(err, index.ErrFull) {
			err = fmt.Errorf("%w: %w", app.ErrFull, err)
		}
		return nil, nil, err
	}
	e = &i.entries
	e.of, e.added, e.to, e.records = i, false, i.files.Reached(), e.records[:0]
	e.to.Incarnation, e.firstOutcome = i.incarnation, e.to.Outcome+1
	e.collect(b)
	f := &flight{b.Number, make(chan struct{})}
	i.flying.Store(f)
	return e, func() {
		if !e.added { // also when it is not known what became of it, or after a panic
			i.stale.Store(true)
		}
		i.flying.Store(nil)
		close(f.over)
		i.mu.Unlock()
	}, nil
}

func (e *batchEntries) collect(b *app.Batch) {
	for i := range b.Rows {
		r := &b.Rows[i]
		for _, t := range r.Touches {
			of := index.Record{Hash: hashOf(t.Subject), Version: uint64(t.Version), Value: uint64(r.Seq)}
			e.records = append(e.records, of)
		}
		e.to.Seq, e.to.Chain = uint64(r.Seq), r.Chain
	}
	for i := range b.Outcomes {
		e.to.Outcome++
		e.records = append(e.records, index.Record{Hash: hashOfKey(b.Outcomes[i].Key), Value: e.to.Outcome})
	}
	slices.SortFunc(e.records, index.Record.Compare)
}

// check refuses a version that is not above all of its subject, and a key that has an outcome.
func (e *batchEntries) check(ctx context.Context, l *Log, b *app.Batch) error {
	for i, r := range e.records {
		var err error
		again := i > 0 && e.records[i-1].Hash == r.Hash
		switch {
		case r.Version == 0:
			err = e.checkKey(ctx, l, b, r, again)
		case again:
			if e.records[i-1].Version == r.Version {
				err = fmt.Errorf("event %d makes version %d once more", r.Value, r.Version)
			}
		default:
			var newest index.Record
			var found bool
			newest, found, err = e.of.files.Newest(r.Hash)
			if err == nil && found && newest.Version >= r.Version {
				err = fmt.Errorf("event %d makes version %d of what is at version %d", r.Value, r.Version, newest.Version)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *batchEntries) checkKey(ctx context.Context, l *Log, b *app.Batch, r index.Record, again bool) error {
	key := b.Outcomes[r.Value-e.firstOutcome].Key
	found := false
	if again {
		same := 0
		for i := range b.Outcomes {
			if b.Outcomes[i].Key == key {
				same++
			}
		}
		found = same > 1
	}
	if !found {
		var err error
		if _, found, err = l.outcome(ctx, key); err != nil {
			return err
		}
	}
	if found {
		return fmt.Errorf("key %x has an outcome", key)
	}
	return nil
}

// add takes what was committed into the index.
func (e *batchEntries) add() {
	e.of.files.Add(e.records, e.to)
	e.added = true
}
