// Package strictjson reads JSON in the one way that a bank can answer for: valid UTF-8, no name twice in an
// object, nothing behind the value, and a bound on depth. It keeps numbers as they were written.
//
// encoding/json lets all of these pass, and what passes there can mean one thing to the caller and another to us.
package strictjson

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Kind is what a value is.
type Kind uint8

// The kinds of values.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

// String names the kind as error messages do.
func (k Kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "an array", "an object"}[k]
}

// Value is one value. It shares memory with nothing that the caller may change.
type Value struct {
	Kind    Kind
	Text    string   // of strings: what they say; of numbers and booleans: as written
	Members []Member // of objects and arrays, in the order of the text; an array's have no names
}

// Member is one member of an object, or one item of an array.
type Member struct {
	Name  string
	Value Value
}

// Error says what is wrong, and where.
type Error struct {
	Pointer string // RFC 6901; "" is the whole text
	Detail  string
}

// Error makes it an error.
func (e *Error) Error() string { return e.Pointer + ": " + e.Detail }

// MaxDepth is how deep arrays and objects may stand in one another.
const MaxDepth = 16

// Parse reads the one value that text consists of.
func Parse(text []byte) (Value, *Error) {
	if !utf8.Valid(text) {
		return Value{}, &Error{"", "the text is not valid UTF-8"}
	}
	p := parser{text: string(text)}
	var v Value
	err := p.value(&v, 0)
	if err == nil {
		p.space()
		if p.at < len(p.text) {
			err = p.fail("the end of the text was expected")
		}
	}
	return v, err
}

type parser struct {
	text string
	at   int
}

func (p *parser) fail(detail string) *Error {
	return &Error{"", fmt.Sprintf("%s (at byte %d)", detail, p.at)}
}

func (p *parser) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// take steps over c if it is next.
func (p *parser) take(c byte) bool {
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *parser) value(v *Value, depth int) *Error {
	p.space()
	if p.at == len(p.text) {
		return p.fail("a value was expected")
	}
	switch c := p.text[p.at]; c {
	case '{':
		return p.object(v, depth+1)
	case '[':
		return p.array(v, depth+1)
	case '"':
		v.Kind = String
		return p.string(&v.Text)
	case 't':
		return p.literal(v, "true", Bool)
	case 'f':
		return p.literal(v, "false", Bool)
	case 'n':
		return p.literal(v, "null", Null)
	default:
		return p.number(v)
	}
}

func (p *parser) literal(v *Value, word string, k Kind) *Error {
	if len(p.text)-p.at < len(word) || p.text[p.at:p.at+len(word)] != word {
		return p.fail("a value was expected")
	}
	p.at += len(word)
	v.Kind, v.Text = k, word
	return nil
}

func (p *parser) object(v *Value, depth int) *Error {
	v.Kind = Object
	if depth > MaxDepth {
		return p.fail("too deep")
	}
	p.at++
	if p.space(); p.take('}') {
		return nil
	}
	v.Members = make([]Member, 0, 4)
	var names names
	for n := 0; ; n++ {
		if p.space(); p.at == len(p.text) || p.text[p.at] != '"' {
			return p.fail("a name was expected")
		}
		v.Members = append(v.Members, Member{})
		m := &v.Members[n]
		if err := p.string(&m.Name); err != nil {
			return err
		}
		if names.twice(v.Members[:n], m.Name) {
			return &Error{"/" + Escape(m.Name), "the name stands twice in one object"}
		}
		if p.space(); !p.take(':') {
			return p.fail("a colon was expected")
		}
		if err := p.value(&m.Value, depth); err != nil {
			return err.under(m.Name)
		}
		if p.space(); p.take('}') {
			return nil
		}
		if !p.take(',') {
			return p.fail("a comma or } was expected")
		}
	}
}

func (p *parser) array(v *Value, depth int) *Error {
	v.Kind = Array
	if depth > MaxDepth {
		return p.fail("too deep")
	}
	p.at++
	if p.space(); p.take(']') {
		return nil
	}
	for n := 0; ; n++ {
		v.Members = append(v.Members, Member{})
		if err := p.value(&v.Members[n].Value, depth); err != nil {
			return err.under(strconv.Itoa(n))
		}
		if p.space(); p.take(']') {
			return nil
		}
		if !p.take(',') {
			return p.fail("a comma or ] was expected")
		}
	}
}

// under says that the error is inside the member of that name.
func (e *Error) under(name string) *Error {
	e.Pointer = "/" + Escape(name) + e.Pointer
	return e
}

// fewNames is how many names are compared one by one before a map is worth its memory.
const fewNames = 16

// names finds names that stand twice, without making a hostile body quadratic.
type names struct{ seen map[string]bool }

func (n *names) twice(before []Member, name string) bool {
	if len(before) < fewNames {
		for i := range before {
			if before[i].Name == name {
				return true
			}
		}
		return false
	}
	if n.seen == nil {
		n.seen = make(map[string]bool, 2*fewNames)
		for i := range before {
			n.seen[before[i].Name] = true
		}
	}
	twice := n.seen[name]
	n.seen[name] = true
	return twice
}
