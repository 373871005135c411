package ports

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/ports/body"
	"bankforge/ports/cursor"
	"bankforge/ports/strictjson"
)

// query is the parameters of the URL. Each is read once, with its rules; the first mistake is kept.
type query struct {
	values url.Values
	err    error
}

// query reads the URL's parameters: only those that the route knows, each once.
func (q *request) query() *query {
	out := &q.params
	*out = query{}
	raw := q.gin.Request.URL.RawQuery
	if raw == "" {
		return out
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		out.err = refuse(app.CodeInvalidRequest, "The query of the URL is malformed.")
	}
	out.values = values
	for name, v := range values {
		switch {
		case !q.route.takes(name):
			out.fail(name, "unknown_parameter", "no such parameter is known here")
		case len(v) > 1:
			out.fail(name, "repeated", "the parameter stands twice")
		case strings.ContainsFunc(v[0], unseen):
			out.fail(name, "pattern", "the parameter has characters that no value has")
		}
	}
	return out
}

// unseen is what no value has; what is not UTF-8 is read as the last of them.
func unseen(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }

// nameable reports whether the steps of the path could name anything. The key of a sequence may be any bytes.
func (q *request) nameable() bool {
	for _, step := range q.gin.Params {
		if step.Key != "key" && strings.ContainsFunc(step.Value, unseen) {
			return false
		}
	}
	return true
}

func (p *query) fail(name, reason, detail string) {
	if p.err == nil {
		p.err = badParameter(name, reason, detail)
	}
}

// text is a parameter as it is, "" when absent. Given, it may not be empty: that would select everything.
func (p *query) text(name string) string {
	v, given := p.values[name]
	if !given {
		return ""
	}
	if v[0] == "" || len(v[0]) > maxParameter {
		p.fail(name, "length", "1 to 255 bytes were expected")
	}
	return v[0]
}

const maxParameter = 255

// number is a whole number from low to high, or zero when absent.
func (p *query) number(name string, low, high uint64) uint64 {
	s := p.text(name)
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n < low || n > high {
		p.fail(name, "range", "a whole number from "+strconv.FormatUint(low, 10)+" to "+strconv.FormatUint(high, 10)+
			" was expected")
	}
	return n
}

// instant is a time; ok is false when absent.
func (p *query) instant(name string) (t bank.Time, ok bool) {
	s := p.text(name)
	if s == "" {
		return 0, false
	}
	at, err := time.Parse(time.RFC3339Nano, strings.ReplaceAll(s, " ", "+")) // a + that was not escaped
	if err != nil {
		p.fail(name, "format", "a time such as 2026-05-31T12:00:00Z was expected")
	}
	return bank.TimeOf(at), true
}

// choice is one of the options, or "" when absent.
func (p *query) choice(name string, options ...string) string {
	s := p.text(name)
	if s != "" && !slices.Contains(options, s) {
		p.fail(name, "enum", "one of "+strings.Join(options, ", ")+" was expected")
	}
	return s
}

// parse is for parameters that name something. What cannot be such a name is malformed; one that nothing has, as the
// id of no account, is not, and selects nothing.
func parse[T any](p *query, name string, read func(string) (T, error)) (v T) {
	s := p.text(name)
	if s == "" {
		return v
	}
	v, err := read(s)
	if err != nil {
		p.fail(name, "format", err.Error())
	}
	return v
}

// page is what all lists have in common.
type page struct {
	app.Page
	list cursor.List
}

const (
	defaultLimit = 50
	maxLimit     = 200
)

// page reads limit, order, cursor, from and to, as far as the route knows them.
func (q *request) page(params *query) page {
	p := page{list: cursor.Of(q.gin.Request.URL.Path, params.values)}
	if p.Limit = int(params.number("limit", 1, maxLimit)); p.Limit == 0 {
		p.Limit = defaultLimit
	}
	p.Ascending = params.choice("order", "asc", "desc") == "asc"
	p.From, _ = params.instant("from")
	p.To, _ = params.instant("to")
	if text := params.values.Get("cursor"); params.values.Has("cursor") {
		after, ok := p.list.Decode(text)
		if !ok && params.err == nil {
			params.err = refuse(app.CodeInvalidCursor, "The cursor does not belong to this list, its filters and its order.",
				ProblemError{"", "cursor", string(app.CodeInvalidCursor), "the cursor was not made for this list"})
		}
		p.AfterTime, p.AfterID = after.Time, after.ID
	}
	return p
}

