package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/history"
)

const (
	selectTransactionVersions = `SELECT k.n, t.version FROM unnest($1::text[]) WITH ORDINALITY AS k (id, n)
		CROSS JOIN LATERAL (SELECT version FROM txn WHERE txn.id = k.id LIMIT 1) AS t`

	transactionColumns = `id, version, seq, time, kind, status, amount, currency, reversed, payer, payer_customer,
		payer_balance, payer_version, payee, payee_customer, payee_balance, payee_version, reference, description, metadata,
		reverses, hold, correlation_id, idempotency_key, value_date, created_at, posted_at`
	transactionRows = `unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::smallint[], $6::smallint[],
		$7::bigint[], $8::text[], $9::bigint[], $10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::text[],
		$15::text[], $16::bigint[], $17::bigint[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text[],
		$23::text[], $24::text[], $25::int[], $26::bigint[], $27::bigint[])`
	addTransactions = `INSERT INTO txn (` + transactionColumns + `) SELECT * FROM ` + transactionRows + `
		ON CONFLICT (id) DO NOTHING`
	// Only what may change is replaced.
	changeTransactions = `UPDATE txn SET version = n.version, seq = n.seq, time = n.time, status = n.status,
		reversed = n.reversed, posted_at = n.posted_at, payer_balance = n.payer_balance, payer_version = n.payer_version,
		payee_customer = n.payee_customer, payee_balance = n.payee_balance, payee_version = n.payee_version
		FROM ` + transactionRows + ` AS n (` + transactionColumns + `) WHERE txn.id = n.id`
	selectTransactions = `SELECT ` + transactionColumns + ` FROM txn`
)

// TransactionVersions implements history.TransactionStore.
func (v *Views) TransactionVersions(
	ctx context.Context, ids []bank.TransactionID,
) (map[bank.TransactionID]bank.Version, error) {
	out, err := versionsOf(ctx, v, selectTransactionVersions, ids)
	if err != nil {
		return nil, fmt.Errorf("read versions of transactions: %w", err)
	}
	return out, nil
}

// SaveTransactions implements history.TransactionStore.
func (v *Views) SaveTransactions(ctx context.Context, rows []history.Transaction) error {
	var made, changed []transactionRow
	for i := range rows {
		r, err := rowOf(&rows[i])
		if err != nil {
			return fmt.Errorf("write transaction %s: %w", rows[i].ID, err)
		}
		if rows[i].New {
			made = append(made, r)
		} else {
			changed = append(changed, r)
		}
	}
	if len(made) > 0 {
		if _, err := v.write(ctx, "txn", addTransactions, columnsOf(made)); err != nil {
			return err
		}
	}
	if len(changed) == 0 {
		return nil
	}
	n, err := v.write(ctx, "txn", changeTransactions, columnsOf(changed))
	if err == nil && n != int64(len(changed)) {
		err = fmt.Errorf("%d of %d transactions were there to be changed", n, len(changed))
	}
	return err
}

// transactionRow is a row of txn.
type transactionRow struct {
	id                                       string
	version, seq, time                       int64
	kind, status                             int16
	amount                                   int64
	currency                                 string
	reversed                                 int64
	payer, payee                             sideRow
	reference, description, metadata         string
	reverses, hold, correlation, idempotency string
	valueDate                                int32
	createdAt, postedAt                      int64
}

type sideRow struct {
	account, customer string
	balance, version  int64
}

func rowOf(t *history.Transaction) (r transactionRow, err error) {
	var payer, payee bank.Entry
	switch len(t.Entries) {
	case 0:
		payer.Account, payer.Customer, payee.Account = t.From, t.Payer, t.To
	case 2:
		payer, payee = t.Entries[0], t.Entries[1]
	default:
		return r, handlers.As(handlers.Poison, fmt.Errorf("it has %d entries; the view holds two", len(t.Entries)))
	}
	minor := t.Amount.Minor()
	switch {
	case outside(payer.Account) != t.From || outside(payee.Account) != t.To:
		return r, handlers.As(handlers.Poison, errors.New("its entries are not on the accounts that it names"))
	case len(t.Entries) == 2 && (payer.Amount != -minor || payee.Amount != minor):
		return r, handlers.As(handlers.Poison, errors.New("its entries are not of its amount"))
	}
	metadata, err := encodeMetadata(t.Metadata)
	return transactionRow{
		id: t.ID.String(), version: int64(t.Version), seq: int64(t.Seq), time: int64(cmp.Or(t.PostedAt, t.CreatedAt)),
		kind: int16(t.Kind), status: int16(t.Status), amount: minor, currency: t.Amount.Currency().String(),
		reversed: t.Reversed, payer: sideOf(&payer), payee: sideOf(&payee),
		reference: t.Reference, description: t.Description, metadata: metadata,
		reverses: t.Reverses.String(), hold: t.Hold.String(), correlation: t.CorrelationID, idempotency: t.IdempotencyKey,
		valueDate: int32(t.ValueDate), createdAt: int64(t.CreatedAt), postedAt: int64(t.PostedAt),
	}, err
}

