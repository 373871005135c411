package mongo

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers/history"
)

// entryDocument is one entry of an account.
type entryDocument struct {
	ID          string `bson:"_id"`
	Account     string `bson:"account"`
	Version     int64  `bson:"version"`
	At          int64  `bson:"at"` // microseconds since 1970, as all times
	Currency    string `bson:"currency"`
	Amount      int64  `bson:"amount"`
	Balance     int64  `bson:"balance"`
	Transaction string `bson:"transaction"`
	Kind        int32  `bson:"kind"`
	Reference   string `bson:"reference,omitempty"`
	Description string `bson:"description,omitempty"`
	ValueDate   int32  `bson:"value_date"`
}

// idOf names a version for ever; ids of one thing sort by their version.
func idOf(id fmt.Stringer, version bank.Version) string {
	return fmt.Sprintf("%s/%016x", id, uint64(version))
}

func entryOf(e *history.Entry) entryDocument {
	return entryDocument{
		ID: idOf(e.Account, e.Version), Account: e.Account.String(), Version: int64(e.Version), At: int64(e.PostedAt),
		Currency: e.Currency.String(), Amount: e.Amount, Balance: e.BalanceAfter, Transaction: e.Transaction.String(),
		Kind: int32(e.Kind), Reference: e.Reference, Description: e.Description, ValueDate: int32(e.ValueDate),
	}
}

func (d *entryDocument) row() (e app.EntryRow, err error) {
	var r reading
	e = app.EntryRow{
		Account: read(&r, bank.ParseID[bank.Account], d.Account), Currency: read(&r, bank.ParseCurrency, d.Currency),
		Version: bank.Version(d.Version), Amount: d.Amount, BalanceAfter: d.Balance, PostedAt: bank.Time(d.At),
		Transaction: read(&r, bank.ParseID[bank.Transaction], d.Transaction), Kind: bank.TransactionKind(d.Kind),
		Reference: d.Reference, Description: d.Description, ValueDate: bank.Date(d.ValueDate),
	}
	return e, r.err
}

// holdDocument is one version of a hold.
type holdDocument struct {
	ID        string `bson:"_id"`
	Hold      string `bson:"hold"`
	Version   int64  `bson:"version"`
	Account   string `bson:"account"`
	Customer  string `bson:"customer,omitempty"`
	Currency  string `bson:"currency"`
	Amount    int64  `bson:"amount"`
	Captured  int64  `bson:"captured"`
	Remaining int64  `bson:"remaining"`
	Status    int32  `bson:"status"`
	Reference string `bson:"reference,omitempty"`
	Created   int64  `bson:"created"`
	Expires   int64  `bson:"expires"`
}

func holdOf(h *bank.Hold) holdDocument {
	return holdDocument{
		ID: idOf(h.ID, h.Version), Hold: h.ID.String(), Version: int64(h.Version), Account: h.Account.String(),
		Customer: h.Customer.String(), Currency: h.Amount.Currency().String(), Amount: h.Amount.Minor(),
		Captured: h.Captured, Remaining: h.Remaining, Status: int32(h.Status), Reference: h.Reference,
		Created: int64(h.CreatedAt), Expires: int64(h.ExpiresAt),
	}
}

func (d *holdDocument) place() place { return place{d.Created, d.Hold, d.Version} }

func (d *holdDocument) hold() (h bank.Hold, err error) {
	var r reading
	h = bank.Hold{
		ID: read(&r, bank.ParseID[bank.Hold], d.Hold), Account: read(&r, bank.ParseID[bank.Account], d.Account),
		Customer: read(&r, bank.ParseID[bank.Customer], d.Customer), Amount: r.amount(d.Amount, d.Currency),
		Captured: d.Captured, Remaining: d.Remaining, Status: bank.HoldStatus(d.Status), Reference: d.Reference,
		CreatedAt: bank.Time(d.Created), ExpiresAt: bank.Time(d.Expires), Version: bank.Version(d.Version),
	}
	return h, r.err
}

// transactionDocument is one version of a transaction, with what lists are asked for.
type transactionDocument struct {
	ID          string         `bson:"_id"`
	Transaction string         `bson:"transaction"`
	Version     int64          `bson:"version"`
	At          int64          `bson:"at"` // its place in lists: when it was posted, or created while it is not
	Kind        int32          `bson:"kind"`
	Status      int32          `bson:"status"`
	Currency    string         `bson:"currency"`
	Amount      int64          `bson:"amount"`
	Reversed    int64          `bson:"reversed"`
	From        string         `bson:"from,omitempty"`
	To          string         `bson:"to,omitempty"`
	Reference   string         `bson:"reference,omitempty"`
	Description string         `bson:"description,omitempty"`
	Metadata    string         `bson:"metadata,omitempty"` // JSON: its keys are the users' own
	Reverses    string         `bson:"reverses,omitempty"`
	Hold        string         `bson:"hold,omitempty"`
	ValueDate   int32          `bson:"value_date"`
	Correlation string         `bson:"correlation,omitempty"`
	Key         string         `bson:"key,omitempty"` // idempotency key of the command that made it
	Created     int64          `bson:"created"`
	Posted      int64          `bson:"posted,omitempty"`
	Seq         int64          `bson:"seq"`
	Entries     []sideDocument `bson:"entries,omitempty"`
	Accounts    []string       `bson:"accounts"`
	Customers   []string       `bson:"customers,omitempty"`
}

