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
	transactions = table{name: "txn", columns: 5}
	indexes      = table{name: "txn_index", columns: 1}
)

const (
	selectTransactionVersions = `SELECT id, version FROM txn WHERE id IN `
	// When a transaction is posted after all, it also moves to another place of lists.
	updateTransaction     = `UPDATE txn SET seq = ?, time = ?, version = ?, data = ? WHERE id = ?`
	selectLastTransaction = `SELECT coalesce(max(seq), 0) FROM txn`
	selectFound           = `SELECT seq, data FROM txn WHERE id = ?`
	forgetIndex           = `DELETE FROM txn_index WHERE slot = ?`

	selectSpan = `SELECT coalesce((SELECT min(seq) FROM txn), 0), coalesce((SELECT max(seq) + 1 FROM txn), 0)`

	selectNextTransaction = `SELECT seq, time FROM txn WHERE seq >= ? ORDER BY seq LIMIT 1`
	selectTransactions    = `SELECT t.id, t.version, t.seq, t.data FROM `
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
	data := make([]byte, 0, 1<<12)
	err = v.db.insertRows(ctx, transactions, len(made), func(args []any, i int) []any {
		r, at := &made[i], len(data)
		data = pack(data, &r.packedTransaction)
		return append(args, clamp(uint64(r.seq)), int64(r.time), r.id.String(), versionOf(r.version), data[at:])
	})
	if err != nil {
		return err
	}
	added = slices.Grow(added, 6*len(made))
	for i := range made {
		added = made[i].found(made[i].seq).appendTo(added)
	}
	slices.Sort(added) // so that what belongs on one page comes together
	return v.db.insertRows(ctx, indexes, len(added), func(args []any, i int) []any { return append(args, added[i]) })
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
		if rows[i].seq <= last {
			ids = append(ids, rows[i].id)
		}
	}
	if len(ids) == 0 {
		return rows, nil
	}
	have, err := v.TransactionVersions(ctx, ids)
	return slices.DeleteFunc(rows, func(r transactionRow) bool { return have[r.id] != 0 }), err
}

// change writes a transaction that is there already. What it is found by changes too: the index rows that go, go
// now; those that come are appended to added.
func (v *Views) change(ctx context.Context, r *transactionRow, added []int64) ([]int64, error) {
	seq, was, err := v.stored(ctx, r.id)
	if err != nil {
		return nil, err
	}
	is := was
	is.status, is.reversed, is.postedAt = r.status, r.reversed, r.postedAt
	is.payer.balance, is.payer.version = r.payer.balance, r.payer.version
	is.payee.customer, is.payee.balance, is.payee.version = r.payee.customer, r.payee.balance, r.payee.version
	before, after := was.found(seq).appendTo(nil), is.found(r.seq).appendTo(nil)
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
	return added, v.exec(ctx, updateTransaction, clamp(uint64(r.seq)), int64(r.time), versionOf(r.version),
		pack(nil, &is), r.id.String())
}

// stored is a transaction as it stands in the view; sql.ErrNoRows: it does not.
func (v *Views) stored(ctx context.Context, id bank.TransactionID) (seq bank.Seq, t packedTransaction, err error) {
	s, err := v.stmt(ctx, selectFound)
	if err != nil {
		return 0, t, err
	}
	var data []byte
	if err := s.QueryRowContext(ctx, id.String()).Scan(&seq, &data); err != nil {
		return 0, t, err
	}
	return seq, t, unpack(data, &t, nil)
}