func sideOf(e *bank.Entry) sideRow {
	return sideRow{e.Account.String(), e.Customer.String(), e.BalanceAfter, int64(e.Version)}
}

// outside is how a transaction names an account: it leaves out the bank's own.
func outside(id bank.AccountID) bank.AccountID {
	if bank.IsInternal(id) {
		return bank.AccountID{}
	}
	return id
}

// column is one column of the rows.
func column[T any](rows []transactionRow, of func(*transactionRow) T) []T {
	out := make([]T, len(rows))
	for i := range rows {
		out[i] = of(&rows[i])
	}
	return out
}

// columnsOf are in the order of transactionColumns.
func columnsOf(rows []transactionRow) columns {
	text := func(of func(*transactionRow) string) []string { return column(rows, of) }
	number := func(of func(*transactionRow) int64) []int64 { return column(rows, of) }
	return columns{
		text(func(r *transactionRow) string { return r.id }),
		number(func(r *transactionRow) int64 { return r.version }),
		number(func(r *transactionRow) int64 { return r.seq }),
		number(func(r *transactionRow) int64 { return r.time }),
		column(rows, func(r *transactionRow) int16 { return r.kind }),
		column(rows, func(r *transactionRow) int16 { return r.status }),
		number(func(r *transactionRow) int64 { return r.amount }),
		text(func(r *transactionRow) string { return r.currency }),
		number(func(r *transactionRow) int64 { return r.reversed }),
		text(func(r *transactionRow) string { return r.payer.account }),
		text(func(r *transactionRow) string { return r.payer.customer }),
		number(func(r *transactionRow) int64 { return r.payer.balance }),
		number(func(r *transactionRow) int64 { return r.payer.version }),
		text(func(r *transactionRow) string { return r.payee.account }),
		text(func(r *transactionRow) string { return r.payee.customer }),
		number(func(r *transactionRow) int64 { return r.payee.balance }),
		number(func(r *transactionRow) int64 { return r.payee.version }),
		text(func(r *transactionRow) string { return r.reference }),
		text(func(r *transactionRow) string { return r.description }),
		text(func(r *transactionRow) string { return r.metadata }),
		text(func(r *transactionRow) string { return r.reverses }),
		text(func(r *transactionRow) string { return r.hold }),
		text(func(r *transactionRow) string { return r.correlation }),
		text(func(r *transactionRow) string { return r.idempotency }),
		column(rows, func(r *transactionRow) int32 { return r.valueDate }),
		number(func(r *transactionRow) int64 { return r.createdAt }),
		number(func(r *transactionRow) int64 { return r.postedAt }),
	}
}

// Transaction implements app.History.
func (v *Views) Transaction(ctx context.Context, id bank.TransactionID) (bank.Transaction, bool, error) {
	return one(ctx, v, selectTransactions+` WHERE id = $1`, id, scanTransaction)
}

// Transactions implements app.History.
func (v *Views) Transactions(ctx context.Context, f app.TransactionFilter) ([]bank.Transaction, error) {
	sql, args := transactionsQuery(f)
	out, err := list(ctx, v, scanTransaction, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list transactions: %w", err)
	}
	return out, nil
}

// transactionsQuery looks up what is rarest of what the filter asks for. An account may stand on either side, and so
// may a customer: then each side gives a page, and the page is made of both.
func transactionsQuery(f app.TransactionFilter) (sql string, args []any) {
	side := ""
	switch {
	case f.IdempotencyKey != "" || !f.Hold.IsZero() || f.CorrelationID != "" || f.Reference != "":
	case !f.Account.IsZero():
		side = f.Account.String()
	case !f.Customer.IsZero():
		side = f.Customer.String()
	}
	if side == "" {
		q := transactionsOf(f, "", "")
		return q.String(), q.args
	}
	payer, payee := "payer", "payee"
	if f.Account.IsZero() {
		payer, payee = "payer_customer", "payee_customer"
	}
	q, other := transactionsOf(f, payer, ""), transactionsOf(f, payee, payer)
	// The second half has the same parameters: its conditions come in the same order.
	return "SELECT * FROM ((" + q.String() + ") UNION ALL (" + other.String() + ")) AS t" + q.order +
		" LIMIT " + strconv.Itoa(q.limit), q.args
}

