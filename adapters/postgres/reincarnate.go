package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"bankforge/app"
	"bankforge/handlers"
)

// ErrOwned means that a process owns the ledger, or did a moment ago.
var ErrOwned = errors.New("a process owns the ledger: stop all of them first")

// Reincarnate makes a log that was put back from a copy, and the state that belongs to it, begin a new incarnation:
// whoever has seen the old one may have seen what is not in this copy. It takes a new term, and notes what was before.
// Checkpoints in the state go on from where they are; one that is ahead of the log is refused. All of it is one
// transaction.
func (d *DB) Reincarnate(ctx context.Context, owner string, at time.Time) (before, now app.Head, err error) {
	err = d.ledger.InTx(ctx, func(ctx context.Context) (err error) {
		before, now, err = d.reincarnate(ctx, owner, at)
		return err
	})
	if err != nil {
		return app.Head{}, app.Head{}, fmt.Errorf("begin a new incarnation: %w", err)
	}
	return before, now, nil
}

func (d *DB) reincarnate(ctx context.Context, owner string, at time.Time) (before, now app.Head, err error) {
	tx, err := d.ledger.tx(ctx)
	if err != nil {
		return before, now, err
	}
	before, err = scanHead(tx.QueryRow(ctx, selectHead+` FOR UPDATE`, ledgerName))
	if errors.Is(err, pgx.ErrNoRows) {
		err = errors.New("there is no ledger")
	}
	if err != nil {
		return before, now, err
	}
	now = before
	now.Incarnation, now.Term, now.Owner = rand.Text(), before.Term+1, owner
	done, err := tx.Exec(ctx, `UPDATE ledger_head SET incarnation = $2, term = $3, owner = $4, lease = '',
		lease_until = '-infinity' WHERE ledger = $1 AND lease_until <= clock_timestamp()`,
		ledgerName, now.Incarnation, now.Term, now.Owner)
	if err == nil && done.RowsAffected() == 0 {
		err = ErrOwned
	}
	if err != nil {
		return before, now, err
	}
	note := fmt.Sprintf("until event %d, chain %x; restored %s as %s", before.Seq, before.Chain,
		at.UTC().Format(time.RFC3339), now.Incarnation)
	if err := d.ledger.SetAbout(ctx, "incarnation "+before.Incarnation, note); err != nil {
		return before, now, err
	}
	return before, now, d.follow(ctx, tx, before, now)
}

// follow has the state belong to the next incarnation.
func (d *DB) follow(ctx context.Context, tx pgx.Tx, before, now app.Head) error {
	state := d.state.name
	var ahead string
	err := tx.QueryRow(ctx, `SELECT coalesce(min(handler), '') FROM `+state+`.checkpoint
		WHERE incarnation = $1 AND position > $2`, before.Incarnation, handlers.End(before.Seq).Offset()).Scan(&ahead)
	if err == nil && ahead != "" {
		err = fmt.Errorf("handler %s has seen more than the log has: the schemas are not of one moment", ahead)
	}
	if err == nil {
		_, err = tx.Exec(ctx, `UPDATE `+state+`.checkpoint SET incarnation = $1 WHERE incarnation = $2`,
			now.Incarnation, before.Incarnation)
	}
	if err == nil {
		_, err = tx.Exec(ctx, `INSERT INTO `+state+`.about (name, value) VALUES ('incarnation', $1)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, now.Incarnation)
	}
	return err
}
