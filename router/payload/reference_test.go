package payload

import (
	"encoding/json"
	"strconv"
	"time"

	"bankforge/app/bank"
)

// What Append must write, said with encoding/json.

// accountPayload is told on the topic of accounts.
type accountPayload struct {
	Account     accountJSON      `json:"account"`
	Amount      moneyJSON        `json:"amount"` // signed change of the balance
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

// actPayload is told on the topic of operators.
type actPayload struct {
	Act    actJSON `json:"act"`
	Reason string  `json:"reason"`
}

type actJSON struct {
	ID      string          `json:"id"`
	Kind    string          `json:"kind"`
	Handler string          `json:"handler,omitempty"`
	Key     string          `json:"key,omitempty"`
	Target  string          `json:"target,omitempty"`
	Body    json.RawMessage `json:"body,omitempty"`
}

type moneyJSON struct {
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
}

type accountJSON struct {
	ID              string       `json:"id"`
	Customer        string       `json:"customer_id,omitempty"`
	Version         bank.Version `json:"version"`
	Status          string       `json:"status"`
	Balance         moneyJSON    `json:"balance"`
	Held            moneyJSON    `json:"held"`
	Available       moneyJSON    `json:"available"`
	OverdraftLimit  moneyJSON    `json:"overdraft_limit"`
	DailyDebitLimit *moneyJSON   `json:"daily_debit_limit"`
	ReviewAbove     *moneyJSON   `json:"review_above"`
	Day             string       `json:"day"`
	DebitedToday    moneyJSON    `json:"debited_today"`
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
	Amount    moneyJSON    `json:"amount"`
	Captured  moneyJSON    `json:"captured"`
	Remaining moneyJSON    `json:"remaining"`
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
	Amount        moneyJSON     `json:"amount"`
	Reversed      moneyJSON     `json:"reversed_amount"`
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
	Amount       moneyJSON    `json:"amount"`
	BalanceAfter moneyJSON    `json:"balance_after"`
	Version      bank.Version `json:"version"`
}

func payloadOf(c *bank.Change) any {
	if a := c.Act; a != nil {
		return actPayload{
			actJSON{a.ID.String(), string(a.Kind), a.Handler, a.Key, a.Target, json.RawMessage(a.Body)}, a.Reason,
		}
	}
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

func minor(n int64, c bank.Currency) moneyJSON {
	return moneyJSON{strconv.FormatInt(n, 10), c.String()}
}

func limit(l bank.Limit, c bank.Currency) *moneyJSON {
	if l == bank.NoLimit {
		return nil
	}
	m := minor(int64(l), c)
	return &m
}

func instant(t bank.Time) string { return t.Std().Format(time.RFC3339Nano) }
