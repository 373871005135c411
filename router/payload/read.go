package payload

import (
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"bankforge/app/bank"
)

// Read is the inverse of Append: c.Name says what data is. It ignores what it does not know; what c becomes shares
// nothing with data.
func Read(c *bank.Change, data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("the payload is not UTF-8")
	}
	r := reader{scan: scan{data: data}}
	about := r.account
	switch {
	case strings.HasPrefix(c.Name, "transaction."):
		about = r.change
	case strings.HasPrefix(c.Name, "ops."):
		about = r.acted
	}
	about(c)
	r.end()
	return r.err
}

// reader reads payloads. Most values are the same again and again, so what came last is kept.
type reader struct {
	scan
	currencyText string
	currency     bank.Currency
	dateText     string
	date         bank.Date
	instantText  string
	instant      bank.Time
}

// money is an amount as it came.
type money struct {
	there    bool
	minor    int64
	currency bank.Currency
}

// change reads what is told on the topic of transactions.
func (r *reader) change(c *bank.Change) {
	r.object(func(name []byte) {
		switch string(name) {
		case "transaction":
			c.Transaction = r.transaction()
		case "payer_customer_id":
			c.Payer = optional(r, bank.ParseID[bank.Customer])
		case "reason":
			c.Reason = r.string()
		default:
			r.skip()
		}
	})
	if c.Transaction == nil {
		r.fail("there is no transaction")
	}
}

// account reads what is told on the topic of accounts.
func (r *reader) account(c *bank.Change) {
	var amount money
	var l legReader
	r.object(func(name []byte) {
		switch string(name) {
		case "account":
			l.read(r)
		case "amount":
			amount = r.money()
		case "opening":
			c.Opening = r.opening()
		case "details":
			c.Details = r.details()
		case "hold":
			c.Hold = r.hold()
		case "transaction":
			c.Transaction = r.transaction()
		case "reason":
			c.Reason = r.string()
		default:
			r.skip()
		}
	})
	l.leg.Amount = r.minor(amount, l.leg.Currency)
	if l.leg.After.Version == 0 {
		r.fail("an account without version")
	}
	c.Leg = &l.leg
	if (c.Name == "account.opened") != (c.Opening != nil) {
		r.fail("an opening belongs to account.opened, and nowhere else")
	}
}

// legReader reads an account. Its currency is that of its balance.
type legReader struct{ leg bank.Leg }

func (x *legReader) read(r *reader) {
	l, a := &x.leg, &x.leg.After
	var balance, held, overdraft, today, daily, review money
	dated := false
	r.object(func(name []byte) {
		switch string(name) {
		case "id":
			l.Account = required(r, bank.ParseID[bank.Account])
		case "customer_id":
			l.Customer = optional(r, bank.ParseID[bank.Customer])
		case "version":
			a.Version = bank.Version(r.number())
		case "status":
			a.Status = required(r, bank.ParseAccountStatus)
		case "balance":
			balance = r.money()
		case "held":
			held = r.money()
		case "overdraft_limit":
			overdraft = r.money()
		case "daily_debit_limit":
			daily = r.money()
		case "review_above":
			review = r.money()
		case "day":
			a.Day, dated = r.day(), true
		case "debited_today":
			today = r.money()
		case "details_version":
			a.DetailsVersion = bank.Version(r.number())
		default:
			r.skip()
		}
	})
	c := balance.currency
	l.Currency = c
	a.Balance, a.Held, a.DebitedToday = r.minor(balance, c), r.natural(held, c), r.natural(today, c)
	a.OverdraftLimit = bank.Limit(r.natural(overdraft, c))
	a.DailyDebitLimit, a.ReviewAbove = r.limit(daily, c), r.limit(review, c)
	if l.Account.IsZero() || a.Status == 0 || !dated {
		r.fail("an account without id, status or day")
	}
}

func (r *reader) opening() *bank.Opening {
	o := &bank.Opening{}
	there := r.object(func(name []byte) {
		switch string(name) {
		case "customer_id":
			o.Customer = optional(r, bank.ParseID[bank.Customer])
		case "currency":
			o.Currency = r.code()
		case "type":
			o.Type = required(r, bank.ParseAccountType)
		default:
			r.skip()
		}
	})
	if !there {
		return nil
	}
	if o.Type == 0 || o.Currency.IsZero() {
		r.fail("an opening without currency or type")
	}
	return o
}

