package payload

import (
	"fmt"
	"strconv"
	"time"

	"bankforge/app/bank"
)

// reading turns the values of a payload into the domain's, and keeps the first error.
type reading struct{ err error }

// fail keeps the first error.
func (r *reading) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *reading) leg(p *accountPayload) *bank.Leg {
	a := &p.Account
	c := r.currency(a.Balance.Currency)
	l := &bank.Leg{
		Account:  required(r, bank.ParseID[bank.Account], a.ID),
		Customer: optional(r, bank.ParseID[bank.Customer], a.Customer),
		Currency: c, Amount: r.minor(p.Amount, c),
		After: bank.AccountState{
			Version: a.Version, Status: required(r, bank.ParseAccountStatus, a.Status),
			Balance: r.minor(a.Balance, c), Held: r.natural(a.Held, c),
			OverdraftLimit:  bank.Limit(r.natural(a.OverdraftLimit, c)),
			DailyDebitLimit: r.limit(a.DailyDebitLimit, c), ReviewAbove: r.limit(a.ReviewAbove, c),
			Day: r.date(a.Day), DebitedToday: r.natural(a.DebitedToday, c), DetailsVersion: a.DetailsVersion,
		},
	}
	if a.Version == 0 {
		r.fail("an account without version")
	}
	return l
}

func (r *reading) hold(h *holdJSON) *bank.Hold {
	amount := r.amount(h.Amount)
	c := amount.Currency()
	return &bank.Hold{
		ID: required(r, bank.ParseID[bank.Hold], h.ID), Account: required(r, bank.ParseID[bank.Account], h.Account),
		Customer: optional(r, bank.ParseID[bank.Customer], h.Customer), Amount: amount,
		Captured: r.natural(h.Captured, c), Remaining: r.natural(h.Remaining, c),
		Status: required(r, bank.ParseHoldStatus, h.Status), Reference: h.Reference,
		CreatedAt: r.instant(h.CreatedAt), ExpiresAt: r.instant(h.ExpiresAt), Version: h.Version,
	}
}

func (r *reading) transaction(t *transactionJSON) *bank.Transaction {
	amount := r.amount(t.Amount)
	c := amount.Currency()
	out := &bank.Transaction{
		ID: required(r, bank.ParseID[bank.Transaction], t.ID), Kind: required(r, bank.ParseTransactionKind, t.Kind),
		Status:  required(r, bank.ParseTransactionStatus, t.Status),
		Version: t.Version, Amount: amount, Reversed: r.natural(t.Reversed, c),
		From: optional(r, bank.ParseID[bank.Account], t.From), To: optional(r, bank.ParseID[bank.Account], t.To),
		Reference: t.Reference, Description: t.Description, Metadata: t.Metadata,
		Reverses: optional(r, bank.ParseID[bank.Transaction], t.Reverses), Hold: optional(r, bank.ParseID[bank.Hold], t.Hold),
		ValueDate: r.date(t.ValueDate), CorrelationID: t.CorrelationID, CreatedAt: r.instant(t.CreatedAt), Seq: t.Seq,
	}
	if t.PostedAt != "" {
		out.PostedAt = r.instant(t.PostedAt)
	}
	for i := range t.Entries {
		out.Entries = append(out.Entries, r.entry(&t.Entries[i], c))
	}
	if t.Version == 0 {
		r.fail("a transaction without version")
	}
	return out
}

func (r *reading) entry(e *entryJSON, c bank.Currency) bank.Entry {
	amount := r.natural(e.Amount, c)
	switch e.Direction {
	case "credit":
	case "debit":
		amount = -amount
	default:
		r.fail("direction %.64q is neither credit nor debit", e.Direction)
	}
	return bank.Entry{
		Account:  required(r, bank.ParseID[bank.Account], e.Account),
		Customer: optional(r, bank.ParseID[bank.Customer], e.Customer),
		Amount:   amount, BalanceAfter: r.minor(e.BalanceAfter, c), Version: e.Version,
	}
}

// required reads an id or a name.
func required[ID any](r *reading, parse func(string) (ID, error), s string) ID {
	id, err := parse(s)
	if err != nil {
		r.fail("%w", err)
	}
	return id
}

// optional reads an id, or the zero id of "".
func optional[ID any](r *reading, parse func(string) (ID, error), s string) (none ID) {
	if s == "" {
		return none
	}
	return required(r, parse, s)
}

func (r *reading) currency(s string) bank.Currency {
	c, err := bank.ParseCurrency(s)
	if err != nil {
		r.fail("%w", err)
	}
	return c
}

// minor reads an amount that must be of currency c.
func (r *reading) minor(m money, c bank.Currency) int64 {
	n, err := strconv.ParseInt(m.Amount, 10, 64)
	if err != nil {
		r.fail("amount %.64q is not a whole number of minor units", m.Amount)
	}
	if m.Currency != c.String() {
		r.fail("an amount in %.64q among amounts in %s", m.Currency, c)
	}
	return n
}

func (r *reading) natural(m money, c bank.Currency) int64 {
	n := r.minor(m, c)
	if n < 0 {
		r.fail("amount %d is below zero", n)
	}
	return n
}

func (r *reading) amount(m money) bank.Amount {
	c := r.currency(m.Currency)
	a, err := bank.NewAmount(r.minor(m, c), c)
	if err != nil {
		r.fail("%w", err)
	}
	return a
}

func (r *reading) limit(m *money, c bank.Currency) bank.Limit {
	if m == nil {
		return bank.NoLimit
	}
	return bank.Limit(r.natural(*m, c))
}

func (r *reading) date(s string) bank.Date {
	d, err := bank.ParseDate(s)
	if err != nil {
		r.fail("%w", err)
	}
	return d
}

func (r *reading) instant(s string) bank.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		r.fail("%w", err)
	}
	return bank.TimeOf(t)
}
