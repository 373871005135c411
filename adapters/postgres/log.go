package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/fault"
)

// Log is the log of one ledger, which several processes share. It implements app.Log, app.Lookup, app.Lease,
// app.VerifiedLog and app.ReplayedLog.
type Log struct {
	db   *DB
	read *pgxpool.Pool
	conf LogConfig
	// mine is what stands in the head while this Log's last acquisition holds, and since when is the term of that.
	mine  string
	since *atomic.Uint64
	place *atomic.Pointer[[]byte] // where the head's row has been last; only a hint
}

// LogConfig says how a process shares a log with others.
type LogConfig struct {
	// Lease is for how long whoever acquires the ledger is left alone after its last sign of life; 0: it is not.
	Lease time.Duration
	// Address is where other processes reach this one.
	Address string
	// CommitWithin is how long an append may take when its context says nothing; 0: 15 s. After it, the commit is unknown.
	CommitWithin time.Duration
}

var (
	_ app.Log         = (*Log)(nil)
	_ app.Lookup      = (*Log)(nil)
	_ app.Lease       = (*Log)(nil)
	_ app.VerifiedLog = (*Log)(nil)
	_ app.ReplayedLog = (*Log)(nil)
)

// Log is the log in the database.
func (d *DB) Log(c LogConfig) *Log {
	if c.CommitWithin <= 0 {
		c.CommitWithin = 15 * time.Second
	}
	l := &Log{
		db: d, read: d.ledger.pool, conf: c, mine: rand.Text(), since: new(atomic.Uint64), place: new(atomic.Pointer[[]byte]),
	}
	l.place.Store(new([]byte))
	return l
}

// ledgerName is the only ledger so far.
const ledgerName = "main"

const (
	headColumns = `incarnation, term, batch, seq, chain, owner`
	selectHead  = `SELECT ` + headColumns + ` FROM ledger_head WHERE ledger = $1 AND term > 0`
	makeHead    = `INSERT INTO ledger_head (ledger, incarnation, term, batch, seq, chain, owner, outcomes, address, lease,
		lease_until) VALUES ($1, $2, 0, 0, 0, $3, '', 0, '', '', '-infinity') ON CONFLICT DO NOTHING`
	takeHead = `UPDATE ledger_head SET term = term + 1, owner = $2, address = $3, lease = $4,
		lease_until = clock_timestamp() + $5 WHERE ledger = $1 AND (lease = $4 OR lease_until <= clock_timestamp())
		RETURNING ` + headColumns
	// A term that is greater than the one asked for, under the same lease, was taken by an earlier try to resolve.
	refreshHead = `UPDATE ledger_head SET term = term + 1
		WHERE ledger = $1 AND (term = $2 OR $4 AND term > $2 AND lease = $3) RETURNING ` + headColumns

	appendBatch = `SELECT append_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
		$19, $20, $21)`

	// For drills: without the fence, a batch goes wherever the head is.
	appendAnywhere = `SELECT append_batch($1, term, batch + 1, seq, seq + $5::bigint - $4::bigint, $6, $7, $8, $9, $10,
		$11, $12, $13, $14, $15, $16, $17, $18, $19, $20, coalesce(ctid, $21::tid)) FROM ledger_head
		WHERE ledger = $1 AND $2::bigint > 0 AND $3::bigint > 0`

	selectRows = `SELECT seq, data, chain FROM event WHERE seq > $1 ORDER BY seq LIMIT $2`
)

// fencedCode is the SQLSTATE that append_batch raises.
const fencedCode = "BF001"

// Append commits b, or nothing, in one round trip.
func (l *Log) Append(ctx context.Context, b app.Batch) error {
	for i := range b.Rows {
		if want := b.After + 1 + bank.Seq(i); b.Rows[i].Seq != want {
			return fmt.Errorf("append batch %d: row %d has seq %d instead of %d", b.Number, i, b.Rows[i].Seq, want)
		}
	}
	if err := l.append(ctx, &b); err != nil {
		return fmt.Errorf("append batch %d: %w", b.Number, err)
	}
	return nil
}

func (l *Log) append(ctx context.Context, b *app.Batch) error {
	conn, err := l.db.writers.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	// Preparing is a round trip of its own, once for each connection; what fails there has not begun.
	statement := appendBatch
	if fault.Planted(fault.NoFence) {
		statement = appendAnywhere
	}
	if _, err := conn.Conn().Prepare(ctx, "append", statement); err != nil {
		return err
	}
	// From here on a caller who loses interest changes nothing, else nobody would know what became of it. The time that
	// it has given is kept: past it, the connection is given up.
	within, cancel := l.within(ctx)
	defer cancel()
	binary := []int16{pgx.BinaryFormatCode}
	args := arguments(b)
	args.one(*l.place.Load())
	done := conn.Conn().PgConn().ExecPrepared(within, "append", args.values(), binary, binary).Read()
	if err := l.outcomeOf(done.Err); err != nil {
		return err
	}
	if len(done.Rows) == 1 {
		l.place.Store(&done.Rows[0][0])
	}
	return nil
}