// sideDocument is an entry within a transaction.
type sideDocument struct {
	Account  string `bson:"account"`
	Customer string `bson:"customer,omitempty"`
	Amount   int64  `bson:"amount"`
	Balance  int64  `bson:"balance"`
	Version  int64  `bson:"version"`
}

func transactionOf(t *history.Transaction) (transactionDocument, error) {
	d := transactionDocument{
		ID: idOf(t.ID, t.Version), Transaction: t.ID.String(), Version: int64(t.Version),
		At: int64(cmp.Or(t.PostedAt, t.CreatedAt)), Kind: int32(t.Kind), Status: int32(t.Status),
		Currency: t.Amount.Currency().String(), Amount: t.Amount.Minor(), Reversed: t.Reversed,
		From: t.From.String(), To: t.To.String(), Reference: t.Reference, Description: t.Description,
		Reverses: t.Reverses.String(), Hold: t.Transaction.Hold.String(), ValueDate: int32(t.ValueDate),
		Correlation: t.CorrelationID, Key: t.IdempotencyKey, Created: int64(t.CreatedAt), Posted: int64(t.PostedAt),
		Seq: int64(t.Seq), Accounts: make([]string, 0, 2),
	}
	d.Accounts = with(with(d.Accounts, d.From), d.To)
	d.Customers = with(d.Customers, t.Payer.String())
	for i := range t.Entries {
		e := &t.Entries[i]
		d.Entries = append(d.Entries, sideDocument{
			e.Account.String(), e.Customer.String(), e.Amount, e.BalanceAfter, int64(e.Version),
		})
		d.Accounts = with(d.Accounts, e.Account.String())
		d.Customers = with(d.Customers, e.Customer.String())
	}
	if len(t.Metadata) > 0 {
		text, err := json.Marshal(t.Metadata)
		if err != nil {
			return d, fmt.Errorf("metadata of transaction %s: %w", t.ID, err)
		}
		d.Metadata = string(text)
	}
	return d, nil
}

// with adds a text that is not empty, and not there yet.
func with(all []string, text string) []string {
	for _, have := range all {
		if have == text {
			return all
		}
	}
	if text == "" {
		return all
	}
	return append(all, text)
}

func (d *transactionDocument) place() place { return place{d.At, d.Transaction, d.Version} }

func (d *transactionDocument) transaction() (t bank.Transaction, err error) {
	var r reading
	t = bank.Transaction{
		ID: read(&r, bank.ParseID[bank.Transaction], d.Transaction), Kind: bank.TransactionKind(d.Kind),
		Status: bank.TransactionStatus(d.Status), Version: bank.Version(d.Version),
		Amount: r.amount(d.Amount, d.Currency), Reversed: d.Reversed,
		From: read(&r, bank.ParseID[bank.Account], d.From), To: read(&r, bank.ParseID[bank.Account], d.To),
		Reference: d.Reference, Description: d.Description,
		Reverses: read(&r, bank.ParseID[bank.Transaction], d.Reverses), Hold: read(&r, bank.ParseID[bank.Hold], d.Hold),
		ValueDate: bank.Date(d.ValueDate), CorrelationID: d.Correlation, CreatedAt: bank.Time(d.Created),
		PostedAt: bank.Time(d.Posted), Seq: bank.Seq(d.Seq),
	}
	for i := range d.Entries {
		e := &d.Entries[i]
		t.Entries = append(t.Entries, bank.Entry{
			Account:  read(&r, bank.ParseID[bank.Account], e.Account),
			Customer: read(&r, bank.ParseID[bank.Customer], e.Customer),
			Amount:   e.Amount, BalanceAfter: e.Balance, Version: bank.Version(e.Version),
		})
	}
	if r.err == nil && d.Metadata != "" {
		r.err = json.Unmarshal([]byte(d.Metadata), &t.Metadata)
	}
	return t, r.err
}

// reading keeps the first error.
type reading struct{ err error }

// read parses a text; the empty one is the zero value.
func read[T any](r *reading, parse func(string) (T, error), text string) (v T) {
	if text == "" || r.err != nil {
		return v
	}
	v, r.err = parse(text)
	return v
}

func (r *reading) amount(minor int64, currency string) (a bank.Amount) {
	c := read(r, bank.ParseCurrency, currency)
	if r.err == nil {
		a, r.err = bank.NewAmount(minor, c)
	}
	return a
}

// place is where a version stands in a list.
type place struct {
	at      int64
	id      string
	version int64
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.at, q.at), strings.Compare(p.id, q.id), cmp.Compare(p.version, q.version))
}
