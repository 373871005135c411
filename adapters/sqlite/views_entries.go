package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/history"
)

var (
	entries = table{name: "entry", columns: 5}
	ends    = table{name: "entry_end", columns: 4, upsert: ` ON CONFLICT DO UPDATE
		SET seq = excluded.seq, version = excluded.version, balance = excluded.balance`}
	holds = table{name: "hold", columns: 12, upsert: ` ON CONFLICT (id) DO UPDATE SET version = excluded.version,
		captured = excluded.captured, remaining = excluded.remaining, status = excluded.status`}
)

const (
	selectEnds       = `SELECT account, version, balance FROM entry_end WHERE account IN `
	selectEnd        = `SELECT seq FROM entry_end WHERE account = ?`
	selectEntries    = `SELECT account, version, posted_at, data FROM entry`
	selectFirstEntry = `SELECT coalesce(min(slot), 0) FROM entry`
	selectNextEntry  = `SELECT slot, version, posted_at FROM entry WHERE slot >= ? AND slot <= ? AND account = ?
		ORDER BY slot LIMIT 1`

	selectHoldVersions = `SELECT id, version FROM hold WHERE id IN `
	selectHolds        = `SELECT id, version, account, customer, currency, amount, captured, remaining, status,
		reference, created_at, expires_at FROM hold`
)

// endRow is where the entries of an account end.
type endRow struct {
	seq bank.Seq // of the event that made the last one
	history.Last
}

func (r *endRow) fields(p *packing) {
	seq, version := clamp(uint64(r.seq)), versionOf(r.Version)
	p.number("seq", &seq)
	p.number("version", &version)
	p.number("balance", &r.Balance)
	if p.reading {
		r.seq, r.Version = bank.Seq(seq), bank.Version(version)
	}
}

// LastEntries implements history.EntryStore.
func (v *Views) LastEntries(
	ctx context.Context, accounts []bank.AccountID,
) (map[bank.AccountID]history.Last, error) {
	out := make(map[bank.AccountID]history.Last, len(accounts))
	err := v.ends.lookUp(ctx, v, accounts, selectEnds,
		func(row *endRow) []any { return []any{&row.Version, &row.Balance} },
		func(id bank.AccountID, row *endRow) { out[id] = row.Last })
	if err != nil {
		return nil, fmt.Errorf("read the last entries of accounts: %w", err)
	}
	return out, nil
}

// AddEntries implements history.EntryStore.
func (v *Views) AddEntries(ctx context.Context, rows []history.Entry) error {
	// In the order of their slots, so that what belongs on one page comes together.
	placed := make([]placedEntry, len(rows))
	for i := range rows {
		placed[i] = placedEntry{&rows[i], entrySlot(rows[i].Account, rows[i].At)}
	}
	slices.SortFunc(placed, func(a, b placedEntry) int { return cmp.Compare(a.slot, b.slot) })
	data := make([]byte, 0, 1<<12)
	err := v.db.insertRows(ctx, entries, len(placed), func(args []any, i int) []any {
		e, at := placed[i], len(data)
		data = pack(data, &packedEntry{
			amount: e.Amount, balance: e.BalanceAfter, kind: int64(e.Kind), valueDate: int64(e.ValueDate),
			currency: e.Currency.String(), transaction: e.Transaction.String(),
			reference: e.Reference, description: e.Description,
		})
		return append(args, e.slot, e.Account.String(), versionOf(e.Version), int64(e.PostedAt), data[at:])
	})
	if err != nil {
		return err
	}
	return v.endAt(ctx, rows)
}

// endAt saves where entries end now.
func (v *Views) endAt(ctx context.Context, rows []history.Entry) error {
	changes := make([]changed[endRow], 0, len(rows))
	seen := make(map[accountKey]struct{}, len(rows))
	for i := range slices.Backward(rows) {
		e := &rows[i]
		key := keyOf(e.Account)
		if _, later := seen[key]; !later {
			row := endRow{e.At.Seq, history.Last{Version: e.Version, Balance: e.BalanceAfter}}
			changes = append(changes, changed[endRow]{key, row})
		}
		seen[key] = struct{}{}
	}
	must := func(_ int, was *endRow) bool { return was == nil }
	return v.ends.save(ctx, changes, must, v.db.writeEnds)
}

