package bank

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestCurrencies(t *testing.T) {
	t.Parallel()
	all := Currencies()
	if len(all) != 165 {
		t.Errorf("%d currencies", len(all))
	}
	byExponent := make(map[int]int)
	for i, c := range all {
		if i > 0 && all[i-1].String() >= c.String() {
			t.Errorf("%s follows %s", c, all[i-1])
		}
		if parsed, err := ParseCurrency(c.String()); err != nil || parsed != c {
			t.Errorf("%s is parsed as %s, %v", c, parsed, err)
		}
		byExponent[c.Exponent()]++
	}
	if byExponent[0] != 17 || byExponent[2] != 139 || byExponent[3] != 7 || byExponent[4] != 2 {
		t.Errorf("exponents: %v", byExponent)
	}
	for code, want := range map[string]int{
		"EUR": 2, "USD": 2, "JPY": 0, "KRW": 0, "ISK": 0, "XOF": 0, "UYI": 0, "BHD": 3, "KWD": 3, "TND": 3,
		"CLF": 4, "UYW": 4, "MGA": 2, "HUF": 2, "XCG": 2, "ZWG": 2, "SLE": 2, "VED": 2,
	} {
		if c, err := ParseCurrency(code); err != nil || c.Exponent() != want {
			t.Errorf("%s has exponent %d, %v; want %d", code, c.Exponent(), err, want)
		}
	}
	for _, code := range []string{
		"", "EU", "eur", "EURO", "XXX", "XTS", "XAU", "XDR", "HRK", "DEM", "ZZZ", "\xff\xfe\xfd", "EU\x00",
	} {
		if c, err := ParseCurrency(code); err == nil || !c.IsZero() {
			t.Errorf("%q is taken for %s", code, c)
		}
	}
	if (Currency{}).String() != "" {
		t.Error("the zero currency has a name")
	}
}

func FuzzParseCurrency(f *testing.F) {
	f.Add("EUR")
	f.Add("eur")
	f.Add("\xff€")
	f.Fuzz(func(t *testing.T, code string) {
		c, err := ParseCurrency(code)
		if err == nil && (c.String() != code || c.IsZero()) || err != nil && !c.IsZero() {
			t.Errorf("%q is parsed as %q, %v", code, c, err)
		}
	})
}

func TestIDs(t *testing.T) {
	t.Parallel()
	var last AccountID
	for _, b := range [][16]byte{{}, {0, 1}, {1}, {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, {255}} {
		id := MakeID[Account](b)
		if parsed, err := ParseID[Account](id.String()); err != nil || parsed != id || IsInternal(id) {
			t.Errorf("%s is parsed as %s, %v", id, parsed, err)
		}
		if id.String() <= last.String() {
			t.Errorf("%s sorts before %s", id, last)
		}
		last = id
	}
	digits := strings.Repeat("0", 26)
	if _, err := ParseID[Hold]("hold_" + digits); err != nil {
		t.Error(err)
	}
	if id, err := ParseID[Account]("@cash:EUR"); err != nil || id != CashAccount(eur) || !IsInternal(id) {
		t.Errorf("cash is parsed as %s, %v", id, err)
	}
	for _, text := range []string{
		"", "acc_", "acc_" + digits[1:], "acc_" + digits + "0", "ACC_" + digits, "txn_" + digits,
		"acc_" + digits[1:] + "w", "acc_" + digits[1:] + "A", "acc_" + strings.Repeat("é", 13),
		"@cash:", "@cash:XXX", "@cash:eur", "@cash:EURO", " @cash:EUR",
	} {
		if id, err := ParseID[Account](text); err == nil || !id.IsZero() {
			t.Errorf("%q is taken for an account's id", text)
		}
	}
	if _, err := ParseID[Transaction]("@cash:EUR"); err == nil {
		t.Error("cash is taken for a transaction")
	}
	if _, err := ParseID[Hold](strings.Repeat("x", 10_000)); err == nil || len(err.Error()) > 200 {
		t.Error("the error repeats what was sent")
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("acc_00000000000000000000000000")
	f.Add("@cash:EUR")
	f.Add("acc_0000000000000000000000000é")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseID[Account](text)
		if err == nil && (a.String() != text || a.IsZero()) || err != nil && !a.IsZero() {
			t.Errorf("%q is parsed as %q, %v", text, a, err)
		}
		if h, err := ParseID[Hold](text); err == nil && (h.String() != text || !a.IsZero()) {
			t.Errorf("%q is parsed as %q and %q", text, h, a)
		}
	})
}

