package postgres

import (
	"context"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"bankforge/app"
	"bankforge/app/bank"
)

const (
	outcomeTable   = `key, fingerprint, seq, events, code, reply, subject, command, at`
	outcomeColumns = `o.key, o.fingerprint, o.seq, o.events, o.code, o.reply, o.subject, o.command, o.at`
	// With LATERAL there is one way to go about it: key by key, by the index.
	selectOutcomes = `SELECT ` + outcomeColumns + ` FROM unnest($1::bytea[]) AS k (key)
		CROSS JOIN LATERAL (SELECT ` + outcomeTable + ` FROM outcome WHERE outcome.key = k.key LIMIT 1) AS o`
	selectDecided = `SELECT ` + outcomeColumns + `, o.id FROM outcome AS o WHERE o.id > $1 AND o.id <= $2
		ORDER BY o.id LIMIT $3`

	selectStretch = `SELECT chain, data FROM event WHERE seq > $1 AND seq <= $2 ORDER BY seq`

	selectLatest = `SELECT s.n, e.seq, e.data, e.chain FROM unnest($1::uuid[]) WITH ORDINALITY AS s (subject, n)
		CROSS JOIN LATERAL (SELECT t.seq FROM touch AS t WHERE t.subject = s.subject ORDER BY t.version DESC LIMIT 1) AS t
		CROSS JOIN LATERAL (SELECT seq, data, chain FROM event WHERE event.seq = t.seq LIMIT 1) AS e`
	selectVersions = `SELECT e.seq, e.data, e.chain
		FROM (SELECT version, seq FROM touch WHERE subject = $1 AND version > $2 ORDER BY version LIMIT $3) AS t
		CROSS JOIN LATERAL (SELECT seq, data, chain FROM event WHERE event.seq = t.seq LIMIT 1) AS e ORDER BY t.version`
	selectVersionsBefore = `SELECT e.seq, e.data, e.chain
		FROM (SELECT version, seq FROM touch WHERE subject = $1 AND version < $2 ORDER BY version DESC LIMIT $3) AS t
		CROSS JOIN LATERAL (SELECT seq, data, chain FROM event WHERE event.seq = t.seq LIMIT 1) AS e ORDER BY t.version DESC`
)

// ForDecider looks up in the same log on connections of its own, so that no number of readers holds up who decides.
func (l *Log) ForDecider() app.Lookup {
	own := *l
	own.read = l.db.decider
	return &own
}

// Outcomes returns those of the keys that have one.
func (l *Log) Outcomes(ctx context.Context, keys []app.Key) (map[app.Key]app.Outcome, error) {
	asked := make([][]byte, len(keys))
	for i := range keys {
		asked[i] = keys[i][:]
	}
	out := map[app.Key]app.Outcome{}
	err := each(ctx, l.read, func(scan func(...any) error) error {
		o, err := scanOutcome(scan)
		out[o.Key] = o
		return err
	}, selectOutcomes, asked)
	if err != nil {
		return nil, fmt.Errorf("look up outcomes: %w", err)
	}
	return out, nil
}

// scanOutcome scans a row that has an outcome, and then what is in more.
func scanOutcome(scan func(...any) error, more ...any) (o app.Outcome, err error) {
	var key, fingerprint []byte
	to := []any{&key, &fingerprint, &o.Seq, &o.Events, &o.Code, &o.Reply, &o.Subject, &o.Command, &o.At}
	if err := scan(append(to, more...)...); err != nil {
		return o, err
	}
	if err := setHash((*[32]byte)(&o.Key), key); err != nil {
		return o, err
	}
	return o, setHash((*[32]byte)(&o.Fingerprint), fingerprint)
}

// Decided returns outcomes in the order in which they were appended, which is that of their ids. It is for those who
// read all of them: the first page brings their index up to date.
func (l *Log) Decided(ctx context.Context, after int64, limit int) (page []app.Outcome, last int64, err error) {
	if after <= 0 {
		if _, err := l.db.writers.Exec(ctx, `SELECT brin_summarize_new_values('outcome_id')`); err != nil {
			return nil, 0, fmt.Errorf("read outcomes: %w", err)
		}
	}
	last = after
	err = l.scanning(ctx, `SET LOCAL enable_bitmapscan = on`, func(tx pgx.Tx) error {
		page, last, err = decided(ctx, tx, after, int64(limit))
		return err
	})
	if err != nil {
		return nil, after, fmt.Errorf("read outcomes behind number %d: %w", last, err)
	}
	return page, last, nil
}

