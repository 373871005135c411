package payload

import (
	"strconv"
	"time"

	"bankforge/app/bank"
)

// What Append must write, said with encoding/json.

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

func instant(t bank.Time) string { return t.Std().Format(time.RFC3339Nano) }
