package payload

import "bankforge/app/bank"

func (r *reader) transaction() *bank.Transaction {
	t := &bank.Transaction{}
	var amount, reversed money
	var entries []entry
	dated := dates(0)
	there := r.object(func(name []byte) {
		switch string(name) {
		case "id":
			t.ID = required(r, bank.ParseID[bank.Transaction])
		case "kind":
			t.Kind = required(r, bank.ParseTransactionKind)
		case "status":
			t.Status = required(r, bank.ParseTransactionStatus)
		case "version":
			t.Version = bank.Version(r.number())
		case "amount":
			amount = r.money()
		case "reversed_amount":
			reversed = r.money()
		case "from_account_id":
			t.From = optional(r, bank.ParseID[bank.Account])
		case "to_account_id":
			t.To = optional(r, bank.ParseID[bank.Account])
		default:
			r.rest(t, name, &entries, &dated)
		}
	})
	if !there {
		return nil
	}
	t.Amount, t.Reversed = r.amount(amount), r.natural(reversed, amount.currency)
	for i := range entries {
		t.Entries = append(t.Entries, entries[i].in(r, amount.currency))
	}
	if t.ID.IsZero() || t.Kind == 0 || t.Status == 0 || dated != created|valued {
		r.fail("a transaction without id, kind, status or dates")
	}
	if t.Version == 0 {
		r.fail("a transaction without version")
	}
	return t
}

// dates are those that were there.
type dates uint8

const (
	created dates = 1 << iota
	valued
	expires
)

// rest reads what says nothing about the amount.
func (r *reader) rest(t *bank.Transaction, name []byte, entries *[]entry, dated *dates) {
	switch string(name) {
	case "reference":
		t.Reference = r.string()
	case "description":
		t.Description = r.string()
	case "metadata":
		t.Metadata = r.metadata()
	case "reverses":
		t.Reverses = optional(r, bank.ParseID[bank.Transaction])
	case "hold_id":
		t.Hold = optional(r, bank.ParseID[bank.Hold])
	case "value_date":
		t.ValueDate, *dated = r.day(), *dated|valued
	case "correlation_id":
		t.CorrelationID = r.string()
	case "created_at":
		t.CreatedAt, *dated = r.time(), *dated|created
	case "posted_at":
		t.PostedAt = r.time()
	case "seq":
		t.Seq = bank.Seq(r.number())
	case "entries":
		*entries = (*entries)[:0]
		r.array(func() { *entries = append(*entries, r.entry()) })
	default:
		r.skip()
	}
}

// entry is a side of a transaction as it came.
type entry struct {
	bank.Entry
	direction     string
	amount, after money
}

func (r *reader) entry() (e entry) {
	r.object(func(name []byte) {
		switch string(name) {
		case "account_id":
			e.Account = required(r, bank.ParseID[bank.Account])
		case "customer_id":
			e.Customer = optional(r, bank.ParseID[bank.Customer])
		case "direction":
			e.direction = r.direction()
		case "amount":
			e.amount = r.money()
		case "balance_after":
			e.after = r.money()
		case "version":
			e.Version = bank.Version(r.number())
		default:
			r.skip()
		}
	})
	return e
}

// direction takes one of the two that there are.
func (r *reader) direction() string {
	switch text := r.text(); string(text) {
	case "credit":
		return "credit"
	case "debit":
		return "debit"
	default:
		r.fail("direction %.64q is neither credit nor debit", text)
		return ""
	}
}

// in is the entry of a transaction of currency c.
func (e *entry) in(r *reader, c bank.Currency) bank.Entry {
	e.Amount, e.BalanceAfter = r.natural(e.amount, c), r.minor(e.after, c)
	if e.direction == "debit" {
		e.Amount = -e.Amount
	}
	if e.Account.IsZero() || e.direction == "" {
		r.fail("an entry without account or direction")
	}
	return e.Entry
}
