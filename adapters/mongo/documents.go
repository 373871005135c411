package mongo

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers/history"
)

// A document has what it is looked for by as fields, and all else as JSON in its field "data": servers decode each
// field of each document that they look at, and for some of them that is most of their work. Times are in microseconds
// since 1970.

// entryDocument is one entry of an account.
type entryDocument struct {
	ID      string `bson:"_id"`
	Account string `bson:"account"`
	Version int64  `bson:"version"`
	At      int64  `bson:"at"`
	Data    string `bson:"data"`
}

type entryData struct {
	Currency    string `json:"currency"`
	Amount      int64  `json:"amount"`
	Balance     int64  `json:"balance"`
	Transaction string `json:"transaction"`
	Kind        uint8  `json:"kind"`
	Reference   string `json:"reference,omitempty"`
	Description string `json:"description,omitempty"`
	ValueDate   int32  `json:"value_date"`
}

// idOf names a version for ever; ids of one thing sort by their version.
func idOf(id fmt.Stringer, version bank.Version) string {
	return fmt.Sprintf("%s/%016x", id, uint64(version))
}

func entryOf(e *history.Entry) (entryDocument, error) {
	data, err := json.Marshal(entryData{
		Currency: e.Currency.String(), Amount: e.Amount, Balance: e.BalanceAfter,
		Transaction: e.Transaction.String(), Kind: uint8(e.Kind), Reference: e.Reference, Description: e.Description,
		ValueDate: int32(e.ValueDate),
	})
	return entryDocument{
		ID: idOf(e.Account, e.Version), Account: e.Account.String(), Version: int64(e.Version), At: int64(e.PostedAt),
		Data: string(data),
	}, err
}

func (d *entryDocument) last() (history.Last, error) {
	var k entryData
	err := json.Unmarshal([]byte(d.Data), &k)
	return history.Last{Version: bank.Version(d.Version), Balance: k.Balance}, err
}

func (d *entryDocument) row() (e app.EntryRow, err error) {
	var k entryData
	r := reading{json.Unmarshal([]byte(d.Data), &k)}
	e = app.EntryRow{
		Account: read(&r, bank.ParseID[bank.Account], d.Account), Currency: read(&r, bank.ParseCurrency, k.Currency),
		Version: bank.Version(d.Version), Amount: k.Amount, BalanceAfter: k.Balance, PostedAt: bank.Time(d.At),
		Transaction: read(&r, bank.ParseID[bank.Transaction], k.Transaction), Kind: bank.TransactionKind(k.Kind),
		Reference: k.Reference, Description: k.Description, ValueDate: bank.Date(k.ValueDate),
	}
	return e, r.err
}

// holdDocument is one version of a hold.
type holdDocument struct {
	ID       string `bson:"_id"`
	Hold     string `bson:"hold"`
	Version  int64  `bson:"version"`
	Later    bool   `bson:"later,omitempty"` // not the first version: see list.newest
	Account  string `bson:"account"`
	Customer string `bson:"customer,omitempty"`
	Status   int32  `bson:"status"`
	Created  int64  `bson:"created"`
	Data     string `bson:"data"`
}

type holdData struct {
	Currency  string `json:"currency"`
	Amount    int64  `json:"amount"`
	Captured  int64  `json:"captured"`
	Remaining int64  `json:"remaining"`
	Reference string `json:"reference,omitempty"`
	Expires   int64  `json:"expires"`
}

func holdOf(h *bank.Hold) (holdDocument, error) {
	data, err := json.Marshal(holdData{
		Currency: h.Amount.Currency().String(), Amount: h.Amount.Minor(), Captured: h.Captured, Remaining: h.Remaining,
		Reference: h.Reference, Expires: int64(h.ExpiresAt),
	})
	return holdDocument{
		ID: idOf(h.ID, h.Version), Hold: h.ID.String(), Version: int64(h.Version), Later: h.Version > 1,
		Account: h.Account.String(), Customer: h.Customer.String(), Status: int32(h.Status),
		Created: int64(h.CreatedAt), Data: string(data),
	}, err
}

func (d *holdDocument) place() place { return place{d.Created, d.Hold, d.Version} }

func (d *holdDocument) hold() (h bank.Hold, err error) {
	var k holdData
	r := reading{json.Unmarshal([]byte(d.Data), &k)}
	h = bank.Hold{
		ID: read(&r, bank.ParseID[bank.Hold], d.Hold), Account: read(&r, bank.ParseID[bank.Account], d.Account),
		Customer: read(&r, bank.ParseID[bank.Customer], d.Customer), Amount: r.amount(k.Amount, k.Currency),
		Captured: k.Captured, Remaining: k.Remaining, Status: bank.HoldStatus(d.Status), Reference: k.Reference,
		CreatedAt: bank.Time(d.Created), ExpiresAt: bank.Time(k.Expires), Version: bank.Version(d.Version),
	}
	return h, r.err
}

// transactionDocument is one version of a transaction, with what lists are asked for.
type transactionDocument struct {
	ID          string `bson:"_id"`
	Transaction string `bson:"transaction"`
	Version     int64  `bson:"version"`
	Later       bool   `bson:"later,omitempty"` // not the first version: see list.newest
	At          int64  `bson:"at"`              // its place in lists: when it was posted, or created while it is not
	Kind        int32  `bson:"kind"`
	Status      int32  `bson:"status"`
	// All else that is asked for, each with its kind before it: one index finds them.
	Tags []string `bson:"tags"`
	Data string   `bson:"data"`
}

