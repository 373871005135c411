package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/router"
)

// ViewsCheck compares the views in views.db with the log, cell by cell: it builds them anew in a file
// of its own, up to where they stand. It may be used beside a running bank; what is parked is left out on both sides.
type ViewsCheck struct {
	views   *DB
	source  router.Source
	scratch string
}

var (
	_ app.ViewCheck   = (*ViewsCheck)(nil)
	_ app.ParkedCheck = (*ViewsCheck)(nil)
)

// NewViewsCheck checks views against the log that source reads. scratch is a directory for as much data again.
func NewViewsCheck(views *DB, source router.Source, scratch string) *ViewsCheck {
	return &ViewsCheck{views, source, scratch}
}

// Compare implements app.ViewCheck. It does not need the state.
func (c *ViewsCheck) Compare(ctx context.Context, _ *bank.State) (found []app.Difference, err error) {
	b, err := newBuilder(ctx, c.source, c.scratch)
	if err != nil {
		return nil, fmt.Errorf("check the views: %w", err)
	}
	defer func() { err = errors.Join(err, b.close()) }()
	var d differences
	err = c.views.inSnapshot(ctx, func(ctx context.Context) error {
		at, err := c.places(ctx, b.incarnation, &d)
		if err != nil {
			return err
		}
		if err := b.standing(ctx, at); err != nil {
			return err
		}
		return d.compare(ctx, at, b.db, c.views)
	})
	if err != nil {
		err = fmt.Errorf("check the views: %w", err)
	}
	return d.found, err
}

// Parked implements app.ParkedCheck.
func (c *ViewsCheck) Parked(ctx context.Context) (parked []app.ParkedKeys, err error) {
	rows, err := c.views.querier(ctx).QueryContext(ctx,
		`SELECT handler, count(*) FROM parked_sequence GROUP BY handler ORDER BY handler`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p app.ParkedKeys
		if err := rows.Scan(&p.View, &p.Keys); err != nil {
			return nil, err
		}
		parked = append(parked, p)
	}
	return parked, rows.Err()
}

// places are where the views stand. Of a place that is not in the log it says so, and leaves it out.
func (c *ViewsCheck) places(ctx context.Context, incarnation string, d *differences) ([]place, error) {
	at, err := places(ctx, c.views, ViewNames())
	if err != nil {
		return nil, err
	}
	head, err := c.source.Head(ctx) // only now: the log is never behind what the views had before
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(at, func(p place) bool { return p.astray(head, incarnation, d) }), nil
}

// astray reports whether a view stands at a place that the log does not have.
func (p *place) astray(head app.Head, incarnation string, d *differences) bool {
	switch {
	case p.Incarnation != "" && p.Incarnation != incarnation:
		d.add(p, "", fmt.Sprintf("view %s follows incarnation %s of the log, but the log is %s",
			p.handler, p.Incarnation, incarnation))
	case p.Position.Seq > head.Seq:
		d.add(p, "", fmt.Sprintf("view %s has this event, but the log ends at event %d", p.handler, head.Seq))
	default:
		return false
	}
	return true
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
	d.found = append(d.found, app.Difference{Seq: p.Position.Seq, Subject: subject, What: what})
}

// compare walks over the tables of the views in both files, in the same order.
func (d *differences) compare(ctx context.Context, at []place, want, got *DB) error {
	for i := range at {
		for _, t := range at[i].tables {
			if err := d.table(ctx, &at[i], t, want, got); err != nil {
				return fmt.Errorf("table %s: %w", t.name, err)
			}
		}
	}
	return nil
}

func (d *differences) table(ctx context.Context, p *place, t viewTable, want, got *DB) error {
	w, err := openCursor(ctx, want, t)
	if err != nil {
		return err
	}
	defer w.rows.Close()
	g, err := openCursor(ctx, got, t)
	if err != nil {
		return err
	}
	defer g.rows.Close()
	if !slices.Equal(w.columns, g.columns) {
		return fmt.Errorf("it has the columns %v, not %v: its file is of another version", g.columns, w.columns)
	}
	for {
		order := w.compare(g)
		switch {
		case w.done && g.done:
			return errors.Join(w.rows.Err(), g.rows.Err())
		case order < 0:
			d.add(p, w.subject(), t.name+w.where()+" is missing")
			err = w.next()
		case order > 0:
			d.add(p, g.subject(), t.name+g.where()+" is not in the log")
			err = g.next()
		default:
			for i, name := range w.columns {
				if w.row[i] == g.row[i] {
					continue
				}
				for _, what := range t.differing(name, w.row[i], g.row[i]) {
					d.add(p, w.subject(), t.name+w.where()+": "+what)
				}
			}
			err = errors.Join(w.next(), g.next())
		}
		if err != nil {
			return err
		}
	}
}

