package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// Rebuilt says what a rebuild did.
type Rebuilt struct {
	Through     bank.Seq         // the last event that is in the views now
	Parked      int              // keys whose messages waited, and are in the views now
	Differences []app.Difference // the first ones between the old views and the log, at where the old views stood
	Omitted     int              // how many more there are
}

// RebuildViews builds the named views anew from the log, beside the old ones, says in what the old ones differ, and
// then puts the new ones in their place, all in one transaction, for which handlers and readers wait. The bank may go
// on meanwhile. of may be nil where no broker has partitions. When it fails, the old views are as they were.
func RebuildViews(
	ctx context.Context, db *DB, source router.Source, names []string, of Partitions,
) (r Rebuilt, err error) {
	at, err := places(ctx, db.views.pool, db.views.name, names, of)
	if err != nil {
		return r, err
	}
	b, err := newBuilder(ctx, db.views, source, false)
	if err != nil {
		return r, fmt.Errorf("rebuild: %w", err)
	}
	defer func() { err = errors.Join(err, b.close(context.WithoutCancel(ctx))) }()
	if err := b.rebuild(ctx, db, at, &r); err != nil {
		return r, fmt.Errorf("rebuild: %w", err)
	}
	return r, nil
}

func (b *builder) rebuild(ctx context.Context, db *DB, at []place, r *Rebuilt) error {
	head, err := b.source.Head(ctx)
	if err != nil {
		return err
	}
	var d differences
	var known []place
	var names []string
	for i := range at {
		if at[i].astray(head, b.incarnation, &d) { // it has nothing that is worth keeping
			at[i].at, at[i].parked = map[int]router.Checkpoint{}, nil
			continue
		}
		known, names = append(known, at[i]), append(names, at[i].handler)
	}
	if err := b.standing(ctx, at); err != nil {
		return err
	}
	check := &ViewsCheck{db.views, b.source, at[0].of, names}
	if err := check.compare(ctx, b, known, &d); err != nil {
		return err
	}
	r.Differences, r.Omitted = d.found, d.more
	if err := b.finish(ctx, at, 0, head.Seq); err != nil {
		return err
	}
	if err := b.learn(ctx, at); err != nil {
		return err
	}
	return db.views.InTx(ctx, func(ctx context.Context) error { return b.replace(ctx, db.views, at, head.Seq, r) })
}

// finish goes on from these places to the end of the log, also with what is parked there. Nothing up to the event after
// is missing.
func (b *builder) finish(ctx context.Context, at []place, after, end bank.Seq) error {
	return b.run(ctx, at, after, end, func(p int, f *handlers.Fact) bool { return !at[p].has(f) })
}

// learn has the server look at what was built: without statistics it finds rows in bad ways, and nobody knows when it
// gets round to it.
func (b *builder) learn(ctx context.Context, at []place) error {
	for i := range at {
		for _, t := range at[i].tables {
			if _, err := b.s.pool.Exec(ctx, "ANALYZE "+t.name); err != nil {
				return err
			}
		}
	}
	return nil
}

// switchWithin is how long readers of the old views may hold up the new ones.
const switchWithin = "10s"

// replace holds the handlers up, takes in what has happened since, and puts the new tables in the place of the old
// ones. What was parked is in there, so that it waits no more; that it did stays known.
func (b *builder) replace(ctx context.Context, old *Schema, at []place, have bank.Seq, r *Rebuilt) error {
	tx, err := old.tx(ctx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '`+switchWithin+`'`); err != nil {
		return err
	}
	for i := range at {
		if _, err := tx.Exec(ctx, `SELECT FROM checkpoint WHERE handler = $1 ORDER BY topic, partition FOR UPDATE`,
			at[i].handler); err != nil {
			return err
		}
	}
	head, err := b.source.Head(ctx)
	if err != nil {
		return err
	}
	if head.Incarnation != b.incarnation {
		return errors.New("the log has become another one meanwhile")
	}
	r.Through = head.Seq
	fresh := func(int, *handlers.Fact) bool { return true }
	if err := b.run(ctx, at, have, head.Seq, fresh); err != nil {
		return err
	}
	for i := range at {
		n, err := NewHandlerStore(old).TakenIn(ctx, at[i].handler)
		if err == nil {
			err = b.put(ctx, tx, &at[i], head.Seq)
		}
		if err != nil {
			return fmt.Errorf("view %s: %w", at[i].handler, err)
		}
		r.Parked += n
	}
	return nil
}

func (b *builder) put(ctx context.Context, tx pgx.Tx, p *place, through bank.Seq) (err error) {
	for _, t := range p.tables {
		for _, sql := range []string{
			`DROP TABLE ` + b.beside.name + `.` + t.name,
			`ALTER TABLE ` + b.s.name + `.` + t.name + ` SET SCHEMA ` + b.beside.name,
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
		}
	}
	// Of partitions that have no checkpoint yet, the handler finds by itself that it has what they tell.
	if p.of == nil {
		_, err = tx.Exec(ctx, makeCheckpoint, p.handler, string(p.topic), 0)
	}
	if err == nil {
		_, err = tx.Exec(ctx, `UPDATE checkpoint SET incarnation = $1, position = $2 WHERE handler = $3 AND topic = $4`,
			b.incarnation, handlers.End(through).Offset(), p.handler, string(p.topic))
	}
	return err
}

// Forgets take away what one key has in a view, so that its handler can write it anew.
func (v *Views) Forgets() router.Forgets {
	return router.Forgets{
		Balances: forget(v, bank.ParseID[bank.Account], `DELETE FROM account WHERE id = $1`,
			`DELETE FROM account_details WHERE account = $1`),
		Entries: forget(v, bank.ParseID[bank.Account], `DELETE FROM entry WHERE account = $1`,
			`DELETE FROM hold WHERE account = $1`),
		Transactions: forget(v, bank.ParseID[bank.Transaction], `DELETE FROM txn WHERE id = $1`),
	}
}

// forget takes the rows of an id away. Only poison has a key that is the text of none.
func forget[ID textID](v *Views, parse func(string) (ID, error), statements ...string) router.Forget {
	return func(ctx context.Context, key string) (known bool, err error) {
		id, err := parse(key)
		if known = err == nil && id.String() == key; !known {
			return false, nil
		}
		for _, s := range statements {
			if _, err := v.s.exec(ctx, s, key); err != nil {
				return true, fmt.Errorf("%s: %w", s, err)
			}
		}
		return true, nil
	}
}
