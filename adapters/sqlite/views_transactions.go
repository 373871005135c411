package sqlite

import (
	"context"
	"errors"
	"fmt"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/history"
)

var transactions = table{name: "txn", columns: 27}

const (
	selectTransactionVersions = `SELECT id, version FROM txn WHERE id IN `
	// Only what may change: when a transaction is posted after all, it also moves to another place of lists.
	updateTransaction = `UPDATE txn SET time = ?, version = ?, status = ?, reversed = ?,
		payer_balance = ?, payer_version = ?, payee_customer = ?, payee_balance = ?, payee_version = ?,
		posted_at = ?, seq = ? WHERE id = ?`

	selectTransactions = `SELECT t.id, t.version, t.kind, t.status, t.currency, t.amount, t.reversed,
		t.payer, t.payer_customer, t.payer_balance, t.payer_version,
		t.payee, t.payee_customer, t.payee_balance, t.payee_version,
		t.reference, t.description, t.metadata, t.reverses, t.hold, t.value_date, t.correlation_id,
		t.created_at, t.posted_at, t.seq, t.time FROM txn t`
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
	made := make([]transactionRow, 0, len(rows))
	for i := range rows {
		r, err := rowOf(&rows[i])
		if err != nil {
			return fmt.Errorf("write transaction %s: %w", rows[i].ID, err)
		}
		if rows[i].New {
			made = append(made, r)
			continue
		}
		t := r.Transaction
		err = v.exec(ctx, updateTransaction, int64(r.time), versionOf(t.Version), int64(t.Status), t.Reversed,
			r.payer.BalanceAfter, versionOf(r.payer.Version),
			r.payee.Customer.String(), r.payee.BalanceAfter, versionOf(r.payee.Version),
			int64(t.PostedAt), clamp(uint64(t.Seq)), t.ID.String())
		if err != nil {
			return fmt.Errorf("write transaction %s: %w", t.ID, err)
		}
	}
	return v.insert(ctx, transactions, len(made), func(args []any, i int) []any { return made[i].appendTo(args) })
}

// transactionRow is a transaction as it is written.
type transactionRow struct {
	*history.Transaction
	time         bank.Time
	payer, payee bank.Entry
	metadata     string
}

func rowOf(t *history.Transaction) (r transactionRow, err error) {
	r = transactionRow{Transaction: t, time: t.PostedAt}
	if r.time == 0 {
		r.time = t.CreatedAt
	}
	switch len(t.Entries) {
	case 0:
		r.payer.Account, r.payer.Customer, r.payee.Account = t.From, t.Payer, t.To
	case 2:
		r.payer, r.payee = t.Entries[0], t.Entries[1]
	default:
		return r, handlers.As(handlers.Poison, fmt.Errorf("it has %d entries; the view holds two", len(t.Entries)))
	}
	minor := t.Amount.Minor()
	switch {
	case outside(r.payer.Account) != t.From || outside(r.payee.Account) != t.To:
		return r, handlers.As(handlers.Poison, errors.New("its entries are not on the accounts that it names"))
	case len(t.Entries) == 2 && (r.payer.Amount != -minor || r.payee.Amount != minor):
		return r, handlers.As(handlers.Poison, errors.New("its entries are not of its amount"))
	}
	r.metadata, err = encodeMetadata(t.Metadata)
	return r, err
}

// outside is how a transaction names an account: it leaves out the bank's own.
func outside(id bank.AccountID) bank.AccountID {
	if bank.IsInternal(id) {
		return bank.AccountID{}
	}
	return id
}

func (r *transactionRow) appendTo(args []any) []any {
	t := r.Transaction
	return append(args, int64(r.time), t.ID.String(), versionOf(t.Version), int64(t.Kind), int64(t.Status),
		t.Amount.Currency().String(), t.Amount.Minor(), t.Reversed,
		r.payer.Account.String(), r.payer.Customer.String(), r.payer.BalanceAfter, versionOf(r.payer.Version),
		r.payee.Account.String(), r.payee.Customer.String(), r.payee.BalanceAfter, versionOf(r.payee.Version),
		t.Reference, t.Description, r.metadata, t.Reverses.String(), t.Hold.String(), int64(t.ValueDate),
		t.CorrelationID, t.IdempotencyKey, int64(t.CreatedAt), int64(t.PostedAt), clamp(uint64(t.Seq)))
}

// Transaction implements app.History.
func (v *Views) Transaction(ctx context.Context, id bank.TransactionID) (bank.Transaction, bool, error) {
	return one(ctx, v, selectTransactions+` WHERE t.id = ?`, id, scanTransaction)
}

