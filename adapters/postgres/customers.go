package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"bankforge/app"
	"bankforge/app/bank"
)

// Customers keeps sealed customers in the schema of the state. It implements app.CustomerStore.
type Customers struct{ s *Schema }

var _ app.CustomerStore = Customers{}

// Customers gives access to the customers.
func (d *DB) Customers() Customers { return Customers{d.state} }

const (
	customerColumns = `id, version, created_at, updated_at, key, sealed, external_id, email, phone`
	selectCustomers = `SELECT ` + customerColumns + ` FROM customer`
	insertCustomer  = `INSERT INTO customer (` + customerColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (external_id) DO NOTHING`
	// Only the command's own memory must be gone before it begins. Of the others some are, those that nobody works on.
	forgetCommand  = `DELETE FROM customer_command WHERE key = $1 AND at <= $2`
	forgetCommands = `DELETE FROM customer_command WHERE key IN
		(SELECT key FROM customer_command WHERE at <= $1 ORDER BY at LIMIT 100 FOR UPDATE SKIP LOCKED)`
	// Whoever has the same key waits here until what the first one has done is certain.
	insertMemory = `INSERT INTO customer_command (key, fingerprint, customer, code, at, correlation_id)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (key) DO NOTHING`
	refuseCommand = `UPDATE customer_command SET customer = '', code = $2 WHERE key = $1`
	selectMemory  = `SELECT fingerprint, customer, code, at, correlation_id FROM customer_command WHERE key = $1`
)

// Create puts c in, unless m.Key is remembered or c.ExternalID taken.
func (s Customers) Create(
	ctx context.Context, c app.SealedCustomer, m app.Memory, after bank.Time,
) (got app.Memory, known bool, err error) {
	err = s.s.InTx(ctx, func(ctx context.Context) error {
		got, known, err = s.create(ctx, &c, m, after)
		return err
	})
	if err != nil {
		return app.Memory{}, false, fmt.Errorf("create a customer: %w", err)
	}
	return got, known, nil
}

func (s Customers) create(
	ctx context.Context, c *app.SealedCustomer, m app.Memory, after bank.Time,
) (got app.Memory, known bool, err error) {
	if _, err := s.s.exec(ctx, forgetCommand, m.Key[:], int64(after)); err != nil {
		return got, false, err
	}
	n, err := s.s.exec(ctx, insertMemory, m.Key[:], m.Fingerprint[:], m.Customer.String(), string(m.Code),
		int64(m.At), m.CorrelationID)
	if err != nil {
		return got, false, err
	}
	if n == 0 {
		got, err = s.memory(ctx, m.Key)
		return got, true, err
	}
	n, err = s.s.exec(ctx, insertCustomer, c.ID.String(), int64(c.Version), int64(c.CreatedAt), int64(c.UpdatedAt),
		notNull(c.Key), notNull(c.Sealed), blind(c.ExternalID), blind(c.Email), blind(c.Phone))
	if err == nil && n == 0 {
		m.Customer, m.Code = bank.CustomerID{}, bank.ExternalIDTaken
		_, err = s.s.exec(ctx, refuseCommand, m.Key[:], string(m.Code))
	}
	if err == nil {
		_, err = s.s.exec(ctx, forgetCommands, int64(after))
	}
	return m, false, err
}

func (s Customers) memory(ctx context.Context, key app.Key) (app.Memory, error) {
	m := app.Memory{Key: key}
	var fingerprint []byte
	var customer string
	err := s.s.querier(ctx).QueryRow(ctx, selectMemory, key[:]).
		Scan(&fingerprint, &customer, &m.Code, &m.At, &m.CorrelationID)
	if err == nil {
		err = setHash((*[32]byte)(&m.Fingerprint), fingerprint)
	}
	if err == nil {
		m.Customer, err = optionalID(bank.ParseID[bank.Customer], customer)
	}
	return m, err
}

// Customer returns one.
func (s Customers) Customer(ctx context.Context, id bank.CustomerID) (app.SealedCustomer, bool, error) {
	c, err := scanCustomer(s.s.querier(ctx).QueryRow(ctx, selectCustomers+` WHERE id = $1`, id.String()).Scan)
	if errors.Is(err, pgx.ErrNoRows) {
		return app.SealedCustomer{}, false, nil
	}
	if err != nil {
		return app.SealedCustomer{}, false, fmt.Errorf("read customer %s: %w", id, err)
	}
	return c, true, nil
}

// Customers returns a page.
func (s Customers) Customers(ctx context.Context, f app.SealedFilter) (out []app.SealedCustomer, err error) {
	q := customersQuery(f)
	err = each(ctx, s.s.querier(ctx), func(scan func(...any) error) error {
		c, err := scanCustomer(scan)
		out = append(out, c)
		return err
	}, q.String(), q.args...)
	if err != nil {
		return nil, fmt.Errorf("read customers: %w", err)
	}
	return out, nil
}

func customersQuery(f app.SealedFilter) *query {
	q := &query{text: selectCustomers}
	if !f.ID.IsZero() {
		q.and("id = ?", f.ID.String())
	}
	for _, is := range [...]struct {
		column string
		value  app.Blind
	}{{"external_id", f.ExternalID}, {"email", f.Email}, {"phone", f.Phone}} {
		if is.value != (app.Blind{}) {
			q.and(is.column+" = ?", is.value[:])
		}
	}
	q.page(f.Page, "created_at", "id")
	return q
}

func scanCustomer(scan func(...any) error) (c app.SealedCustomer, err error) {
	var id string
	var external, email, phone []byte
	err = scan(&id, &c.Version, &c.CreatedAt, &c.UpdatedAt, &c.Key, &c.Sealed, &external, &email, &phone)
	if err != nil {
		return c, err
	}
	for _, b := range [...]struct {
		from []byte
		to   *app.Blind
	}{{external, &c.ExternalID}, {email, &c.Email}, {phone, &c.Phone}} {
		if b.from == nil {
			continue
		}
		if err := setHash((*[32]byte)(b.to), b.from); err != nil {
			return c, err
		}
	}
	c.ID, err = bank.ParseID[bank.Customer](id)
	return c, err
}

// blind is the column of b: NULL when it is no value.
func blind(b app.Blind) []byte {
	if b == (app.Blind{}) {
		return nil
	}
	return b[:]
}
