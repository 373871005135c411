package ops

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"bankforge/app/bank"
)

// What is between these two in a text is hidden from who may not see money and what people wrote. They are of those
// characters that mean nothing by themselves.
const (
	opens  = '\ue000'
	closes = '\ue001'
)

// Discreet marks what is to be hidden in a text that says why something failed: the secrets of the message that it is
// about, what stands in quotes without being called something, addresses, and numbers where money is spoken of. Such
// texts are kept as they are marked, and no longer than maxText; see Masked and Open.
func Discreet(text string, secrets []string) string {
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	text = strings.Map(func(r rune) rune {
		if r == opens || r == closes {
			return -1
		}
		return r
	}, text)
	hide := make([]bool, len(text))
	for _, s := range variants(secrets) {
		hideAll(hide, text, s)
	}
	hideWords(hide, text)
	return marked(text, hide)
}

// Masked is a text that Discreet has marked, for who may not see everything.
func Masked(text string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, string(opens))
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString(Hidden)
		if _, text, found = strings.Cut(rest, string(closes)); !found { // it was cut off
			return b.String()
		}
	}
}

// Open is a text that Discreet has marked, for who may see everything.
func Open(text string) string {
	return strings.NewReplacer(string(opens), "", string(closes), "").Replace(text)
}

// marked puts marks around what is hidden.
func marked(text string, hide []bool) string {
	var b strings.Builder
	for at := 0; at < len(text); {
		if !hide[at] {
			n := slices.Index(hide[at:], true)
			if n < 0 {
				n = len(text) - at
			}
			b.WriteString(text[at : at+n])
			at += n
			continue
		}
		n := slices.Index(hide[at:], false)
		if n < 0 {
			n = len(text) - at
		}
		b.WriteString(string(opens) + text[at:at+n] + string(closes))
		at += n
	}
	return b.String()
}

// Limits of what is looked for.
const (
	maxText    = 8 << 10 // bytes
	maxSecrets = 200
	wholeWords = 4 // bytes: what is shorter is hidden only where it is a word of its own
)

// variants are the secrets as they may be written, the longest first.
func variants(secrets []string) (out []string) {
	for _, s := range secrets[:min(len(secrets), maxSecrets)] {
		s = strings.TrimSpace(s)
		number := strings.TrimPrefix(s, "-")
		if strings.Trim(number, "0123456789") == "" && number != "" {
			s = number
			if n := len(number) - 2; n > 0 {
				out = append(out, number[:n]+"."+number[n:])
			}
		}
		if s != "" {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return out
}

// hideAll hides a secret wherever it stands.
func hideAll(hide []bool, text, secret string) {
	for at := 0; ; {
		i := strings.Index(text[at:], secret)
		if i < 0 {
			return
		}
		from, to := at+i, at+i+len(secret)
		before, _ := utf8.DecodeLastRuneInString(text[:from])
		after, _ := utf8.DecodeRuneInString(text[to:])
		if number := isNumber(secret); !number && len(secret) >= wholeWords || !joins(before) && !joins(after) {
			setTrue(hide[from:to])
		}
		at = from + 1
	}
}

func setTrue(all []bool) {
	for i := range all {
		all[i] = true
	}
}

// joins reports whether a character is part of the word beside it.
func joins(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

func isNumber(word string) bool {
	return strings.Trim(word, "0123456789") == "" || strings.Trim(word, "0123456789.,") == "" && isDigit(word[0])
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// hideWords hides what looks as if it had been written by people, or were money.
func hideWords(hide []bool, text string) {
	money := speaksOfMoney(text)
	called := "" // the word before
	for at := 0; at < len(text); {
		if n := quoted(text[at:], last(text, at)); n > 2 {
			if !names[called] && !isID(text[at+1:at+n-1]) {
				setTrue(hide[at+1 : at+n-1])
			}
			called, at = "", at+n
			continue
		}
		if n := listed(text[at:]); n > 2 {
			setTrue(hide[at+len("=(") : at+n-1])
			at += n
			continue
		}
		n := word(text[at:])
		if n == 0 {
			_, n = utf8.DecodeRuneInString(text[at:])
			at += n
			continue
		}
		w := text[at : at+n]
		if strings.LastIndexByte(w, '@') > 0 || money && isNumber(w) && !counts[called] && !isCode(text, at, n) {
			setTrue(hide[at : at+n])
		}
		called, at = strings.ToLower(w), at+n
	}
}

// isCode reports whether a number stands alone in parentheses, as databases tell the numbers of their errors.
func isCode(text string, at, n int) bool {
	return at > 0 && text[at-1] == '(' && at+n < len(text) && text[at+n] == ')'
}

// listed is how long the list of values is that text begins with, as databases quote rows: "=(…)"; 0: it does not.
func listed(text string) int {
	rest, ok := strings.CutPrefix(text, "=(")
	if !ok {
		return 0
	}
	if i := strings.IndexByte(rest, ')'); i >= 0 {
		return len("=(") + i + 1
	}
	return 0
}

// isID reports whether a text is the id of something, which is no secret.
func isID(text string) bool {
	prefix, id, ok := strings.Cut(text, "_")
	if version, _, _ := strings.Cut(id, "/"); ok {
		id = version
	}
	return ok && prefix != "" && len(id) >= shortID && strings.Trim(prefix, "abcdefghijklmnopqrstuvwxyz") == "" &&
		strings.Trim(id, "0123456789abcdefghijklmnopqrstuv") == ""
}

// names are words behind which quotes hold the name of a part of the program or of a database.
var names = setOf("column", "relation", "table", "constraint", "index", "function", "type", "schema", "trigger",
	"handler", "collection", "field", "database", "role", "view", "module", "topic", "operator", "parameter", "policy")

// counts are words behind which a number says where something is, or how often it was.
var counts = setOf("version", "versions", "event", "events", "seq", "position", "partition", "line", "code", "sqlstate",
	"status", "attempt", "offset", "port", "message", "row", "at")

// moneyWords are those of texts whose numbers may be money.
var moneyWords = setOf("amount", "amounts", "balance", "balances", "held", "holds", "available", "limit", "overdraft",
	"overdrawn", "remaining", "remain", "captured", "reversed", "debited", "credited", "debit", "credit", "minor", "money",
	"funds")

func setOf(words ...string) map[string]bool {
	out := make(map[string]bool, len(words))
	for _, w := range words {
		out[w] = true
	}
	return out
}

// speaksOfMoney reports whether a text names money, or a currency.
func speaksOfMoney(text string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(text, func(r rune) bool { return !joins(r) }), func(w string) bool {
		if moneyWords[strings.ToLower(w)] {
			return true
		}
		_, err := bank.ParseCurrency(w)
		return err == nil
	})
}
