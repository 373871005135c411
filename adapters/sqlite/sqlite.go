// Package sqlite keeps the embedded bank in three files: bank.db (the log), state.db (what cannot be
// rebuilt) and views.db (what can).
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"runtime"
	"strconv"
	"sync"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // registers the driver "sqlite", in pure Go
)

//go:embed migrations
var migrations embed.FS

// File is one of the three files of the embedded bank.
type File struct {
	name        string
	synchronous int // SQLite's number for it
	copyAfter   int // pages of the write-ahead log, after which a commit copies them into the file
}

const (
	normal = 1 // flushed at checkpoints of the write-ahead log
	full   = 2 // flushed at each commit
)

// The files. What cannot be rebuilt is flushed to the disk at each commit.
var (
	BankFile  = File{"bank", full, 64_000} // most often a folder is there before
	StateFile = File{"state", full, 16_000}
	ViewsFile = File{"views", normal, 16_000}
)

// DB is one open file: one writer, many readers, and one reader that waits for none of them. It is safe for
// concurrent use.
type DB struct {
	write *sql.DB // one connection; transactions begin IMMEDIATE
	read  *sql.DB
	own   *sql.DB // one connection, which is opened when it is needed
	path  string

	writing sync.Mutex // held by the transaction that writes, until recent has what it has committed
	inserts inserts    // of the transaction that writes
	recent  *recent    // what is remembered of what is committed; nil on a file that is open for reading only
	noted   viewNotes
}

// Open opens the file at path, makes it if it is not there, and brings its tables up to date.
func Open(ctx context.Context, path string, f File) (*DB, error) {
	d := &DB{path: path, recent: newRecent()}
	var err error
	if d.write, err = sql.Open("sqlite", dsn(path, f, "rwc")); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	d.write.SetMaxOpenConns(1)
	if err := migrate(ctx, d.write, f); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare %s: %w", path, err), d.write.Close())
	}
	if err := f.kept(ctx, d.write); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), d.write.Close())
	}
	if err := d.openReaders(f); err != nil {
		return nil, errors.Join(err, d.write.Close())
	}
	return d, nil
}

// kept makes sure of what the file's promises stand on: SQLite refuses no setting, it only does not follow it.
func (f File) kept(ctx context.Context, db *sql.DB) error {
	for _, setting := range [...]struct{ name, want string }{
		{"journal_mode", "wal"}, {"synchronous", strconv.Itoa(f.synchronous)},
	} {
		var is string
		if err := db.QueryRowContext(ctx, "PRAGMA "+setting.name).Scan(&is); err != nil {
			return err
		}
		if is != setting.want {
			return fmt.Errorf("its %s is %s instead of %s", setting.name, is, setting.want)
		}
	}
	return nil
}

// Synchronous asks SQLite how the writer's commits are flushed: 2 (FULL) is at each commit, 1 (NORMAL) is not.
func (d *DB) Synchronous(ctx context.Context) (n int, err error) {
	err = d.write.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&n)
	return n, err
}

func (d *DB) openReaders(f File) (err error) {
	if d.read, err = sql.Open("sqlite", dsn(d.path, f, "ro")); err != nil {
		return fmt.Errorf("open %s: %w", d.path, err)
	}
	if d.own, err = sql.Open("sqlite", dsn(d.path, f, "ro")); err != nil {
		return errors.Join(fmt.Errorf("open %s: %w", d.path, err), d.read.Close())
	}
	d.read.SetMaxOpenConns(max(4, runtime.NumCPU()))
	d.read.SetMaxIdleConns(max(4, runtime.NumCPU()))
	d.own.SetMaxOpenConns(1)
	return nil
}

// OpenReadOnly opens an existing file for reading only, beside a running bank.
func OpenReadOnly(path string, f File) (*DB, error) {
	d := &DB{path: path}
	if err := d.openReaders(f); err != nil {
		return nil, err
	}
	return d, nil
}

// Close ends all connections.
func (d *DB) Close() error {
	err := errors.Join(d.read.Close(), d.own.Close())
	if d.write != nil {
		d.writing.Lock()
		defer d.writing.Unlock()
		err = errors.Join(err, d.inserts.close(d.write), d.write.Close())
	}
	return err
}

// cacheOf is what a connection keeps of the file in memory, in KiB. There are many readers, and the system keeps what
// they read, too.
func cacheOf(mode string) int {
	if mode == "ro" {
		return 8 << 10
	}
	return 64 << 10
}

func dsn(path string, f File, mode string) string {
	q := url.Values{"mode": {mode}, "_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(10000)", "synchronous(" + strconv.Itoa(f.synchronous) + ")", "foreign_keys(1)",
		"cache_size(-" + strconv.Itoa(cacheOf(mode)) + ")", "temp_store(MEMORY)",
		"wal_autocheckpoint(" + strconv.Itoa(f.copyAfter) + ")",
	}}
	if mode != "ro" {
		q["_pragma"] = append([]string{"journal_mode(WAL)"}, q["_pragma"]...)
	}
	return (&url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: q.Encode()}).String()
}

func migrate(ctx context.Context, db *sql.DB, f File) error {
	files, err := fs.Sub(migrations, "migrations/"+f.name)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// InTx runs fn in one transaction of the writer, which the context given to fn carries, and commits
// it when fn returns nil. It is rolled back on an error, a panic, and a cancelled context.
// Within fn, only SQL on this transaction: no network, no waiting. Calls do not nest.
func (d *DB) InTx(ctx context.Context, fn func(ctx context.Context) error) (err error) {
	d.writing.Lock()
	defer d.writing.Unlock()
	// A transaction begun with ctx would be rolled back behind our back when ctx ends.
	conn, err := d.write.Conn(context.WithoutCancel(ctx))
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	tx, err := conn.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	done := false
	defer func() {
		if !done {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	d.recent.begin()
	if err := fn(context.WithValue(context.WithValue(ctx, txKey{d}, tx), connKey{d}, conn)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	done = true
	return d.commit(tx)
}

// commit has what is remembered follow what is committed.
func (d *DB) commit(tx *sql.Tx) error {
	ok := false
	d.recent.committing()
	defer func() { d.recent.committed(ok) }()
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	ok = true
	return nil
}

type txKey struct{ db *DB }

// connKey leads to the connection that the transaction of InTx is on.
type connKey struct{ db *DB }

// ErrNoTx means that a write was tried outside InTx.
var ErrNoTx = errors.New("sqlite: no transaction in the context")

// tx is the transaction of d that ctx carries.
func (d *DB) tx(ctx context.Context) (*sql.Tx, error) {
	tx, ok := ctx.Value(txKey{d}).(*sql.Tx)
	if !ok {
		return nil, ErrNoTx
	}
	return tx, nil
}

// writes reports whether ctx carries the transaction that writes.
func (d *DB) writes(ctx context.Context) bool { return ctx.Value(connKey{d}) != nil }

// querier is the transaction that ctx carries, or else the readers.
func (d *DB) querier(ctx context.Context) querier {
	if tx, err := d.tx(ctx); err == nil {
		return tx
	}
	return d.read
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// About returns what the file says of itself under name, as which incarnation of the log it belongs to; "": nothing.
func (d *DB) About(ctx context.Context, name string) (value string, err error) {
	err = d.querier(ctx).QueryRowContext(ctx, `SELECT value FROM about WHERE name = ?`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

// SetAbout notes it, in the transaction that ctx carries.
func (d *DB) SetAbout(ctx context.Context, name, value string) error {
	tx, err := d.tx(ctx)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO about (name, value) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}
