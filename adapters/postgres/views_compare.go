package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/router"
)

// ViewsCheck compares the views with the log, cell by cell: it builds them anew in a schema of its own, up to where
// they stand. It may be used beside a running bank; what is parked is left out on both sides.
type ViewsCheck struct {
	views  *Schema
	source router.Source
	of     Partitions
	names  []string
}

var (
	_ app.ViewCheck   = (*ViewsCheck)(nil)
	_ app.ParkedCheck = (*ViewsCheck)(nil)
)

// NewViewsCheck checks views against the log that source reads. of may be nil where no broker has partitions.
func NewViewsCheck(db *DB, source router.Source, of Partitions) *ViewsCheck {
	return &ViewsCheck{db.views, source, of, ViewNames()}
}

// Compare implements app.ViewCheck. It does not need the state. Most of the work is done before the moment that is
// compared, so that the server need not remember that moment for long.
func (c *ViewsCheck) Compare(ctx context.Context, _ *bank.State) (found []app.Difference, err error) {
	b, err := newBuilder(ctx, c.views, c.source, true)
	if err != nil {
		return nil, fmt.Errorf("check the views: %w", err)
	}
	defer func() { err = errors.Join(err, b.close(context.WithoutCancel(ctx))) }()
	var d differences
	was, err := places(ctx, c.views.pool, c.views.name, c.names, c.of)
	if err == nil {
		was, err = c.known(ctx, was, b.incarnation, &differences{})
	}
	if err == nil {
		err = b.standing(ctx, was)
	}
	if err == nil {
		err = c.compare(ctx, b, was, &d)
	}
	if err != nil {
		err = fmt.Errorf("check the views: %w", err)
	}
	return d.found, err
}

// compare looks at one moment of the views.
func (c *ViewsCheck) compare(ctx context.Context, b *builder, was []place, d *differences) error {
	return b.s.inSnapshot(ctx, func(ctx context.Context) error {
		tx, err := b.s.tx(ctx)
		if err != nil {
			return err
		}
		now, err := places(ctx, tx, c.views.name, c.names, c.of)
		if err == nil {
			now, err = c.known(ctx, now, b.incarnation, d)
		}
		if err != nil {
			return err
		}
		before := slices.DeleteFunc(slices.Clone(was), func(p place) bool { return !slices.ContainsFunc(now, p.same) })
		now = slices.DeleteFunc(now, func(p place) bool { return !slices.ContainsFunc(before, p.same) })
		if err := b.follow(ctx, before, now); err != nil {
			return err
		}
		return d.compare(ctx, tx, now, b.s.name, c.views.name)
	})
}

func (p *place) same(other place) bool { return p.handler == other.handler }

// known are the places that are in the log. Of others it says so, and leaves them out.
func (c *ViewsCheck) known(ctx context.Context, at []place, incarnation string, d *differences) ([]place, error) {
	head, err := c.source.Head(ctx) // only now: the log is never behind what the views had before
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(at, func(p place) bool { return p.astray(head, incarnation, d) }), nil
}

// astray reports whether a view stands at a place that the log does not have.
func (p *place) astray(head app.Head, incarnation string, d *differences) bool {
	for _, at := range p.at {
		switch {
		case at.Incarnation != incarnation:
			d.add(p, "", fmt.Sprintf("view %s follows incarnation %s of the log, but the log is %s",
				p.handler, at.Incarnation, incarnation))
		case at.Position.Seq > head.Seq:
			d.add(p, "", fmt.Sprintf("view %s has this event, but the log ends at event %d", p.handler, head.Seq))
		default:
			continue
		}
		return true
	}
	return false
}

// Parked implements app.ParkedCheck.
func (c *ViewsCheck) Parked(ctx context.Context) (parked []app.ParkedKeys, err error) {
	err = each(ctx, c.views.querier(ctx), func(scan func(...any) error) error {
		var p app.ParkedKeys
		err := scan(&p.View, &p.Keys)
		parked = append(parked, p)
		return err
	}, `SELECT handler, count(*) FROM parked_sequence GROUP BY handler ORDER BY handler`)
	return parked, err
}

// inSnapshot runs fn with a context that carries one transaction that sees a single moment of everything, and is
// given up in the end.
func (s *Schema) inSnapshot(ctx context.Context, fn func(ctx context.Context) error) error {
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return err
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	err = fn(context.WithValue(ctx, txKey{s}, tx))
	return errors.Join(err, rollback(end, tx))
}