// differing says in what two values of a column differ.
func (t *viewTable) differing(column string, want, got any) []string {
	w, isText := want.(string)
	g, both := got.(string)
	if column == "data" && t.data != nil && isText && both {
		return differingFields(t.data(), w, g)
	}
	return []string{fmt.Sprintf("%s is %v instead of %v", column, got, want)}
}

// cursor walks over a table in the order of its key.
type cursor struct {
	rows    *sql.Rows
	columns []string
	table   viewTable
	keys    int   // how many of the columns, the first, are the key
	row     []any // integers and texts; what is packed is one too
	into    []any
	noted   map[string]string // columns that are newer than those of the row, packed, by its key
	done    bool
}

func openCursor(ctx context.Context, db *DB, t viewTable) (*cursor, error) {
	noted, err := t.newest(ctx, db)
	if err != nil {
		return nil, err
	}
	rows, err := db.querier(ctx).QueryContext(ctx, //nolint:rowserrcheck // next does
		"SELECT "+strings.Join(t.key, ", ")+", * FROM "+t.name+" ORDER BY "+strings.Join(t.key, ", "))
	if err != nil {
		return nil, err
	}
	c := &cursor{rows: rows, table: t, keys: len(t.key), noted: noted}
	if c.columns, err = rows.Columns(); err != nil {
		return nil, errors.Join(err, rows.Close())
	}
	c.row, c.into = make([]any, len(c.columns)), make([]any, len(c.columns))
	for i := range c.row {
		c.into[i] = &c.row[i]
	}
	if err := c.next(); err != nil {
		return nil, errors.Join(err, rows.Close())
	}
	return c, nil
}

func (c *cursor) next() error {
	if c.done || !c.rows.Next() {
		c.done = true
		return c.rows.Err()
	}
	if err := c.rows.Scan(c.into...); err != nil {
		return err
	}
	for i, v := range c.row {
		if data, ok := v.([]byte); ok {
			c.row[i] = string(data)
		}
	}
	if key, ok := c.row[0].(string); ok && c.noted[key] != "" {
		return c.renew(c.noted[key])
	}
	return nil
}

// renew has the row be as it was noted, if that is newer.
func (c *cursor) renew(noted string) error {
	newer := map[string]any{}
	err := unpack([]byte(noted), c.table.noted(), func(name string, value any) { newer[name] = value })
	of := func(column string) int { return slices.Index(c.columns, column) }
	if err != nil || compareValues(c.row[of("version")], newer["version"]) >= 0 {
		return err
	}
	for column, value := range newer {
		c.row[of(column)] = value
	}
	return nil
}

// newest are the columns that notes tell, packed, by the keys of their rows.
func (t *viewTable) newest(ctx context.Context, db *DB) (map[string]string, error) {
	if t.notes == "" {
		return nil, nil //nolint:nilnil // nothing is noted
	}
	out, fields := map[string]string{}, t.noted()
	err := eachNote(ctx, db.querier(ctx), t.notes, func(_ int64, p *packing) {
		var id string
		p.text("id", &id)
		is := p.data
		fields.fields(p)
		out[id] = string(is[:len(is)-len(p.data)])
	})
	return out, err
}

// compare says which of two cursors is behind; one that is done is ahead of all.
func (c *cursor) compare(other *cursor) int {
	if c.done || other.done {
		return cmp.Compare(btoi(c.done), btoi(other.done))
	}
	for i := range c.keys {
		if order := compareValues(c.row[i], other.row[i]); order != 0 {
			return order
		}
	}
	return 0
}

func compareValues(a, b any) int {
	if x, ok := a.(int64); ok {
		y, _ := b.(int64)
		return cmp.Compare(x, y)
	}
	x, _ := a.(string)
	y, _ := b.(string)
	return strings.Compare(x, y)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (c *cursor) subject() string { return fmt.Sprint(c.row[slices.Index(c.columns, c.table.subject)]) }

// where is the rest of the row's key.
func (c *cursor) where() string {
	var out strings.Builder
	for i, name := range c.columns[:c.keys] {
		if name != c.table.subject {
			fmt.Fprintf(&out, ", %s %v", name, c.row[i])
		}
	}
	return out.String()
}

// inSnapshot runs fn with a context that carries one reading transaction: it sees the file as it is now, whatever is
// written meanwhile.
func (d *DB) inSnapshot(ctx context.Context, fn func(ctx context.Context) error) error {
	tx, err := d.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	return errors.Join(fn(context.WithValue(ctx, txKey{d}, tx)), tx.Rollback())
}

// atOnce runs fn with a context that sees one moment of the file: the transaction that ctx carries, or a snapshot.
func (d *DB) atOnce(ctx context.Context, fn func(ctx context.Context) error) error {
	if _, err := d.tx(ctx); err == nil {
		return fn(ctx)
	}
	return d.inSnapshot(ctx, fn)
}
