package sqlite

import (
	"context"
	"database/sql"
	"errors"
)

// Belonging returns the incarnation of the log that the file belongs to; "" for none yet.
func (d *DB) Belonging(ctx context.Context) (incarnation string, err error) {
	err = d.querier(ctx).QueryRowContext(ctx, `SELECT value FROM about WHERE name = 'incarnation'`).Scan(&incarnation)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return incarnation, err
}

// Belong notes, in the transaction that ctx carries, which incarnation of the log the file belongs to.
func (d *DB) Belong(ctx context.Context, incarnation string) error {
	tx, err := d.tx(ctx)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO about (name, value) VALUES ('incarnation', ?)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, incarnation)
	return err
}
