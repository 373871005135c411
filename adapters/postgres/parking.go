package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// HandlerStore is the router.Store of handlers that write to a schema: their checkpoints and parked messages stand
// beside what they write.
type HandlerStore struct{ s *Schema }

var _ router.Store = (*HandlerStore)(nil)

// NewHandlerStore uses the tables of the schema of the views, or of the state.
func NewHandlerStore(s *Schema) *HandlerStore { return &HandlerStore{s} }

// InTx runs fn in one transaction of the schema.
func (h *HandlerStore) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	return h.s.InTx(ctx, fn)
}

const (
	selectCheckpoint = `SELECT incarnation, position FROM checkpoint
		WHERE handler = $1 AND topic = $2 AND partition = $3`
	// So that there is a row to lock before the first message.
	makeCheckpoint = `INSERT INTO checkpoint (handler, topic, partition, incarnation, position) VALUES ($1, $2, $3, '', 0)
		ON CONFLICT DO NOTHING`
	moveCheckpoint = `INSERT INTO checkpoint (handler, topic, partition, incarnation, position)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT (handler, topic, partition)
		DO UPDATE SET incarnation = excluded.incarnation, position = excluded.position`

	anySequence   = `SELECT EXISTS (SELECT 1 FROM parked_sequence WHERE handler = $1)`
	askSequences  = `SELECT key FROM parked_sequence WHERE handler = $1 AND key = ANY ($2)`
	lockSequences = askSequences + ` ORDER BY key FOR SHARE`
	lockSequence  = `SELECT 1 FROM parked_sequence WHERE handler = $1 AND key = $2 FOR UPDATE`
	growSequence  = `INSERT INTO parked_sequence (handler, key, waiting, since) VALUES ($1, $2, 1, $3)
		ON CONFLICT (handler, key) DO UPDATE SET waiting = parked_sequence.waiting + 1 RETURNING waiting`
	shrinkSequence = `UPDATE parked_sequence SET waiting = waiting - 1 WHERE handler = $1 AND key = $2`
	endSequence    = `DELETE FROM parked_sequence WHERE handler = $1 AND key = $2 AND waiting = 0`

	insertParked = `INSERT INTO parked_message
		(handler, topic, partition, key, incarnation, position, status, parked_at, metadata, payload)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id`
	insertAttempt = `INSERT INTO parked_attempt (message, n, at, took, class, error, stack)
		VALUES ($1, (SELECT count(*) + 1 FROM parked_attempt WHERE message = $1), $2, $3, $4, $5, $6)`
	selectParked = `SELECT id, topic, partition, incarnation, position, status, parked_at, metadata, payload
		FROM parked_message WHERE handler = $1 AND key = $2 AND ended_at IS NULL ORDER BY id LIMIT 1`
	selectAttempts = `SELECT at, took, class, error, stack FROM parked_attempt WHERE message = $1 ORDER BY n`
)

// Checkpoint returns the checkpoint of a stream.
func (h *HandlerStore) Checkpoint(ctx context.Context, of router.Stream) (router.Checkpoint, error) {
	tx, err := h.s.tx(ctx)
	if err != nil {
		c, err := scanCheckpoint(h.s.pool.QueryRow(ctx, selectCheckpoint, of.Handler, string(of.Topic), of.Partition))
		if errors.Is(err, pgx.ErrNoRows) {
			err = nil
		}
		return c, err
	}
	const lock = selectCheckpoint + ` FOR UPDATE`
	c, err := scanCheckpoint(tx.QueryRow(ctx, lock, of.Handler, string(of.Topic), of.Partition))
	if !errors.Is(err, pgx.ErrNoRows) {
		return c, err
	}
	if _, err := tx.Exec(ctx, makeCheckpoint, of.Handler, string(of.Topic), of.Partition); err != nil {
		return router.Checkpoint{}, err
	}
	return scanCheckpoint(tx.QueryRow(ctx, lock, of.Handler, string(of.Topic), of.Partition))
}

