package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"bankforge/adapters/lot"
	"bankforge/app/bank"
	"bankforge/app/fault"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/mirror"
)

// HandlerStore is the router.Store of handlers that write to a schema: their checkpoints and parked messages stand
// beside what they write.
type HandlerStore struct {
	*lot.Lot
	s *Schema
}

var _ router.Store = (*HandlerStore)(nil)

// NewHandlerStore uses the tables of the schema of the views, or of the state.
func NewHandlerStore(s *Schema) *HandlerStore { return &HandlerStore{lot.New(lotDB{s}), s} }

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

	someSequences = `SELECT key FROM parked_sequence WHERE handler = $1 LIMIT $2`
	askSequences  = `SELECT key FROM parked_sequence WHERE handler = $1 AND key = ANY ($2)`
	lockSequences = askSequences + ` ORDER BY key FOR SHARE`
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
	if err := h.Lot.Forget(ctx, of, c); err != nil {
		return err
	}
	return h.Advance(ctx, of, c)
}

// Blocked returns those of the keys that are parked. Nearly always nothing is, or little of what the handler has, and
// that is found out first: nobody but who holds the checkpoint makes a sequence of one of these keys.
func (h *HandlerStore) Blocked(ctx context.Context, handler string, keys []string) ([]string, error) {
	q, ask := h.s.querier(ctx), lockSequences
	if _, err := h.s.tx(ctx); err != nil || fault.Planted(fault.NoRowLock) {
		ask = askSequences
	}
	all, err := keysIn(ctx, q, someSequences, handler, len(keys)+1)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	if len(all) <= len(keys) {
		keys = lot.Both(all, keys)
	}
	if len(keys) == 0 {
		return nil, nil
	}
	asked := make([][]byte, len(keys))
	for i, key := range keys {
		asked[i] = []byte(key)
	}
	return keysIn(ctx, q, ask, handler, asked)
}

func keysIn(ctx context.Context, q querier, question string, args ...any) (keys []string, err error) {
	err = each(ctx, q, func(scan func(...any) error) error {
		var key []byte
		err := scan(&key)
		keys = append(keys, string(key))
		return err
	}, question, args...)
	return keys, err
}

const (
	selectUnmirrored = `SELECT m.id, m.handler, m.topic, m.partition, m.key, m.incarnation, m.position, m.status,
		m.parked_at, m.class, m.error, coalesce(a.stack, ''), m.metadata, m.payload FROM parked_message m
		LEFT JOIN LATERAL (SELECT stack FROM parked_attempt WHERE message = m.id ORDER BY n DESC LIMIT 1) a ON true
		WHERE NOT m.mirrored ORDER BY m.id LIMIT $1`
	markMirrored = `UPDATE parked_message SET mirrored = true WHERE id = ANY ($1)`
)

var _ mirror.Store = (*HandlerStore)(nil)

// Unmirrored returns messages that were parked and not noted as mirrored. Ids of one key ascend as they were committed:
// whoever parks has its checkpoint locked.
func (h *HandlerStore) Unmirrored(ctx context.Context, limit int) (out []mirror.Letter, err error) {
	err = each(ctx, h.s.querier(ctx), func(scan func(...any) error) error {
		var l mirror.Letter
		var topic, status string
		var key, metadata []byte
		var offset, at int64
		err := scan(&l.ID, &l.Handler, &topic, &l.Partition, &key, &l.Incarnation, &offset, &status, &at, &l.Class,
			&l.Error, &l.Stack, &metadata, &l.Payload)
		if err != nil {
			return err
		}
		l.Topic, l.Key, l.Status = bank.Topic(topic), string(key), router.Status(status)
		l.Position, l.At = handlers.PositionAt(offset), time.UnixMicro(at).UTC()
		out = append(out, l)
		return json.Unmarshal(metadata, &out[len(out)-1].Metadata)
	}, selectUnmirrored, limit)
	return out, err
}

// Mirrored notes that they are.
func (h *HandlerStore) Mirrored(ctx context.Context, ids []int64) error {
	return h.InTx(ctx, func(ctx context.Context) error {
		_, err := h.s.exec(ctx, markMirrored, ids)
		return err
	})
}

// storable is a text without what PostgreSQL refuses in one: errors may quote anything.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// lotDB has the parking lot's statements run on the schema.
type lotDB struct{ *Schema }

var _ lot.DB = lotDB{}

// Exec runs a statement in the transaction that ctx carries.
func (d lotDB) Exec(ctx context.Context, statement string, args ...any) (int64, error) {
	return d.exec(ctx, statement, args...)
}

// Each asks a question.
func (d lotDB) Each(
	ctx context.Context, row func(scan func(...any) error) error, question string, args ...any,
) error {
	return each(ctx, d.querier(ctx), row, question, args...)
}

// Tx is nil when ctx carries a transaction.
func (d lotDB) Tx(ctx context.Context) error {
	_, err := d.tx(ctx)
	return err
}

// Key is a key as it is stored.
func (d lotDB) Key(key string) any { return []byte(key) }

// Text is a text as it can be stored.
func (d lotDB) Text(text string) string { return storable(text) }

// Beside is the column: statistics tell what is rare.
func (d lotDB) Beside(column string) string { return column }

// Locks is true: transactions are beside one another.
func (d lotDB) Locks() bool { return !fault.Planted(fault.NoRowLock) }
