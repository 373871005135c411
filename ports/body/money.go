package body

import (
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"bankforge/app/bank"
	"bankforge/ports/strictjson"
)

// Money is an amount of a command: greater than zero.
type Money struct{ bank.Amount }

// Limit is a bound: zero or more.
type Limit struct {
	Minor    int64
	Currency bank.Currency
}

// maxDigits is how many digits bank.MaxAmount has.
const maxDigits = 18

// Read implements Field.
func (m *Money) Read(v *strictjson.Value, at Place) {
	minor, currency, ok := readMoney(v, at, "1-9")
	if !ok {
		return
	}
	amount, err := bank.NewAmount(minor, currency)
	if err != nil {
		at.Refused(bank.AmountOutOfRange, err.Error())
	}
	m.Amount = amount
}

// Schema implements Field.
func (*Money) Schema(r huma.Registry) *huma.Schema {
	return moneySchema(r, "^[1-9][0-9]{0,17}$", "An amount greater than zero, in minor units.", "123456")
}

// Read implements Field.
func (l *Limit) Read(v *strictjson.Value, at Place) {
	l.Minor, l.Currency, _ = readMoney(v, at, "0-9")
}

// Schema implements Field.
func (*Limit) Schema(r huma.Registry) *huma.Schema {
	return moneySchema(r, "^(0|[1-9][0-9]{0,17})$", "A bound of zero or more, in minor units.", "50000")
}

// readMoney reads {"amount":"…","currency":"…"}; digits says whether "0" is an amount, too.
func readMoney(v *strictjson.Value, at Place, digits string) (minor int64, c bank.Currency, ok bool) {
	if !at.wants(v, strictjson.Object) {
		return 0, c, false
	}
	var amount, currency *strictjson.Value
	before := len(at.report.Invalid) + len(at.report.Refused)
	for i := range v.Members {
		m := &v.Members[i]
		here := Place{report: at.report, parent: &at, name: m.Name}
		switch m.Name {
		case "amount":
			amount = &m.Value
			minor = readDigits(amount, here, digits)
		case "currency":
			currency = &m.Value
			c = readCurrency(currency, here)
		default:
			here.Invalid("unknown_field", "no such field is known here")
		}
	}
	if amount == nil {
		Place{report: at.report, parent: &at, name: "amount"}.Invalid("required", "the field is required")
	}
	if currency == nil {
		Place{report: at.report, parent: &at, name: "currency"}.Invalid("required", "the field is required")
	}
	return minor, c, len(at.report.Invalid)+len(at.report.Refused) == before
}

func readDigits(v *strictjson.Value, at Place, digits string) int64 {
	if v.Kind != strictjson.String {
		at.Invalid("wrong_type", "an amount is a string of digits: a number of minor units without sign, point or exponent")
		return 0
	}
	s := v.Text
	if s == "0" && digits == "0-9" {
		return 0
	}
	if s == "" || s[0] < '1' || s[0] > '9' || strings.Trim(s, "0123456789") != "" {
		at.Invalid("pattern", "a whole number of minor units was expected, without sign, point or leading zero")
		return 0
	}
	if len(s) > maxDigits {
		at.Refused(bank.AmountOutOfRange, "an amount has at most 18 digits")
		return 0
	}
	n, _ := strconv.ParseInt(s, 10, 64) // digits only, and few enough
	return n
}

// UnknownCurrency is the code for currency codes that do not exist.
const UnknownCurrency bank.Code = "unknown_currency"

func readCurrency(v *strictjson.Value, at Place) bank.Currency {
	if !at.wants(v, strictjson.String) {
		return bank.Currency{}
	}
	c, err := bank.ParseCurrency(v.Text)
	if err != nil {
		at.Refused(UnknownCurrency, err.Error())
	}
	return c
}

func moneySchema(r huma.Registry, pattern, doc, example string) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeObject, Description: doc, AdditionalProperties: false,
		Required: []string{"amount", "currency"},
		Properties: map[string]*huma.Schema{
			"amount":   {Type: huma.TypeString, Pattern: pattern},
			"currency": (*Currency)(nil).Schema(r),
		},
		Examples: []any{map[string]any{"amount": example, "currency": "EUR"}},
	}
}

// Currency is an ISO 4217 code.
type Currency struct{ bank.Currency }

// Read implements Field.
func (c *Currency) Read(v *strictjson.Value, at Place) { c.Currency = readCurrency(v, at) }

// Schema implements Field.
func (*Currency) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeString, Pattern: "^[A-Z]{3}$", Description: "ISO 4217 code.", Examples: []any{"EUR"},
	}
}
