package body

import (
	"fmt"
	"net/mail"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"bankforge/ports/strictjson"
)

// printable is the pattern of all texts: control characters other than tabs and ends of lines have no use.
const printable = `^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$`

// isControl reports whether the rune is one that texts may not have.
func isControl(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f
}

// The texts of bodies. Lengths are in characters.
type (
	Reference   string // at most 140
	Description string // at most 500
	Label       string // at most 100
	ExternalID  string // 1 to 100
	Reason      string // 1 to 500
	Name        string // 1 to 200, not of blanks only
	Email       string // at most 254
	Phone       string // at most 32
	Locale      string // at most 35
	Word        string // 1 to 255
	Excerpt     string // 1 to 120
)

// Read implements Field.
func (t *Reference) Read(v *strictjson.Value, at Place) { *t = Reference(text(v, at, 0, 140)) }

// Schema implements Field.
func (*Reference) Schema(huma.Registry) *huma.Schema {
	return textSchema(0, 140, "What the payer and the payee know it by.", "invoice 2026-117")
}

// Read implements Field.
func (t *Description) Read(v *strictjson.Value, at Place) { *t = Description(text(v, at, 0, 500)) }

// Schema implements Field.
func (*Description) Schema(huma.Registry) *huma.Schema {
	return textSchema(0, 500, "A note for the statement.", "Rent for May")
}

// Read implements Field.
func (t *Label) Read(v *strictjson.Value, at Place) { *t = Label(text(v, at, 0, 100)) }

// Schema implements Field.
func (*Label) Schema(huma.Registry) *huma.Schema {
	return textSchema(0, 100, "What the account is called.", "Household")
}

// Read implements Field.
func (t *ExternalID) Read(v *strictjson.Value, at Place) { *t = ExternalID(text(v, at, 1, 100)) }

// Schema implements Field.
func (*ExternalID) Schema(huma.Registry) *huma.Schema {
	return textSchema(1, 100, "Your own name for it; unique.", "crm-4711")
}

// Read implements Field.
func (t *Reason) Read(v *strictjson.Value, at Place) { *t = Reason(text(v, at, 1, 500)) }

// Schema implements Field.
func (*Reason) Schema(huma.Registry) *huma.Schema {
	return textSchema(1, 500, "Why; kept in the log.", "asked for by the holder")
}

// Read implements Field.
func (t *Name) Read(v *strictjson.Value, at Place) {
	*t = Name(text(v, at, 1, 200))
	if *t != "" && strings.TrimSpace(string(*t)) == "" {
		at.Invalid("blank", "a name of blanks only is none")
	}
}

// Schema implements Field.
func (*Name) Schema(huma.Registry) *huma.Schema {
	return textSchema(1, 200, "The customer's name; not of blanks only.", "Ada Example")
}

// Read implements Field.
func (t *Email) Read(v *strictjson.Value, at Place) {
	*t = Email(text(v, at, 1, 254))
	if a, err := mail.ParseAddress(string(*t)); *t != "" && (err != nil || a.Address != string(*t)) {
		at.Invalid("format", "an e-mail address was expected")
	}
}

// Schema implements Field.
func (*Email) Schema(huma.Registry) *huma.Schema {
	s := textSchema(1, 254, "The customer's e-mail address.", "ada@example.org")
	s.Format = "email"
	return s
}

// phoneDigits are the characters of telephone numbers behind the first.
const phoneDigits = "0123456789 ()./-"

// Read implements Field.
func (t *Phone) Read(v *strictjson.Value, at Place) {
	*t = Phone(text(v, at, 1, 32))
	if rest := strings.TrimPrefix(string(*t), "+"); *t != "" && (rest == "" || strings.Trim(rest, phoneDigits) != "") {
		at.Invalid("format", "a telephone number was expected")
	}
}

// Schema implements Field.
func (*Phone) Schema(huma.Registry) *huma.Schema {
	s := textSchema(1, 32, "The customer's telephone number.", "+49 30 1234567")
	s.Pattern = `^\+?[0-9 ()./-]+$`
	return s
}

// Read implements Field.
func (t *Locale) Read(v *strictjson.Value, at Place) {
	*t = Locale(text(v, at, 2, 35))
	for part := range strings.SplitSeq(string(*t), "-") {
		if *t != "" && (part == "" || len(part) > 8 || strings.Trim(strings.ToLower(part), alphanumeric) != "") {
			at.Invalid("format", "a language tag was expected")
			return
		}
	}
}

const alphanumeric = "abcdefghijklmnopqrstuvwxyz0123456789"

// Schema implements Field.
func (*Locale) Schema(huma.Registry) *huma.Schema {
	s := textSchema(2, 35, "The customer's language (BCP 47).", "de-DE")
	s.Pattern = `^[A-Za-z0-9]{1,8}(-[A-Za-z0-9]{1,8})*$`
	return s
}

// Read implements Field.
func (t *Word) Read(v *strictjson.Value, at Place) { *t = Word(text(v, at, 1, 255)) }

// Schema implements Field.
func (*Word) Schema(huma.Registry) *huma.Schema {
	return textSchema(1, 255, "What it is called.", "history")
}

// Read implements Field.
func (t *Excerpt) Read(v *strictjson.Value, at Place) { *t = Excerpt(text(v, at, 1, 120)) }

// Schema implements Field.
func (*Excerpt) Schema(huma.Registry) *huma.Schema {
	return textSchema(1, 120, "A part of a text.", "connection refused")
}

// text reads a string of least to most characters; "" when something is wrong with it.
func text(v *strictjson.Value, at Place, least, most int) string {
	if !at.wants(v, strictjson.String) {
		return ""
	}
	n := len(v.Text)
	if n > most {
		n = utf8.RuneCountInString(v.Text)
	}
	switch {
	case n < least && least == 1:
		at.Invalid("too_short", "the text may not be empty")
	case n < least:
		at.Invalid("too_short", fmt.Sprintf("at least %d characters were expected", least))
	case n > most:
		at.Invalid("too_long", fmt.Sprintf("at most %d characters were expected, not %d", most, n))
	case strings.ContainsFunc(v.Text, isControl):
		at.Invalid("control_character", "the text has a control character")
	default:
		return v.Text
	}
	return ""
}

func textSchema(least, most int, doc, example string) *huma.Schema {
	s := &huma.Schema{
		Type: huma.TypeString, MaxLength: &most, Pattern: printable, Description: doc, Examples: []any{example},
	}
	if least > 0 {
		s.MinLength = &least
	}
	return s
}