func scanCheckpoint(row pgx.Row) (c router.Checkpoint, err error) {
	var offset int64
	if err := row.Scan(&c.Incarnation, &offset); err != nil {
		return router.Checkpoint{}, err
	}
	c.Position = handlers.PositionAt(offset)
	return c, nil
}

// Advance replaces the checkpoint of a stream.
func (h *HandlerStore) Advance(ctx context.Context, of router.Stream, c router.Checkpoint) error {
	_, err := h.s.exec(ctx, moveCheckpoint, of.Handler, string(of.Topic), of.Partition, c.Incarnation, c.Position.Offset())
	return err
}

// Rewind replaces the checkpoint of a stream, and forgets what was parked behind it.
func (h *HandlerStore) Rewind(ctx context.Context, of router.Stream, c router.Checkpoint) error {
	const forgotten = ` FROM parked_message WHERE handler = $1 AND topic = $2 AND partition = $3
		AND (incarnation <> $4 OR position > $5)`
	for _, forget := range []string{
		`DELETE FROM parked_attempt WHERE message IN (SELECT id` + forgotten + `)`,
		`DELETE` + forgotten,
	} {
		_, err := h.s.exec(ctx, forget, of.Handler, string(of.Topic), of.Partition, c.Incarnation, c.Position.Offset())
		if err != nil {
			return fmt.Errorf("forget what was parked: %w", err)
		}
	}
	for _, again := range []string{
		`UPDATE parked_sequence s SET waiting = (SELECT count(*) FROM parked_message m WHERE m.handler = $1
			AND m.key = s.key AND m.ended_at IS NULL) WHERE s.handler = $1`,
		`DELETE FROM parked_sequence WHERE handler = $1 AND waiting = 0`,
	} {
		if _, err := h.s.exec(ctx, again, of.Handler); err != nil {
			return fmt.Errorf("forget what was parked: %w", err)
		}
	}
	return h.Advance(ctx, of, c)
}

// Blocked returns those of the keys that are parked. Nearly always nothing is, and that is found out first: nobody but
// who holds the checkpoint makes a sequence of one of these keys.
func (h *HandlerStore) Blocked(ctx context.Context, handler string, keys []string) (blocked []string, err error) {
	q, ask := h.s.querier(ctx), lockSequences
	if _, err := h.s.tx(ctx); err != nil {
		ask = askSequences
	}
	var some bool
	if err := q.QueryRow(ctx, anySequence, handler).Scan(&some); err != nil || !some {
		return nil, err
	}
	asked := make([][]byte, len(keys))
	for i, key := range keys {
		asked[i] = []byte(key)
	}
	err = each(ctx, q, func(scan func(...any) error) error {
		var key []byte
		err := scan(&key)
		blocked = append(blocked, string(key))
		return err
	}, ask, handler, asked)
	return blocked, err
}

// Park appends a message to the sequence of its key.
func (h *HandlerStore) Park(ctx context.Context, p router.Parked, attempts []router.Attempt) (waiting int, err error) {
	tx, err := h.s.tx(ctx)
	if err != nil {
		return 0, err
	}
	metadata, err := json.Marshal(p.Metadata)
	if err != nil {
		return 0, err
	}
	// First the sequence: it is what others lock.
	err = tx.QueryRow(ctx, growSequence, p.Handler, []byte(p.Key), p.At.UnixMicro()).Scan(&waiting)
	if err != nil {
		return 0, fmt.Errorf("park %q: %w", p.Key, err)
	}
	var id int64
	err = tx.QueryRow(ctx, insertParked, p.Handler, string(p.Topic), p.Partition, []byte(p.Key), p.Incarnation,
		p.Position.Offset(), string(p.Status), p.At.UnixMicro(), string(metadata), notNull(p.Payload)).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("park %q: %w", p.Key, err)
	}
	for i := range attempts {
		if err := addAttempt(ctx, tx, id, &attempts[i]); err != nil {
			return 0, err
		}
	}
	return waiting, nil
}

