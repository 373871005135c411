package ops

import (
	"strings"
	"unicode/utf8"
)

// Fingerprint is the same for failures of one handler that happened for one reason: it leaves out of the error what
// differs from key to key (ids, numbers, quoted values, addresses), and of a panic's stack everything but the names of
// the functions on top, so that it also survives restarts and changes of line numbers.
func Fingerprint(handler, class, text, stack string) string {
	sum := hash("fingerprint", handler, class, plain(text), strings.Join(frames(stack), "\n"))
	return "fp_" + digits.EncodeToString(sum[:16])
}

const (
	maxPlain  = 2000 // bytes of an error that count
	maxFrames = 5    // of a stack
	shortID   = 16   // characters behind a prefix, as in "acc_", that make an id
	shortHex  = 8    // characters that make a row of hexadecimal digits even without a digit
)

// plain is an error's text without what differs from case to case: each such part becomes one #, and parts with nothing
// but spaces and commas between them become one together.
func plain(text string) string {
	var out []byte
	for at := 0; at < len(text) && len(out) < maxPlain; {
		if n := quoted(text[at:], last(text, at)); n > 0 {
			out, at = mark(out), at+n
			continue
		}
		n := word(text[at:])
		switch {
		case n == 0:
			_, n = utf8.DecodeRuneInString(text[at:])
			out = space(out, text[at:at+n])
		case differs(text[at : at+n]):
			out = mark(out)
		default:
			out = append(out, text[at:at+n]...)
		}
		at += n
	}
	return strings.TrimSpace(string(out))
}

// mark adds a #, unless one is there already.
func mark(out []byte) []byte {
	before := strings.TrimRight(string(out), ", ;")
	if strings.HasSuffix(before, "#") {
		return out[:len(before)]
	}
	return append(out, '#')
}

// space adds what is no word; white space becomes one space.
func space(out []byte, text string) []byte {
	if strings.TrimSpace(text) != "" {
		return append(out, text...)
	}
	if len(out) > 0 && out[len(out)-1] != ' ' {
		out = append(out, ' ')
	}
	return out
}

// last is the byte before at.
func last(text string, at int) byte {
	if at == 0 {
		return ' '
	}
	return text[at-1]
}

// quoted is how long the quoted value is that text begins with; 0: it does not. before is what stands before it: an
// apostrophe within a word quotes nothing.
func quoted(text string, before byte) int {
	q := text[0]
	if q != '"' && q != '`' && (q != '\'' || isWord(before)) {
		return 0
	}
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case q:
			return i + 1
		}
	}
	return 0
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}

// word is how long the word is that text begins with. What joins words, as in an address, is part of it where another
// one follows.
func word(text string) int {
	n := 0
	for n < len(text) {
		switch {
		case isWord(text[n]):
		case n > 0 && strings.IndexByte(".:-@/+", text[n]) >= 0 && n+1 < len(text) && isWord(text[n+1]):
		default:
			return n
		}
		n++
	}
	return n
}

// differs reports whether the word is a number, an id, or something with a number in it.
func differs(word string) bool {
	if strings.ContainsAny(word, "0123456789") {
		return true
	}
	if _, id, ok := strings.Cut(word, "_"); ok && len(id) >= shortID && !strings.ContainsAny(id, "_.:-@/+") {
		return true
	}
	return len(word) >= shortHex && strings.Trim(word, "abcdefABCDEF") == ""
}

// frames are the names of the functions on top of a stack as runtime/debug writes it, without those that a panic has on
// every stack.
func frames(stack string) (out []string) {
	for line := range strings.Lines(stack) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "" || line[0] == '\t' || line[0] == ' ':
			continue
		case strings.HasPrefix(line, "goroutine "), strings.HasPrefix(line, "created by "),
			strings.HasPrefix(line, "runtime."), strings.HasPrefix(line, "runtime/"),
			strings.HasPrefix(line, "panic("), strings.Contains(line, ".recovered."):
			continue
		}
		if i := strings.LastIndexByte(line, '('); i > 0 {
			line = line[:i]
		}
		if out = append(out, unnumbered(line)); len(out) == maxFrames {
			break
		}
	}
	return out
}

// unnumbered is a function's name without the numbers that the compiler gives to those that have none.
func unnumbered(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, name)
}
