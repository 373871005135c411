package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"time"

	"bankforge/app"
	"bankforge/handlers"
)

// Frozen is one moment of a file, however it is written to meanwhile. Until Close the write-ahead log of the file is
// kept from that moment on, and so grows with what is written.
type Frozen struct {
	conn *sql.Conn
	size int64
}

// Freeze fixes a moment of bank.db and state.db in which they fit each other: state.db has every customer that the log
// tells of, and no checkpoint ahead of it. For that, nobody may write to state.db while both are fixed, which takes
// less than a millisecond; the log is not held up.
func Freeze(ctx context.Context, bankDB, stateDB *DB) (log, state *Frozen, err error) {
	pause, err := sql.Open("sqlite", dsn(stateDB.path, StateFile, "rw"))
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", stateDB.path, err)
	}
	defer func() { err = errors.Join(err, pause.Close()) }()
	tx, err := pause.BeginTx(ctx, nil) // IMMEDIATE: it is now the writer
	if err != nil {
		return nil, nil, fmt.Errorf("pause %s: %w", stateDB.path, err)
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }()
	if log, err = bankDB.freeze(ctx); err != nil {
		return nil, nil, err
	}
	if state, err = stateDB.freeze(ctx); err != nil {
		return nil, nil, errors.Join(err, log.Close())
	}
	return log, state, nil
}

// freeze begins to read, and does not end it.
func (d *DB) freeze(ctx context.Context) (*Frozen, error) {
	conn, err := d.own.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d.path, err)
	}
	f := &Frozen{conn: conn}
	if _, err = conn.ExecContext(ctx, "BEGIN"); err == nil { // the moment is that of the first reading
		err = conn.QueryRowContext(ctx, `SELECT page_count * page_size FROM pragma_page_count, pragma_page_size,
			(SELECT count(*) FROM sqlite_schema)`).Scan(&f.size)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", d.path, err), f.Close())
	}
	return f, nil
}

// Size is how many bytes Copy writes.
func (f *Frozen) Size() int64 { return f.size }

// Copy writes the file as it was: page by page, and as one file that needs no other beside it.
func (f *Frozen) Copy(ctx context.Context, w io.Writer) error {
	pages, err := f.conn.QueryContext(ctx, `SELECT data FROM sqlite_dbpage('main')`)
	if err != nil {
		return err
	}
	defer pages.Close()
	var page sql.RawBytes
	for pages.Next() {
		if err := pages.Scan(&page); err != nil {
			return err
		}
		if _, err := w.Write(page); err != nil {
			return err
		}
	}
	return pages.Err()
}

// Head is the head of the log, if the file is bank.db.
func (f *Frozen) Head(ctx context.Context) (app.Head, error) {
	head, err := scanHead(f.conn.QueryRowContext(ctx, selectHead))
	if err != nil {
		return app.Head{}, fmt.Errorf("read the head: %w", err)
	}
	return head, nil
}

// Close lets the moment go.
func (f *Frozen) Close() error {
	_, err := f.conn.ExecContext(context.Background(), "ROLLBACK")
	return errors.Join(err, f.conn.Close())
}

// Reincarnate makes the log and the state that belongs to it begin a new incarnation: whoever has seen the old one may
// have seen what is not in this copy of it. It takes a new term, and notes in bank.db what was before. Checkpoints in
// state.db go on from where they are, because both are of one moment; one that is ahead of the log is refused.
func Reincarnate(
	ctx context.Context, bankDB, stateDB *DB, owner string, at time.Time,
) (before, now app.Head, err error) {
	err = bankDB.InTx(ctx, func(ctx context.Context) (err error) {
		before, now, err = bankDB.reincarnate(ctx, owner, at)
		return err
	})
	if err == nil {
		err = stateDB.InTx(ctx, func(ctx context.Context) error { return stateDB.follow(ctx, before, now) })
	}
	if err != nil {
		return app.Head{}, app.Head{}, fmt.Errorf("begin a new incarnation: %w", err)
	}
	return before, now, nil
}

func (d *DB) reincarnate(ctx context.Context, owner string, at time.Time) (before, now app.Head, err error) {
	tx, err := d.tx(ctx)
	if err != nil {
		return before, now, err
	}
	if before, err = scanHead(tx.QueryRowContext(ctx, selectHead)); err != nil {
		return before, now, err
	}
	now = before
	now.Incarnation, now.Term, now.Owner = rand.Text(), before.Term+1, owner
	if _, err = tx.ExecContext(ctx, `UPDATE head SET incarnation = ?, term = ?, owner = ?`,
		now.Incarnation, int64(now.Term), now.Owner); err != nil {
		return before, now, err
	}
	note := fmt.Sprintf("until event %d, chain %x; restored %s as %s", before.Seq, before.Chain,
		at.UTC().Format(time.RFC3339), now.Incarnation)
	return before, now, d.SetAbout(ctx, "incarnation "+before.Incarnation, note)
}

// follow has what belongs to one incarnation belong to the next.
func (d *DB) follow(ctx context.Context, before, now app.Head) error {
	tx, err := d.tx(ctx)
	if err != nil {
		return err
	}
	var ahead string
	err = tx.QueryRowContext(ctx, `SELECT handler FROM checkpoint WHERE incarnation = ? AND position > ?`,
		before.Incarnation, handlers.End(before.Seq).Offset()).Scan(&ahead)
	switch {
	case err == nil:
		return fmt.Errorf("handler %s has seen more than the log has: the two are not of one moment", ahead)
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE checkpoint SET incarnation = ? WHERE incarnation = ?`,
		now.Incarnation, before.Incarnation); err != nil {
		return err
	}
	return d.SetAbout(ctx, "incarnation", now.Incarnation)
}

// Check has SQLite check the pages of the file.
func (d *DB) Check(ctx context.Context) error {
	var found string
	err := d.read.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&found)
	if err == nil && found != "ok" {
		err = errors.New(found)
	}
	if err != nil {
		return fmt.Errorf("check %s: %w", d.path, err)
	}
	return nil
}
