package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bankforge/app"
)

// query is a SELECT that is put together from the parts of a filter.
type query struct {
	text  string // up to FROM
	where strings.Builder
	args  []any
	order string
	limit int
}

func (q *query) and(condition string, args ...any) {
	if q.where.Len() == 0 {
		q.where.WriteString(" WHERE ")
	} else {
		q.where.WriteString(" AND ")
	}
	q.where.WriteString(condition)
	q.args = append(q.args, args...)
}

// page orders by (time, id), and goes on behind the page's place.
func (q *query) page(p app.Page, time, id string) {
	if p.From != 0 {
		q.and(time+" >= ?", int64(p.From))
	}
	if p.To != 0 {
		q.and(time+" < ?", int64(p.To))
	}
	q.order, q.limit = " ORDER BY "+time+" DESC, "+id+" DESC", p.Limit
	beyond := " < "
	if p.Ascending {
		q.order, beyond = " ORDER BY "+time+", "+id, " > "
	}
	if p.AfterTime != 0 || p.AfterID != "" {
		q.and("("+time+", "+id+")"+beyond+"(?, ?)", int64(p.AfterTime), p.AfterID)
	}
}

func (q *query) String() string { return q.text + q.where.String() + q.order + " LIMIT ?" }

func (q *query) params() []any { return append(slices.Clip(q.args), q.limit) }

// one reads the row with the id; ok is false when there is none.
func one[T any](
	ctx context.Context, v *Views, query string, id fmt.Stringer, scan func(func(...any) error) (T, error),
) (row T, ok bool, err error) {
	r, err := v.row(ctx, query, id.String())
	if err == nil {
		row, err = scan(r.Scan)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return row, false, nil
	}
	if err != nil {
		return row, false, fmt.Errorf("read %s: %w", id, err)
	}
	return row, true, nil
}

// row runs a query in the transaction that ctx carries, or else as a prepared one.
func (v *Views) row(ctx context.Context, query string, args ...any) (*sql.Row, error) {
	if tx, err := v.db.tx(ctx); err == nil {
		return tx.QueryRowContext(ctx, query, args...), nil
	}
	s, err := v.reads.get(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryRowContext(ctx, args...), nil
}

// list runs a statement, and scans its rows.
func list[T any](
	ctx context.Context, v *Views, q *query, scan func(func(...any) error) (T, error),
) ([]T, error) {
	rows, err := v.db.querier(ctx).QueryContext(ctx, q.String(), q.params()...)
	if err != nil {
		return nil, err
	}
	var out []T
	err = eachRow(rows, func(s func(...any) error) error {
		row, err := scan(s)
		out = append(out, row)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
