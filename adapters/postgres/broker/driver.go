package broker

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
)

// pool is a database/sql driver for watermill-sql that holds nothing between two questions: no connection, and no
// transaction, though the subscriber begins one for each row and ends it only when the row is acknowledged. A
// handler may hold for hours; an open transaction would meanwhile keep its locks, and a connection that others want.
// Each question is one statement, which sees one moment of the log.
type pool struct {
	log    Querier
	answer asking
}

// asking answers a question, by asking if nobody has the answer.
type asking func(args []any, ask func() (*answer, error)) (*answer, error)

var errOnlyQuestions = errors.New("only single questions are asked here")

func openPool(log Querier, answer asking) *sql.DB { return sql.OpenDB(pool{log, answer}) }

// Connect is driver.Connector.
func (p pool) Connect(context.Context) (driver.Conn, error) { return p, nil }

// Driver is driver.Connector.
func (p pool) Driver() driver.Driver { return p }

// Open is driver.Driver.
func (p pool) Open(string) (driver.Conn, error) { return p, nil }

// Prepare is driver.Conn.
func (pool) Prepare(string) (driver.Stmt, error) { return nil, errOnlyQuestions }

// Begin is driver.Conn.
func (p pool) Begin() (driver.Tx, error) { return p, nil }

// BeginTx is driver.ConnBeginTx: see pool.
func (p pool) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) { return p, nil }

// Commit is driver.Tx: there is nothing to commit.
func (pool) Commit() error { return nil }

// Rollback is driver.Tx: there is nothing to roll back.
func (pool) Rollback() error { return nil }

// Close is driver.Conn.
func (pool) Close() error { return nil }

// ExecContext is driver.ExecerContext. The only thing that watermill-sql executes is the acknowledgement, and that
// has no statement: see follower.AckMessageQuery.
func (pool) ExecContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	if query != "" {
		return nil, errOnlyQuestions
	}
	return driver.ResultNoRows, nil
}

// QueryContext is driver.QueryerContext.
func (p pool) QueryContext(ctx context.Context, query string, named []driver.NamedValue) (driver.Rows, error) {
	args := make([]any, len(named))
	for i := range named {
		args[i] = named[i].Value
	}
	return p.answer(args, func() (*answer, error) { return p.ask(ctx, query, args) })
}

func (p pool) ask(ctx context.Context, query string, args []any) (*answer, error) {
	rows, err := p.log.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	a := &answer{}
	for _, f := range rows.FieldDescriptions() {
		a.columns = append(a.columns, f.Name)
	}
	for rows.Next() {
		row, err := rows.Values()
		if err != nil {
			return nil, err
		}
		a.rows = append(a.rows, row)
	}
	return a, rows.Err()
}

// answer is driver.Rows in memory.
type answer struct {
	columns []string
	rows    [][]any
}

// Columns are their names.
func (a *answer) Columns() []string { return a.columns }

// Close has nothing to do.
func (*answer) Close() error { return nil }

// Next copies the next row.
func (a *answer) Next(to []driver.Value) error {
	if len(a.rows) == 0 {
		return io.EOF
	}
	for i, v := range a.rows[0] {
		to[i] = v
	}
	a.rows = a.rows[1:]
	return nil
}
