package router

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"bankforge/app/bank"
)

// The payloads of messages: version 1 of all of them. Their schemas are in api/asyncapi.yaml.

// accountPayload is told on the topic of accounts.
type accountPayload struct {
	Account     accountJSON      `json:"account"`
	Amount      money            `json:"amount"` // signed change of the balance
	Opening     *openingJSON     `json:"opening,omitempty"`
	Details     *detailsJSON     `json:"details,omitempty"`
	Hold        *holdJSON        `json:"hold,omitempty"`
	Transaction *transactionJSON `json:"transaction,omitempty"`
	Reason      string           `json:"reason,omitempty"`
}

// transactionPayload is told on the topic of transactions.
type transactionPayload struct {
	Transaction transactionJSON `json:"transaction"`
	Payer       string          `json:"payer_customer_id,omitempty"` // whose account the transaction takes from
	Reason      string          `json:"reason,omitempty"`
}

type money struct {
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
}

type accountJSON struct {
	ID              string       `json:"id"`
	Customer        string       `json:"customer_id,omitempty"`
	Version         bank.Version `json:"version"`
	Status          string       `json:"status"`
	Balance         money        `json:"balance"`
	Held            money        `json:"held"`
	Available       money        `json:"available"`
	OverdraftLimit  money        `json:"overdraft_limit"`
	DailyDebitLimit *money       `json:"daily_debit_limit"`
	ReviewAbove     *money       `json:"review_above"`
	Day             string       `json:"day"`
	DebitedToday    money        `json:"debited_today"`
	DetailsVersion  bank.Version `json:"details_version"`
}

type openingJSON struct {
	Customer string `json:"customer_id,omitempty"`
	Currency string `json:"currency"`
	Type     string `json:"type"`
}

type detailsJSON struct {
	Label      string        `json:"label"`
	ExternalID string        `json:"external_id,omitempty"`
	Metadata   bank.Metadata `json:"metadata,omitempty"`
}

type holdJSON struct {
	ID        string       `json:"id"`
	Account   string       `json:"account_id"`
	Customer  string       `json:"customer_id,omitempty"`
	Amount    money        `json:"amount"`
	Captured  money        `json:"captured"`
	Remaining money        `json:"remaining"`
	Status    string       `json:"status"`
	Reference string       `json:"reference,omitempty"`
	CreatedAt string       `json:"created_at"`
	ExpiresAt string       `json:"expires_at"`
	Version   bank.Version `json:"version"`
}

type transactionJSON struct {
	ID            string        `json:"id"`
	Kind          string        `json:"kind"`
	Status        string        `json:"status"`
	Version       bank.Version  `json:"version"`
	Amount        money         `json:"amount"`
	Reversed      money         `json:"reversed_amount"`
	From          string        `json:"from_account_id,omitempty"`
	To            string        `json:"to_account_id,omitempty"`
	Reference     string        `json:"reference,omitempty"`
	Description   string        `json:"description,omitempty"`
	Metadata      bank.Metadata `json:"metadata,omitempty"`
	Reverses      string        `json:"reverses,omitempty"`
	Hold          string        `json:"hold_id,omitempty"`
	ValueDate     string        `json:"value_date"`
	CorrelationID string        `json:"correlation_id,omitempty"`
	CreatedAt     string        `json:"created_at"`
	PostedAt      string        `json:"posted_at,omitempty"`
	Seq           bank.Seq      `json:"seq"`
	Entries       []entryJSON   `json:"entries,omitempty"`
}

type entryJSON struct {
	Account      string       `json:"account_id"`
	Customer     string       `json:"customer_id,omitempty"`
	Direction    string       `json:"direction"`
	Amount       money        `json:"amount"`
	BalanceAfter money        `json:"balance_after"`
	Version      bank.Version `json:"version"`
}

func payloadOf(c *bank.Change) any {
	if c.Leg == nil {
		return transactionPayload{
			Transaction: *transactionOf(c.Transaction), Payer: c.Payer.String(), Reason: c.Reason,
		}
	}
	l := c.Leg
	p := accountPayload{
		Account: accountOf(l), Amount: minor(l.Amount, l.Currency), Hold: holdOf(c.Hold),
		Transaction: transactionOf(c.Transaction), Reason: c.Reason,
	}
	if o := c.Opening; o != nil {
		p.Opening = &openingJSON{o.Customer.String(), o.Currency.String(), o.Type.String()}
	}
	if d := c.Details; d != nil {
		p.Details = &detailsJSON{d.Label, d.ExternalID, d.Metadata}
	}
	return p
}

