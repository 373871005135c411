package sqlite

import (
	"context"
	"database/sql"
	"errors"
)

// About returns what the file says of itself under name, as which incarnation of the log it belongs to; "": nothing.
func (d *DB) About(ctx context.Context, name string) (value string, err error) {
	err = d.querier(ctx).QueryRowContext(ctx, `SELECT value FROM about WHERE name = ?`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

// SetAbout notes it, in the transaction that ctx carries.
func (d *DB) SetAbout(ctx context.Context, name, value string) error {
	tx, err := d.tx(ctx)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO about (name, value) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}