func (d *DB) writeEnds(ctx context.Context, rows []changed[endRow]) error {
	return d.insertRows(ctx, ends, len(rows), func(args []any, i int) []any {
		e := &rows[i].row
		return append(args, rows[i].key.String(), clamp(uint64(e.seq)), versionOf(e.Version), e.Balance)
	})
}

type placedEntry struct {
	*history.Entry
	slot int64
}

// entrySlot leaves one bit less for the account than other slots, and has one for the two entries of an event.
func entrySlot(id bank.AccountID, at handlers.Position) int64 {
	const low = 1<<(segmentBits+1) - 1
	place := int64(at.Seq)<<1 | int64(at.N&1)
	return place>>(segmentBits+1)<<(valueBits+segmentBits) |
		int64(value(ofAccount, id.String())>>1)<<(segmentBits+1) | place&low
}

// HoldVersions implements history.EntryStore.
func (v *Views) HoldVersions(ctx context.Context, ids []bank.HoldID) (map[bank.HoldID]bank.Version, error) {
	out, err := versionsOf(ctx, v, selectHoldVersions, ids)
	if err != nil {
		return nil, fmt.Errorf("read versions of holds: %w", err)
	}
	return out, nil
}

// SaveHolds implements history.EntryStore.
func (v *Views) SaveHolds(ctx context.Context, rows []bank.Hold) error {
	err := v.db.insertRows(ctx, holds, len(rows), func(args []any, i int) []any {
		h := &rows[i]
		return append(args, h.ID.String(), versionOf(h.Version), h.Account.String(), h.Customer.String(),
			h.Amount.Currency().String(), h.Amount.Minor(), h.Captured, h.Remaining, int64(h.Status), h.Reference,
			int64(h.CreatedAt), int64(h.ExpiresAt))
	})
	return err
}

// Entries implements app.History. It looks into one segment of the log after the other, as far as the account has some.
func (v *Views) Entries(ctx context.Context, f app.EntryFilter) (out []app.EntryRow, err error) {
	end, _, err := v.ends.peek(ctx, f.Account)
	if err == nil {
		err = v.db.atOnce(ctx, func(ctx context.Context) error {
			segments, err := v.segmentsOf(ctx, f.Account, end.seq)
			if err != nil {
				return err
			}
			if !f.Ascending {
				slices.Reverse(segments)
			}
			return v.walk(ctx, entries, segments, func(i int) (bool, error) {
				rows, err := v.entriesIn(ctx, segments[i], f, f.Limit-len(out))
				out = append(out, rows...)
				return len(out) < f.Limit, err
			})
		})
	}
	if err != nil {
		return nil, fmt.Errorf("list entries of account %s: %w", f.Account, err)
	}
	return out, nil
}

// segmentsOf are the slots of the account in each segment that may have entries of it. They end at the event noted, or
// where the table says, if that is behind it.
func (v *Views) segmentsOf(ctx context.Context, id bank.AccountID, noted bank.Seq) ([]span, error) {
	var first, last int64
	q := v.db.querier(ctx)
	err := q.QueryRowContext(ctx, selectEnd, id.String()).Scan(&last)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	last = max(last, clamp(uint64(noted)))
	if err := q.QueryRowContext(ctx, selectFirstEntry).Scan(&first); err != nil {
		return nil, err
	}
	var out []span
	for s := first >> (valueBits + segmentBits); s <= last>>segmentBits; s++ {
		from := entrySlot(id, handlers.Position{Seq: bank.Seq(s) << segmentBits})
		out = append(out, span{from, from + 1<<(segmentBits+1)})
	}
	return out, nil
}

// entriesIn are those within the slots of one segment.
func (v *Views) entriesIn(ctx context.Context, s span, f app.EntryFilter, limit int) (_ []app.EntryRow, err error) {
	// Time never goes back from version to version: so both are turned into slots by halving, and need no index.
	for _, bound := range [...]struct {
		to     *int64
		wanted bool
		before func(bank.Version, bank.Time) bool
	}{
		{&s.from, f.From != 0, func(_ bank.Version, t bank.Time) bool { return t < f.From }},
		{&s.to, f.To != 0, func(_ bank.Version, t bank.Time) bool { return t < f.To }},
		{&s.from, f.AfterVersion != 0 && f.Ascending, func(v bank.Version, _ bank.Time) bool { return v <= f.AfterVersion }},
		{&s.to, f.AfterVersion != 0 && !f.Ascending, func(v bank.Version, _ bank.Time) bool { return v < f.AfterVersion }},
	} {
		if !bound.wanted {
			continue
		}
		if *bound.to, err = v.firstEntry(ctx, f.Account, s, bound.before); err != nil {
			return nil, err
		}
	}
	q := &query{text: selectEntries, order: " ORDER BY slot DESC", limit: limit}
	if f.Ascending {
		q.order = " ORDER BY slot"
	}
	q.and("slot >= ? AND slot < ? AND account = ?", s.from, s.to, f.Account.String())
	return list(ctx, v, q, scanEntry)
}

