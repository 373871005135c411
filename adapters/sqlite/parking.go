package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"bankforge/adapters/lot"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/rebuild"
)

// HandlerStore is the router.Store of handlers that write to a file: their checkpoints and parked messages stand beside
// what they write. Transactions begin IMMEDIATE, so whoever is in one has locked every row.
type HandlerStore struct {
	*lot.Lot
	db *DB
}

var _ router.Store = (*HandlerStore)(nil)

var _ rebuild.Store = (*HandlerStore)(nil)

// NewHandlerStore uses the tables of views.db or state.db.
func NewHandlerStore(db *DB) *HandlerStore { return &HandlerStore{lot.New(lotDB{db}), db} }

// Unclaim ends all claims of sequences. It is for whoever has just opened the file, and nobody else has: they were
// those of a process that was killed, and what it tried need not wait until they run out.
func (s *HandlerStore) Unclaim(ctx context.Context) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		tx, err := s.db.tx(ctx)
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM parked_claim`)
		}
		return err
	})
}

// InTx runs fn in one transaction of the file.
func (s *HandlerStore) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.db.InTx(ctx, fn)
}

// Checkpoint returns the checkpoint of a stream.
func (s *HandlerStore) Checkpoint(ctx context.Context, of router.Stream) (c router.Checkpoint, err error) {
	var offset int64
	err = s.db.querier(ctx).QueryRowContext(ctx,
		`SELECT incarnation, position FROM checkpoint WHERE handler = ? AND topic = ? AND partition = ?`,
		of.Handler, string(of.Topic), of.Partition).Scan(&c.Incarnation, &offset)
	if errors.Is(err, sql.ErrNoRows) {
		return router.Checkpoint{}, nil
	}
	c.Position = handlers.PositionAt(offset)
	return c, err
}

// Advance replaces the checkpoint of a stream.
func (s *HandlerStore) Advance(ctx context.Context, of router.Stream, c router.Checkpoint) error {
	tx, err := s.db.tx(ctx)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO checkpoint (handler, topic, partition, incarnation, position)
		VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET incarnation = excluded.incarnation, position = excluded.position`,
		of.Handler, string(of.Topic), of.Partition, c.Incarnation, c.Position.Offset())
	return err
}

// Rewind replaces the checkpoint of a stream, and forgets what was parked behind it.
func (s *HandlerStore) Rewind(ctx context.Context, of router.Stream, c router.Checkpoint) error {
	if err := s.Forget(ctx, of, c); err != nil {
		return err
	}
	return s.Advance(ctx, of, c)
}

// outsideTx reports whether ctx carries no transaction.
func (s *HandlerStore) outsideTx(ctx context.Context) bool {
	_, err := s.db.tx(ctx)
	return err != nil
}

// Blocked returns those of the keys that are parked. Nearly always nothing is, or little of what the handler has, and
// that is found out first.
func (s *HandlerStore) Blocked(ctx context.Context, handler string, keys []string) ([]string, error) {
	alone := s.outsideTx(ctx)
	none, now := s.db.recent.nothingParked(handler)
	if none && alone {
		return nil, nil
	}
	all, err := s.keysIn(ctx, `SELECT key FROM parked_sequence WHERE handler = ? LIMIT ?`, handler, len(keys)+1)
	if err == nil && len(all) == 0 && alone {
		s.db.recent.keepClear(now, handler)
	}
	if err != nil || len(all) == 0 {
		return nil, err
	}
	if len(all) <= len(keys) {
		return lot.Both(all, keys), nil
	}
	list, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	return s.keysIn(ctx,
		`SELECT key FROM parked_sequence WHERE handler = ? AND key IN (SELECT value FROM json_each(?))`,
		handler, string(list))
}

func (s *HandlerStore) keysIn(ctx context.Context, question string, args ...any) (keys []string, err error) {
	err = lotDB{s.db}.Each(ctx, func(scan func(...any) error) error {
		var key string
		err := scan(&key)
		keys = append(keys, key)
		return err
	}, question, args...)
	return keys, err
}

// lotDB has the parking lot's statements run on the file.
type lotDB struct{ *DB }

var _ lot.DB = lotDB{}

// Exec runs a statement in the transaction that ctx carries.
func (d lotDB) Exec(ctx context.Context, statement string, args ...any) (int64, error) {
	tx, err := d.tx(ctx)
	if err != nil {
		return 0, err
	}
	done, err := tx.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	return done.RowsAffected()
}

// Each asks a question.
func (d lotDB) Each(
	ctx context.Context, row func(scan func(...any) error) error, question string, args ...any,
) error {
	rows, err := d.querier(ctx).QueryContext(ctx, question, args...)
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

// Tx is nil when ctx carries a transaction.
func (d lotDB) Tx(ctx context.Context) error {
	_, err := d.tx(ctx)
	return err
}

// Key is a key as it is stored.
func (d lotDB) Key(key string) any { return key }

// Text is a text as it is stored.
func (d lotDB) Text(text string) string { return text }

// Beside is an expression: no index fits it.
func (d lotDB) Beside(column string) string { return "+" + column }

// Locks is false: who is in a transaction has locked every row.
func (d lotDB) Locks() bool { return false }

// ParkedFrom implements rebuild.Places.
func (s *HandlerStore) ParkedFrom(ctx context.Context, handler string) (map[string]handlers.Position, error) {
	rows, err := s.db.querier(ctx).QueryContext(ctx, `SELECT key, min(position) FROM parked_message
		WHERE handler = ? AND ended_at IS NULL GROUP BY key`, handler)
	if err != nil {
		return nil, err
	}
	parked := map[string]handlers.Position{}
	err = eachRow(rows, func(scan func(...any) error) error {
		var key string
		var offset int64
		err := scan(&key, &offset)
		parked[key] = handlers.PositionAt(offset)
		return err
	})
	return parked, err
}

// Reserve implements rebuild.Store. Who writes has the directory to himself, by its lock; who only reads and compares
// disturbs nobody.
func (s *HandlerStore) Reserve(context.Context, string, bool) (release func(), err error) {
	return func() {}, nil
}

// Classify says what is to become of errors of SQLite: what was interrupted is tried again, and a full or broken disk
// is waited for. So is a locked file: each try has waited already, and whoever has it says nothing about the message.
func Classify(err error) (c handlers.Class, ok bool) {
	var e *driver.Error
	if !errors.As(err, &e) {
		return handlers.Unknown, false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_INTERRUPT:
		return handlers.Transient, true
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
		sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		return handlers.Unavailable, true
	default:
		return handlers.Unknown, false
	}
}
