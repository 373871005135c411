package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/rebuild"
)

// HandlerStore is the router.Store of handlers that write to a file: their checkpoints and parked messages stand beside
// what they write. Transactions begin IMMEDIATE, so whoever is in one has locked every row.
type HandlerStore struct{ db *DB }

var _ rebuild.Store = (*HandlerStore)(nil)

// NewHandlerStore uses the tables of views.db or state.db.
func NewHandlerStore(db *DB) *HandlerStore { return &HandlerStore{db} }

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
	tx, err := s.db.tx(ctx)
	if err != nil {
		return err
	}
	const forgotten = ` FROM parked_message WHERE handler = ?1 AND topic = ?2 AND partition = ?3
		AND (incarnation <> ?4 OR position > ?5)`
	for _, forget := range []string{
		`DELETE FROM parked_attempt WHERE message IN (SELECT id` + forgotten + `)`,
		`DELETE` + forgotten,
		`UPDATE parked_sequence SET waiting = (SELECT count(*) FROM parked_message m WHERE m.handler = ?1
			AND m.key = parked_sequence.key AND m.ended_at IS NULL) WHERE handler = ?1`,
		`DELETE FROM parked_sequence WHERE handler = ?1 AND waiting = 0`,
	} {
		_, err := tx.ExecContext(ctx, forget,
			of.Handler, string(of.Topic), of.Partition, c.Incarnation, c.Position.Offset())
		if err != nil {
			return fmt.Errorf("forget what was parked: %w", err)
		}
	}
	return s.Advance(ctx, of, c)
}

// Blocked returns those of the keys that are parked. Nearly always nothing is, and that is found out first.
func (s *HandlerStore) Blocked(ctx context.Context, handler string, keys []string) ([]string, error) {
	q := s.db.querier(ctx)
	_, noTx := s.db.tx(ctx)
	none, now := s.db.recent.nothingParked(handler)
	if none && noTx != nil {
		return nil, nil
	}
	var some bool
	err := q.QueryRowContext(ctx,
		`SELECT EXISTS (SELECT 1 FROM parked_sequence WHERE handler = ?)`, handler).Scan(&some)
	if err == nil && !some && noTx != nil {
		s.db.recent.keepClear(now, handler)
	}
	if err != nil || !some {
		return nil, err
	}
	list, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	rows, err := q.QueryContext(ctx,
		`SELECT key FROM parked_sequence WHERE handler = ? AND key IN (SELECT value FROM json_each(?))`,
		handler, string(list))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var blocked []string
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return nil, err
		}
		blocked = append(blocked, key)
	}
	return blocked, rows.Err()
}

// Park appends a message to the sequence of its key.
func (s *HandlerStore) Park(ctx context.Context, p router.Parked, attempts []router.Attempt) (waiting int, err error) {
	tx, err := s.db.tx(ctx)
	if err != nil {
		return 0, err
	}
	metadata, err := json.Marshal(p.Metadata)
	if err != nil {
		return 0, err
	}
	payload := p.Payload
	if payload == nil {
		payload = []byte{}
	}
	done, err := tx.ExecContext(ctx, `INSERT INTO parked_message
		(handler, topic, partition, key, incarnation, position, status, parked_at, metadata, payload)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		p.Handler, string(p.Topic), p.Partition, p.Key, p.Incarnation, p.Position.Offset(), string(p.Status),
		p.At.UnixMicro(), string(metadata), payload)
	if err != nil {
		return 0, fmt.Errorf("park %s: %w", p.Key, err)
	}
	id, err := done.LastInsertId()
	if err != nil {
		return 0, err
	}
	for _, a := range attempts {
		if err := addAttempt(ctx, tx, id, a); err != nil {
			return 0, err
		}
	}
	err = tx.QueryRowContext(ctx, `INSERT INTO parked_sequence (handler, key, waiting, since) VALUES (?, ?, 1, ?)
		ON CONFLICT DO UPDATE SET waiting = waiting + 1 RETURNING waiting`,
		p.Handler, p.Key, p.At.UnixMicro()).Scan(&waiting)
	return waiting, err
}

func addAttempt(ctx context.Context, tx *sql.Tx, message int64, a router.Attempt) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO parked_attempt (message, n, at, took, class, error, stack)
		VALUES (?, (SELECT count(*) + 1 FROM parked_attempt WHERE message = ?), ?, ?, ?, ?, ?)`,
		message, message, a.At.UnixMicro(), int64(a.Took), a.Class.String(), a.Error, a.Stack)
	return err
}

