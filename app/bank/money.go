package bank

import (
	"fmt"
	"math"
	"strconv"
)

// MaxAmount is the largest amount of one command, and the largest balance, overdraft or limit of a
// customer's account, in minor units: eighteen nines. Internal accounts use the whole of int64.
const MaxAmount = 999_999_999_999_999_999

// Amount is a positive number of minor units of one currency.
type Amount struct {
	minor    int64
	currency Currency
}

// NewAmount checks that minor is from 1 to MaxAmount and that the currency is set.
func NewAmount(minor int64, c Currency) (Amount, error) {
	if minor < 1 || minor > MaxAmount || c.IsZero() {
		return Amount{}, fmt.Errorf("an amount is from 1 to %d minor units of a currency, not %d %s", MaxAmount, minor, c)
	}
	return Amount{minor, c}, nil
}

// Minor is the number of minor units, at least 1.
func (a Amount) Minor() int64 { return a.minor }

// Currency is what the amount is in.
func (a Amount) Currency() Currency { return a.currency }

// IsZero reports whether a is no amount at all.
func (a Amount) IsZero() bool { return a == Amount{} }

// String is for people: "1234 EUR" in minor units.
func (a Amount) String() string { return strconv.FormatInt(a.minor, 10) + " " + a.currency.String() }

// Limit is a bound in minor units of its account's currency, at least 0; NoLimit is the absence of one.
type Limit int64

// NoLimit means that nothing is bounded.
const NoLimit Limit = -1

// add sums without wrapping; ok is false when the sum leaves int64.
func add(a, b int64) (sum int64, ok bool) {
	sum = a + b
	return sum, (sum > a) == (b > 0)
}

// within reports whether a balance may stand on the account: customers' balances are bounded by
// MaxAmount, so that available (balance − held + overdraft) never leaves int64.
func within(internal bool, balance int64) bool {
	return internal && balance > math.MinInt64 || balance >= -MaxAmount && balance <= MaxAmount
}
