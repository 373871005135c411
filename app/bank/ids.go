package bank

import (
	"fmt"
	"strings"
)

// kind is implemented by the things that have ids; its prefix tells them apart in text.
type kind interface{ idPrefix() string }

// ID names one K. The zero ID names nothing. An ID is comparable, and its text form is its prefix and
// 26 characters of lower-case base32 (0-9, a-v), or for internal accounts "@cash:" and a currency.
type ID[K kind] struct{ text string }

// The ids of the bank. They are distinct types: a HoldID is never mistaken for an AccountID.
type (
	// AccountID names an account.
	AccountID = ID[Account]
	// CustomerID names a customer.
	CustomerID = ID[Customer]
	// TransactionID names a transaction.
	TransactionID = ID[Transaction]
	// HoldID names a hold.
	HoldID = ID[Hold]
	// ActID names an act of an operator.
	ActID = ID[Act]
)

// Customer marks ids of customers. What is known of a customer is personal, so it is never part of the ledger.
type Customer struct{}

func (Account) idPrefix() string     { return "acc_" }
func (Customer) idPrefix() string    { return "cus_" }
func (Transaction) idPrefix() string { return "txn_" }
func (Hold) idPrefix() string        { return "hold_" }
func (Act) idPrefix() string         { return "act_" }

const (
	idDigits    = 26
	idAlphabet  = "0123456789abcdefghijklmnopqrstuv"
	cashPrefix  = "@cash:"
	cashIDWidth = len(cashPrefix) + 3
)

// ParseID reads an id of K from its text form.
func ParseID[K kind](text string) (ID[K], error) {
	var k K
	digits, ok := strings.CutPrefix(text, k.idPrefix())
	if ok && len(digits) == idDigits && areDigits(digits) {
		return ID[K]{text}, nil
	}
	if _, isAccount := any(k).(Account); isAccount && len(text) == cashIDWidth && strings.HasPrefix(text, cashPrefix) {
		if c, err := ParseCurrency(text[len(cashPrefix):]); err == nil {
			return ID[K]{cashPrefix + c.String()}, nil
		}
	}
	return ID[K]{}, fmt.Errorf("%q is not an id of the form %s followed by %d characters 0-9, a-v",
		clip(text), k.idPrefix(), idDigits)
}

// areDigits reports whether all characters are of idAlphabet. It does not branch: what ids are made of is random.
func areDigits(text string) bool {
	all := byte(1)
	for i := range len(text) {
		all &= isDigit[text[i]]
	}
	return all == 1
}

var isDigit = digitsOf(idAlphabet)

func digitsOf(alphabet string) (is [256]byte) {
	for i := range len(alphabet) {
		is[alphabet[i]] = 1
	}
	return is
}

// MakeID forms an id of K from 16 bytes, which the caller makes unique. Ids sort as their bytes do.
func MakeID[K kind](b [16]byte) ID[K] {
	var k K
	p := k.idPrefix()
	out := make([]byte, 0, len(p)+idDigits)
	out = append(out, p...)
	var acc uint32
	bits := 0
	for _, x := range b {
		acc = acc<<8 | uint32(x)
		for bits += 8; bits >= 5; {
			bits -= 5
			out = append(out, idAlphabet[acc>>bits&31])
		}
	}
	return ID[K]{string(append(out, idAlphabet[acc<<(5-bits)&31]))}
}

// String is the text form; "" for the zero ID.
func (id ID[K]) String() string { return id.text }

// IsZero reports whether id names nothing.
func (id ID[K]) IsZero() bool { return id.text == "" }

// compare orders ids by their text.
func (id ID[K]) compare(other ID[K]) int { return strings.Compare(id.text, other.text) }

// CashAccount is the internal account that deposits come from and withdrawals go to.
func CashAccount(c Currency) AccountID { return AccountID{cashPrefix + c.String()} }

// IsInternal reports whether id names an account of the bank itself.
func IsInternal(id AccountID) bool { return strings.HasPrefix(id.text, "@") }

// clip shortens text that goes into an error message.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
