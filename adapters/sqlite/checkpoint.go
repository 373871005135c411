package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"bankforge/handlers"
	"bankforge/router"
)

// HandlerStore is the router.Store of handlers that write to a file: their checkpoints and parked messages stand beside
// what they write. Transactions begin IMMEDIATE, so whoever is in one has locked every row.
type HandlerStore struct{ db *DB }

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