// maxDifferences is how many are told: one damage often makes many.
const maxDifferences = 100

// differences are the first ones that were found, and how many more there are.
type differences struct {
	found []app.Difference
	more  int
}

func (d *differences) add(p *place, subject, what string) {
	if len(d.found) == maxDifferences {
		d.more++
		return
	}
	d.found = append(d.found, app.Difference{Seq: p.last(), Subject: subject, What: what})
}

// compare has the server put the tables of the views in two schemas side by side.
func (d *differences) compare(ctx context.Context, tx pgx.Tx, at []place, want, got string) error {
	// Here everything is looked at, so that indexes are no help.
	const all = `SET LOCAL enable_seqscan = on; SET LOCAL enable_sort = on; SET LOCAL work_mem = '64MB'`
	if _, err := tx.Exec(ctx, all, pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	for i := range at {
		for _, t := range at[i].tables {
			if err := d.table(ctx, tx, &at[i], t, want, got); err != nil {
				return fmt.Errorf("table %s: %w", t.name, err)
			}
		}
	}
	return nil
}

func (d *differences) table(ctx context.Context, tx pgx.Tx, p *place, t viewTable, want, got string) error {
	columns, err := columnsIn(ctx, tx, want, t.name)
	if err != nil {
		return err
	}
	others, err := columnsIn(ctx, tx, got, t.name)
	if err != nil {
		return err
	}
	if !slices.Equal(columns, others) {
		return fmt.Errorf("it has the columns %v, not %v: its schema is of another version", others, columns)
	}
	return each(ctx, tx, func(scan func(...any) error) error {
		var w, g []byte
		if err := scan(&w, &g); err != nil {
			return err
		}
		return d.row(p, t, columns, w, g)
	}, t.comparison(columns, want, got))
}

func columnsIn(ctx context.Context, tx pgx.Tx, schema, table string) (names []string, err error) {
	err = each(ctx, tx, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		names = append(names, name)
		return err
	}, `SELECT attname FROM pg_attribute
		WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, schema+"."+table)
	return names, err
}

// comparison selects the rows that are not the same in both schemas, each as JSON.
func (t *viewTable) comparison(columns []string, want, got string) string {
	of := func(table string, names []string) string {
		return "(" + table + "." + strings.Join(names, ", "+table+".") + ")"
	}
	var on, order []string
	for _, key := range t.key {
		on = append(on, "w."+key+" = g."+key)
		order = append(order, "coalesce(w."+key+", g."+key+")")
	}
	return "SELECT to_jsonb(w), to_jsonb(g) FROM " + want + "." + t.name + " AS w FULL JOIN " + got + "." + t.name +
		" AS g ON " + strings.Join(on, " AND ") + " WHERE " + of("w", columns) + " IS DISTINCT FROM " + of("g", columns) +
		" ORDER BY " + strings.Join(order, ", ")
}

// row tells in what two rows differ; null stands for one that is not there.
func (d *differences) row(p *place, t viewTable, columns []string, want, got []byte) error {
	w, err := cells(want)
	if err != nil {
		return err
	}
	g, err := cells(got)
	if err != nil {
		return err
	}
	is := w
	if w == nil {
		is = g
	}
	var rest strings.Builder
	for _, key := range t.key[1:] {
		fmt.Fprintf(&rest, ", %s %v", key, is[key])
	}
	subject, where := fmt.Sprint(is[t.key[0]]), rest.String()
	switch {
	case g == nil:
		d.add(p, subject, t.name+where+" is missing")
	case w == nil:
		d.add(p, subject, t.name+where+" is not in the log")
	default:
		for _, name := range columns {
			if w[name] != g[name] {
				d.add(p, subject, fmt.Sprintf("%s%s: %s is %v instead of %v", t.name, where, name, g[name], w[name]))
			}
		}
	}
	return nil
}

// cells are numbers as they are written, and texts.
func cells(row []byte) (map[string]any, error) {
	if row == nil {
		return nil, nil //nolint:nilnil // it is not there
	}
	in := json.NewDecoder(bytes.NewReader(row))
	in.UseNumber()
	var out map[string]any
	err := in.Decode(&out)
	return out, err
}
