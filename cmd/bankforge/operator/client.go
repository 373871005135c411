// Package operator is what operators do on the command line: it asks a running bank over HTTP, as they could with any
// other client, and prints tables for people and JSON for scripts.
package operator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"bankforge/ports"
	"bankforge/ports/operations"
)

// Client says which bank is asked, and how what it answers is printed.
type Client struct {
	URL    string `name:"url" help:"The running bank." default:"http://127.0.0.1:8080" placeholder:"URL"`
	Token  string `help:"Bearer token, as bankforge token --role operator --subject me prints it." placeholder:"TOKEN"`
	Output string `short:"o" help:"How to print: ${enum}." enum:"table,json" default:"table"`
}

// Validate checks what kong cannot.
func (c *Client) Validate() error {
	if strings.TrimSpace(c.Token) == "" {
		return errors.New("--token is needed; bankforge token --role operator --subject me prints one")
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("--url: %q is not a URL such as http://127.0.0.1:8080", c.URL)
	}
	return nil
}

// AfterApply refuses flags that are given, and empty: a script whose variable is not set means one handler, or one
// reason, and not all of them.
func (c *Client) AfterApply(given *kong.Context) error {
	for _, p := range given.Path {
		if p.Flag != nil && p.Flag.Target.Kind() == reflect.String && p.Flag.Target.Len() == 0 {
			return fmt.Errorf("--%s: it may not be empty", p.Flag.Name)
		}
	}
	return nil
}

// Limits of an answer.
const (
	patience  = 60 * time.Second
	maxAnswer = 32 << 20 // bytes
)

// ask sends a request, and reads the answer into into, if it is there. A refusal is an error; with -o json it is
// printed, too.
func (c *Client) ask(ctx context.Context, out io.Writer, method, path string, body, into any, headers ...string) error {
	text, err := c.send(ctx, method, path, body, headers)
	var refused *refusal
	if errors.As(err, &refused) && c.Output == "json" {
		if _, printing := out.Write(indented(text)); printing != nil {
			return printing
		}
	}
	if err != nil || into == nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

func (c *Client) send(ctx context.Context, method, path string, body any, headers []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+"/ops/v1"+path, bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("--url: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+c.Token)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.URL, err)
	}
	defer func() { _ = answer.Body.Close() }()
	got, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.URL, err)
	}
	if answer.StatusCode >= http.StatusMultipleChoices {
		return got, refusedBy(answer.Status, got)
	}
	return got, nil
}

// refusal is an answer that says no.
type refusal struct{ code, text string }

// Error is one line for people.
func (r *refusal) Error() string { return r.text }

func refusedBy(status string, text []byte) error {
	var p ports.Problem
	if json.Unmarshal(text, &p) != nil || p.Code == "" {
		return &refusal{text: status}
	}
	out := p.Code + ": " + p.Detail
	if p.EventID != "" {
		out += " (recorded as " + p.EventID + ")"
	}
	return &refusal{p.Code, clean(out, maxRefusal)}
}

// indented is JSON for eyes, with an end of line.
func indented(text []byte) []byte {
	var b bytes.Buffer
	if json.Indent(&b, text, "", "  ") != nil {
		return append(bytes.Clone(text), '\n')
	}
	return append(b.Bytes(), '\n')
}

// rows reads a list page by page, at most limit of it.
func rows[T any](
	ctx context.Context, c *Client, out io.Writer, path string, params url.Values, limit Most,
) ([]T, error) {
	all := []T{}
	for len(all) < int(limit) {
		params.Set("limit", strconv.Itoa(min(int(limit)-len(all), maxPage)))
		var page ports.List[T]
		if err := c.ask(ctx, out, http.MethodGet, path+"?"+params.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Data...)
		if page.NextCursor == nil {
			break
		}
		params.Set("cursor", *page.NextCursor)
	}
	return all, nil
}

const maxPage = 200

// Span says which part of a list is printed.
type Span struct {
	Limit Most   `help:"How many at most." default:"50"`
	Asc   bool   `help:"The oldest first."`
	From  string `help:"Not before this time." placeholder:"TIME"`
	To    string `help:"Before this time." placeholder:"TIME"`
}

// Most is how many are printed at most.
type Most int

// Validate checks what kong cannot.
func (m Most) Validate() error {
	if m < 1 {
		return errors.New("a whole number above 0 was expected")
	}
	return nil
}

// of are the parameters of a list.
func (s *Span) of(pairs ...string) url.Values {
	v := given(append(pairs, "from", s.From, "to", s.To)...)
	if s.Asc {
		v.Set("order", "asc")
	}
	return v
}

// given are the parameters that are not empty.
func given(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}

// print prints JSON, or what table prints.
func (c *Client) print(out io.Writer, v any, table func(*tables)) error {
	if c.Output == "json" {
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		_, err = out.Write(indented(text))
		return err
	}
	t := newTables(out)
	table(t)
	return t.end()
}

// list is JSON of a list.
type list[T any] struct {
	Data []T `json:"data"`
}

// because is the body of an act that needs a reason only.
type because struct {
	Reason string `json:"reason"`
}

// became prints what became of an act, and fails where that is not what was wanted.
func (c *Client) became(out io.Writer, a *operations.Acted) error {
	err := c.print(out, a, func(t *tables) {
		t.row("EVENT", "KIND", "STATUS", "DETAIL")
		t.row(a.EventID, a.Kind, a.Status, text(a.Detail))
	})
	return cmp.Or(err, unwilling(a))
}

// unwilling is why an act did not do what was wanted; nil: it did, or may still.
func unwilling(a *operations.Acted) error {
	if a.Status != "failed" && a.Status != "refused" {
		return nil
	}
	return &refusal{text(a.Code), clean(text(a.Code)+": "+text(a.Detail), maxRefusal)}
}

// step is a part of a path.
func step(s string) string { return "/" + url.PathEscape(s) }
