package ops_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"bankforge/app/ops"
)

const transfer = `{"id":"txn_06h09h3q657ss5pr9u4kq9irho","version":3,"kind":"transfer","seq":1250,
	"amount":{"amount":"-123456","currency":"EUR"},"reference":"INV-7","description":"Rent for the flat",
	"metadata":{"pet":"cat"},"entries":[{"account_id":"acc_06h09h3q657ss5pr9u4kq9irho",
	"amount":{"amount":"7","currency":"EUR"},"balance_after":900,"note":"3","flag":true,"nothing":null}]}`

func TestSecretsArePayloadsHidden(t *testing.T) {
	t.Parallel()
	got := ops.Secrets([]byte(transfer)) // version 3 is shown, so 3 is no secret
	if want := []string{"-123456", "7", "900", "INV-7", "Rent for the flat", "cat", "pet"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := ops.Secrets([]byte("no JSON")); got != nil {
		t.Errorf("%q", got)
	}
}

func TestWhatErrorsQuoteIsHidden(t *testing.T) {
	t.Parallel()
	secrets := ops.Secrets([]byte(transfer))
	for text, want := range map[string]string{
		// What the message says and hides.
		"cannot book 123456 on acc_06h09h3q657ss5pr9u4kq9irho": "cannot book *** on acc_06h09h3q657ss5pr9u4kq9irho",
		"cannot book 1234.56 or -123456, but 1234567":          "cannot book *** or -***, but 1234567",
		"no shelf for INV-7 (Rent for the flat)":               "no shelf for *** (***)",
		"a cat, cats and petrol":                               "a ***, cats and petrol",
		"7 of 77 in row 3":                                     "*** of 77 in row 3",
		// What looks so.
		"write to ann@example.com: no such box":                   "write to ***: no such box",
		`parse "a \" note": bad`:                                  `parse "***": bad`,
		"it's `x y` and it's 'z'":                                 "it's `***` and it's '***'",
		"Key (reference)=(a b) already exists":                    "Key (reference)=(***) already exists",
		"the balance of 500 at version 12 falls short by 30":      "the balance of *** at version 12 falls short by ***",
		"the shelf for 500 EUR is full (1811)":                    "the shelf for *** EUR is full (1811)",
		"500 EUR came at 41.1":                                    "*** EUR came at 41.1",
		`no account "acc_06h09h3q657ss5pr9u4kq9irho"`:             `no account "acc_06h09h3q657ss5pr9u4kq9irho"`,
		`dup key: { _id: "acc_06h09h3q657ss5pr9u4kq9irho/0001" }`: `dup key: { _id: "acc_06h09h3q657ss5pr9u4kq9irho/0001" }`,
		// What is none.
		`null value in column "booked_on" of relation "entry" (SQLSTATE 23502)`: `null value in column "booked_on" ` +
			`of relation "entry" (SQLSTATE 23502)`,
		"dial tcp 127.0.0.1:5432: connect: connection refused": "dial tcp 127.0.0.1:5432: connect: connection refused",
		"version 12 of @cash:EUR came, but the view is at 10":  "version 12 of @cash:EUR came, but the view is at 10",
		"constraint failed: the shelf is full (1811)":          "constraint failed: the shelf is full (1811)",
		"panic: runtime error: index out of range [5]":         "panic: runtime error: index out of range [5]",
		"": "",
	} {
		marked := ops.Discreet(text, secrets)
		if got := ops.Masked(marked); got != want {
			t.Errorf("%q is shown as %q, not as %q", text, got, want)
		}
		if got := ops.Open(marked); got != text {
			t.Errorf("%q is %q for who sees everything", text, got)
		}
	}
	// A text that was cut off hides its end; marks that are not ours mean nothing.
	marked := ops.Discreet("of INV-7 and more", secrets)
	if got := ops.Masked(marked[:strings.Index(marked, "INV")+2]); got != "of ***" {
		t.Errorf("%q", got)
	}
	if got := ops.Masked(ops.Discreet("a\ue001b INV\ue000-7", secrets)); got != "ab ***" {
		t.Errorf("%q", got)
	}
}

// Whatever a text quotes of a payload is not in what operators see, and all is in what others see.
func TestNothingHiddenIsQuoted(t *testing.T) {
	t.Parallel()
	word := rapid.StringMatching(`[a-zäöü]{4,9}`)
	rapid.Check(t, func(t *rapid.T) {
		amount := strconv.FormatInt(rapid.Int64Range(1000, 1_000_000_000_000).Draw(t, "amount"), 10)
		reference, label := word.Draw(t, "reference"), word.Draw(t, "label")+" "+word.Draw(t, "label")
		payload, err := json.Marshal(map[string]any{
			"reference": reference, "amount": map[string]any{"amount": amount, "currency": "EUR"},
			"details": map[string]any{"label": label, "metadata": map[string]string{"k1": label}},
		})
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for range rapid.IntRange(1, 6).Draw(t, "parts") {
			text.WriteString(rapid.SampledFrom([]string{
				amount, reference, label, " ", ": ", "(", ")", "=", "'", `"`, "no such row", "ü", "12", "\xff",
			}).Draw(t, "part"))
			text.WriteString(rapid.SampledFrom([]string{" ", ", ", "; "}).Draw(t, "between"))
		}
		marked := ops.Discreet(text.String(), ops.Secrets(payload))
		shown := ops.Masked(marked)
		for _, secret := range []string{amount, reference, label} {
			if strings.Contains(shown, secret) {
				t.Fatalf("%q shows %q: %q", text.String(), secret, shown)
			}
		}
		if open := ops.Open(marked); open != text.String() && utf8.ValidString(text.String()) {
			t.Fatalf("%q becomes %q", text.String(), open)
		}
	})
}

func FuzzDiscreet(f *testing.F) {
	f.Add("the balance of 500 is 'x", "INV-7")
	f.Add("=(", "\ue000")
	f.Fuzz(func(t *testing.T, text, secret string) {
		marked := ops.Discreet(text, []string{secret})
		shown := ops.Masked(marked)
		secret = strings.TrimSpace(secret)
		if len(secret) >= 8 && strings.Trim(secret, "*-0123456789\ue000\ue001") == secret && strings.Contains(shown, secret) {
			t.Errorf("%q shows %q: %q", text, secret, shown)
		}
		if ops.Masked(shown) != shown || ops.Open(marked) != ops.Open(text) && utf8.ValidString(text) {
			t.Errorf("%q: %q, %q", text, marked, shown)
		}
	})
}
