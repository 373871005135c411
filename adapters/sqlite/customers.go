package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"bankforge/app"
	"bankforge/app/bank"
)

// Customers keeps sealed customers in state.db. It implements app.CustomerStore.
type Customers struct{ db *DB }

var _ app.CustomerStore = Customers{}

// NewCustomers gives access to the customers in db, which must be the StateFile.
func NewCustomers(db *DB) Customers { return Customers{db} }

const (
	customerColumns = `id, version, created_at, updated_at, key, sealed, external_id, email, phone`
	insertCustomer  = `INSERT INTO customer (` + customerColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (external_id) DO NOTHING`
	selectCustomers = `SELECT ` + customerColumns + ` FROM customer WHERE `
	selectMemory    = `SELECT fingerprint, customer, code, at, correlation_id FROM customer_command
		WHERE key = ? AND at > ?`
	forgetCommands = `DELETE FROM customer_command WHERE at <= ?`
	insertMemory   = `INSERT INTO customer_command (key, fingerprint, customer, code, at, correlation_id)
		VALUES (?, ?, ?, ?, ?, ?)`
)

// Create puts c in, unless m.Key is remembered or c.ExternalID taken.
func (s Customers) Create(
	ctx context.Context, c app.SealedCustomer, m app.Memory, after bank.Time,
) (got app.Memory, known bool, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		tx, err := s.db.tx(ctx)
		if err != nil {
			return err
		}
		if got, err = memory(ctx, tx, m.Key, after); err == nil {
			known = true
			return nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if _, err := tx.ExecContext(ctx, forgetCommands, int64(after)); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, insertCustomer, c.ID.String(), int64(c.Version), int64(c.CreatedAt),
			int64(c.UpdatedAt), c.Key, c.Sealed, blind(c.ExternalID), blind(c.Email), blind(c.Phone))
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			m.Customer, m.Code = bank.CustomerID{}, bank.ExternalIDTaken
		}
		got = m
		_, err = tx.ExecContext(ctx, insertMemory, m.Key[:], m.Fingerprint[:], m.Customer.String(), string(m.Code),
			int64(m.At), m.CorrelationID)
		return err
	})
	if err != nil {
		return app.Memory{}, false, fmt.Errorf("create a customer: %w", err)
	}
	return got, known, nil
}

func memory(ctx context.Context, q querier, key app.Key, after bank.Time) (app.Memory, error) {
	m := app.Memory{Key: key}
	var customer string
	var at int64
	err := q.QueryRowContext(ctx, selectMemory, key[:], int64(after)).
		Scan(hash{(*[32]byte)(&m.Fingerprint)}, &customer, &m.Code, &at, &m.CorrelationID)
	if err != nil {
		return app.Memory{}, err
	}
	if m.At = bank.Time(at); customer != "" {
		m.Customer, err = bank.ParseID[bank.Customer](customer)
	}
	return m, err
}

// Customer returns one.
func (s Customers) Customer(ctx context.Context, id bank.CustomerID) (app.SealedCustomer, bool, error) {
	found, err := s.list(ctx, selectCustomers+`id = ?`, id.String())
	if err != nil || len(found) == 0 {
		return app.SealedCustomer{}, false, err
	}
	return found[0], true, nil
}

// Customers returns a page.
func (s Customers) Customers(ctx context.Context, f app.SealedFilter) ([]app.SealedCustomer, error) {
	where, args := []string{"TRUE"}, []any{}
	and := func(condition string, values ...any) {
		where, args = append(where, condition), append(args, values...)
	}
	if !f.ID.IsZero() {
		and("id = ?", f.ID.String())
	}
	for column, b := range map[string]app.Blind{"external_id": f.ExternalID, "email": f.Email, "phone": f.Phone} {
		if b != (app.Blind{}) {
			and(column+" = ?", b[:])
		}
	}
	if f.From != 0 {
		and("created_at >= ?", int64(f.From))
	}
	if f.To != 0 {
		and("created_at < ?", int64(f.To))
	}
	direction, beyond := "DESC", "<"
	if f.Ascending {
		direction, beyond = "ASC", ">"
	}
	if f.AfterID != "" || f.AfterTime != 0 {
		and("(created_at, id) "+beyond+" (?, ?)", int64(f.AfterTime), f.AfterID)
	}
	args = append(args, max(f.Limit, 0))
	return s.list(ctx, selectCustomers+strings.Join(where, " AND ")+
		" ORDER BY created_at "+direction+", id "+direction+" LIMIT ?", args...)
}

func (s Customers) list(ctx context.Context, query string, args ...any) ([]app.SealedCustomer, error) {
	rows, err := s.db.querier(ctx).QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read customers: %w", err)
	}
	defer rows.Close()
	var out []app.SealedCustomer
	for rows.Next() {
		c, err := scanCustomer(rows)
		if err != nil {
			return nil, fmt.Errorf("read customers: %w", err)
		}
		out = append(out, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read customers: %w", err)
	}
	return out, nil
}

func scanCustomer(rows *sql.Rows) (c app.SealedCustomer, err error) {
	var id string
	var version, created, updated int64
	err = rows.Scan(&id, &version, &created, &updated, &c.Key, &c.Sealed,
		maybeBlind{&c.ExternalID}, maybeBlind{&c.Email}, maybeBlind{&c.Phone})
	if err != nil {
		return c, err
	}
	c.Version, c.CreatedAt, c.UpdatedAt = bank.Version(version), bank.Time(created), bank.Time(updated)
	c.ID, err = bank.ParseID[bank.Customer](id)
	return c, err
}

// blind is the column of b: NULL when it is no value.
func blind(b app.Blind) any {
	if b == (app.Blind{}) {
		return nil
	}
	return b[:]
}

// maybeBlind is the inverse of blind.
type maybeBlind struct{ to *app.Blind }

// Scan implements sql.Scanner.
func (m maybeBlind) Scan(v any) error {
	if v == nil {
		*m.to = app.Blind{}
		return nil
	}
	return hash{(*[32]byte)(m.to)}.Scan(v)
}
