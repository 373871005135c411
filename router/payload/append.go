// Package payload is what messages say, as JSON: it is written and read more often than anything else, and so without
// reflection. The schemas are in api/asyncapi.yaml.
package payload

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"bankforge/app/bank"
)

// Writer appends payloads, byte for byte as encoding/json would write the structs of this package. It remembers the
// last transaction that it wrote, because every message of an event has the same one.
// The zero Writer is ready. It is not safe for concurrent use.
type Writer struct {
	of   *bank.Transaction
	text []byte
}

// Append appends the payload of c's message. What c points to must not change while w is used.
func (w *Writer) Append(b []byte, c *bank.Change) []byte {
	if c.Act != nil {
		return appendAct(b, c.Act)
	}
	if c.Leg == nil {
		b = w.transaction(append(b, `{"transaction":`...), c.Transaction)
		b = appendSome(b, `,"payer_customer_id":`, c.Payer.String())
		return append(appendSome(b, `,"reason":`, c.Reason), '}')
	}
	b = appendAccount(append(b, `{"account":`...), c.Leg)
	b = appendMoney(append(b, `,"amount":`...), c.Leg.Amount, c.Leg.Currency)
	if o := c.Opening; o != nil {
		b = append(b, `,"opening":{`...)
		if !o.Customer.IsZero() {
			b = append(appendText(append(b, `"customer_id":`...), o.Customer.String()), ',')
		}
		b = appendText(append(b, `"currency":`...), o.Currency.String())
		b = append(appendText(append(b, `,"type":`...), o.Type.String()), '}')
	}
	if d := c.Details; d != nil {
		b = appendText(append(b, `,"details":{"label":`...), d.Label)
		b = appendSome(b, `,"external_id":`, d.ExternalID)
		b = append(appendMetadata(b, d.Metadata), '}')
	}
	if c.Hold != nil {
		b = appendHold(append(b, `,"hold":`...), c.Hold)
	}
	if c.Transaction != nil {
		b = w.transaction(append(b, `,"transaction":`...), c.Transaction)
	}
	return append(appendSome(b, `,"reason":`, c.Reason), '}')
}

func (w *Writer) transaction(b []byte, t *bank.Transaction) []byte {
	if w.of != t {
		w.of, w.text = t, appendTransaction(w.text[:0], t)
	}
	return append(b, w.text...)
}

// appendAct writes the act's body as it is: it is in the form that encoding/json writes.
func appendAct(b []byte, a *bank.Act) []byte {
	b = appendText(append(b, `{"act":{"id":`...), a.ID.String())
	b = appendText(append(b, `,"kind":`...), string(a.Kind))
	b = appendSome(b, `,"handler":`, a.Handler)
	b = appendSome(b, `,"key":`, a.Key)
	b = appendSome(b, `,"target":`, a.Target)
	if len(a.Body) > 0 {
		b = append(append(b, `,"body":`...), a.Body...)
	}
	b = appendText(append(b, `},"reason":`...), a.Reason)
	return append(b, '}')
}

func appendAccount(b []byte, l *bank.Leg) []byte {
	a, c := &l.After, l.Currency
	b = appendText(append(b, `{"id":`...), l.Account.String())
	b = appendSome(b, `,"customer_id":`, l.Customer.String())
	b = strconv.AppendUint(append(b, `,"version":`...), uint64(a.Version), 10)
	b = appendText(append(b, `,"status":`...), a.Status.String())
	b = appendMoney(append(b, `,"balance":`...), a.Balance, c)
	b = appendMoney(append(b, `,"held":`...), a.Held, c)
	b = appendMoney(append(b, `,"available":`...), a.Available(), c)
	b = appendMoney(append(b, `,"overdraft_limit":`...), int64(a.OverdraftLimit), c)
	b = appendLimit(append(b, `,"daily_debit_limit":`...), a.DailyDebitLimit, c)
	b = appendLimit(append(b, `,"review_above":`...), a.ReviewAbove, c)
	b = appendDate(append(b, `,"day":`...), a.Day)
	b = appendMoney(append(b, `,"debited_today":`...), a.DebitedToday, c)
	b = strconv.AppendUint(append(b, `,"details_version":`...), uint64(a.DetailsVersion), 10)
	return append(b, '}')
}

