package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers/history"
	"bankforge/handlers/projection"
)

// Views are accounts, entries, holds and transactions. Handlers write them within InTx of the schema, and everybody reads
// them. They are safe for concurrent use.
type Views struct{ s *Schema }

var (
	_ app.Balances             = (*Views)(nil)
	_ app.History              = (*Views)(nil)
	_ projection.Store         = (*Views)(nil)
	_ history.EntryStore       = (*Views)(nil)
	_ history.TransactionStore = (*Views)(nil)
)

// Views gives access to the views.
func (d *DB) Views() *Views { return &Views{d.views} }

// columns are the rows of one statement, as an array for each column: one statement writes any number of them.
type columns []any

// textID is what ids are.
type textID interface {
	comparable
	fmt.Stringer
}

func texts[ID textID](ids []ID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return out
}

// versionsOf looks up the versions of ids in the transaction that ctx carries. The query gives the place of an id in the
// question, from 1, and its version, for those that there are.
func versionsOf[ID textID](ctx context.Context, v *Views, query string, ids []ID) (map[ID]bank.Version, error) {
	tx, err := v.s.tx(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[ID]bank.Version, len(ids))
	err = each(ctx, tx, func(scan func(...any) error) error {
		var n int
		var version bank.Version
		err := scan(&n, &version)
		if err == nil {
			out[ids[n-1]] = version
		}
		return err
	}, query, texts(ids))
	return out, err
}

// write runs a statement on rows in the transaction that ctx carries.
func (v *Views) write(ctx context.Context, table, statement string, rows columns) (int64, error) {
	n, err := v.s.exec(ctx, statement, rows...)
	if err != nil {
		return n, fmt.Errorf("write to view %s: %w", table, err)
	}
	return n, nil
}

// encodeMetadata is "" for none.
func encodeMetadata(m bank.Metadata) (string, error) {
	if len(m) == 0 {
		return "", nil
	}
	b, err := json.Marshal(m)
	return string(b), err
}

func decodeMetadata(s string) (m bank.Metadata, err error) {
	if s == "" {
		return nil, nil //nolint:nilnil // no metadata is the nil map
	}
	err = json.Unmarshal([]byte(s), &m)
	return m, err
}

// optionalID reads what an ID's String wrote, the empty text of the zero ID too.
func optionalID[ID any](parse func(string) (ID, error), text string) (id ID, err error) {
	if text == "" {
		return id, nil
	}
	return parse(text)
}

func amountOf(minor int64, currency string) (bank.Amount, error) {
	c, err := bank.ParseCurrency(currency)
	if err != nil {
		return bank.Amount{}, err
	}
	return bank.NewAmount(minor, c)
}

// query is a SELECT that is put together from the parts of a filter.
type query struct {
	text  string // up to FROM
	where []string
	args  []any
	order string
	limit int
}

// arg is the parameter that stands for a value.
func (q *query) arg(value any) string {
	q.args = append(q.args, value)
	return "$" + strconv.Itoa(len(q.args))
}

// and adds a condition, in which each ? stands for one of the values.
func (q *query) and(condition string, values ...any) {
	for _, v := range values {
		condition = strings.Replace(condition, "?", q.arg(v), 1)
	}
	q.where = append(q.where, condition)
}

// page orders by (time, id), and goes on behind the page's place.
func (q *query) page(p app.Page, time, id string) {
	if p.From != 0 {
		q.and(time+" >= ?", int64(p.From))
	}
	if p.To != 0 {
		q.and(time+" < ?", int64(p.To))
	}
	q.order, q.limit = " ORDER BY "+time+" DESC, "+id+" DESC", max(p.Limit, 0)
	beyond := "<"
	if p.Ascending {
		q.order, beyond = " ORDER BY "+time+", "+id, ">"
	}
	if p.AfterTime != 0 || p.AfterID != "" {
		// The first of them is for an index that has only the time.
		q.and(time+" "+beyond+"= ?", int64(p.AfterTime))
		q.and("("+time+", "+id+") "+beyond+" (?, ?)", int64(p.AfterTime), p.AfterID)
	}
}

func (q *query) String() string {
	text := q.text
	if len(q.where) > 0 {
		text += " WHERE " + strings.Join(q.where, " AND ")
	}
	return text + q.order + " LIMIT " + strconv.Itoa(q.limit)
}

// one reads the row with the id; ok is false when there is none.
func one[T any](
	ctx context.Context, v *Views, query string, id fmt.Stringer, scan func(func(...any) error) (T, error),
) (row T, ok bool, err error) {
	row, err = scan(v.s.querier(ctx).QueryRow(ctx, query, id.String()).Scan)
	if errors.Is(err, pgx.ErrNoRows) {
		return row, false, nil
	}
	if err != nil {
		return row, false, fmt.Errorf("read %s: %w", id, err)
	}
	return row, true, nil
}

// list runs a question, and scans its rows.
func list[T any](
	ctx context.Context, v *Views, scan func(func(...any) error) (T, error), sql string, args ...any,
) (out []T, err error) {
	err = each(ctx, v.s.querier(ctx), func(s func(...any) error) error {
		row, err := scan(s)
		out = append(out, row)
		return err
	}, sql, args...)
	return out, err
}