// transactionsOf looks for the filter's account or customer in the column side, when that is set, and not in the column
// but, which has been looked at.
func transactionsOf(f app.TransactionFilter, side, but string) *query {
	q := &query{text: selectTransactions}
	account, customer := f.Account.String(), f.Customer.String()
	either := func(value, one, other, looked string) {
		if value == "" {
			return
		}
		p := q.arg(value)
		switch {
		case side == one || side == other:
			q.and("hashtextextended(" + side + ", 0) = hashtextextended(" + p + ", 0) AND " + side + " = " + p)
			q.and(side + " <> ''")
			if looked != "" {
				q.and(looked + " <> " + p)
			}
		default:
			q.and("(" + one + " = " + p + " OR " + other + " = " + p + ")")
		}
	}
	either(account, "payer", "payee", but)
	either(customer, "payer_customer", "payee_customer", but)
	for _, is := range [...]struct{ column, value string }{
		{"idempotency_key", f.IdempotencyKey}, {"hold", f.Hold.String()}, {"correlation_id", f.CorrelationID},
		{"reference", f.Reference},
	} {
		if is.value != "" {
			p := q.arg(is.value)
			q.and("hashtextextended(" + is.column + ", 0) = hashtextextended(" + p + ", 0)")
			q.and(is.column + " = " + p + " AND " + is.column + " <> ''")
		}
	}
	if f.Kind != 0 {
		q.and("kind = ?", int16(f.Kind))
		if f.Kind != bank.TransferKind {
			q.and("kind <> 3")
		}
	}
	if f.Status != 0 {
		q.and("status = ?", int16(f.Status))
		if f.Status != bank.Posted {
			q.and("status <> 1")
		}
	}
	q.page(f.Page, "time", "id")
	return q
}

func scanTransaction(scan func(...any) error) (bank.Transaction, error) {
	var r transactionRow
	err := scan(&r.id, &r.version, &r.seq, &r.time, &r.kind, &r.status, &r.amount, &r.currency, &r.reversed,
		&r.payer.account, &r.payer.customer, &r.payer.balance, &r.payer.version,
		&r.payee.account, &r.payee.customer, &r.payee.balance, &r.payee.version,
		&r.reference, &r.description, &r.metadata, &r.reverses, &r.hold, &r.correlation, &r.idempotency, &r.valueDate,
		&r.createdAt, &r.postedAt)
	if err != nil {
		return bank.Transaction{}, err
	}
	return r.transaction()
}

func (r *transactionRow) transaction() (t bank.Transaction, err error) {
	t = bank.Transaction{
		Kind: bank.TransactionKind(r.kind), Status: bank.TransactionStatus(r.status), Version: bank.Version(r.version),
		Reversed: r.reversed, Reference: r.reference, Description: r.description, ValueDate: bank.Date(r.valueDate),
		CorrelationID: r.correlation, CreatedAt: bank.Time(r.createdAt), PostedAt: bank.Time(r.postedAt), Seq: bank.Seq(r.seq),
	}
	if t.ID, err = bank.ParseID[bank.Transaction](r.id); err != nil {
		return t, err
	}
	payer, err := r.payer.entry(-r.amount)
	if err != nil {
		return t, err
	}
	payee, err := r.payee.entry(r.amount)
	if err != nil {
		return t, err
	}
	t.From, t.To = outside(payer.Account), outside(payee.Account)
	if payer.Version != 0 {
		t.Entries = []bank.Entry{payer, payee}
	}
	if t.Amount, err = amountOf(r.amount, r.currency); err != nil {
		return t, err
	}
	if t.Reverses, err = optionalID(bank.ParseID[bank.Transaction], r.reverses); err != nil {
		return t, err
	}
	if t.Hold, err = optionalID(bank.ParseID[bank.Hold], r.hold); err != nil {
		return t, err
	}
	t.Metadata, err = decodeMetadata(r.metadata)
	return t, err
}

// entry is the side as an entry of the amount.
func (s *sideRow) entry(amount int64) (e bank.Entry, err error) {
	e = bank.Entry{Amount: amount, BalanceAfter: s.balance, Version: bank.Version(s.version)}
	if e.Account, err = optionalID(bank.ParseID[bank.Account], s.account); err != nil {
		return e, err
	}
	e.Customer, err = optionalID(bank.ParseID[bank.Customer], s.customer)
	return e, err
}
