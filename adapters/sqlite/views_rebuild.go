package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

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

// RebuildViews builds the named views anew from the log, beside the old ones, says in what the old ones differ,
// and then puts the new ones in their place, all in one transaction. db must be in use by nobody else, and
// scratch is a directory for as much data again. When it fails, the old views are as they were.
func RebuildViews(
	ctx context.Context, db *DB, source router.Source, scratch string, names []string,
) (r Rebuilt, err error) {
	at, err := places(ctx, db, names)
	if err != nil {
		return r, err
	}
	b, err := newBuilder(ctx, source, scratch)
	if err != nil {
		return r, fmt.Errorf("rebuild: %w", err)
	}
	defer func() { err = errors.Join(err, b.remove()) }()
	if err := b.rebuild(ctx, db, at, &r); err != nil {
		return r, fmt.Errorf("rebuild: %w", errors.Join(err, b.db.Close()))
	}
	if err := b.db.Close(); err != nil {
		return r, fmt.Errorf("rebuild: %w", err)
	}
	if err := switchTo(ctx, db, b, at, r.Through); err != nil {
		return r, fmt.Errorf("rebuild: put the new views in place: %w", err)
	}
	return r, nil
}

func (b *builder) rebuild(ctx context.Context, db *DB, at []place, r *Rebuilt) error {
	head, err := b.source.Head(ctx)
	if err != nil {
		return err
	}
	r.Through = head.Seq
	var d differences
	var known []place
	for i := range at {
		p := &at[i]
		r.Parked += len(p.parked)
		if p.astray(head, b.incarnation, &d) { // it has nothing that is worth keeping
			p.Checkpoint, p.parked = router.Checkpoint{}, nil
			continue
		}
		known = append(known, *p)
	}
	if err := b.standing(ctx, at); err != nil {
		return err
	}
	if err := d.compare(ctx, known, b.db, db); err != nil {
		return err
	}
	r.Differences, r.Omitted = d.found, d.more
	if err := b.finish(ctx, at, head.Seq); err != nil {
		return err
	}
	return b.db.InTx(ctx, b.views.settle)
}

// switchTo replaces the tables of the views with those that were built. What was parked is in there, so
// that it waits no more; that it did stays known.
func switchTo(ctx context.Context, db *DB, b *builder, at []place, through bank.Seq) (err error) {
	if _, err := db.write.ExecContext(ctx, `ATTACH DATABASE ? AS built`, b.db.path); err != nil {
		return err
	}
	defer func() {
		_, detach := db.write.ExecContext(context.WithoutCancel(ctx), `DETACH DATABASE built`)
		err = errors.Join(err, detach)
	}()
	return db.InTx(ctx, func(ctx context.Context) error {
		for i := range at {
			if err := at[i].replace(ctx, db, b.incarnation, through); err != nil {
				return fmt.Errorf("view %s: %w", at[i].handler, err)
			}
		}
		return nil
	})
}

func (p *place) replace(ctx context.Context, db *DB, incarnation string, through bank.Seq) error {
	tx, err := db.tx(ctx)
	if err != nil {
		return err
	}
	db.recent.forget()
	indexes, err := p.dropIndexes(ctx, db)
	if err != nil {
		return err
	}
	var copying []string
	for _, t := range p.tables {
		if t.notes != "" {
			copying = append(copying, "DELETE FROM main."+t.notes)
		}
		copying = append(copying, "DELETE FROM main."+t.name,
			"INSERT INTO main."+t.name+" SELECT * FROM built."+t.name) //nolint:unqueryvet // made by the same migrations
	}
	if err := execAll(ctx, tx, append(copying, indexes...)); err != nil {
		return err
	}
	store := NewHandlerStore(db)
	if _, err := store.TakenIn(ctx, p.handler); err != nil {
		return err
	}
	return store.Advance(ctx, p.stream(),
		router.Checkpoint{Incarnation: incarnation, Position: handlers.End(through)})
}

// Forgets take away what one key has in a view, so that its handler can write it anew.
func (v *Views) Forgets() router.Forgets {
	return router.Forgets{Balances: v.forgetAccount, Entries: v.forgetHistory, Transactions: v.forgetTransaction}
}

func (v *Views) forgetAccount(ctx context.Context, key string) (known bool, err error) {
	id, ok := idIn(bank.ParseID[bank.Account], key)
	if !ok {
		return false, nil
	}
	v.db.recent.remove(id)
	err = v.without(ctx, id, `DELETE FROM account WHERE id = ?`, forgetDetails)
	if err == nil {
		err = v.accounts.remove(ctx, id)
	}
	return true, err
}

// forgetHistory looks for entries where a list does.
func (v *Views) forgetHistory(ctx context.Context, key string) (known bool, err error) {
	id, ok := idIn(bank.ParseID[bank.Account], key)
	if !ok {
		return false, nil
	}
	tx, err := v.db.tx(ctx)
	if err != nil {
		return true, err
	}
	end, _, err := v.ends.peek(ctx, id)
	if err != nil {
		return true, err
	}
	segments, err := v.segmentsOf(ctx, id, end.seq)
	if err == nil {
		err = v.walk(ctx, entries, segments, func(i int) (bool, error) {
			_, err := tx.ExecContext(ctx, `DELETE FROM entry WHERE slot >= ? AND slot < ? AND account = ?`,
				segments[i].from, segments[i].to, id.String())
			return true, err
		})
	}
	if err == nil {
		err = v.without(ctx, id, `DELETE FROM entry_end WHERE account = ?`, `DELETE FROM hold WHERE account = ?`)
	}
	if err == nil {
		err = v.ends.remove(ctx, id)
	}
	return true, err
}

func (v *Views) forgetTransaction(ctx context.Context, key string) (known bool, err error) {
	id, ok := idIn(bank.ParseID[bank.Transaction], key)
	if !ok {
		return false, nil
	}
	seq, was, err := v.stored(ctx, id)
	if errors.Is(err, sql.ErrNoRows) {
		return true, nil
	}
	if err != nil {
		return true, err
	}
	for _, row := range was.found(seq).appendTo(nil) {
		if err := v.exec(ctx, forgetIndex, row); err != nil {
			return true, err
		}
	}
	return true, v.without(ctx, id, `DELETE FROM txn WHERE id = ?`)
}

// idIn is the id that a key is the text of. Only poison has another key.
func idIn[ID fmt.Stringer](parse func(string) (ID, error), key string) (id ID, ok bool) {
	id, err := parse(key)
	return id, err == nil && id.String() == key
}

// without runs statements that take away rows of one id.
func (v *Views) without(ctx context.Context, id fmt.Stringer, statements ...string) error {
	tx, err := v.db.tx(ctx)
	if err != nil {
		return err
	}
	for _, s := range statements {
		if _, err := tx.ExecContext(ctx, s, id.String()); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}
