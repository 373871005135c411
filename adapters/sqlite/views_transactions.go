package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/history"
)

var (
	transactions = table{name: "txn", columns: 27}
	indexes      = table{name: "txn_index", columns: 1}
)

const (
	selectTransactionVersions = `SELECT id, version FROM txn WHERE id IN `
	// Only what may change: when a transaction is posted after all, it also moves to another place of lists.
	updateTransaction = `UPDATE txn SET seq = ?, time = ?, version = ?, status = ?, reversed = ?,
		payer_balance = ?, payer_version = ?, payee_customer = ?, payee_balance = ?, payee_version = ?,
		posted_at = ? WHERE id = ?`
	selectLastTransaction = `SELECT coalesce(max(seq), 0) FROM txn`
	selectFound           = `SELECT seq, payer, payee, payer_customer, payee_customer, idempotency_key, correlation_id,
		reference, hold, kind, status FROM txn WHERE id = ?`
	forgetIndex = `DELETE FROM txn_index WHERE slot = ?`

	selectSpan = `SELECT coalesce((SELECT min(seq) FROM txn), 0), coalesce((SELECT max(seq) + 1 FROM txn), 0)`

	selectNextTransaction = `SELECT seq, time FROM txn WHERE seq >= ? ORDER BY seq LIMIT 1`
	selectTransactions    = `SELECT t.id, t.version, t.kind, t.status, t.currency, t.amount, t.reversed,
		t.payer, t.payer_customer, t.payer_balance, t.payer_version,
		t.payee, t.payee_customer, t.payee_balance, t.payee_version,
		t.reference, t.description, t.metadata, t.reverses, t.hold, t.value_date, t.correlation_id,
		t.created_at, t.posted_at, t.seq FROM `
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
	var added []int64
	for i := range rows {
		r, err := rowOf(&rows[i])
		if err == nil && !rows[i].New {
			added, err = v.change(ctx, &r, added)
		}
		if err != nil {
			return fmt.Errorf("write transaction %s: %w", rows[i].ID, err)
		}
		if rows[i].New {
			made = append(made, r)
		}
	}
	made, err := v.missing(ctx, made)
	if err != nil {
		return err
	}
	err = v.insert(ctx, transactions, len(made), func(args []any, i int) []any { return made[i].appendTo(args) })
	if err != nil {
		return err
	}
	added = slices.Grow(added, 6*len(made))
	for i := range made {
		added = made[i].found().appendTo(added)
	}
	slices.Sort(added) // so that what belongs on one page comes together
	return v.insert(ctx, indexes, len(added), func(args []any, i int) []any { return append(args, added[i]) })
}

// missing leaves out the transactions that the view has already. Nearly always all are behind all that it has, and
// that is found out first.
func (v *Views) missing(ctx context.Context, rows []transactionRow) ([]transactionRow, error) {
	s, err := v.stmt(ctx, selectLastTransaction)
	if err != nil {
		return nil, err
	}
	var last bank.Seq
	if err := s.QueryRowContext(ctx).Scan(&last); err != nil {
		return nil, err
	}
	var ids []bank.TransactionID
	for i := range rows {
		if rows[i].Seq <= last {
			ids = append(ids, rows[i].ID)
		}
	}
	if len(ids) == 0 {
		return rows, nil
	}
	have, err := v.TransactionVersions(ctx, ids)
	return slices.DeleteFunc(rows, func(r transactionRow) bool { return have[r.ID] != 0 }), err
}

