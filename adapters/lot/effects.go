//go:build drill

package lot

import (
	"context"
	"slices"
)

// What handlers have done, for drills that look whether each message had its effect once and in order. It is written in
// the handler's transaction, and numbered behind the lock of a row for each key: so in the order of the commits.
const (
	makeEffects = `CREATE TABLE IF NOT EXISTS drill_effect (handler TEXT NOT NULL, key TEXT NOT NULL,
		nth BIGINT NOT NULL, version BIGINT NOT NULL, PRIMARY KEY (handler, key, nth))`
	makeCounts = `CREATE TABLE IF NOT EXISTS drill_count (handler TEXT NOT NULL, key TEXT NOT NULL,
		n BIGINT NOT NULL, PRIMARY KEY (handler, key))`
	countEffects = `INSERT INTO drill_count (handler, key, n) VALUES ($1, $2, $3)
		ON CONFLICT (handler, key) DO UPDATE SET n = drill_count.n + excluded.n RETURNING n`
	forgetEffects = `DELETE FROM drill_effect WHERE handler = $1 AND key = $2`
	insertEffect  = `INSERT INTO drill_effect (handler, key, nth, version) VALUES ($1, $2, $3, $4)`
	selectEffects = `SELECT handler, key, version FROM drill_effect ORDER BY handler, key, nth`
)

// MakeEffects makes the tables.
func (l *Lot) MakeEffects(ctx context.Context) error {
	return l.db.InTx(ctx, func(ctx context.Context) error {
		if err := l.exec(ctx, makeEffects); err != nil {
			return err
		}
		return l.exec(ctx, makeCounts)
	})
}

// Effected notes that a handler has taken in versions of keys, each key's in order, in the transaction that ctx
// carries.
func (l *Lot) Effected(ctx context.Context, handler string, versions map[string][]uint64) error {
	keys := make([]string, 0, len(versions))
	for key := range versions {
		keys = append(keys, key)
	}
	slices.Sort(keys) // so that who locks several does not wait for who waits for him
	for _, key := range keys {
		var n int64
		if _, err := l.one(ctx, []any{&n}, countEffects, handler, key, len(versions[key])); err != nil {
			return err
		}
		n -= int64(len(versions[key]))
		for _, v := range versions[key] {
			n++
			if err := l.exec(ctx, insertEffect, handler, key, n, int64(v)); err != nil { //nolint:gosec // a count
				return err
			}
		}
	}
	return nil
}

// Unaffected forgets what was noted of a key, in the transaction that ctx carries: its view is written anew.
func (l *Lot) Unaffected(ctx context.Context, handler, key string) error {
	return l.exec(ctx, forgetEffects, handler, key)
}

// Effects calls tell with everything that was noted, each key's in order.
func (l *Lot) Effects(ctx context.Context, tell func(handler, key string, version uint64) error) error {
	return l.db.Each(ctx, func(scan func(...any) error) error {
		var handler, key string
		var version int64
		if err := scan(&handler, &key, &version); err != nil {
			return err
		}
		return tell(handler, key, uint64(version)) //nolint:gosec // as it was noted
	}, selectEffects)
}
