package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// Schema is one of the three schemas: a set of tables that transactions are about. It is safe for concurrent use.
type Schema struct {
	name string // with the prefix
	kind string // without
	pool *pgxpool.Pool
}

// migrate makes the schema, or brings it up to date; one process at a time does.
func (s *Schema) migrate(ctx context.Context, existing bool) (err error) {
	files, err := fs.Sub(migrations, "migrations/"+s.kind)
	if err != nil {
		return err
	}
	// Each step need not be flushed by itself: the first commit that counts flushes all that came before it.
	c := s.pool.Config().ConnConfig.Copy()
	c.RuntimeParams["synchronous_commit"] = "off"
	db := stdlib.OpenDB(*c)
	defer func() { err = errors.Join(err, db.Close()) }()
	p, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return err
	}
	if existing {
		return s.current(ctx, p)
	}
	lock, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer lock.Release()
	if _, err := lock.Exec(ctx, `SELECT pg_advisory_lock(hashtextextended($1, 0))`, s.name); err != nil {
		return err
	}
	defer func() {
		_, unlock := lock.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock(hashtextextended($1, 0))`, s.name)
		err = errors.Join(err, unlock)
	}()
	if _, err := lock.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+s.name); err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// current refuses tables that are not there, or not of this program's version.
func (s *Schema) current(ctx context.Context, p *goose.Provider) error {
	var there bool
	err := s.pool.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, s.name+"."+goose.DefaultTablename).Scan(&there)
	if err != nil {
		return err
	}
	if !there {
		return errors.New("it is not there")
	}
	has, want, err := p.GetVersions(ctx)
	if err == nil && has != want {
		err = fmt.Errorf("its tables are of version %d instead of %d", has, want)
	}
	return err
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

type txKey struct{ schema *Schema }

// ErrNoTx means that a write was tried outside InTx.
var ErrNoTx = errors.New("postgres: no transaction in the context")

// endWithin is how long a commit or a rollback may take.
const endWithin = 30 * time.Second

// InTx runs fn in one transaction, which the context given to fn carries, and commits it when fn returns nil. It is
// rolled back on an error, a panic, and a cancelled context. Within fn, only SQL on this transaction: no network, no
// waiting. Calls do not nest. When the connection breaks in the commit, it returns an error though the commit may have
// come through: a checkpoint in the same transaction tells.
func (s *Schema) InTx(ctx context.Context, fn func(ctx context.Context) error) (err error) {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	done := false
	// What ends a transaction must not end before it.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	defer func() {
		if !done {
			err = errors.Join(err, rollback(end, tx))
		}
	}()
	if err := fn(context.WithValue(ctx, txKey{s}, tx)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	done = true
	if err := tx.Commit(end); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// rollback is done when the connection is gone: the server gives up what it had begun.
func rollback(ctx context.Context, tx pgx.Tx) error {
	err := tx.Rollback(ctx)
	if err != nil && tx.Conn().IsClosed() {
		return nil
	}
	return err
}

// tx is the transaction of s that ctx carries.
func (s *Schema) tx(ctx context.Context) (pgx.Tx, error) {
	tx, ok := ctx.Value(txKey{s}).(pgx.Tx)
	if !ok {
		return nil, ErrNoTx
	}
	return tx, nil
}

// querier is the transaction that ctx carries, or else the pool.
func (s *Schema) querier(ctx context.Context) querier {
	if tx, err := s.tx(ctx); err == nil {
		return tx
	}
	return s.pool
}

// exec runs a statement in the transaction that ctx carries, and tells how many rows it met.
func (s *Schema) exec(ctx context.Context, sql string, args ...any) (int64, error) {
	tx, err := s.tx(ctx)
	if err != nil {
		return 0, err
	}
	done, err := tx.Exec(ctx, sql, args...)
	return done.RowsAffected(), err
}

// each calls row with the Scan of every row that a question gives.
func each(
	ctx context.Context, q querier, row func(scan func(...any) error) error, sql string, args ...any,
) error {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// About returns what the schema says of itself under name, as which incarnation of the log it belongs to; "": nothing.
func (s *Schema) About(ctx context.Context, name string) (value string, err error) {
	err = s.querier(ctx).QueryRow(ctx, `SELECT value FROM about WHERE name = $1`, name).Scan(&value)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return value, err
}

// SetAbout notes it, in the transaction that ctx carries.
func (s *Schema) SetAbout(ctx context.Context, name, value string) error {
	_, err := s.exec(ctx, `INSERT INTO about (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}

// hasCode compares with PostgreSQL's SQLSTATE codes, or their classes: the first two characters.
func hasCode(err error, codes ...string) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return false
	}
	for _, code := range codes {
		if len(e.Code) >= len(code) && e.Code[:len(code)] == code {
			return true
		}
	}
	return false
}
