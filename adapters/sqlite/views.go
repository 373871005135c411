package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/history"
	"bankforge/handlers/projection"
)

// Views are accounts, entries, holds and transactions in views.db. Handlers write them within DB.InTx, and
// everybody reads them. They are safe for concurrent use, and live as long as their DB.
type Views struct {
	db     *DB
	writes map[string]*sql.Stmt // by their text; empty on a file that is open for reading only
	reads  *prepared

	accounts *notes[accountRow]
	ends     *notes[endRow]
}

var (
	_ app.Balances             = (*Views)(nil)
	_ app.History              = (*Views)(nil)
	_ projection.Store         = (*Views)(nil)
	_ history.EntryStore       = (*Views)(nil)
	_ history.TransactionStore = (*Views)(nil)
)

// NewViews gives access to the views in db, which must be the ViewsFile.
func NewViews(ctx context.Context, db *DB) (*Views, error) {
	v := &Views{db: db, writes: map[string]*sql.Stmt{}, reads: prepare(db.read)}
	v.accounts, v.ends = db.notes()
	if db.write == nil {
		return v, nil
	}
	// All are prepared now: within a transaction there is no other connection to prepare them on.
	queries := []string{forgetDetails, updateTransaction, selectLastTransaction, selectFound, forgetIndex}
	for _, select1 := range []string{selectStatuses, selectEnds, selectHoldVersions, selectTransactionVersions} {
		for _, n := range chunks {
			queries = append(queries, select1+binds(n))
		}
	}
	for _, q := range queries {
		s, err := db.write.PrepareContext(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("prepare %q: %w", q, err)
		}
		v.writes[q] = s
	}
	return v, nil
}

// stmt is a statement in the transaction that ctx carries.
func (v *Views) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	tx, err := v.db.tx(ctx)
	if err != nil {
		return nil, err
	}
	return tx.StmtContext(ctx, v.writes[query]), nil
}

// exec runs a prepared statement that must change exactly one row.
func (v *Views) exec(ctx context.Context, query string, args ...any) error {
	s, err := v.stmt(ctx, query)
	if err != nil {
		return err
	}
	r, err := s.ExecContext(ctx, args...)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n != 1 {
		return errors.Join(fmt.Errorf("%d rows changed, not one", n), err)
	}
	return nil
}

// table is what rows are inserted into.
type table struct {
	name    string
	columns int
	upsert  string // what to do about a row that is there
}

// rowsAtOnce are how many rows one statement inserts: few sizes, so that all of them stay prepared.
var rowsAtOnce = [...]int{128, 8, 1}

func (t table) insert(rows int) string {
	row := binds(t.columns)
	// When it fails, the whole transaction is given up: so SQLite need not remember how pages were before the statement.
	return "INSERT OR FAIL INTO " + t.name + " VALUES " + row + strings.Repeat(","+row, rows-1) + t.upsert
}

// binds are n parameters in brackets.
func binds(n int) string { return "(?" + strings.Repeat(",?", n-1) + ")" }

// rowFunc appends the columns of row i. It is called for one row after the other.
type rowFunc func(args []any, i int) []any

// insertRows writes rows 0 to n-1. After an error the transaction must not be committed.
func (d *DB) insertRows(ctx context.Context, t table, n int, row rowFunc) error {
	if n == 0 {
		return nil
	}
	err := d.directly(ctx, func(ctx context.Context, on *inserts) error {
		next, stop := t.inTurn(n, row)
		if handlers.More(ctx) && n > rowsAtOnce[0] {
			next, stop = ahead(next)
		}
		defer stop()
		for {
			size, args, err := next()
			if err != nil || size == 0 {
				return err
			}
			s, err := on.get(ctx, t.insert(size))
			if err != nil {
				return err
			}
			runtime.Gosched() // a view can wait; who asks for a decision should not
			if err := s.run(ctx, args...); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return fmt.Errorf("write to view %s: %w", t.name, err)
	}
	return nil
}

// nextRows are the columns of the rows that one statement inserts, and how many rows that are; 0: there are no more.
// The columns are valid until the next call.
type nextRows func() (rows int, args []any, err error)

// inTurn makes the rows when they are asked for.
func (t table) inTurn(n int, row rowFunc) (next nextRows, stop func()) {
	args := make([]any, 0, t.columns*min(n, rowsAtOnce[0]))
	done := 0
	return func() (int, []any, error) {
		for _, size := range rowsAtOnce {
			if n-done < size {
				continue
			}
			args = args[:0]
			for range size {
				args = row(args, done)
				done++
			}
			return size, args, nil
		}
		return 0, nil, nil
	}, func() {}
}

// ahead makes the next rows while SQLite takes the ones before: who is far behind has both to do at once.
func ahead(next nextRows) (_ nextRows, stop func()) {
	type made struct {
		rows int
		args []any
		err  error
	}
	free, full := make(chan []any, 2), make(chan made, 2)
	ended, stopped := make(chan struct{}), make(chan struct{})
	free <- nil
	free <- nil
	go func() {
		defer close(ended)
		defer func() {
			if p := recover(); p != nil {
				full <- made{err: fmt.Errorf("panic: %v", p)}
			}
		}()
		for {
			select {
			case into := <-free:
				rows, args, err := next()
				full <- made{rows, append(into[:0], args...), err}
				if rows == 0 || err != nil {
					return
				}
			case <-stopped:
				return
			}
		}
	}()
	var last []any
	return func() (int, []any, error) {
		if last != nil {
			free <- last
		}
		m := <-full
		last = m.args
		return m.rows, m.args, m.err
	}, func() { close(stopped); <-ended }
}

// versionsOf looks up the versions of ids in the transaction that ctx carries.
func versionsOf[ID textID](ctx context.Context, v *Views, query string, ids []ID) (map[ID]bank.Version, error) {
	out := make(map[ID]bank.Version, len(ids))
	err := lookUp(ctx, v, query, ids, func(scan func(...any) error, id map[string]ID) error {
		var text string
		var version bank.Version
		err := scan(&text, &version)
		out[id[text]] = version
		return err
	})
	return out, err
}

type textID interface {
	comparable
	fmt.Stringer
}

// lookUp looks for ids in the transaction that ctx carries, and calls row for those that there are, with the ids by
// their texts.
func lookUp[ID textID](
	ctx context.Context, v *Views, query string, ids []ID, row func(scan func(...any) error, id map[string]ID) error,
) error {
	byText := make(map[string]ID, len(ids))
	for _, id := range ids {
		byText[id.String()] = id
	}
	// In the order of the table: neighbours are found on the same page.
	texts := slices.Sorted(maps.Keys(byText))
	args := make([]any, len(texts))
	for i, text := range texts {
		args[i] = text
	}
	for _, size := range chunks {
		for ; len(args) >= size; args = args[size:] {
			s, err := v.stmt(ctx, query+binds(size))
			if err != nil {
				return err
			}
			err = each(ctx, s, args[:size], func(scan func(...any) error) error { return row(scan, byText) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// each calls row with the Scan of every row that a statement gives.
func each(ctx context.Context, s *sql.Stmt, args []any, row func(scan func(...any) error) error) error {
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	return eachRow(rows, row)
}

func eachRow(rows *sql.Rows, row func(scan func(...any) error) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

func versionOf(v bank.Version) int64 { return clamp(uint64(v)) }

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
