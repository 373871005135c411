package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"bankforge/app"
)

const (
	renewLease = `UPDATE ledger_head SET lease_until = clock_timestamp() + $3 WHERE ledger = $1 AND lease = $2`
	endLease   = `UPDATE ledger_head SET lease_until = '-infinity' WHERE ledger = $1 AND lease = $2`

	selectHolder = `SELECT owner, address, term, lease_until > clock_timestamp(),
		CASE WHEN isfinite(lease_until) THEN lease_until - clock_timestamp() ELSE '0' END
		FROM ledger_head WHERE ledger = $1 AND term > 0`
)

// lookAgain is how long a standby waits at most before it looks whether the ledger has become free.
const lookAgain = 250 * time.Millisecond

// standBy waits until the lease that was in the way may be over.
func (l *Log) standBy(ctx context.Context) error {
	_, left, err := l.holder(ctx)
	if err != nil {
		return err
	}
	again := time.NewTimer(min(max(left, time.Millisecond), lookAgain))
	defer again.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-again.C:
		return nil
	}
}

// Renew gives a sign of life.
func (l *Log) Renew(ctx context.Context) error {
	done, err := l.db.writers.Exec(ctx, renewLease, ledgerName, l.mine, l.conf.Lease)
	if err == nil && done.RowsAffected() == 0 {
		err = app.ErrFenced
	}
	if err != nil {
		return fmt.Errorf("renew the lease of the ledger: %w", err)
	}
	return nil
}

// Release lets others take the ledger at once.
func (l *Log) Release(ctx context.Context) error {
	if _, err := l.db.writers.Exec(ctx, endLease, ledgerName, l.mine); err != nil {
		return fmt.Errorf("release the lease of the ledger: %w", err)
	}
	return nil
}

// Holder says who owns the ledger.
func (l *Log) Holder(ctx context.Context) (app.Holder, error) {
	h, _, err := l.holder(ctx)
	if err != nil {
		return app.Holder{}, fmt.Errorf("ask who owns the ledger: %w", err)
	}
	return h, nil
}

func (l *Log) holder(ctx context.Context) (h app.Holder, left time.Duration, err error) {
	err = l.read.QueryRow(ctx, selectHolder, ledgerName).Scan(&h.Owner, &h.Address, &h.Term, &h.Valid, &left)
	if errors.Is(err, pgx.ErrNoRows) {
		return app.Holder{}, 0, nil
	}
	return h, left, err
}
