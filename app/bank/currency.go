package bank

import "fmt"

// Currency is an ISO 4217 code. The zero Currency is none.
type Currency struct{ code [3]byte }

// ParseCurrency reads an upper-case ISO 4217 code that is in use.
func ParseCurrency(code string) (Currency, error) {
	if _, ok := exponents[code]; !ok {
		return Currency{}, fmt.Errorf("%q is not an ISO 4217 currency code", clip(code))
	}
	return Currency{[3]byte([]byte(code))}, nil
}

// String is the code; "" for the zero Currency.
func (c Currency) String() string {
	if c.IsZero() {
		return ""
	}
	return string(c.code[:])
}

// IsZero reports whether c is none.
func (c Currency) IsZero() bool { return c == Currency{} }

// Exponent is the number of decimal places between the major and the minor unit.
func (c Currency) Exponent() int { return int(exponents[c.String()]) }

var exponents = map[string]uint8{"EUR": 2}