// The kinds of tags.
const (
	ofAccount     = "account:"
	ofCustomer    = "customer:"
	ofReference   = "reference:"
	ofHold        = "hold:"
	ofCorrelation = "correlation:"
	ofKey         = "key:"
)

type transactionData struct {
	Currency    string        `json:"currency"`
	Amount      int64         `json:"amount"`
	Reversed    int64         `json:"reversed,omitempty"`
	From        string        `json:"from,omitempty"`
	To          string        `json:"to,omitempty"`
	Reference   string        `json:"reference,omitempty"`
	Description string        `json:"description,omitempty"`
	Hold        string        `json:"hold,omitempty"`
	Correlation string        `json:"correlation,omitempty"`
	Key         string        `json:"key,omitempty"` // idempotency key of the command that made it
	Metadata    bank.Metadata `json:"metadata,omitempty"`
	Reverses    string        `json:"reverses,omitempty"`
	ValueDate   int32         `json:"value_date"`
	Created     int64         `json:"created"`
	Posted      int64         `json:"posted,omitempty"`
	Seq         uint64        `json:"seq"`
	Entries     []entryInData `json:"entries,omitempty"`
}

// entryInData is an entry within a transaction.
type entryInData struct {
	Account  string `json:"account"`
	Customer string `json:"customer,omitempty"`
	Amount   int64  `json:"amount"`
	Balance  int64  `json:"balance"`
	Version  uint64 `json:"version"`
}

// transactionOf is a document; later versions have the key of the first one.
func transactionOf(t *history.Transaction, key string) (transactionDocument, error) {
	d := transactionDocument{
		ID: idOf(t.ID, t.Version), Transaction: t.ID.String(), Version: int64(t.Version), Later: t.Version > 1,
		At: int64(cmp.Or(t.PostedAt, t.CreatedAt)), Kind: int32(t.Kind), Status: int32(t.Status),
		Tags: make([]string, 0, 8),
	}
	d.tag(ofAccount, t.From.String())
	d.tag(ofAccount, t.To.String())
	d.tag(ofCustomer, t.Payer.String())
	d.tag(ofReference, t.Reference)
	d.tag(ofHold, t.Transaction.Hold.String())
	d.tag(ofCorrelation, t.CorrelationID)
	d.tag(ofKey, key)
	k := transactionData{
		Currency: t.Amount.Currency().String(), Amount: t.Amount.Minor(), Reversed: t.Reversed, From: t.From.String(),
		To: t.To.String(), Reference: t.Reference, Description: t.Description, Hold: t.Transaction.Hold.String(),
		Correlation: t.CorrelationID, Key: key, Metadata: t.Metadata, Reverses: t.Reverses.String(),
		ValueDate: int32(t.ValueDate), Created: int64(t.CreatedAt), Posted: int64(t.PostedAt), Seq: uint64(t.Seq),
		Entries: make([]entryInData, 0, len(t.Entries)),
	}
	for i := range t.Entries {
		e := &t.Entries[i]
		k.Entries = append(k.Entries, entryInData{
			e.Account.String(), e.Customer.String(), e.Amount, e.BalanceAfter, uint64(e.Version),
		})
		d.tag(ofAccount, e.Account.String())
		d.tag(ofCustomer, e.Customer.String())
	}
	data, err := json.Marshal(&k)
	d.Data = string(data)
	return d, err
}

// tag adds a text that is not empty, once.
func (d *transactionDocument) tag(kind, text string) {
	if text != "" && !slices.Contains(d.Tags, kind+text) {
		d.Tags = append(d.Tags, kind+text)
	}
}

// key is the idempotency key of the command that made the transaction.
func (d *transactionDocument) key() (string, error) {
	var k transactionData
	err := json.Unmarshal([]byte(d.Data), &k)
	return k.Key, err
}

func (d *transactionDocument) place() place { return place{d.At, d.Transaction, d.Version} }

func (d *transactionDocument) transaction() (t bank.Transaction, err error) {
	var k transactionData
	r := reading{json.Unmarshal([]byte(d.Data), &k)}
	t = bank.Transaction{
		ID: read(&r, bank.ParseID[bank.Transaction], d.Transaction), Kind: bank.TransactionKind(d.Kind),
		Status: bank.TransactionStatus(d.Status), Version: bank.Version(d.Version),
		Amount: r.amount(k.Amount, k.Currency), Reversed: k.Reversed,
		From: read(&r, bank.ParseID[bank.Account], k.From), To: read(&r, bank.ParseID[bank.Account], k.To),
		Reference: k.Reference, Description: k.Description, Metadata: k.Metadata,
		Reverses: read(&r, bank.ParseID[bank.Transaction], k.Reverses), Hold: read(&r, bank.ParseID[bank.Hold], k.Hold),
		ValueDate: bank.Date(k.ValueDate), CorrelationID: k.Correlation, CreatedAt: bank.Time(k.Created),
		PostedAt: bank.Time(k.Posted), Seq: bank.Seq(k.Seq),
	}
	for i := range k.Entries {
		e := &k.Entries[i]
		t.Entries = append(t.Entries, bank.Entry{
			Account:  read(&r, bank.ParseID[bank.Account], e.Account),
			Customer: read(&r, bank.ParseID[bank.Customer], e.Customer),
			Amount:   e.Amount, BalanceAfter: e.Balance, Version: bank.Version(e.Version),
		})
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