// Head returns the first message that waits in a sequence.
func (s *HandlerStore) Head(ctx context.Context, handler, key string) (p router.Parked, ok bool, err error) {
	tx, err := s.db.tx(ctx)
	if err != nil {
		return p, false, err
	}
	id, p, err := head(ctx, tx, handler, key)
	if errors.Is(err, sql.ErrNoRows) {
		return router.Parked{}, false, nil
	}
	if err != nil {
		return router.Parked{}, false, err
	}
	p.Attempts, err = attemptsOf(ctx, tx, id)
	return p, err == nil, err
}

func head(ctx context.Context, tx *sql.Tx, handler, key string) (id int64, p router.Parked, err error) {
	p.Handler, p.Key = handler, key
	var topic, status, metadata string
	var offset, at int64
	err = tx.QueryRowContext(ctx, `SELECT id, topic, partition, incarnation, position, status, parked_at, metadata, payload
		FROM parked_message WHERE handler = ? AND key = ? AND ended_at IS NULL ORDER BY id LIMIT 1`, handler, key).
		Scan(&id, &topic, &p.Partition, &p.Incarnation, &offset, &status, &at, &metadata, &p.Payload)
	if err != nil {
		return 0, p, err
	}
	p.Topic, p.Status = bank.Topic(topic), router.Status(status)
	p.Position, p.At = handlers.PositionAt(offset), time.UnixMicro(at).UTC()
	return id, p, json.Unmarshal([]byte(metadata), &p.Metadata)
}

func attemptsOf(ctx context.Context, tx *sql.Tx, message int64) ([]router.Attempt, error) {
	rows, err := tx.QueryContext(ctx,
		`SELECT at, took, class, error, stack FROM parked_attempt WHERE message = ? ORDER BY n`, message)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []router.Attempt
	for rows.Next() {
		var a router.Attempt
		var at, took int64
		var class string
		if err := rows.Scan(&at, &took, &class, &a.Error, &a.Stack); err != nil {
			return nil, err
		}
		a.Class, _ = handlers.ParseClass(class)
		a.At, a.Took = time.UnixMicro(at).UTC(), time.Duration(took)
		out = append(out, a)
	}
	return out, rows.Err()
}

// ErrNotHead means that the message is not the one that waits first for its key.
var ErrNotHead = errors.New("sqlite: the message is not the head of its sequence")

// Attempted adds a failed try to the head of a sequence.
func (s *HandlerStore) Attempted(ctx context.Context, p router.Parked, a router.Attempt) error {
	tx, id, err := s.mustHead(ctx, p)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE parked_message SET status = ? WHERE id = ?`, string(router.Failed), id)
	if err != nil {
		return err
	}
	return addAttempt(ctx, tx, id, a)
}

// Resolve ends the waiting of the head of a sequence, and the sequence with its last message.
func (s *HandlerStore) Resolve(ctx context.Context, p router.Parked, as router.Status, at time.Time) error {
	tx, id, err := s.mustHead(ctx, p)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE parked_message SET status = ?, ended_at = ? WHERE id = ?`,
		string(as), at.UnixMicro(), id)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE parked_sequence SET waiting = waiting - 1 WHERE handler = ? AND key = ?`,
		p.Handler, p.Key)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM parked_sequence WHERE handler = ? AND key = ? AND waiting = 0`,
		p.Handler, p.Key)
	return err
}

func (s *HandlerStore) mustHead(ctx context.Context, p router.Parked) (*sql.Tx, int64, error) {
	tx, err := s.db.tx(ctx)
	if err != nil {
		return nil, 0, err
	}
	id, is, err := head(ctx, tx, p.Handler, p.Key)
	if errors.Is(err, sql.ErrNoRows) || err == nil && (is.Position != p.Position || is.Incarnation != p.Incarnation) {
		return nil, 0, ErrNotHead
	}
	return tx, id, err
}

// Waiting implements rebuild.Places.
func (s *HandlerStore) Waiting(ctx context.Context, handler string) (map[string]handlers.Position, error) {
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

// TakenIn implements rebuild.Store.
func (s *HandlerStore) TakenIn(ctx context.Context, handler string) (keys int, err error) {
	tx, err := s.db.tx(ctx)
	if err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE parked_message SET status = ?, ended_at = ?
		WHERE handler = ? AND ended_at IS NULL`, string(router.Resolved), time.Now().UnixMicro(), handler)
	if err != nil {
		return 0, err
	}
	done, err := tx.ExecContext(ctx, `DELETE FROM parked_sequence WHERE handler = ?`, handler)
	if err != nil {
		return 0, err
	}
	n, err := done.RowsAffected()
	return int(n), err
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