func (r *reader) details() *bank.Details {
	d := &bank.Details{}
	there := r.object(func(name []byte) {
		switch string(name) {
		case "label":
			d.Label = r.string()
		case "external_id":
			d.ExternalID = r.string()
		case "metadata":
			d.Metadata = r.metadata()
		default:
			r.skip()
		}
	})
	if !there {
		return nil
	}
	return d
}

func (r *reader) hold() *bank.Hold {
	h := &bank.Hold{}
	var amount, captured, remaining money
	dated := dates(0)
	there := r.object(func(name []byte) {
		switch string(name) {
		case "id":
			h.ID = required(r, bank.ParseID[bank.Hold])
		case "account_id":
			h.Account = required(r, bank.ParseID[bank.Account])
		case "customer_id":
			h.Customer = optional(r, bank.ParseID[bank.Customer])
		case "amount":
			amount = r.money()
		case "captured":
			captured = r.money()
		case "remaining":
			remaining = r.money()
		case "status":
			h.Status = required(r, bank.ParseHoldStatus)
		case "reference":
			h.Reference = r.string()
		case "created_at":
			h.CreatedAt, dated = r.time(), dated|created
		case "expires_at":
			h.ExpiresAt, dated = r.time(), dated|expires
		case "version":
			h.Version = bank.Version(r.number())
		default:
			r.skip()
		}
	})
	if !there {
		return nil
	}
	h.Amount = r.amount(amount)
	h.Captured, h.Remaining = r.natural(captured, amount.currency), r.natural(remaining, amount.currency)
	if h.ID.IsZero() || h.Account.IsZero() || h.Status == 0 || dated != created|expires {
		r.fail("a hold without id, account, status or dates")
	}
	return h
}

func (r *reader) metadata() bank.Metadata {
	m := bank.Metadata{}
	if !r.object(func(name []byte) { m[string(name)] = r.string() }) {
		return nil
	}
	return m
}

// money takes an amount of money; null is none.
func (r *reader) money() (m money) {
	m.there = r.object(func(name []byte) {
		switch string(name) {
		case "amount":
			text := r.text()
			n, err := strconv.ParseInt(string(text), 10, 64)
			if err != nil {
				r.fail("amount %.64q is not a whole number of minor units", text)
			}
			m.minor = n
		case "currency":
			m.currency = r.code()
		default:
			r.skip()
		}
	})
	return m
}

// minor is an amount that must be of currency c.
func (r *reader) minor(m money, c bank.Currency) int64 {
	if !m.there || m.currency.IsZero() || m.currency != c {
		r.fail("an amount in %q among amounts in %q", m.currency.String(), c.String())
	}
	return m.minor
}

func (r *reader) natural(m money, c bank.Currency) int64 {
	n := r.minor(m, c)
	if n < 0 {
		r.fail("amount %d is below zero", n)
	}
	return n
}

func (r *reader) amount(m money) bank.Amount {
	a, err := bank.NewAmount(m.minor, m.currency)
	if err != nil {
		r.fail("%w", err)
	}
	return a
}

func (r *reader) limit(m money, c bank.Currency) bank.Limit {
	if !m.there {
		return bank.NoLimit
	}
	return bank.Limit(r.natural(m, c))
}

func (r *reader) string() string { return string(r.text()) }

func (r *reader) code() bank.Currency {
	text := r.text()
	if string(text) != r.currencyText || r.currencyText == "" {
		c, err := bank.ParseCurrency(string(text))
		if err != nil {
			r.fail("%w", err)
		}
		r.currencyText, r.currency = c.String(), c
	}
	return r.currency
}

func (r *reader) day() bank.Date {
	text := r.text()
	if string(text) != r.dateText || r.dateText == "" {
		d, err := bank.ParseDate(string(text))
		if err != nil {
			r.fail("%w", err)
		}
		r.dateText, r.date = string(text), d
	}
	return r.date
}

func (r *reader) time() bank.Time {
	text := r.text()
	if string(text) != r.instantText || r.instantText == "" {
		t, err := time.Parse(time.RFC3339Nano, string(text))
		if err != nil {
			r.fail("%w", err)
		}
		r.instantText, r.instant = string(text), bank.TimeOf(t)
	}
	return r.instant
}

// required takes an id or a name.
func required[V any](r *reader, parse func(string) (V, error)) V {
	v, err := parse(r.string())
	if err != nil {
		r.fail("%w", err)
	}
	return v
}

// optional takes an id; "" is the zero one.
func optional[V any](r *reader, parse func(string) (V, error)) (v V) {
	text := r.text()
	if len(text) == 0 {
		return v
	}
	v, err := parse(string(text))
	if err != nil {
		r.fail("%w", err)
	}
	return v
}
