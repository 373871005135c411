package sqlite

import (
	"context"
	"testing"
)

// Tamper runs a statement in the transaction that ctx carries.
func (d *DB) Tamper(ctx context.Context, query string, args ...any) error {
	tx, err := d.tx(ctx)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, query, args...)
	return err
}

// NoteUntil makes notes of single rows already, and writes them down once so many are open.
func (v *Views) NoteUntil(open int) {
	limits := noteLimits{from: 1, few: 2 * open, open: open, behind: 4 * open, step: 3}
	v.accounts.limits, v.ends.limits = limits, limits
}

// NoteFrom makes notes of so many changes and more, and writes them down bit by bit once half of open are.
func (v *Views) NoteFrom(changes, open int) {
	limits := noteLimits{from: changes, few: 4 * open, open: open, behind: 4 * open, step: 1}
	v.accounts.limits, v.ends.limits = limits, limits
}

// Settle writes down everything that is noted, in the transaction that ctx carries.
func (v *Views) Settle(ctx context.Context) error { return v.settle(ctx) }

// Path is where the file is.
func (d *DB) Path() string { return d.path }

// Count is how many rows a table has.
func (d *DB) Count(ctx context.Context, table string) (n int, err error) {
	err = d.read.QueryRowContext(ctx, "SELECT count(*) FROM "+table).Scan(&n)
	return n, err
}

// Columns are those of a table, with their types.
func (d *DB) Columns(ctx context.Context, table string) (map[string]string, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT name, type FROM pragma_table_info(?)`, table)
	if err != nil {
		return nil, err
	}
	columns := map[string]string{}
	return columns, eachRow(rows, func(scan func(...any) error) error {
		var name, kind string
		err := scan(&name, &kind)
		columns[name] = kind
		return err
	})
}

// Indexes are all indexes, as they were made.
func (d *DB) Indexes(t *testing.T) (all []string) {
	t.Helper()
	rows, err := d.read.QueryContext(t.Context(),
		`SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql <> '' ORDER BY name`)
	if err == nil {
		err = eachRow(rows, func(scan func(...any) error) error {
			var create string
			err := scan(&create)
			all = append(all, create)
			return err
		})
	}
	if err != nil || len(all) < 10 {
		t.Fatalf("indexes: %v, %v", all, err)
	}
	return all
}
