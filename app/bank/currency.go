package bank

import (
	"fmt"
	"slices"
	"strings"
)

// Currency is an ISO 4217 code. The zero Currency is none.
type Currency struct{ code [3]byte }

// ParseCurrency reads an upper-case ISO 4217 code that is in use.
func ParseCurrency(code string) (Currency, error) {
	if len(code) == 3 {
		c := Currency{[3]byte{code[0], code[1], code[2]}}
		if c.isKnown() {
			return c, nil
		}
	}
	return Currency{}, fmt.Errorf("%q is not an ISO 4217 currency code", clip(code))
}

const letters = 26

// known has a place for each three letters: reading an event asks for several currencies.
var known = knownOf(exponents)

func knownOf(all map[Currency]int) (is [letters * letters * letters]bool) {
	for c := range all {
		place, _ := c.place()
		is[place] = true
	}
	return is
}

func (c Currency) isKnown() bool {
	place, ok := c.place()
	return ok && known[place]
}

// place is not ok where there are others than upper-case letters.
func (c Currency) place() (n int, ok bool) {
	for _, letter := range c.code {
		if letter < 'A' || letter > 'Z' {
			return 0, false
		}
		n = n*letters + int(letter-'A')
	}
	return n, true
}

// Currencies are all that exist, sorted by code.
func Currencies() []Currency {
	all := make([]Currency, 0, len(exponents))
	for c := range exponents {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Currency) int { return slices.Compare(a.code[:], b.code[:]) })
	return all
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
func (c Currency) Exponent() int { return exponents[c] }

// exponents has every code of ISO 4217's list of 2026-01-01 that has a minor unit, so not gold, XDR, XTS or
// XXX. A code that ISO withdraws stays here: there may be accounts in it, and the log is read for ever.
var exponents = exponentsOf(map[int]string{
	0: `BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF`,
	2: `AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
		CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
		GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL
		MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR
		PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP
		TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG`,
	3: `BHD IQD JOD KWD LYD OMR TND`,
	4: `CLF UYW`,
})

func exponentsOf(byExponent map[int]string) map[Currency]int {
	all := make(map[Currency]int)
	for exponent, codes := range byExponent {
		for code := range strings.FieldsSeq(codes) {
			all[Currency{[3]byte([]byte(code))}] = exponent
		}
	}
	return all
}
