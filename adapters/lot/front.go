package lot

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

var _ router.Fronts = (*Lot)(nil)

// padded repeats the last value until there are 1, 2, 4, 8 and so on, so that there are few statements.
func padded(values []any) []any {
	for len(values)&(len(values)-1) != 0 {
		values = append(values, values[len(values)-1])
	}
	return values
}

// Front returns the first messages that wait in several sequences.
func (l *Lot) Front(ctx context.Context, handler string, keys []string, limit int) ([]router.Fronted, error) {
	if err := l.db.Tx(ctx); err != nil || len(keys) == 0 {
		return nil, err
	}
	waiting, chosen, err := l.lockFront(ctx, handler, keys, limit)
	if err != nil || len(chosen) == 0 {
		return nil, err
	}
	// In the order of the index; only of one sequence there may be more than the limit.
	order := ` ORDER BY m.handler, m.key, m.id LIMIT $2`
	if len(chosen) > 1 {
		order = ` LIMIT $2`
	}
	of, args := l.keyed("s.key", 3, chosen)
	var all []router.Fronted
	err = l.db.Each(ctx, func(scan func(...any) error) error {
		f := router.Fronted{Parked: router.Parked{Stream: router.Stream{Handler: handler}}}
		var topic, status, accounts string
		var key, metadata []byte
		var offset, at int64
		err := scan(&f.ID, &key, &topic, &f.Partition, &f.Incarnation, &offset, &status, &at, &f.Type, &f.Correlation,
			&accounts, &metadata, &f.Payload)
		if err != nil {
			return err
		}
		f.Key, f.Topic, f.Status, f.Accounts = string(key), bank.Topic(topic), router.Status(status), words(accounts)
		f.Position, f.At, f.Waiting = handlers.PositionAt(offset), timeOf(at), waiting[f.Key]
		all = append(all, f)
		return json.Unmarshal(metadata, &all[len(all)-1].Metadata)
	}, `SELECT m.id, m.key, m.topic, m.partition, m.incarnation, m.position, m.status, m.parked_at, m.type, m.correlation,
		m.accounts, m.metadata, m.payload FROM parked_sequence s JOIN parked_message m
		ON m.handler = s.handler AND m.key = s.key AND m.id >= s.head WHERE s.handler = $1 AND `+of+`
		AND m.ended_at IS NULL`+order, append([]any{handler, limit}, args...)...)
	slices.SortFunc(all, func(a, b router.Fronted) int { return cmp.Compare(a.ID, b.ID) })
	return all, err
}

// lockFront locks sequences in the order of their keys, as handlers do, and chooses which of them are taken: how many
// wait in each. One that an act is about as well is left to who tries one by one: the act must come to its end.
func (l *Lot) lockFront(
	ctx context.Context, handler string, keys []string, limit int,
) (waiting map[string]int, chosen []string, err error) {
	of, asked := l.keyed("key", 2, keys)
	waiting = map[string]int{}
	sum := 0
	err = l.db.Each(ctx, func(scan func(...any) error) error {
		var key []byte
		var n int
		if err := scan(&key, &n); err != nil {
			return err
		}
		if sum == 0 || sum+n <= limit {
			sum += n
			waiting[string(key)] = n
			chosen = append(chosen, string(key))
		}
		return nil
	}, l.locking(`SELECT key, waiting FROM parked_sequence WHERE handler = $1 AND `+of+`
		AND head > 0 AND paused = 0 AND alone = 0 AND rebuild = '' AND cause NOT LIKE 'act!_%' ESCAPE '!'
		ORDER BY key`),
		append([]any{handler}, asked...)...)
	return waiting, chosen, err
}

// The rest of a sequence goes on behind the last one that was handled.
const nextFront = `UPDATE parked_sequence SET waiting = waiting - $3, tries = 0, class = '', fingerprint = '',
	failed_at = 0, tried_at = 0, head = coalesce((SELECT min(m.id) FROM parked_message m WHERE m.handler = $1
		AND m.key = $2 AND m.id > $4 AND m.ended_at IS NULL), 0),
	since = coalesce((SELECT m.parked_at FROM parked_message m WHERE m.handler = $1 AND m.key = $2 AND m.id > $4
		AND m.ended_at IS NULL ORDER BY m.id LIMIT 1), since),
	due_at = CASE WHEN CAST($5 AS bigint) > 0 THEN $5 ELSE due_at END,
	cause = CASE WHEN CAST($5 AS bigint) > 0 THEN 'backoff' ELSE cause END WHERE handler = $1 AND key = $2`

// ResolveFront ends the waiting of what Front has returned.
func (l *Lot) ResolveFront(
	ctx context.Context, handler string, all []router.Fronted, e router.Ending,
) (drained []string, err error) {
	if err := l.db.Tx(ctx); err != nil {
		return nil, err
	}
	ids := make([]any, len(all))
	taken, last := map[string]int{}, map[string]int64{}
	for i := range all {
		f := &all[i]
		ids[i] = f.ID
		last[f.Key] = f.ID
		if taken[f.Key]++; taken[f.Key] == f.Waiting {
			drained = append(drained, f.Key)
		}
	}
	ids = padded(ids)
	n, err := l.db.Exec(ctx, `UPDATE parked_message SET status = $1, ended_at = $2, ended_by = $3
		WHERE ended_at IS NULL AND `+among("id", 4, ids), append([]any{string(e.As), e.At.UnixMicro(), e.By}, ids...)...)
	if err == nil && int(n) != len(all) {
		err = ErrNotHead
	}
	if err != nil {
		return nil, err
	}
	err = l.exec(ctx, `UPDATE parked_account SET fingerprint = '' WHERE fingerprint <> '' AND `+among("message", 1, ids),
		ids...)
	if err != nil {
		return nil, err
	}
	for _, key := range drained {
		delete(taken, key)
	}
	for key, n := range taken {
		if err := l.exec(ctx, nextFront, handler, l.db.Key(key), n, last[key], micros(e.Next)); err != nil {
			return nil, err
		}
	}
	if len(drained) == 0 {
		return nil, nil
	}
	of, empty := l.keyed("key", 2, drained)
	return drained, l.exec(ctx, `DELETE FROM parked_sequence WHERE handler = $1 AND paused = 0 AND rebuild = '' AND `+of,
		append([]any{handler}, empty...)...)
}
