package render

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"bankforge/app/bank"
)

// What is answered most often is written without reflection and without the structs in between: that halves what an
// answer costs. A test holds it to the very bytes that encoding/json makes of the structs.

// TransactionJSON is TransactionOf, ready to be written.
type TransactionJSON struct {
	Of        *bank.Transaction
	To        Reader
	Projected bool
}

// AppendJSON appends what encoding/json makes of TransactionOf.
func (j TransactionJSON) AppendJSON(b []byte) []byte {
	t := j.Of
	c := t.Amount.Currency()
	b = append(b, `{"id":`...)
	if j.Projected {
		b = append(b, `null`...)
	} else {
		b = appendMaybe(b, t.ID.String())
	}
	b = appendText(append(b, `,"kind":`...), t.Kind.String())
	if j.Projected {
		b = append(b, `,"status":"projected"`...)
	} else {
		b = appendText(append(b, `,"status":`...), t.Status.String())
	}
	b = strconv.AppendUint(append(b, `,"version":`...), uint64(t.Version), 10)
	b = appendMoney(append(b, `,"amount":`...), t.Amount.Minor(), c)
	b = appendMoney(append(b, `,"reversed_amount":`...), t.Reversed, c)
	b = appendMaybe(append(b, `,"from_account_id":`...), t.From.String())
	b = appendMaybe(append(b, `,"to_account_id":`...), t.To.String())
	b = appendMaybe(append(b, `,"reference":`...), t.Reference)
	b = appendMaybe(append(b, `,"description":`...), t.Description)
	b = appendMetadata(append(b, `,"metadata":`...), t.Metadata)
	b = appendMaybe(append(b, `,"reverses":`...), t.Reverses.String())
	b = appendMaybe(append(b, `,"hold_id":`...), t.Hold.String())
	b = appendText(append(b, `,"value_date":`...), t.ValueDate.String())
	b = append(b, `,"seq":`...)
	if j.Projected {
		b = append(b, `null,"posted_at":null`...)
	} else {
		b = strconv.AppendUint(b, uint64(t.Seq), 10)
		b = appendMaybeTime(append(b, `,"posted_at":`...), t.PostedAt)
	}
	b = appendText(append(b, `,"correlation_id":`...), t.CorrelationID)
	b = append(b, `,"entries":[`...)
	for i := range t.Entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendEntry(b, &t.Entries[i], c, j.To)
	}
	return append(b, `]}`...)
}

func appendEntry(b []byte, e *bank.Entry, c bank.Currency, r Reader) []byte {
	b = appendText(append(b, `{"account_id":`...), e.Account.String())
	b = appendText(append(b, `,"direction":`...), Direction(e.Amount))
	b = appendMoney(append(b, `,"amount":`...), abs(e.Amount), c)
	if r.sees(e.Customer) {
		b = appendMoney(append(b, `,"balance_after":`...), e.BalanceAfter, c)
		b = strconv.AppendUint(append(b, `,"version":`...), uint64(e.Version), 10)
	}
	return append(b, '}')
}

// AccountJSON is AccountOf, ready to be written.
type AccountJSON struct {
	Of    *bank.Account
	Epoch string
}

// AppendJSON appends what encoding/json makes of AccountOf.
func (j AccountJSON) AppendJSON(b []byte) []byte {
	a := j.Of
	c := a.Currency
	var d bank.Details
	if a.Details != nil {
		d = *a.Details
	}
	b = appendText(append(b, `{"id":`...), a.ID.String())
	b = appendMaybe(append(b, `,"customer_id":`...), a.Customer.String())
	b = appendText(append(b, `,"currency":`...), c.String())
	b = appendText(append(b, `,"type":`...), a.Type.String())
	b = appendMaybe(append(b, `,"label":`...), d.Label)
	b = appendMaybe(append(b, `,"external_id":`...), d.ExternalID)
	b = appendMetadata(append(b, `,"metadata":`...), d.Metadata)
	b = appendText(append(b, `,"status":`...), a.Status.String())
	b = appendLimit(append(b, `,"review_above":`...), a.ReviewAbove, c)
	b = strconv.AppendUint(append(b, `,"version":`...), uint64(a.Version), 10)
	b = appendMoney(append(b, `,"balance":`...), a.Balance, c)
	b = appendMoney(append(b, `,"held":`...), a.Held, c)
	b = appendMoney(append(b, `,"available":`...), a.Available(), c)
	b = appendMoney(append(b, `,"overdraft_limit":`...), int64(a.OverdraftLimit), c)
	b = appendLimit(append(b, `,"daily_debit_limit":`...), a.DailyDebitLimit, c)
	b = appendTime(append(b, `,"opened_at":`...), a.OpenedAt)
	b = appendTime(append(b, `,"updated_at":`...), a.UpdatedAt)
	b = appendText(append(b, `,"stream":{"epoch":`...), j.Epoch)
	b = strconv.AppendUint(append(b, `,"offset":`...), uint64(a.Version), 10)
	return append(b, `}}`...)
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
	return append(t.Std().AppendFormat(append(b, '"'), timeForm), '"')
}

func appendMaybeTime(b []byte, t bank.Time) []byte {
	if t == 0 {
		return append(b, `null`...)
	}
	return appendTime(b, t)
}

func appendMaybe(b []byte, s string) []byte {
	if s == "" {
		return append(b, `null`...)
	}
	return appendText(b, s)
}

func appendMetadata(b []byte, m bank.Metadata) []byte {
	if len(m) == 0 {
		return append(b, `{}`...)
	}
	return appendAny(b, m)
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
