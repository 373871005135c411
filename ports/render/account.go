package render

import (
	"reflect"

	"bankforge/app/bank"
)

var moneyType = reflect.TypeFor[Money]()

// Account is an account.
type Account struct {
	ID              string            `json:"id" example:"acc_06h09h3q657ss5pr9u4kq9irho"`
	CustomerID      *string           `json:"customer_id" example:"cus_06h09h3q657ss5pr9u4kq9irho"`
	Currency        string            `json:"currency" pattern:"^[A-Z]{3}$" example:"EUR"`
	Type            string            `json:"type" enum:"current,savings,internal"`
	Label           *string           `json:"label" example:"Household"`
	ExternalID      *string           `json:"external_id" example:"crm-4711"`
	Metadata        map[string]string `json:"metadata"`
	Status          string            `json:"status" enum:"active,frozen,closed"`
	ReviewAbove     MaybeMoney        `json:"review_above" doc:"Transfers of this amount or more wait for a decision."`
	Version         uint64            `json:"version" minimum:"1" example:"7"`
	Balance         Money             `json:"balance"`
	Held            Money             `json:"held"`
	Available       Money             `json:"available" doc:"balance − held + overdraft_limit"`
	OverdraftLimit  Money             `json:"overdraft_limit"`
	DailyDebitLimit MaybeMoney        `json:"daily_debit_limit"`
	OpenedAt        string            `json:"opened_at" format:"date-time"`
	UpdatedAt       string            `json:"updated_at" format:"date-time"`
	Stream          Stream            `json:"stream" doc:"Where to subscribe to the account's live updates from."`
}

// Stream is a place in a live stream.
type Stream struct {
	Epoch  string `json:"epoch"`
	Offset uint64 `json:"offset"`
}

// AccountOf renders an account; epoch is the ledger's incarnation.
func AccountOf(a *bank.Account, epoch string) Account {
	out := Account{
		ID:              a.ID.String(),
		CustomerID:      Maybe(a.Customer.String()),
		Currency:        a.Currency.String(),
		Type:            a.Type.String(),
		Metadata:        map[string]string{},
		Status:          a.Status.String(),
		ReviewAbove:     limitOf(a.ReviewAbove, a.Currency),
		Version:         uint64(a.Version),
		Balance:         MoneyOf(a.Balance, a.Currency),
		Held:            MoneyOf(a.Held, a.Currency),
		Available:       MoneyOf(a.Available(), a.Currency),
		OverdraftLimit:  MoneyOf(int64(a.OverdraftLimit), a.Currency),
		DailyDebitLimit: limitOf(a.DailyDebitLimit, a.Currency),
		OpenedAt:        Time(a.OpenedAt),
		UpdatedAt:       Time(a.UpdatedAt),
		Stream:          Stream{epoch, uint64(a.Version)},
	}
	if d := a.Details; d != nil {
		out.Label, out.ExternalID, out.Metadata = Maybe(d.Label), Maybe(d.ExternalID), metadata(d.Metadata)
	}
	return out
}
