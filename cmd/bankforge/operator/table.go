package operator

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// tables writes columns.
type tables struct {
	w   *tabwriter.Writer
	err error
}

func newTables(out io.Writer) *tables {
	return &tables{w: tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)}
}

func (t *tables) row(cells ...string) {
	for i := range cells {
		if cells[i] = clean(cells[i], maxCell); cells[i] == "" {
			cells[i] = "-"
		}
	}
	if _, err := fmt.Fprintln(t.w, strings.Join(cells, "\t")); err != nil && t.err == nil {
		t.err = err
	}
}

// plain writes lines as they are.
func (t *tables) plain(text string) {
	if err := t.w.Flush(); err != nil && t.err == nil {
		t.err = err
	}
	if _, err := fmt.Fprintln(t.w, text); err != nil && t.err == nil {
		t.err = err
	}
}

func (t *tables) end() error {
	if err := t.w.Flush(); t.err == nil {
		t.err = err
	}
	return t.err
}

// How many characters a cell and a refusal have at most.
const (
	maxCell    = 100
	maxRefusal = 600
)

// clean is a text that does nothing to a terminal, on one line.
func clean(s string, most int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > most {
			b.WriteString("…")
			break
		}
		if !unicode.IsPrint(r) {
			r = ' '
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// text is what may be absent.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// instant is a time of an answer, to the second.
func instant(s *string) string {
	t, err := time.Parse(time.RFC3339Nano, text(s))
	if err != nil {
		return text(s)
	}
	return t.Format(time.RFC3339)
}

func count(n int) string { return strconv.Itoa(n) }