// change writes a transaction that is there already. What it is found by changes too: the index rows that go, go
// now; those that come are appended to added.
func (v *Views) change(ctx context.Context, r *transactionRow, added []int64) ([]int64, error) {
	t := r.Transaction
	s, err := v.stmt(ctx, selectFound)
	if err != nil {
		return nil, err
	}
	var was found
	err = s.QueryRowContext(ctx, t.ID.String()).Scan(&was.seq, &was.payer, &was.payee, &was.payerCustomer,
		&was.payeeCustomer, &was.key, &was.correlation, &was.reference, &was.hold, &was.kind, &was.status)
	if err != nil {
		return nil, err
	}
	is := was
	is.seq, is.status, is.payeeCustomer = t.Seq, t.Status, r.payee.Customer.String()
	before, after := was.appendTo(nil), is.appendTo(nil)
	for _, row := range before {
		if slices.Contains(after, row) {
			continue
		}
		if err := v.exec(ctx, forgetIndex, row); err != nil {
			return nil, err
		}
	}
	for _, row := range after {
		if !slices.Contains(before, row) {
			added = append(added, row)
		}
	}
	return added, v.exec(ctx, updateTransaction, clamp(uint64(t.Seq)), int64(r.time), versionOf(t.Version),
		int64(t.Status), t.Reversed, r.payer.BalanceAfter, versionOf(r.payer.Version),
		r.payee.Customer.String(), r.payee.BalanceAfter, versionOf(r.payee.Version),
		int64(t.PostedAt), t.ID.String())
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
	return append(args, clamp(uint64(t.Seq)), int64(r.time), t.ID.String(), versionOf(t.Version), int64(t.Kind),
		int64(t.Status), t.Amount.Currency().String(), t.Amount.Minor(), t.Reversed,
		r.payer.Account.String(), r.payer.Customer.String(), r.payer.BalanceAfter, versionOf(r.payer.Version),
		r.payee.Account.String(), r.payee.Customer.String(), r.payee.BalanceAfter, versionOf(r.payee.Version),
		t.Reference, t.Description, r.metadata, t.Reverses.String(), t.Hold.String(), int64(t.ValueDate),
		t.CorrelationID, t.IdempotencyKey, int64(t.CreatedAt), int64(t.PostedAt))
}

func (r *transactionRow) found() *found {
	t := r.Transaction
	return &found{
		payer: r.payer.Account.String(), payee: r.payee.Account.String(),
		payerCustomer: r.payer.Customer.String(), payeeCustomer: r.payee.Customer.String(),
		key: t.IdempotencyKey, correlation: t.CorrelationID, reference: t.Reference, hold: t.Hold.String(),
		kind: t.Kind, status: t.Status, seq: t.Seq,
	}
}

// Transaction implements app.History.
func (v *Views) Transaction(ctx context.Context, id bank.TransactionID) (bank.Transaction, bool, error) {
	return one(ctx, v, selectTransactions+`txn t WHERE t.id = ?`, id, scanTransaction)
}