func (l *Log) within(ctx context.Context) (context.Context, context.CancelFunc) {
	detached := context.WithoutCancel(ctx)
	if until, ok := ctx.Deadline(); ok {
		return context.WithDeadline(detached, until)
	}
	return context.WithTimeout(detached, l.conf.CommitWithin)
}

// outcomeOf tells what is known of an append that gave err.
func (*Log) outcomeOf(err error) error {
	var refused *pgconn.PgError
	switch {
	case err == nil, pgconn.SafeToRetry(err): // nothing was sent
		return err
	case !errors.As(err, &refused), refused.SeverityUnlocalized != "ERROR":
		// The connection is gone, and with it the answer: also when the server ends, it may have committed before.
		return fmt.Errorf("%w: %w", app.ErrUnknownCommit, err)
	case refused.Code == fencedCode:
		return app.ErrFenced
	case refused.Code == "53100", refused.Code == "53400": // disk_full, configuration_limit_exceeded
		return fmt.Errorf("%w: %w", app.ErrFull, err)
	default:
		return err // the server has rolled it back
	}
}

// Acquire takes the ledger over, when nobody else's lease is valid.
func (l *Log) Acquire(ctx context.Context, owner string) (app.Head, error) {
	_, err := l.db.writers.Exec(ctx, makeHead, ledgerName, rand.Text(), make([]byte, len(app.Hash{})))
	if err != nil {
		return app.Head{}, fmt.Errorf("acquire the ledger: %w", err)
	}
	for {
		head, err := scanHead(l.db.writers.QueryRow(ctx, takeHead, ledgerName, owner, l.conf.Address, l.mine, l.conf.Lease))
		if err == nil {
			l.since.Store(head.Term)
			return head, nil
		}
		if errors.Is(err, pgx.ErrNoRows) {
			err = l.standBy(ctx)
		}
		if err != nil {
			return app.Head{}, fmt.Errorf("acquire the ledger: %w", err)
		}
	}
}

// Resolve takes a new term. It waits for an append that the server is still busy with.
func (l *Log) Resolve(ctx context.Context, b app.Batch) (committed bool, head app.Head, err error) {
	ours := l.since.Load() > 0 && b.Term >= l.since.Load()
	head, err = scanHead(l.db.writers.QueryRow(ctx, refreshHead, ledgerName, int64(b.Term), l.mine, ours))
	if errors.Is(err, pgx.ErrNoRows) {
		err = app.ErrFenced
	}
	committed = head.Batch == b.Number
	if err == nil && !committed && head.Batch+1 != b.Number {
		err = fmt.Errorf("the ledger is at batch %d of the same term", head.Batch)
	}
	if err != nil {
		return false, app.Head{}, fmt.Errorf("resolve batch %d: %w", b.Number, err)
	}
	return committed, head, nil
}

// Read returns rows behind after.
func (l *Log) Read(ctx context.Context, after bank.Seq, limit int) ([]app.Row, error) {
	return l.rows(ctx, selectRows, clamp(uint64(after)), max(limit, 0))
}

// Head returns the head as it is now.
func (l *Log) Head(ctx context.Context) (app.Head, error) {
	head, err := scanHead(l.read.QueryRow(ctx, selectHead, ledgerName))
	if errors.Is(err, pgx.ErrNoRows) {
		return app.Head{}, nil
	}
	if err != nil {
		return app.Head{}, fmt.Errorf("read the head: %w", err)
	}
	return head, nil
}

func scanHead(row pgx.Row) (h app.Head, err error) {
	var chain []byte
	if err := row.Scan(&h.Incarnation, &h.Term, &h.Batch, &h.Seq, &chain, &h.Owner); err != nil {
		return app.Head{}, err
	}
	return h, setHash((*[32]byte)(&h.Chain), chain)
}

// rows runs a query that selects seq, data and chain.
func (l *Log) rows(ctx context.Context, query string, args ...any) (out []app.Row, err error) {
	err = each(ctx, l.read, func(scan func(...any) error) error {
		var r app.Row
		var chain []byte
		if err := scan(&r.Seq, &r.Data, &chain); err != nil {
			return err
		}
		out = append(out, r)
		return setHash((*[32]byte)(&out[len(out)-1].Chain), chain)
	}, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return out, nil
}

// setHash takes a column of 32 bytes.
func setHash(to *[32]byte, b []byte) error {
	if len(b) != len(to) {
		return fmt.Errorf("expected 32 bytes, not %d", len(b))
	}
	copy(to[:], b)
	return nil
}

// clamp fits a bound into PostgreSQL's integers.
func clamp(v uint64) int64 { return int64(min(v, math.MaxInt64)) }
