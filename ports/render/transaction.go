package render

import (
	"github.com/danielgtaylor/huma/v2"

	"bankforge/app/bank"
)

// Transaction is a movement of money.
type Transaction struct {
	ID             *string           `json:"id" example:"txn_06h09h3q657ss5pr9u4kq9irho" doc:"null when projected"`
	Kind           string            `json:"kind" enum:"deposit,withdrawal,transfer,capture,reversal"`
	Status         Status            `json:"status"`
	Version        uint64            `json:"version" example:"1"`
	Amount         Money             `json:"amount"`
	ReversedAmount Money             `json:"reversed_amount"`
	From           *string           `json:"from_account_id" doc:"null for deposits"`
	To             *string           `json:"to_account_id" doc:"null for withdrawals"`
	Reference      *string           `json:"reference" example:"invoice 2026-117"`
	Description    *string           `json:"description"`
	Metadata       map[string]string `json:"metadata"`
	Reverses       *string           `json:"reverses" doc:"The transaction that this one reverses."`
	HoldID         *string           `json:"hold_id" doc:"The hold that this one captures."`
	ValueDate      string            `json:"value_date" format:"date"`
	Seq            *uint64           `json:"seq" doc:"The event's place in the log; null when projected."`
	PostedAt       *string           `json:"posted_at" format:"date-time" doc:"null until posted"`
	CorrelationID  string            `json:"correlation_id"`
	Entries        []Entry           `json:"entries" nullable:"false"`
}

// Status is how far a transaction is.
type Status string

// Schema lists what it can be.
func (Status) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Enum: []any{
		"posted", "pending_review", "rejected", "partially_reversed", "reversed", "projected",
	}}
}

// Entry is one side of a posted transaction. On accounts that the reader may not see, the last two members are absent.
type Entry struct {
	AccountID    string  `json:"account_id"`
	Direction    string  `json:"direction" enum:"debit,credit"`
	Amount       Money   `json:"amount"`
	BalanceAfter *Money  `json:"balance_after,omitempty"`
	Version      *uint64 `json:"version,omitempty" doc:"The account's version."`
}

// TransactionOf renders a transaction as the reader may see it. Projected: it only would be.
func TransactionOf(t *bank.Transaction, r Reader, projected bool) Transaction {
	c := t.Amount.Currency()
	out := Transaction{
		ID:             Maybe(t.ID.String()),
		Kind:           t.Kind.String(),
		Status:         Status(t.Status.String()),
		Version:        uint64(t.Version),
		Amount:         MoneyOf(t.Amount.Minor(), c),
		ReversedAmount: MoneyOf(t.Reversed, c),
		From:           Maybe(t.From.String()),
		To:             Maybe(t.To.String()),
		Reference:      Maybe(t.Reference),
		Description:    Maybe(t.Description),
		Metadata:       metadata(t.Metadata),
		Reverses:       Maybe(t.Reverses.String()),
		HoldID:         Maybe(t.Hold.String()),
		ValueDate:      t.ValueDate.String(),
		PostedAt:       MaybeTime(t.PostedAt),
		CorrelationID:  t.CorrelationID,
		Entries:        make([]Entry, len(t.Entries)),
	}
	if projected {
		out.ID, out.PostedAt, out.Status = nil, nil, "projected"
	} else {
		seq := uint64(t.Seq)
		out.Seq = &seq
	}
	for i := range t.Entries {
		out.Entries[i] = entryOf(&t.Entries[i], c, r)
	}
	return out
}

func entryOf(e *bank.Entry, c bank.Currency, r Reader) Entry {
	out := Entry{AccountID: e.Account.String(), Direction: Direction(e.Amount), Amount: MoneyOf(abs(e.Amount), c)}
	if r.sees(e.Customer) {
		after, version := MoneyOf(e.BalanceAfter, c), uint64(e.Version)
		out.BalanceAfter, out.Version = &after, &version
	}
	return out
}

// Direction names the sign of an amount.
func Direction(amount int64) string {
	if amount < 0 {
		return "debit"
	}
	return "credit"
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}

// Hold is money kept back.
type Hold struct {
	ID        *string `json:"id" example:"hold_06h09h3q657ss5pr9u4kq9irho" doc:"null when projected"`
	AccountID string  `json:"account_id"`
	Amount    Money   `json:"amount"`
	Captured  Money   `json:"captured"`
	Remaining Money   `json:"remaining"`
	Status    string  `json:"status" enum:"active,captured,voided,expired,projected"`
	Reference *string `json:"reference"`
	CreatedAt *string `json:"created_at" format:"date-time" doc:"null when projected"`
	ExpiresAt string  `json:"expires_at" format:"date-time"`
	Version   uint64  `json:"version"`
}

// HoldOf renders a hold. Projected: it only would be.
func HoldOf(h *bank.Hold, projected bool) Hold {
	c := h.Amount.Currency()
	out := Hold{
		ID:        Maybe(h.ID.String()),
		AccountID: h.Account.String(),
		Amount:    MoneyOf(h.Amount.Minor(), c),
		Captured:  MoneyOf(h.Captured, c),
		Remaining: MoneyOf(h.Remaining, c),
		Status:    h.Status.String(),
		Reference: Maybe(h.Reference),
		CreatedAt: MaybeTime(h.CreatedAt),
		ExpiresAt: Time(h.ExpiresAt),
		Version:   uint64(h.Version),
	}
	if projected {
		out.Status = "projected"
	}
	return out
}
