package push

import (
	"encoding/json"
	"strconv"

	"bankforge/app/bank"
	"bankforge/handlers"
)

// The names of the forms below. What a client reads under a name never changes its meaning.
const (
	accountSchema     = "bankforge.live.account/1"
	transactionSchema = "bankforge.live.transaction/1"
)

type message struct {
	Schema        string       `json:"schema"`
	Type          string       `json:"type"`
	Version       bank.Version `json:"version"`
	OccurredAt    string       `json:"occurred_at"`
	CorrelationID string       `json:"correlation_id"`
	Data          any          `json:"data"`
}

type account struct {
	Status    string `json:"status"`
	Balance   money  `json:"balance"`
	Held      money  `json:"held"`
	Available money  `json:"available"`
	Entry     *entry `json:"entry"`
}

type entry struct {
	TransactionID string `json:"transaction_id"`
	Direction     string `json:"direction"`
	Amount        money  `json:"amount"`
}

// transaction leaves out what only one of its two sides may see: balances, and who asked.
type transaction struct {
	ID             string  `json:"id"`
	Kind           string  `json:"kind"`
	Status         string  `json:"status"`
	Amount         money   `json:"amount"`
	ReversedAmount money   `json:"reversed_amount"`
	FromAccountID  *string `json:"from_account_id"`
	ToAccountID    *string `json:"to_account_id"`
	PostedAt       *string `json:"posted_at"`
}

type money struct {
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
}

func encode(f *handlers.Fact) []byte {
	m := message{
		Schema: accountSchema, Type: f.Name, Version: f.Version(),
		OccurredAt: instant(f.Time), CorrelationID: f.CorrelationID,
	}
	if f.Leg != nil {
		m.Data = accountData(&f.Change)
	} else {
		m.Schema = transactionSchema
		m.Data = transactionData(f.Transaction)
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic("push: strings and numbers always encode: " + err.Error())
	}
	return b
}

func accountData(c *bank.Change) account {
	l := c.Leg
	a := account{
		Status:    l.After.Status.String(),
		Balance:   moneyOf(l.After.Balance, l.Currency),
		Held:      moneyOf(l.After.Held, l.Currency),
		Available: moneyOf(l.After.Available(), l.Currency),
	}
	if l.Amount != 0 && c.Transaction != nil {
		a.Entry = &entry{TransactionID: c.Transaction.ID.String(), Direction: "credit", Amount: moneyOf(l.Amount, l.Currency)}
		if l.Amount < 0 {
			a.Entry.Direction, a.Entry.Amount = "debit", debited(l.Amount, l.Currency)
		}
	}
	return a
}

func transactionData(t *bank.Transaction) transaction {
	d := transaction{
		ID:             t.ID.String(),
		Kind:           t.Kind.String(),
		Status:         t.Status.String(),
		Amount:         moneyOf(t.Amount.Minor(), t.Amount.Currency()),
		ReversedAmount: moneyOf(t.Reversed, t.Amount.Currency()),
		FromAccountID:  orNull(t.From.String()),
		ToAccountID:    orNull(t.To.String()),
	}
	if t.PostedAt != 0 {
		d.PostedAt = orNull(instant(t.PostedAt))
	}
	return d
}

func moneyOf(minor int64, c bank.Currency) money {
	return money{strconv.FormatInt(minor, 10), c.String()}
}

// debited is the positive form of a negative amount, which the smallest int64 has only without its sign.
func debited(minor int64, c bank.Currency) money {
	return money{strconv.FormatUint(-uint64(minor), 10), c.String()}
}

// instant has all the six digits that the bank keeps, like every time over HTTP.
func instant(t bank.Time) string { return t.Std().Format("2006-01-02T15:04:05.000000Z") }

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