// The names are in every client's code.
func TestNames(t *testing.T) {
	t.Parallel()
	names(t, ParseAccountType, "current savings internal")
	names(t, ParseAccountStatus, "active frozen closed")
	names(t, ParseTransactionKind, "deposit withdrawal transfer capture reversal")
	names(t, ParseTransactionStatus, "posted pending_review rejected partially_reversed reversed")
	names(t, ParseHoldStatus, "active captured voided expired")
}

func names[E interface {
	~uint8
	String() string
}](t *testing.T, parse func(string) (E, error), want string) {
	t.Helper()
	var got []string
	for e := E(1); e.String() != ""; e++ {
		if parsed, err := parse(e.String()); err != nil || parsed != e {
			t.Errorf("%s is parsed as %d, %v", e, parsed, err)
		}
		got = append(got, e.String())
	}
	if all := strings.Join(got, " "); all != want {
		t.Errorf("names are %q, want %q", all, want)
	}
	for _, wrong := range []string{"", "Active", "posted ", "none"} {
		if e, err := parse(wrong); err == nil || e != 0 {
			t.Errorf("%q is parsed as %s", wrong, e)
		}
	}
	if E(0).String() != "" || E(255).String() != "" {
		t.Error("what does not exist has a name")
	}
}

func TestAmounts(t *testing.T) {
	t.Parallel()
	for _, minor := range []int64{1, 2, MaxAmount} {
		if a, err := NewAmount(minor, eur); err != nil || a.Minor() != minor || a.Currency() != eur || a.IsZero() {
			t.Errorf("%d: %v, %v", minor, a, err)
		}
	}
	for _, minor := range []int64{0, -1, math.MinInt64, MaxAmount + 1, math.MaxInt64} {
		if a, err := NewAmount(minor, eur); err == nil || !a.IsZero() {
			t.Errorf("%d is taken for %v", minor, a)
		}
	}
	if _, err := NewAmount(1, Currency{}); err == nil {
		t.Error("an amount of no currency")
	}
	if got := euros(1234).String(); got != "1234 EUR" {
		t.Errorf("it reads %q", got)
	}
}

func TestAddNeverWraps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b int64
		ok   bool
	}{
		{0, 0, true}, {1, -1, true}, {math.MaxInt64, 0, true}, {math.MaxInt64, 1, false},
		{math.MaxInt64, math.MinInt64, true},
		{math.MinInt64, 0, true}, {math.MinInt64, -1, false}, {math.MinInt64, math.MinInt64, false},
	} {
		if sum, ok := add(c.a, c.b); ok != c.ok || ok && sum != c.a+c.b {
			t.Errorf("%d and %d are %d, %v", c.a, c.b, sum, ok)
		}
	}
}

func TestDates(t *testing.T) {
	t.Parallel()
	for text, micros := range map[string]int64{
		"1970-01-01": 0, "1969-12-31": -1, "1969-12-30": -microsPerDay - 1, "1970-01-02": microsPerDay,
		"2024-02-29": 1709164800e6,
	} {
		if d := Time(micros).Date(); d.String() != text {
			t.Errorf("%d is on %s, want %s", micros, d, text)
		}
		if d, err := ParseDate(text); err != nil || d.String() != text {
			t.Errorf("%s is parsed as %s, %v", text, d, err)
		}
	}
	for _, text := range []string{"", "2023-02-29", "2024-1-1", "20240101", "2024-01-01T00:00:00Z"} {
		if d, err := ParseDate(text); err == nil {
			t.Errorf("%q is taken for %s", text, d)
		}
	}
	at := time.Date(2026, 3, 4, 5, 6, 7, 8_900, time.FixedZone("", 3600))
	if got := TimeOf(at).Std(); !got.Equal(at.Truncate(time.Microsecond)) || got.Location() != time.UTC {
		t.Errorf("%v becomes %v", at, got)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	e := Refuse(LimitExceeded, "amount", "Too much.")
	if got := e.Error(); got != "limit_exceeded (amount): Too much." {
		t.Errorf("it reads %q", got)
	}
	e.Item, e.Cause = 3, errors.ErrUnsupported
	if got := e.Error(); !strings.Contains(got, "in item 3") || e.Unwrap() == nil {
		t.Errorf("it reads %q", got)
	}
}
