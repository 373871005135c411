package payload

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// scan goes through JSON once, from its beginning to its end. The first error is kept, and ends it.
type scan struct {
	data []byte
	at   int
	err  error
}

func (s *scan) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
	}
}

// peek is the next character that counts; 0 at the end or behind an error.
func (s *scan) peek() byte {
	for ; s.at < len(s.data) && s.err == nil; s.at++ {
		switch c := s.data[s.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// take takes c, which must come.
func (s *scan) take(c byte) bool {
	if s.peek() != c {
		s.fail("at byte %d there is no %q", s.at, c)
		return false
	}
	s.at++
	return true
}

// end fails if there is more.
func (s *scan) end() {
	if s.peek() != 0 || s.at < len(s.data) {
		s.fail("at byte %d there is more", s.at)
	}
}

// null takes a null, if one comes.
func (s *scan) null() bool { return s.peek() == 'n' && s.word("null") }

func (s *scan) word(w string) bool {
	if len(s.data)-s.at < len(w) || string(s.data[s.at:s.at+len(w)]) != w {
		s.fail("at byte %d there is no %s", s.at, w)
		return false
	}
	s.at += len(w)
	return true
}

// object calls field for the name of each field, which must take the value. A null has none; there tells whether it was
// an object.
func (s *scan) object(field func(name []byte)) (there bool) {
	if s.null() || !s.take('{') {
		return false
	}
	for first := true; s.peek() != '}'; first = false {
		if !first && !s.take(',') || s.err != nil {
			return false
		}
		name := s.quoted()
		if !s.take(':') {
			return false
		}
		field(name)
	}
	return s.take('}')
}

// array calls element for each element, which must take it.
func (s *scan) array(element func()) {
	if s.null() || !s.take('[') {
		return
	}
	for first := true; s.peek() != ']'; first = false {
		if !first && !s.take(',') || s.err != nil {
			return
		}
		element()
	}
	s.take(']')
}

// text takes a string; null is an empty one. What it returns belongs to the data.
func (s *scan) text() []byte {
	if s.null() {
		return nil
	}
	return s.quoted()
}

func (s *scan) quoted() []byte {
	if !s.take('"') {
		return nil
	}
	from, plain := s.at, true
	for ; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; {
		case c == '"':
			s.at++
			if plain {
				return s.data[from : s.at-1]
			}
			return s.escaped(s.data[from-1 : s.at])
		case c == '\\':
			plain = false
			s.at++
		case c < ' ':
			s.fail("at byte %d there is a control character in a string", s.at)
			return nil
		}
	}
	s.fail("a string has no end")
	return nil
}

// escaped leaves the rare strings with escapes to encoding/json.
func (s *scan) escaped(literal []byte) []byte {
	var text string
	if err := json.Unmarshal(literal, &text); err != nil {
		s.fail("%w", err)
	}
	return []byte(text)
}

// number takes a natural number; null is 0.
func (s *scan) number() uint64 {
	if s.null() {
		return 0
	}
	s.peek()
	from := s.at
	for s.at < len(s.data) && s.data[s.at] >= '0' && s.data[s.at] <= '9' {
		s.at++
	}
	digits := s.data[from:s.at]
	n, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil || len(digits) > 1 && digits[0] == '0' {
		s.fail("at byte %d there is no natural number", from)
	}
	return n
}

// deepest is how far arrays and objects that are not known may stand within one another.
const deepest = 64

// skip takes any value.
func (s *scan) skip() { s.skipWithin(deepest) }

func (s *scan) skipWithin(depth int) {
	if depth == 0 {
		s.err = errors.Join(s.err, errors.New("it is too deep"))
		return
	}
	switch c := s.peek(); {
	case c == '{':
		s.object(func([]byte) { s.skipWithin(depth - 1) })
	case c == '[':
		s.array(func() { s.skipWithin(depth - 1) })
	case c == '"':
		s.quoted()
	case c == 't':
		s.word("true")
	case c == 'f':
		s.word("false")
	case c == 'n':
		s.word("null")
	default:
		s.literal()
	}
}

// literal takes a number of any form.
func (s *scan) literal() {
	from := s.at
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case '+', '-', '.', 'e', 'E', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			s.at++
			continue
		}
		break
	}
	if from == s.at || !json.Valid(s.data[from:s.at]) {
		s.fail("at byte %d there is no value", from)
		s.at = from
	}
}
