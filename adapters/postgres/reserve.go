package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"bankforge/handlers"
	"bankforge/router/rebuild"
)

var _ rebuild.Store = (*HandlerStore)(nil)

// ParkedFrom implements rebuild.Places.
func (h *HandlerStore) ParkedFrom(ctx context.Context, handler string) (map[string]handlers.Position, error) {
	return waiting(ctx, h.s.querier(ctx), h.s.name, handler)
}

func waiting(ctx context.Context, q querier, schema, handler string) (map[string]handlers.Position, error) {
	parked := map[string]handlers.Position{}
	err := each(ctx, q, func(scan func(...any) error) error {
		var key []byte
		var offset int64
		err := scan(&key, &offset)
		parked[string(key)] = handlers.PositionAt(offset)
		return err
	}, `SELECT key, min(position) FROM `+schema+`.parked_message WHERE handler = $1 AND ended_at IS NULL GROUP BY key`,
		handler)
	return parked, err
}

// Forget lets a handler begin anew in all of its partitions, and what was parked for it with it.
func (h *HandlerStore) Forget(ctx context.Context, handler string) error {
	return h.InTx(ctx, func(ctx context.Context) error {
		if err := h.ForgetAll(ctx, handler); err != nil {
			return err
		}
		_, err := h.s.exec(ctx, `DELETE FROM checkpoint WHERE handler = $1`, handler)
		return err
	})
}

// Repartition gives all handlers checkpoints in so many partitions, each where the handler was in all of those that
// there are. Who comes to what it has already leaves it out; but it must not be parked there.
func (h *HandlerStore) Repartition(ctx context.Context, partitions int) error {
	return h.InTx(ctx, func(ctx context.Context) error {
		_, err := h.s.exec(ctx, `WITH least AS (
				DELETE FROM checkpoint RETURNING handler, topic, partition, incarnation, position
			)
			INSERT INTO checkpoint (handler, topic, partition, incarnation, position)
			SELECT handler, topic, n, min(incarnation), min(position) FROM least, generate_series(0, $1::int - 1) AS n
			GROUP BY handler, topic, n`, partitions)
		return err
	})
}

// reservePatience is how long Reserve waits for somebody who has just let go: the server may hear of the end of a
// process, or of a question, a moment later.
const reservePatience = "500ms"

// Reserve implements rebuild.Store: with a connection of its own, so that the server ends it with the process.
func (h *HandlerStore) Reserve(ctx context.Context, handler string, shared bool) (release func(), err error) {
	conn, err := pgx.ConnectConfig(ctx, h.s.pool.Config().ConnConfig.Copy())
	if err != nil {
		return nil, err
	}
	release = func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
		defer cancel()
		_, _ = conn.Exec(end, `SELECT pg_advisory_unlock_all()`)
		_ = conn.Close(end) // whatever comes of both, the server sees the end
	}
	const key = `(hashtextextended($1, 0))`
	ask := `SELECT pg_advisory_lock_shared` + key
	if !shared {
		ask = `SELECT pg_advisory_lock` + key
		_, err = conn.Exec(ctx, `SET lock_timeout = '`+reservePatience+`'`)
	}
	if err == nil {
		_, err = conn.Exec(ctx, ask, h.s.name+"/"+handler)
	}
	switch {
	case err == nil:
		return release, nil
	case hasCode(err, "55P03"): // lock_not_available
		err = rebuild.ErrUnderWay
	default:
		err = fmt.Errorf("reserve view %s: %w", handler, err)
	}
	release()
	return nil, err
}
