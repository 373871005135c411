package render

import (
	"github.com/danielgtaylor/huma/v2"

	"bankforge/app"
	"bankforge/app/bank"
)

// EventLine is one line of the log as it is read over HTTP.
type EventLine struct {
	Seq           uint64 `json:"seq" example:"42"`
	Type          string `json:"type" example:"transaction.made"`
	Time          string `json:"time" format:"date-time"`
	CorrelationID string `json:"correlation_id"`
	Chain         string `json:"chain" doc:"SHA-256 of the previous chain and this event as stored, in hex."`
	Data          Event  `json:"data"`
}

// Event is what happened.
type Event struct {
	Legs         []Leg         `json:"legs" nullable:"false" doc:"What it did to each account."`
	Opening      *Opening      `json:"opening,omitempty"`
	Details      *Details      `json:"details,omitempty"`
	Transactions []Transaction `json:"transactions" nullable:"false" doc:"As they stand after it."`
	Hold         *Hold         `json:"hold,omitempty" doc:"As it stands after it."`
	Act          *Act          `json:"act,omitempty" doc:"What an operator wants; then nothing else is there."`
	Reason       string        `json:"reason,omitempty"`
}

// Act is what an operator wants done.
type Act struct {
	ID      string `json:"id" pattern:"^act_[0-9a-v]{26}$"`
	Kind    string `json:"kind" example:"failure.retry"`
	Handler string `json:"handler,omitempty" doc:"Absent when it is about none in particular."`
	Key     string `json:"key,omitempty" doc:"Which sequence of the handler, if it is about one."`
	Target  string `json:"target,omitempty" doc:"The id of a failure or a replay, or the fingerprint of a group."`
	Body    Object `json:"body,omitempty" doc:"What else there is to say; it depends on the kind."`
}

// Object is JSON as somebody else has written it.
type Object []byte

// Schema overrides what huma would make of it.
func (Object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

// MarshalJSON writes it as it is.
func (o Object) MarshalJSON() ([]byte, error) { return o, nil }

// Leg is what an event did to one account. Of accounts that the reader may not see, the last two members are absent.
type Leg struct {
	AccountID string  `json:"account_id"`
	Direction *string `json:"direction" enum:"debit,credit" doc:"null when no money moved"`
	Amount    Money   `json:"amount"`
	Customer  *string `json:"customer_id,omitempty"`
	After     *After  `json:"after,omitempty"`
}

// After is what an account became.
type After struct {
	Version         uint64     `json:"version"`
	Status          string     `json:"status" enum:"active,frozen,closed"`
	Balance         Money      `json:"balance"`
	Held            Money      `json:"held"`
	Available       Money      `json:"available"`
	OverdraftLimit  Money      `json:"overdraft_limit"`
	DailyDebitLimit MaybeMoney `json:"daily_debit_limit"`
	ReviewAbove     MaybeMoney `json:"review_above"`
}

// Opening is what was said when an account was opened.
type Opening struct {
	CustomerID *string `json:"customer_id"`
	Currency   string  `json:"currency"`
	Type       string  `json:"type" enum:"current,savings,internal"`
}

// Details are what users wrote about an account.
type Details struct {
	Label      *string           `json:"label"`
	ExternalID *string           `json:"external_id"`
	Metadata   map[string]string `json:"metadata"`
}

// EventOf renders what happened as the reader may see it. Why staff did it is for staff.
func EventOf(e *app.Recorded, r Reader) Event {
	out := Event{
		Legs:         make([]Leg, len(e.Legs)),
		Transactions: make([]Transaction, len(e.Transactions)),
	}
	for i := range e.Legs {
		out.Legs[i] = legOf(&e.Legs[i], r)
	}
	for i := range e.Transactions {
		out.Transactions[i] = TransactionOf(&e.Transactions[i], r, false)
	}
	if o := e.Opening; o != nil {
		out.Opening = &Opening{Maybe(o.Customer.String()), o.Currency.String(), o.Type.String()}
	}
	if d := e.Details; d != nil {
		out.Details = &Details{Maybe(d.Label), Maybe(d.ExternalID), metadata(d.Metadata)}
	}
	if e.Hold != nil && r.sees(e.Hold.Customer) {
		h := HoldOf(e.Hold, false)
		out.Hold = &h
	}
	if r.Customer.IsZero() {
		out.Reason = e.Reason
	}
	if a := e.Act; a != nil && r.Customer.IsZero() {
		out.Act = &Act{a.ID.String(), string(a.Kind), a.Handler, a.Key, a.Target, a.Body}
		out.Reason = a.Reason
	}
	return out
}

func legOf(l *bank.Leg, r Reader) Leg {
	out := Leg{AccountID: l.Account.String(), Amount: MoneyOf(abs(l.Amount), l.Currency)}
	if l.Amount != 0 {
		d := Direction(l.Amount)
		out.Direction = &d
	}
	if !r.sees(l.Customer) {
		return out
	}
	a, c := &l.After, l.Currency
	out.Customer = Maybe(l.Customer.String())
	out.After = &After{
		Version: uint64(a.Version), Status: a.Status.String(),
		Balance: MoneyOf(a.Balance, c), Held: MoneyOf(a.Held, c), Available: MoneyOf(a.Available(), c),
		OverdraftLimit:  MoneyOf(int64(a.OverdraftLimit), c),
		DailyDebitLimit: limitOf(a.DailyDebitLimit, c), ReviewAbove: limitOf(a.ReviewAbove, c),
	}
	return out
}
