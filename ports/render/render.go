// Package render says how the bank's things look in JSON. The structs are the schemas of the OpenAPI document:
// every member is always there, null where there is nothing to say, unless its tag says omitempty.
package render

import (
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"bankforge/app/bank"
)

// Money is a number of minor units of a currency.
type Money struct {
	Amount   string `json:"amount" pattern:"^(0|-?[1-9][0-9]{0,18})$" example:"123456" doc:"Minor units, as a string."`
	Currency string `json:"currency" pattern:"^[A-Z]{3}$" example:"EUR" doc:"ISO 4217 code."`
}

// MoneyOf makes Money.
func MoneyOf(minor int64, c bank.Currency) Money {
	return Money{strconv.FormatInt(minor, 10), c.String()}
}

// MaybeMoney is Money or null.
type MaybeMoney struct{ *Money }

// Schema overrides what huma would make of it.
func (MaybeMoney) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{AnyOf: []*huma.Schema{r.Schema(moneyType, true, ""), {Type: "null"}}}
}

// MarshalJSON writes null where there is no money.
func (m MaybeMoney) MarshalJSON() ([]byte, error) {
	if m.Money == nil {
		return []byte("null"), nil
	}
	b := append(make([]byte, 0, 64), `{"amount":"`...)
	b = append(append(b, m.Amount...), `","currency":"`...)
	return append(append(b, m.Currency...), `"}`...), nil
}

func limitOf(l bank.Limit, c bank.Currency) MaybeMoney {
	if l == bank.NoLimit {
		return MaybeMoney{}
	}
	m := MoneyOf(int64(l), c)
	return MaybeMoney{&m}
}

// timeForm is RFC 3339 in UTC with all the six digits that the bank keeps.
const timeForm = "2006-01-02T15:04:05.000000Z"

// Time is a time as JSON has it.
func Time(t bank.Time) string { return t.Std().Format(timeForm) }

// Clock is any time as JSON has it.
func Clock(t time.Time) string { return t.UTC().Format(timeForm) }

// Maybe is nil for what is empty.
func Maybe(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// MaybeTime is nil for no time.
func MaybeTime(t bank.Time) *string {
	if t == 0 {
		return nil
	}
	s := Time(t)
	return &s
}

// metadata is never null.
func metadata(m bank.Metadata) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// Reader is who reads: it decides how much of a transaction is shown.
type Reader struct {
	Customer bank.CustomerID // sees what is his own; zero: everything
}

func (r Reader) sees(owner bank.CustomerID) bool { return r.Customer.IsZero() || r.Customer == owner }
