// Package payload is what messages say, as JSON: it is written and read more often than anything else, and so without
// reflection. The schemas are in api/asyncapi.yaml.
package payload

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"bankforge/app/bank"
)

// The payloads: version 1 of all of them.

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

// Read is the inverse of Append: c.Name says what data is. It ignores what it does not know.
func Read(c *bank.Change, data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("the payload is not UTF-8")
	}
	if strings.HasPrefix(c.Name, "transaction.") {
		var p transactionPayload
		if err := json.Unmarshal(data, &p); err != nil {
			return err
		}
		var r reading
		c.Transaction, c.Reason = r.transaction(&p.Transaction), p.Reason
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