func addAttempt(ctx context.Context, tx pgx.Tx, message int64, a *router.Attempt) error {
	_, err := tx.Exec(ctx, insertAttempt, message, a.At.UnixMicro(), int64(a.Took), a.Class.String(),
		storable(a.Error), storable(a.Stack))
	return err
}

// storable is a text without what PostgreSQL refuses in one: errors may quote anything.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// Head returns the first message that waits in a sequence.
func (h *HandlerStore) Head(ctx context.Context, handler, key string) (p router.Parked, ok bool, err error) {
	tx, err := h.s.tx(ctx)
	if err != nil {
		return p, false, err
	}
	id, p, err := head(ctx, tx, handler, key)
	if errors.Is(err, pgx.ErrNoRows) {
		return router.Parked{}, false, nil
	}
	if err != nil {
		return router.Parked{}, false, err
	}
	err = each(ctx, tx, func(scan func(...any) error) error {
		var a router.Attempt
		var at, took int64
		var class string
		err := scan(&at, &took, &class, &a.Error, &a.Stack)
		a.Class, _ = handlers.ParseClass(class)
		a.At, a.Took = time.UnixMicro(at).UTC(), time.Duration(took)
		p.Attempts = append(p.Attempts, a)
		return err
	}, selectAttempts, id)
	return p, err == nil, err
}

// head locks the sequence; pgx.ErrNoRows: there is none. The message is read by a statement of its own, which sees
// what whoever had the lock before has done.
func head(ctx context.Context, tx pgx.Tx, handler, key string) (id int64, p router.Parked, err error) {
	var there int
	if err := tx.QueryRow(ctx, lockSequence, handler, []byte(key)).Scan(&there); err != nil {
		return 0, p, err
	}
	p.Handler, p.Key = handler, key
	var topic, status, metadata string
	var offset, at int64
	err = tx.QueryRow(ctx, selectParked, handler, []byte(key)).
		Scan(&id, &topic, &p.Partition, &p.Incarnation, &offset, &status, &at, &metadata, &p.Payload)
	if err != nil {
		return 0, p, err
	}
	p.Topic, p.Status = bank.Topic(topic), router.Status(status)
	p.Position, p.At = handlers.PositionAt(offset), time.UnixMicro(at).UTC()
	return id, p, json.Unmarshal([]byte(metadata), &p.Metadata)
}

// ErrNotHead means that the message is not the one that waits first for its key.
var ErrNotHead = errors.New("postgres: the message is not the head of its sequence")

// Attempted adds a failed try to the head of a sequence.
func (h *HandlerStore) Attempted(ctx context.Context, p router.Parked, a router.Attempt) error {
	tx, id, err := h.mustHead(ctx, &p)
	if err != nil {
		return err
	}
	const failed = `UPDATE parked_message SET status = $1 WHERE id = $2`
	if _, err := tx.Exec(ctx, failed, string(router.Failed), id); err != nil {
		return err
	}
	return addAttempt(ctx, tx, id, &a)
}

// Resolve ends the waiting of the head of a sequence, and the sequence with its last message.
func (h *HandlerStore) Resolve(ctx context.Context, p router.Parked, as router.Status, at time.Time) error {
	tx, id, err := h.mustHead(ctx, &p)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE parked_message SET status = $1, ended_at = $2 WHERE id = $3`,
		string(as), at.UnixMicro(), id)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, shrinkSequence, p.Handler, []byte(p.Key)); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, endSequence, p.Handler, []byte(p.Key))
	return err
}

func (h *HandlerStore) mustHead(ctx context.Context, p *router.Parked) (pgx.Tx, int64, error) {
	tx, err := h.s.tx(ctx)
	if err != nil {
		return nil, 0, err
	}
	id, is, err := head(ctx, tx, p.Handler, p.Key)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && (is.Position != p.Position || is.Incarnation != p.Incarnation) {
		return nil, 0, ErrNotHead
	}
	return tx, id, err
}