// decided looks at as many numbers as there may be rows, and reads on where some are missing. What has a number that it
// should not have comes with the first and the last of them.
func decided(ctx context.Context, tx pgx.Tx, after, limit int64) (page []app.Outcome, last int64, err error) {
	var end int64
	err = tx.QueryRow(ctx, `SELECT coalesce(max(outcomes), 0) FROM ledger_head WHERE ledger = $1`, ledgerName).Scan(&end)
	last = after
	for more := limit > 0; err == nil && more && len(page) == 0; {
		until := max(after, 0) + limit
		if more = until < end; !more {
			until = math.MaxInt64
		}
		err = each(ctx, tx, func(scan func(...any) error) error {
			o, err := scanOutcome(scan, &last)
			page = append(page, o)
			return err
		}, selectDecided, after, until, limit)
		after = until
	}
	return page, last, err
}

// scanning runs fn in a transaction that only reads, with a setting of its own.
func (l *Log) scanning(ctx context.Context, set string, fn func(pgx.Tx) error) error {
	tx, err := l.read.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return err
	}
	if _, err = tx.Exec(ctx, set); err == nil {
		err = fn(tx)
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	if failed := rollback(end, tx); err == nil {
		err = failed
	}
	return err
}

// Latest returns for each subject that exists the row of its newest version.
func (l *Log) Latest(ctx context.Context, subjects []string) (map[string]app.Row, error) {
	asked := make([][16]byte, len(subjects))
	for i, subject := range subjects {
		asked[i] = short(subject)
	}
	out := map[string]app.Row{}
	err := each(ctx, l.read, func(scan func(...any) error) error {
		var n int
		var r app.Row
		var chain []byte
		err := scan(&n, &r.Seq, &r.Data, &chain)
		if err == nil {
			err = setHash((*[32]byte)(&r.Chain), chain)
		}
		if err == nil {
			out[subjects[n-1]] = r
		}
		return err
	}, selectLatest, asked)
	if err != nil {
		return nil, fmt.Errorf("look up: %w", err)
	}
	return out, nil
}

// Versions returns the rows of subject behind version after, ascending.
func (l *Log) Versions(ctx context.Context, subject string, after bank.Version, limit int) ([]app.Row, error) {
	return l.rows(ctx, selectVersions, short(subject), clamp(uint64(after)), max(limit, 0))
}

// VersionsBefore returns the rows of subject before version before, descending.
func (l *Log) VersionsBefore(
	ctx context.Context, subject string, before bank.Version, limit int,
) ([]app.Row, error) {
	return l.rows(ctx, selectVersionsBefore, short(subject), clamp(uint64(before)), max(limit, 0))
}

// IndexedAs is what stands for a subject in Touches.
func (*Log) IndexedAs(subject string) string {
	s := short(subject)
	return string(s[:])
}

// Replay implements app.ReplayedLog.
func (l *Log) Replay(
	ctx context.Context, after, until bank.Seq, each func(chain app.Hash, data string) error,
) error {
	rows, err := l.read.Query(ctx, selectStretch, clamp(uint64(after)), clamp(uint64(until)))
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	defer rows.Close()
	n := bank.Seq(0)
	for ; rows.Next(); n++ {
		raw := rows.RawValues() // they are good until the next row
		var chain app.Hash
		if err := setHash((*[32]byte)(&chain), raw[0]); err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		if err := each(chain, string(raw[1])); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	if n != until-after {
		return fmt.Errorf("read events: there are %d behind %d up to %d", n, after, until)
	}
	return nil
}

// Touches calls each with the index of versions, as far as it is about events up to until.
func (l *Log) Touches(ctx context.Context, until bank.Seq, each func(app.Touch, bank.Seq) error) error {
	// It wants all there is.
	err := l.scanning(ctx, `SET LOCAL enable_seqscan = on`, func(tx pgx.Tx) error {
		return touches(ctx, tx, until, each)
	})
	if err != nil {
		return fmt.Errorf("read the index of versions: %w", err)
	}
	return nil
}

func touches(ctx context.Context, tx pgx.Tx, until bank.Seq, take func(app.Touch, bank.Seq) error) error {
	return each(ctx, tx, func(scan func(...any) error) error {
		var subject [16]byte
		var version bank.Version
		var seq bank.Seq
		if err := scan(&subject, &version, &seq); err != nil {
			return err
		}
		return take(app.Touch{Subject: string(subject[:]), Version: version}, seq)
	}, `SELECT subject, version, seq FROM touch WHERE seq <= $1`, clamp(uint64(until)))
}
