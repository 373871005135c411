package lot

import (
	"context"
	"time"

	"bankforge/app/bank"
	"bankforge/app/ops"
)

var _ ops.Changes = (*Lot)(nil)

// The three kinds of changes of messages. Each is found by an index of its own.
var changes = []string{
	failureTables + ` WHERE m.parked_at >= $1 ORDER BY m.parked_at DESC, m.fail DESC LIMIT $2`,
	failureTables + ` WHERE m.ended_at >= $1 ORDER BY m.ended_at DESC LIMIT $2`,
	` FROM parked_sequence s JOIN parked_message m ON m.id = s.head WHERE s.tried_at >= $1 AND s.tried_at > 0
		ORDER BY s.tried_at DESC LIMIT $2`,
}

// ChangedFailures returns messages that have changed lately.
func (l *Lot) ChangedFailures(ctx context.Context, since time.Time, limit int) (out []ops.Failure, err error) {
	known := map[string]bool{}
	for _, change := range changes {
		err := l.db.Each(ctx, func(scan func(...any) error) error {
			f, _, err := scanFailure(scan)
			if err == nil && !known[f.ID] {
				known[f.ID] = true
				out = append(out, f)
			}
			return err
		}, `SELECT `+failureColumns+change, since.UnixMicro(), limit)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ChangedActs returns acts that have changed lately.
func (l *Lot) ChangedActs(
	ctx context.Context, after bank.Seq, since time.Time, limit int,
) ([]ops.Executed, error) {
	return l.readActs(ctx, ` WHERE id IN (SELECT id FROM act WHERE seq > $1 UNION SELECT id FROM act WHERE ended_at >= $2)
		ORDER BY seq LIMIT $3`, int64(after), since.UnixMicro(), limit)
}

// Standings returns what handlers are doing.
func (l *Lot) Standings(ctx context.Context) ([]ops.Standing, error) {
	all, err := l.handlers(ctx, l.readRuns, l.readControls)
	if err != nil {
		return nil, err
	}
	out := make([]ops.Standing, len(all))
	for i := range all {
		out[i] = ops.Standing{Handler: all[i].Name, State: all[i].State()}
	}
	return out, nil
}
