package body

import (
	"crypto/sha256"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"bankforge/app/bank"
	"bankforge/ports/strictjson"
)

// Account names an account that the command is about, beside the one in the path.
type Account struct{ bank.AccountID }

// Customer names a customer.
type Customer struct{ bank.CustomerID }

const maxID = 64

// Read implements Field. A text that is no id of an account names one that does not exist: the ledger
// says so, as it does of others, and remembers it.
func (a *Account) Read(v *strictjson.Value, at Place) {
	s := text(v, at, 1, maxID)
	id, err := bank.ParseID[bank.Account](s)
	if err != nil {
		id = bank.MakeID[bank.Account](nobody(s))
	}
	a.AccountID = id
}

// Schema implements Field.
func (*Account) Schema(huma.Registry) *huma.Schema {
	return textSchema(1, maxID, "Id of an account.", "acc_06h09h3q657ss5pr9u4kq9irho")
}

// Read implements Field. See Account.Read.
func (c *Customer) Read(v *strictjson.Value, at Place) {
	s := text(v, at, 1, maxID)
	id, err := bank.ParseID[bank.Customer](s)
	if err != nil {
		id = bank.MakeID[bank.Customer](nobody(s))
	}
	c.CustomerID = id
}

// Schema implements Field.
func (*Customer) Schema(huma.Registry) *huma.Schema {
	return textSchema(1, maxID, "Id of a customer.", "cus_06h09h3q657ss5pr9u4kq9irho")
}

// nobody makes the bytes of an id that nothing has, and that is always the same for one text.
func nobody(s string) [16]byte {
	sum := sha256.Sum256([]byte("no id: " + s))
	return [16]byte(sum[:16])
}

// AccountType is current or savings.
type AccountType struct{ bank.AccountType }

// Read implements Field.
func (t *AccountType) Read(v *strictjson.Value, at Place) {
	if !at.wants(v, strictjson.String) {
		return
	}
	switch v.Text {
	case "current":
		t.AccountType = bank.Current
	case "savings":
		t.AccountType = bank.Savings
	default:
		at.Invalid("enum", "current or savings was expected")
	}
}

// Schema implements Field.
func (*AccountType) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Enum: []any{"current", "savings"}, Description: "What the account is for."}
}

// Version is a version that the caller has seen.
type Version struct{ bank.Version }

const maxVersion = 1 << 53 // what every JSON library holds exactly

// Read implements Field.
func (n *Version) Read(v *strictjson.Value, at Place) {
	if !at.wants(v, strictjson.Number) {
		return
	}
	i, err := strconv.ParseUint(v.Text, 10, 64)
	if err != nil || i < 1 || i > maxVersion {
		at.Invalid("range", "a version is a whole number from 1 on")
	}
	n.Version = bank.Version(i)
}

// Schema implements Field.
func (*Version) Schema(huma.Registry) *huma.Schema {
	low, high := 1.0, float64(maxVersion)
	return &huma.Schema{
		Type: huma.TypeInteger, Format: "int64", Minimum: &low, Maximum: &high,
		Description: "The version that the debited account must have.", Examples: []any{7},
	}
}

// Flag is true or false.
type Flag bool

// Read implements Field.
func (f *Flag) Read(v *strictjson.Value, at Place) {
	*f = Flag(at.wants(v, strictjson.Bool) && v.Text == "true")
}

// Schema implements Field.
func (*Flag) Schema(huma.Registry) *huma.Schema { return &huma.Schema{Type: huma.TypeBoolean} }

// Date is a day.
type Date struct{ bank.Date }

// Read implements Field.
func (d *Date) Read(v *strictjson.Value, at Place) {
	if !at.wants(v, strictjson.String) {
		return
	}
	date, err := bank.ParseDate(v.Text)
	if err != nil {
		at.Invalid("format", "a day such as 2026-05-31 was expected")
	}
	d.Date = date
}

// Schema implements Field.
func (*Date) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeString, Format: "date", Description: "The day that counts for interest; default: today.",
		Examples: []any{"2026-05-31"},
	}
}

// Instant is a point in time.
type Instant struct{ bank.Time }

// lastYear is the last one that RFC 3339 can write.
const lastYear = 9999

// Read implements Field.
func (i *Instant) Read(v *strictjson.Value, at Place) {
	if !at.wants(v, strictjson.String) {
		return
	}
	t, err := time.Parse(time.RFC3339Nano, v.Text)
	if err != nil {
		at.Invalid("format", "a time such as 2026-05-31T12:00:00Z was expected")
	} else if t.Unix() < 0 || t.UTC().Year() > lastYear { // others cannot be written down, or mean that there is none
		at.Invalid("range", "a time from the years 1970 to 9999 was expected")
	}
	i.Time = bank.TimeOf(t)
}

// Schema implements Field.
func (*Instant) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeString, Format: "date-time", Description: "RFC 3339.", Examples: []any{"2026-05-31T12:00:00Z"},
	}
}