func accountOf(l *bank.Leg) accountJSON {
	a, c := &l.After, l.Currency
	return accountJSON{
		ID: l.Account.String(), Customer: l.Customer.String(), Version: a.Version,
		Status: a.Status.String(), Balance: minor(a.Balance, c), Held: minor(a.Held, c),
		Available: minor(a.Available(), c), OverdraftLimit: minor(int64(a.OverdraftLimit), c),
		DailyDebitLimit: limit(a.DailyDebitLimit, c), ReviewAbove: limit(a.ReviewAbove, c),
		Day: a.Day.String(), DebitedToday: minor(a.DebitedToday, c), DetailsVersion: a.DetailsVersion,
	}
}

func holdOf(h *bank.Hold) *holdJSON {
	if h == nil {
		return nil
	}
	c := h.Amount.Currency()
	return &holdJSON{
		ID: h.ID.String(), Account: h.Account.String(), Customer: h.Customer.String(),
		Amount: minor(h.Amount.Minor(), c), Captured: minor(h.Captured, c), Remaining: minor(h.Remaining, c),
		Status: h.Status.String(), Reference: h.Reference,
		CreatedAt: instant(h.CreatedAt), ExpiresAt: instant(h.ExpiresAt), Version: h.Version,
	}
}

func transactionOf(t *bank.Transaction) *transactionJSON {
	if t == nil {
		return nil
	}
	c := t.Amount.Currency()
	out := &transactionJSON{
		ID: t.ID.String(), Kind: t.Kind.String(), Status: t.Status.String(), Version: t.Version,
		Amount: minor(t.Amount.Minor(), c), Reversed: minor(t.Reversed, c), From: t.From.String(), To: t.To.String(),
		Reference: t.Reference, Description: t.Description, Metadata: t.Metadata, Reverses: t.Reverses.String(),
		Hold: t.Hold.String(), ValueDate: t.ValueDate.String(), CorrelationID: t.CorrelationID,
		CreatedAt: instant(t.CreatedAt), Seq: t.Seq,
	}
	if t.PostedAt != 0 {
		out.PostedAt = instant(t.PostedAt)
	}
	for _, e := range t.Entries {
		direction, amount := "credit", e.Amount
		if amount < 0 {
			direction, amount = "debit", -amount
		}
		out.Entries = append(out.Entries, entryJSON{
			e.Account.String(), e.Customer.String(), direction, minor(amount, c), minor(e.BalanceAfter, c), e.Version,
		})
	}
	return out
}

func minor(n int64, c bank.Currency) money { return money{strconv.FormatInt(n, 10), c.String()} }

func limit(l bank.Limit, c bank.Currency) *money {
	if l == bank.NoLimit {
		return nil
	}
	m := minor(int64(l), c)
	return &m
}

// readPayload is the inverse of payloadOf.
func readPayload(c *bank.Change, data []byte) error {
	if strings.HasPrefix(c.Name, "transaction.") {
		var p transactionPayload
		if err := json.Unmarshal(data, &p); err != nil {
			return err
		}
		var r reading
		c.Transaction, c.Reason = r.transaction(&p.Transaction), p.Reason
		c.Payer = optional(&r, bank.ParseID[bank.Customer], p.Payer)
		c.Payer = optional(&r, bank.ParseID[bank.Customer], p.Payer)
		return r.err
	}
	var p accountPayload
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	var r reading
	c.Leg, c.Reason = r.leg(&p), p.Reason
	if p.Opening != nil {
		c.Opening = &bank.Opening{
			Customer: optional(&r, bank.ParseID[bank.Customer], p.Opening.Customer), Currency: r.currency(p.Opening.Currency),
			Type: required(&r, bank.ParseAccountType, p.Opening.Type),
		}
	}
	if p.Details != nil {
		d := bank.Details(*p.Details)
		c.Details = &d
	}
	if p.Hold != nil {
		c.Hold = r.hold(p.Hold)
	}
	if p.Transaction != nil {
		c.Transaction = r.transaction(p.Transaction)
	}
	if r.err == nil && (c.Name == "account.opened") != (c.Opening != nil) {
		r.err = errors.New("an opening belongs to account.opened, and nowhere else")
	}
	return r.err
}
