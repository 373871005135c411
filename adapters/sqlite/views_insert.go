package sqlite

import (
	"context"
	"fmt"
	"runtime"
	"strings"

	"bankforge/handlers"
)

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

// nextRows are the columns of the rows that one statement inserts, and how many rows that are; 0: there are no more. The
// columns are valid until the next call.
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
