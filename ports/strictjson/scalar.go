package strictjson

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// string reads a string from its opening quote on. Without escapes it is a part of the text, and nothing is copied.
func (p *parser) string(out *string) *Error {
	p.at++
	start := p.at
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '"':
			*out = p.text[start:p.at]
			p.at++
			return nil
		case c == '\\':
			return p.escaped(out, start)
		case c < ' ':
			return p.fail("a control character in a string must be escaped")
		}
		p.at++
	}
	return p.fail("the string does not end")
}

// escaped goes on at the first backslash of the string that began at start.
func (p *parser) escaped(out *string, start int) *Error {
	b := append(make([]byte, 0, p.at-start+32), p.text[start:p.at]...)
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '"':
			*out = string(b)
			p.at++
			return nil
		case c == '\\':
			var err *Error
			if b, err = p.escape(b); err != nil {
				return err
			}
		case c < ' ':
			return p.fail("a control character in a string must be escaped")
		default:
			b = append(b, c)
			p.at++
		}
	}
	return p.fail("the string does not end")
}

func (p *parser) escape(b []byte) ([]byte, *Error) {
	p.at++
	if p.at == len(p.text) {
		return b, p.fail("the string does not end")
	}
	c := p.text[p.at]
	if c == 'u' {
		return p.unicode(b)
	}
	i := strings.IndexByte(`"\/bfnrt`, c)
	if i < 0 {
		return b, p.fail("no such escape")
	}
	p.at++
	return append(b, "\"\\/\b\f\n\r\t"[i]), nil
}

// unicode reads \uXXXX, and for characters beyond the first plane a pair of them.
func (p *parser) unicode(b []byte) ([]byte, *Error) {
	r, ok := p.hex()
	if ok && utf16.IsSurrogate(r) {
		low := rune(0)
		if strings.HasPrefix(p.text[p.at:], `\u`) {
			p.at++
			low, ok = p.hex()
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			ok = false
		}
	}
	if !ok {
		return b, p.fail(`\u is followed by four hexadecimal digits, and surrogates stand in pairs`)
	}
	return utf8.AppendRune(b, r), nil
}

// hex reads uXXXX.
func (p *parser) hex() (rune, bool) {
	if len(p.text)-p.at < 5 {
		return 0, false
	}
	n, err := strconv.ParseUint(p.text[p.at+1:p.at+5], 16, 16)
	p.at += 5
	return rune(n), err == nil
}

// number reads a number and keeps its text: the caller decides which numbers it takes.
func (p *parser) number(v *Value) *Error {
	start := p.at
	p.take('-')
	if !p.take('0') && !p.digits() {
		return p.fail("a value was expected")
	}
	if p.take('.') && !p.digits() {
		return p.fail("a digit was expected")
	}
	if p.take('e') || p.take('E') {
		if !p.take('+') {
			p.take('-')
		}
		if !p.digits() {
			return p.fail("a digit was expected")
		}
	}
	v.Kind, v.Text = Number, p.text[start:p.at]
	return nil
}

func (p *parser) digits() bool {
	start := p.at
	for p.at < len(p.text) && '0' <= p.text[p.at] && p.text[p.at] <= '9' {
		p.at++
	}
	return p.at > start
}