// firstEntry is the slot of the account's first entry in the span that is not before what is looked for; the span's
// end when there is none.
func (v *Views) firstEntry(
	ctx context.Context, id bank.AccountID, s span, before func(bank.Version, bank.Time) bool,
) (int64, error) {
	q := v.db.querier(ctx)
	end := s.to
	for s.from < s.to {
		var slot int64
		var version bank.Version
		var posted bank.Time
		middle := s.from + (s.to-s.from)/2
		err := q.QueryRowContext(ctx, selectNextEntry, middle, end-1, id.String()).Scan(&slot, &version, &posted)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			s.to, end = middle, middle // nothing behind it
		case err != nil:
			return 0, err
		case before(version, posted):
			s.from = slot + 1
		default:
			s.to = middle
		}
	}
	return s.from, nil
}

func scanEntry(scan func(...any) error) (e app.EntryRow, err error) {
	var account string
	var data []byte
	var k packedEntry
	if err := scan(&account, &e.Version, &e.PostedAt, &data); err != nil {
		return app.EntryRow{}, err
	}
	if err := unpack(data, &k, nil); err != nil {
		return app.EntryRow{}, err
	}
	e.Amount, e.BalanceAfter, e.Kind = k.amount, k.balance, bank.TransactionKind(k.kind)
	e.Reference, e.Description, e.ValueDate = k.reference, k.description, bank.Date(k.valueDate)
	if e.Account, err = bank.ParseID[bank.Account](account); err != nil {
		return app.EntryRow{}, err
	}
	if e.Currency, err = bank.ParseCurrency(k.currency); err != nil {
		return app.EntryRow{}, err
	}
	e.Transaction, err = bank.ParseID[bank.Transaction](k.transaction)
	return e, err
}

// Hold implements app.History.
func (v *Views) Hold(ctx context.Context, id bank.HoldID) (bank.Hold, bool, error) {
	return one(ctx, v, selectHolds+` WHERE id = ?`, id, scanHold)
}

// Holds implements app.History.
func (v *Views) Holds(ctx context.Context, f app.HoldFilter) ([]bank.Hold, error) {
	out, err := list(ctx, v, holdsQuery(f), scanHold)
	if err != nil {
		return nil, fmt.Errorf("list holds: %w", err)
	}
	return out, nil
}

func holdsQuery(f app.HoldFilter) *query {
	q := &query{text: selectHolds}
	if !f.Account.IsZero() {
		q.and("account = ?", f.Account.String())
	}
	if !f.Customer.IsZero() {
		q.and("customer = ? AND customer <> ''", f.Customer.String())
	}
	if f.Status != 0 {
		q.and("status = ?", int64(f.Status))
	}
	q.page(f.Page, "created_at", "id")
	return q
}

func scanHold(scan func(...any) error) (h bank.Hold, err error) {
	var id, account, customer, currency string
	var amount int64
	err = scan(&id, &h.Version, &account, &customer, &currency, &amount, &h.Captured, &h.Remaining, &h.Status,
		&h.Reference, &h.CreatedAt, &h.ExpiresAt)
	if err != nil {
		return bank.Hold{}, err
	}
	if h.ID, err = bank.ParseID[bank.Hold](id); err != nil {
		return bank.Hold{}, err
	}
	if h.Account, err = bank.ParseID[bank.Account](account); err != nil {
		return bank.Hold{}, err
	}
	if h.Customer, err = optionalID(bank.ParseID[bank.Customer], customer); err != nil {
		return bank.Hold{}, err
	}
	h.Amount, err = amountOf(amount, currency)
	return h, err
}

func amountOf(minor int64, currency string) (bank.Amount, error) {
	c, err := bank.ParseCurrency(currency)
	if err != nil {
		return bank.Amount{}, err
	}
	return bank.NewAmount(minor, c)
}