// List is one page of a list.
type List[T any] struct {
	Data       []T     `json:"data" nullable:"false"`
	NextCursor *string `json:"next_cursor" doc:"For the next page; null on the last one."`
}

// listOf makes the page of what was found, which is one element longer when there is a next page.
func listOf[E, T any](p page, found []E, show func(*E) T, at func(*E) cursor.Place) List[T] {
	var next *string
	if len(found) > p.Limit {
		found = found[:p.Limit]
		text := p.list.Encode(at(&found[p.Limit-1]))
		next = &text
	}
	out := List[T]{Data: make([]T, len(found)), NextCursor: next}
	for i := range found {
		out.Data[i] = show(&found[i])
	}
	return out
}

// Limits of bodies in bytes.
const (
	maxBody = 64 << 10
	maxBulk = 1 << 20
)

// read takes the body in, and reads it strictly. An empty body is an empty object.
func (q *request) read() (strictjson.Value, error) {
	room := q.room()
	defer q.giveBack(room)
	text, err := q.text(*room)
	switch {
	case err != nil:
		return strictjson.Value{}, err
	case len(text) == 0:
		return strictjson.Value{Kind: strictjson.Object}, nil
	}
	if !isJSON(q.gin.Request.Header.Get("Content-Type")) {
		return strictjson.Value{}, refuse(codeMediaType, "Send the body as Content-Type: application/json.")
	}
	v, bad := strictjson.Parse(text)
	if bad != nil {
		return v, refuse(app.CodeInvalidRequest, "The body is not JSON as it is taken here: "+bad.Detail+".",
			ProblemError{Pointer: bad.Pointer, Code: "json", Detail: bad.Detail})
	}
	return v, nil
}

// text takes the body in, up to its limit, into room if there is enough.
func (q *request) text(room []byte) ([]byte, error) {
	r := q.gin.Request
	coding := strings.Join(r.Header["Content-Encoding"], ",")
	if coding != "" && !strings.EqualFold(coding, "identity") {
		q.gin.Header("Accept-Encoding", "identity")
		return nil, refuse(codeMediaType, "Send the body as it is, without a Content-Encoding.")
	}
	limit := int64(maxBody)
	if q.route.bulk {
		limit = maxBulk
	}
	if r.ContentLength > limit {
		q.gin.Header("Connection", "close") // the rest is not read
		return nil, tooLarge(limit)
	}
	body := r.Body
	if r.ContentLength < 0 { // else the server gives no more than was announced
		body = http.MaxBytesReader(q.gin.Writer, body, limit)
	}
	text, err := readAll(room, body, r.ContentLength)
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, tooLarge(limit)
	case err != nil:
		return nil, refuse(app.CodeInvalidRequest, "The body did not arrive whole.")
	}
	return text, nil
}

// readAll reads the body, into room where its length is known and there is enough.
func readAll(room []byte, r io.Reader, length int64) ([]byte, error) {
	if length < 0 {
		return io.ReadAll(r)
	}
	if length > int64(cap(room)) {
		room = make([]byte, length)
	}
	text := room[:length]
	_, err := io.ReadFull(r, text)
	return text, err
}

func tooLarge(limit int64) error {
	return refuse(codeTooLarge, "The body has more than "+strconv.FormatInt(limit, 10)+" bytes.")
}

func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	t, params, err := mime.ParseMediaType(contentType)
	if err != nil || t != "application/json" {
		return false
	}
	charset, given := params["charset"]
	return !given || strings.EqualFold(charset, "utf-8")
}

// malformed refuses a body that could not be read.
func malformed(report *body.Report) error {
	if len(report.Invalid) == 0 {
		return nil
	}
	parts := make([]ProblemError, len(report.Invalid))
	for i, p := range report.Invalid {
		parts[i] = ProblemError{Pointer: p.Pointer, Code: p.Reason, Detail: p.Detail}
	}
	where := parts[0].Pointer
	if where == "" {
		where = "the body"
	}
	return refuse(app.CodeInvalidRequest, "The body is malformed: "+where+": "+parts[0].Detail+".", parts...)
}