// transactionRow is a transaction as it is written.
type transactionRow struct {
	seq     bank.Seq
	time    bank.Time
	id      bank.TransactionID
	version bank.Version
	packedTransaction
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
	return transactionRow{t.Seq, listedAt(&t.Transaction), t.ID, t.Version, packedTransaction{
		kind: int64(t.Kind), status: int64(t.Status), amount: minor, reversed: t.Reversed,
		payer: sideOf(&payer), payee: sideOf(&payee),
		currency: t.Amount.Currency().String(), reference: t.Reference, description: t.Description,
		metadata: metadata, reverses: t.Reverses.String(), hold: t.Hold.String(), correlation: t.CorrelationID,
		key: t.IdempotencyKey, valueDate: int64(t.ValueDate), createdAt: int64(t.CreatedAt), postedAt: int64(t.PostedAt),
	}}, err
}

func sideOf(e *bank.Entry) packedSide {
	return packedSide{e.Account.String(), e.Customer.String(), e.BalanceAfter, versionOf(e.Version)}
}

// outside is how a transaction names an account: it leaves out the bank's own.
func outside(id bank.AccountID) bank.AccountID {
	if bank.IsInternal(id) {
		return bank.AccountID{}
	}
	return id
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
		p := paging{Page: f.Page}
		value := selective(&f)
		if value == 0 {
			err = v.page(ctx, f, s, &p)
			out = p.end()
			return err
		}
		parts := s.parts(f.Ascending)
		places := make([]span, len(parts))
		for i := range parts {
			from, through := slots(value, parts[i])
			places[i] = span{from, through + 1}
		}
		err = v.walk(ctx, indexes, places, func(i int) (bool, error) {
			err := v.page(ctx, f, parts[i], &p)
			return !p.full, err
		})
		out = p.end()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list transactions: %w", err)
	}
	return out, nil
}

// page adds what the filter wants of a part until the page is full.
func (v *Views) page(ctx context.Context, f app.TransactionFilter, part span, p *paging) error {
	q := transactionsQuery(f, part)
	rows, err := v.db.querier(ctx).QueryContext(ctx, q.String(), q.params()...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for !p.full && rows.Next() {
		var r transactionRow
		if err := r.scan(rows.Scan); err != nil {
			return err
		}
		if !r.wanted(&f) {
			continue
		}
		t, err := r.transaction()
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

// transactionsQuery looks for what the filter may want within a span: of one segment, if there is an index for it.
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
	return q
}

// wanted looks at all that the filter asks for: an index tells only that it may be so.
func (r *transactionRow) wanted(f *app.TransactionFilter) bool {
	is := func(wanted, a, b string) bool { return wanted == "" || wanted == a || wanted == b }
	return is(f.Account.String(), r.payer.account, r.payee.account) &&
		is(f.Customer.String(), r.payer.customer, r.payee.customer) &&
		is(f.Reference, r.reference, r.reference) && is(f.Hold.String(), r.hold, r.hold) &&
		is(f.CorrelationID, r.correlation, r.correlation) && is(f.IdempotencyKey, r.key, r.key) &&
		(f.Kind == 0 || int64(f.Kind) == r.kind) && (f.Status == 0 || int64(f.Status) == r.status)
}

func (r *transactionRow) scan(scan func(...any) error) error {
	var id string
	var data []byte
	err := scan(&id, &r.version, &r.seq, &data)
	if err == nil {
		r.id, err = bank.ParseID[bank.Transaction](id)
	}
	if err != nil {
		return err
	}
	return unpack(data, &r.packedTransaction, nil)
}

func scanTransaction(scan func(...any) error) (bank.Transaction, error) {
	var r transactionRow
	if err := r.scan(scan); err != nil {
		return bank.Transaction{}, err
	}
	return r.transaction()
}

func (r *transactionRow) transaction() (t bank.Transaction, err error) {
	t = bank.Transaction{
		ID: r.id, Kind: bank.TransactionKind(r.kind), Status: bank.TransactionStatus(r.status), Version: r.version,
		Reversed: r.reversed, Reference: r.reference, Description: r.description, ValueDate: bank.Date(r.valueDate),
		CorrelationID: r.correlation, CreatedAt: bank.Time(r.createdAt), PostedAt: bank.Time(r.postedAt), Seq: r.seq,
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