// Transactions implements app.History. Transactions stand in the order of events, and so in that of their times;
// of those at the same time the page is put in the order of their ids.
func (v *Views) Transactions(ctx context.Context, f app.TransactionFilter) (out []bank.Transaction, err error) {
	err = v.db.atOnce(ctx, func(ctx context.Context) error {
		s, err := v.spanOf(ctx, f.Page)
		if err != nil {
			return err
		}
		parts := []span{s}
		if selective(&f) != 0 {
			parts = s.parts(f.Ascending)
		}
		p := paging{Page: f.Page}
		for i := range parts {
			if err := v.page(ctx, transactionsQuery(f, parts[i]), &p); err != nil || p.full {
				out = p.end()
				return err
			}
		}
		out = p.end()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list transactions: %w", err)
	}
	return out, nil
}

// page adds the rows of a query until the page is full.
func (v *Views) page(ctx context.Context, q *query, p *paging) error {
	rows, err := v.db.querier(ctx).QueryContext(ctx, q.String(), q.params()...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for !p.full && rows.Next() {
		t, err := scanTransaction(rows.Scan)
		if err != nil {
			return err
		}
		p.add(&t)
	}
	return rows.Err()
}

// paging makes a page of transactions that come in the order of their times.
type paging struct {
	app.Page
	rows []bank.Transaction
	full bool // and so are all of the last row's time
}

func listedAt(t *bank.Transaction) bank.Time { return cmp.Or(t.PostedAt, t.CreatedAt) }

func (p *paging) compare(a, b *bank.Transaction) int {
	order := cmp.Or(cmp.Compare(listedAt(a), listedAt(b)), cmp.Compare(a.ID.String(), b.ID.String()))
	if p.Ascending {
		return order
	}
	return -order
}

// behind reports whether t is behind the place where the page goes on.
func (p *paging) behind(t *bank.Transaction) bool {
	if p.AfterTime == 0 && p.AfterID == "" || listedAt(t) != p.AfterTime {
		return true // the span ends there
	}
	return t.ID.String() != p.AfterID && t.ID.String() > p.AfterID == p.Ascending
}

func (p *paging) add(t *bank.Transaction) {
	if n := len(p.rows); n >= p.Limit && (n == 0 || listedAt(&p.rows[n-1]) != listedAt(t)) {
		p.full = true
	} else if p.behind(t) {
		p.rows = append(p.rows, *t)
	}
}

func (p *paging) end() []bank.Transaction {
	slices.SortFunc(p.rows, func(a, b bank.Transaction) int { return p.compare(&a, &b) })
	return p.rows[:min(p.Limit, len(p.rows))]
}

// transactionsQuery looks for what the filter wants within a span: of one segment, if there is an index for it.
func transactionsQuery(f app.TransactionFilter, within span) *query {
	q := &query{text: selectTransactions, limit: -1}
	place := "t.seq"
	if value := selective(&f); value == 0 {
		q.text += "txn t"
		q.and("t.seq >= ? AND t.seq < ?", within.from, within.to)
	} else {
		const low = 1<<segmentBits - 1
		q.text += "txn_index i JOIN txn t ON t.seq = ? | (i.slot & ?)"
		q.args = append(q.args, within.from&^low, low)
		place = "i.slot"
		from, through := slots(value, within)
		q.and("i.slot >= ? AND i.slot <= ?", from, through)
	}
	q.order = " ORDER BY " + place
	if !f.Ascending {
		q.order += " DESC"
	}
	filterTransactions(q, f)
	return q
}

func filterTransactions(q *query, f app.TransactionFilter) {
	if !f.Account.IsZero() {
		q.and(`(t.payer = ? OR t.payee = ?)`, f.Account.String(), f.Account.String())
	}
	if !f.Customer.IsZero() {
		q.and(`(t.payer_customer = ? OR t.payee_customer = ?)`, f.Customer.String(), f.Customer.String())
	}
	if f.Kind != 0 {
		q.and(`t.kind = ?`, int64(f.Kind))
	}
	if f.Status != 0 {
		q.and(`t.status = ?`, int64(f.Status))
	}
	if f.Reference != "" {
		q.and(`t.reference = ?`, f.Reference)
	}
	if !f.Hold.IsZero() {
		q.and(`t.hold = ?`, f.Hold.String())
	}
	if f.CorrelationID != "" {
		q.and(`t.correlation_id = ?`, f.CorrelationID)
	}
	if f.IdempotencyKey != "" {
		q.and(`t.idempotency_key = ?`, f.IdempotencyKey)
	}
}

func scanTransaction(scan func(...any) error) (t bank.Transaction, err error) {
	var id, currency, reverses, hold, metadata string
	var amount int64
	var payer, payee side
	err = scan(&id, &t.Version, &t.Kind, &t.Status, &currency, &amount, &t.Reversed,
		&payer.account, &payer.customer, &payer.BalanceAfter, &payer.Version,
		&payee.account, &payee.customer, &payee.BalanceAfter, &payee.Version,
		&t.Reference, &t.Description, &metadata, &reverses, &hold, &t.ValueDate, &t.CorrelationID,
		&t.CreatedAt, &t.PostedAt, &t.Seq)
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
