package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/relay"
)

// RelayStore is the relay.Store beside the log. It is safe for concurrent use.
type RelayStore struct{ db *DB }

// NewRelayStore keeps the relay's cursor in d.
func NewRelayStore(d *DB) *RelayStore { return &RelayStore{d} }

const (
	selectCursor = `SELECT term, incarnation, seq, last FROM relay WHERE ledger = $1`

	acquireRelay = `INSERT INTO relay (ledger, term, owner, lease_until, incarnation, seq, last)
		VALUES ($1, 1, $2, clock_timestamp() + $3, '', 0, '{}')
		ON CONFLICT (ledger) DO UPDATE SET term = relay.term + 1, owner = excluded.owner, lease_until = excluded.lease_until
		WHERE relay.owner = excluded.owner OR relay.lease_until <= clock_timestamp()
		RETURNING term, incarnation, seq, last`

	saveCursor = `UPDATE relay SET incarnation = $3, seq = $4, last = $5, lease_until = clock_timestamp() + $6
		WHERE ledger = $1 AND term = $2`
)

// Cursor returns the cursor that was saved last.
func (s *RelayStore) Cursor(ctx context.Context) (router.Cursor, error) {
	_, c, err := scanCursor(s.db.ledger.pool.QueryRow(ctx, selectCursor, ledgerName))
	if errors.Is(err, pgx.ErrNoRows) {
		return router.Cursor{}, nil
	}
	if err != nil {
		return c, fmt.Errorf("read the relay's cursor: %w", err)
	}
	return c, nil
}

// Acquire makes owner the relay.
func (s *RelayStore) Acquire(
	ctx context.Context, owner string, lease time.Duration,
) (term uint64, c router.Cursor, err error) {
	term, c, err = scanCursor(s.db.writers.QueryRow(ctx, acquireRelay, ledgerName, owner, lease))
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, c, relay.ErrHeld
	}
	if err != nil {
		return 0, c, fmt.Errorf("acquire the relay: %w", err)
	}
	return term, c, nil
}

// Save replaces the cursor and prolongs the lease.
func (s *RelayStore) Save(ctx context.Context, term uint64, c router.Cursor, lease time.Duration) error {
	last := map[bank.Topic][]int64{}
	for topic, positions := range c.Last {
		last[topic] = make([]int64, len(positions))
		for i, p := range positions {
			last[topic][i] = p.Offset()
		}
	}
	text, err := json.Marshal(last)
	if err != nil {
		return err
	}
	done, err := s.db.writers.Exec(ctx, saveCursor, ledgerName, term, c.Incarnation, c.Seq, text, lease)
	if err == nil && done.RowsAffected() == 0 {
		return relay.ErrFenced
	}
	if err != nil {
		return fmt.Errorf("save the relay's cursor: %w", err)
	}
	return nil
}

func scanCursor(row pgx.Row) (term uint64, c router.Cursor, err error) {
	var text []byte
	if err := row.Scan(&term, &c.Incarnation, &c.Seq, &text); err != nil {
		return 0, router.Cursor{}, err
	}
	var last map[bank.Topic][]int64
	if err := json.Unmarshal(text, &last); err != nil {
		return 0, router.Cursor{}, err
	}
	for topic, offsets := range last {
		if c.Last == nil {
			c.Last = map[bank.Topic][]handlers.Position{}
		}
		c.Last[topic] = make([]handlers.Position, len(offsets))
		for i, o := range offsets {
			c.Last[topic][i] = handlers.PositionAt(o)
		}
	}
	return term, c, nil
}