func appendHold(b []byte, h *bank.Hold) []byte {
	c := h.Amount.Currency()
	b = appendText(append(b, `{"id":`...), h.ID.String())
	b = appendText(append(b, `,"account_id":`...), h.Account.String())
	b = appendSome(b, `,"customer_id":`, h.Customer.String())
	b = appendMoney(append(b, `,"amount":`...), h.Amount.Minor(), c)
	b = appendMoney(append(b, `,"captured":`...), h.Captured, c)
	b = appendMoney(append(b, `,"remaining":`...), h.Remaining, c)
	b = appendText(append(b, `,"status":`...), h.Status.String())
	b = appendSome(b, `,"reference":`, h.Reference)
	b = appendTime(append(b, `,"created_at":`...), h.CreatedAt)
	b = appendTime(append(b, `,"expires_at":`...), h.ExpiresAt)
	b = strconv.AppendUint(append(b, `,"version":`...), uint64(h.Version), 10)
	return append(b, '}')
}

func appendTransaction(b []byte, t *bank.Transaction) []byte {
	c := t.Amount.Currency()
	b = appendText(append(b, `{"id":`...), t.ID.String())
	b = appendText(append(b, `,"kind":`...), t.Kind.String())
	b = appendText(append(b, `,"status":`...), t.Status.String())
	b = strconv.AppendUint(append(b, `,"version":`...), uint64(t.Version), 10)
	b = appendMoney(append(b, `,"amount":`...), t.Amount.Minor(), c)
	b = appendMoney(append(b, `,"reversed_amount":`...), t.Reversed, c)
	b = appendSome(b, `,"from_account_id":`, t.From.String())
	b = appendSome(b, `,"to_account_id":`, t.To.String())
	b = appendSome(b, `,"reference":`, t.Reference)
	b = appendSome(b, `,"description":`, t.Description)
	b = appendMetadata(b, t.Metadata)
	b = appendSome(b, `,"reverses":`, t.Reverses.String())
	b = appendSome(b, `,"hold_id":`, t.Hold.String())
	b = appendDate(append(b, `,"value_date":`...), t.ValueDate)
	b = appendSome(b, `,"correlation_id":`, t.CorrelationID)
	b = appendTime(append(b, `,"created_at":`...), t.CreatedAt)
	if t.PostedAt != 0 {
		b = appendTime(append(b, `,"posted_at":`...), t.PostedAt)
	}
	b = strconv.AppendUint(append(b, `,"seq":`...), uint64(t.Seq), 10)
	for i := range t.Entries {
		if i == 0 {
			b = append(b, `,"entries":[`...)
		} else {
			b = append(b, ',')
		}
		b = appendEntry(b, &t.Entries[i], c)
	}
	if len(t.Entries) > 0 {
		b = append(b, ']')
	}
	return append(b, '}')
}

func appendEntry(b []byte, e *bank.Entry, c bank.Currency) []byte {
	direction, amount := `,"direction":"credit","amount":`, e.Amount
	if amount < 0 {
		direction, amount = `,"direction":"debit","amount":`, -amount
	}
	b = appendText(append(b, `{"account_id":`...), e.Account.String())
	b = appendSome(b, `,"customer_id":`, e.Customer.String())
	b = appendMoney(append(b, direction...), amount, c)
	b = appendMoney(append(b, `,"balance_after":`...), e.BalanceAfter, c)
	b = strconv.AppendUint(append(b, `,"version":`...), uint64(e.Version), 10)
	return append(b, '}')
}

func appendMoney(b []byte, minor int64, c bank.Currency) []byte {
	b = strconv.AppendInt(append(b, `{"amount":"`...), minor, 10)
	b = append(append(b, `","currency":"`...), c.String()...)
	return append(b, `"}`...)
}

func appendLimit(b []byte, l bank.Limit, c bank.Currency) []byte {
	if l == bank.NoLimit {
		return append(b, `null`...)
	}
	return appendMoney(b, int64(l), c)
}

func appendTime(b []byte, t bank.Time) []byte {
	return append(t.Std().AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}

func appendDate(b []byte, d bank.Date) []byte {
	const micros = 24 * 60 * 60 * 1_000_000
	return append(bank.Time(int64(d)*micros).Std().AppendFormat(append(b, '"'), time.DateOnly), '"')
}

// appendSome writes name and text unless the text is empty.
func appendSome(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	return appendText(append(b, name...), s)
}

func appendMetadata(b []byte, m bank.Metadata) []byte {
	if len(m) == 0 {
		return b
	}
	return appendAny(append(b, `,"metadata":`...), m)
}

// appendText writes a string. Those with something to escape are rare, and left to encoding/json.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c >= utf8.RuneSelf, c == '"', c == '\\', c == '<', c == '>', c == '&':
			return appendAny(b, s)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

func appendAny(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and maps of them can always be written
	}
	return append(b, text...)
}