// Transactions implements app.History.
func (v *Views) Transactions(ctx context.Context, f app.TransactionFilter) ([]bank.Transaction, error) {
	out, err := list(ctx, v, transactionsQuery(f), scanTransaction)
	if err != nil {
		return nil, fmt.Errorf("list transactions: %w", err)
	}
	return out, nil
}

// transactionsQuery looks for accounts and customers once on each side of the money: two indexes in
// the same order, that are merged.
func transactionsQuery(f app.TransactionFilter) statement {
	q := func() *query {
		q := &query{text: selectTransactions}
		filterTransactions(q, f)
		q.page(f.Page, "t.time", "t.id")
		return q
	}
	a, b := q(), q()
	customer := f.Customer.String()
	const ofCustomer = `(t.payer_customer = ? OR t.payee_customer = ?)`
	switch {
	case !f.Account.IsZero():
		a.and(`t.payer = ?`, f.Account.String())
		b.and(`t.payee = ?`, f.Account.String())
		if customer != "" {
			a.and(ofCustomer, customer, customer)
			b.and(ofCustomer, customer, customer)
		}
	case customer != "":
		a.and(`t.payer_customer = ? AND t.payer_customer <> ''`, customer)
		b.and(`t.payee_customer = ? AND t.payee_customer <> '' AND t.payer_customer <> ?`, customer, customer)
	default:
		return a
	}
	return either{a, b}
}

func filterTransactions(q *query, f app.TransactionFilter) {
	if f.Kind != 0 {
		q.and(`t.kind = ?`, int64(f.Kind))
		if f.Kind != bank.TransferKind {
			q.and(`t.kind <> 3`)
		}
	}
	if f.Status != 0 {
		q.and(`t.status = ?`, int64(f.Status))
		if f.Status != bank.Posted {
			q.and(`t.status <> 1`)
		}
	}
	if f.Reference != "" {
		q.and(`t.reference = ? AND t.reference <> ''`, f.Reference)
	}
	if !f.Hold.IsZero() {
		q.and(`t.hold = ? AND t.hold <> ''`, f.Hold.String())
	}
	if f.CorrelationID != "" {
		q.and(`t.correlation_id = ? AND t.correlation_id <> ''`, f.CorrelationID)
	}
	if f.IdempotencyKey != "" {
		q.and(`t.idempotency_key = ? AND t.idempotency_key <> ''`, f.IdempotencyKey)
	}
}

func scanTransaction(scan func(...any) error) (t bank.Transaction, err error) {
	var id, currency, reverses, hold, metadata string
	var amount int64
	var time bank.Time
	var payer, payee side
	err = scan(&id, &t.Version, &t.Kind, &t.Status, &currency, &amount, &t.Reversed,
		&payer.account, &payer.customer, &payer.BalanceAfter, &payer.Version,
		&payee.account, &payee.customer, &payee.BalanceAfter, &payee.Version,
		&t.Reference, &t.Description, &metadata, &reverses, &hold, &t.ValueDate, &t.CorrelationID,
		&t.CreatedAt, &t.PostedAt, &t.Seq, &time)
	if err != nil {
		return bank.Transaction{}, err
	}
	if t.ID, err = bank.ParseID[bank.Transaction](id); err != nil {
		return bank.Transaction{}, err
	}
	if t.Amount, err = amountOf(amount, currency); err != nil {
		return bank.Transaction{}, err
	}
	if t.Reverses, err = optionalID(bank.ParseID[bank.Transaction], reverses); err != nil {
		return bank.Transaction{}, err
	}
	if t.Hold, err = optionalID(bank.ParseID[bank.Hold], hold); err != nil {
		return bank.Transaction{}, err
	}
	if t.Metadata, err = decodeMetadata(metadata); err != nil {
		return bank.Transaction{}, err
	}
	if err := errors.Join(payer.read(-amount), payee.read(amount)); err != nil {
		return bank.Transaction{}, err
	}
	t.From, t.To = outside(payer.Account), outside(payee.Account)
	if payer.Version != 0 {
		t.Entries = []bank.Entry{payer.Entry, payee.Entry}
	}
	return t, nil
}

// side is one side of a transaction as it is read.
type side struct {
	bank.Entry
	account, customer string
}

func (s *side) read(amount int64) (err error) {
	s.Amount = amount
	if s.Account, err = optionalID(bank.ParseID[bank.Account], s.account); err != nil {
		return err
	}
	s.Customer, err = optionalID(bank.ParseID[bank.Customer], s.customer)
	return err
}
