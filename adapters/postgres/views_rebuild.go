package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

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

// Rebuilding says which views are built anew, and from what.
type Rebuilding struct {
	Source     router.Source
	Views      []string
	Of         Partitions // nil: the log is its own broker
	Partitions int        // of each topic; 1 where the log is its own broker
}

// RebuildViews builds views anew from the log in a schema of their own, beside the old ones and beside processes that
// run. It says in what the old ones differ from the log, each at where it stands, and puts the new ones in their place in
// one transaction, which handlers and readers wait for: most is done before it, so it is short. When it fails, the old
// views are as they were.
func RebuildViews(ctx context.Context, db *DB, how Rebuilding) (r Rebuilt, err error) {
	b, err := newBuilder(ctx, db.views, how.Source, false)
	if err != nil {
		return r, fmt.Errorf("rebuild: %w", err)
	}
	defer func() { err = errors.Join(err, b.close(context.WithoutCancel(ctx))) }()
	s := &switching{builder: b, Rebuilding: how, old: db.views, done: &r}
	if err := s.build(ctx); err != nil {
		return r, fmt.Errorf("rebuild: %w", err)
	}
	if err := db.views.InTx(ctx, s.change); err != nil {
		return r, fmt.Errorf("rebuild: put the new views in place: %w", err)
	}
	return r, nil
}

// switching is a rebuild on its way.
type switching struct {
	*builder
	Rebuilding
	old  *Schema
	of   []place
	done *Rebuilt
}

// build builds what the old views must be, compares, and goes on to where the log ends, as nearly as that can be without
// holding anybody up.
func (s *switching) build(ctx context.Context) (err error) {
	if s.of, err = places(ctx, s.old.pool, s.old.name, s.Views, s.Of); err != nil {
		return err
	}
	check := &ViewsCheck{views: s.old, source: s.Source, of: s.Of, names: s.Views}
	head, err := s.Source.Head(ctx)
	if err != nil {
		return err
	}
	var d differences
	var known []place
	for i := range s.of {
		p := &s.of[i]
		if p.astray(head, s.incarnation, &d) || p.elsewhere(s.Partitions, &d) { // it has nothing that is worth keeping
			p.at, p.parked = map[int]router.Checkpoint{}, map[string]handlers.Position{}
			continue
		}
		known = append(known, *p)
	}
	if err := s.standing(ctx, known); err != nil {
		return err
	}
	if err := check.compare(ctx, s.builder, known, &d); err != nil {
		return err
	}
	s.done.Differences, s.done.Omitted = d.found, d.more
	from := head.Seq
	for i := range s.of {
		from = min(from, s.of[i].whole(s.Partitions))
	}
	if err := s.run(ctx, s.of, from, head.Seq, func(p int, f *handlers.Fact) bool { return !s.of[p].has(f) }); err != nil {
		return err
	}
	s.done.Through = head.Seq
	return s.learn(ctx)
}

// elsewhere reports whether a view was kept with other partitions: then its checkpoints do not tell what it has.
func (p *place) elsewhere(partitions int, d *differences) bool {
	for i := range p.at {
		if i >= partitions {
			d.add(p, "", fmt.Sprintf("view %s was kept in %d partitions or more instead of %d", p.handler, i+1, partitions))
			return true
		}
	}
	return false
}

// whole is an event up to which the view has everything.
func (p *place) whole(partitions int) bank.Seq {
	whole := ^bank.Seq(0)
	for i := range partitions {
		whole = min(whole, p.at[i].Position.Whole())
	}
	for _, from := range p.parked {
		whole = min(whole, max(from.Seq, 1)-1)
	}
	return whole
}

// learn has the server look at what was built: without statistics it would look for the first rows in bad ways.
func (s *switching) learn(ctx context.Context) error {
	for i := range s.of {
		for _, t := range s.of[i].tables {
			if _, err := s.s.pool.Exec(ctx, "ANALYZE "+t.name); err != nil {
				return err
			}
		}
	}
	return nil
}

// alone keeps handlers and replays from beginning, and waits for those that have begun.
const alone = `LOCK TABLE checkpoint, parked_sequence IN EXCLUSIVE MODE`

// change takes in what has come since, and replaces the tables, within a transaction on the old schema.
func (s *switching) change(ctx context.Context) error {
	if _, err := s.old.exec(ctx, alone); err != nil {
		return err
	}
	head, err := s.Source.Head(ctx)
	if err != nil {
		return err
	}
	err = s.run(ctx, s.of, s.done.Through, head.Seq, func(int, *handlers.Fact) bool { return true })
	if err != nil {
		return err
	}
	s.done.Through = head.Seq
	for i := range s.of {
		if err := s.replace(ctx, &s.of[i]); err != nil {
			return fmt.Errorf("view %s: %w", s.of[i].handler, err)
		}
	}
	return nil
}

// replace puts the tables of a view in the place of the old ones. What was parked is in there, so that it waits no more;
// that it did stays known.
func (s *switching) replace(ctx context.Context, p *place) error {
	for _, t := range p.tables {
		for _, statement := range []string{
			"DROP TABLE " + s.old.name + "." + t.name,
			"ALTER TABLE " + s.s.name + "." + t.name + " SET SCHEMA " + s.old.name,
		} {
			if _, err := s.old.exec(ctx, statement); err != nil {
				return err
			}
		}
	}
	const resolve = `UPDATE parked_message SET status = $1, ended_at = $2 WHERE handler = $3 AND ended_at IS NULL`
	if _, err := s.old.exec(ctx, resolve, string(router.Resolved), time.Now().UnixMicro(), p.handler); err != nil {
		return err
	}
	parked, err := s.old.exec(ctx, `DELETE FROM parked_sequence WHERE handler = $1`, p.handler)
	if err != nil {
		return err
	}
	s.done.Parked += int(parked)
	const others = `DELETE FROM checkpoint WHERE handler = $1 AND topic = $2 AND partition >= $3`
	if _, err := s.old.exec(ctx, others, p.handler, string(p.topic), s.Partitions); err != nil {
		return err
	}
	store := NewHandlerStore(s.old)
	for i := range s.Partitions {
		err := store.Advance(ctx, router.Stream{Handler: p.handler, Topic: p.topic, Partition: i},
			router.Checkpoint{Incarnation: s.incarnation, Position: handlers.End(s.done.Through)})
		if err != nil {
			return err
		}
	}
	return nil
}
