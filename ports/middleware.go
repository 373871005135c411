package ports

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/ports/forward"
)

// request is what is known of one request on its way through the doors.
type request struct {
	*doors
	gin         *gin.Context
	route       *route
	principal   app.Principal
	correlation string
	failed      error // what it was refused with, for the log
	writer      writer
	params      query
	values      [headerValues]string // of the answer's headers
	held        int                  // how many of them
}

// headerValues is how many headers of an answer have a value of their own, most often.
const headerValues = 6

// value is a header's value, without an allocation of its own.
func (q *request) value(s string) []string {
	if q.held == len(q.values) {
		return []string{s}
	}
	q.values[q.held] = s
	q.held++
	return q.values[q.held-1 : q.held : q.held]
}

// writer is how a request travels with gin's context: a map in it would cost more.
type writer struct {
	gin.ResponseWriter

	of *request
}

// Unwrap lets http.ResponseController find what is below.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ctx ends when the caller hangs up.
func (q *request) ctx() context.Context { return q.gin.Request.Context() }

func requestOf(c *gin.Context) *request {
	w, _ := c.Writer.(*writer) // the outermost step has seen to it
	return w.of
}

// middleware is the way of every request, outermost first. What comes behind it depends on
// the route, and is in doors.enter.
func (d *doors) middleware() []gin.HandlerFunc {
	return []gin.HandlerFunc{
		d.correlated, // 1 before anything that answers or logs
		d.observed,   // 2 sees every status, that of a panic included
		d.recovered,  // 3 outside everything that could panic
		d.secured,    // 4 on every answer
	}
}

// correlated takes the caller's correlation id, or makes one.
func (d *doors) correlated(c *gin.Context) {
	id := c.Request.Header.Get("X-Correlation-Id")
	if !isCorrelation(id) {
		id = rand.Text()
	}
	q := &request{doors: d, gin: c, correlation: id}
	q.writer = writer{c.Writer, q}
	c.Writer = &q.writer
	c.Writer.Header()["X-Correlation-Id"] = q.value(id)
	c.Next()
}

const maxCorrelation = 64

func isCorrelation(s string) bool {
	if s == "" || len(s) > maxCorrelation {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// Observation is one request that has been answered. Route is as in the OpenAPI document, "" when there is none.
type Observation struct {
	Method, Route string
	Status        int
	Took          time.Duration
}

// observed logs and counts. Faults are errors, refusals are information, and what went well is for debugging.
// Neither bodies nor queries are logged: they may be personal.
func (d *doors) observed(c *gin.Context) {
	start := time.Now()
	c.Next()
	took, status, q := time.Since(start), c.Writer.Status(), requestOf(c)
	pattern := ""
	if q.route != nil {
		pattern = q.route.path
	}
	if d.Observe != nil {
		d.Observe(Observation{c.Request.Method, pattern, status, took})
	}
	level := slog.LevelDebug
	switch {
	case status >= http.StatusInternalServerError:
		level = slog.LevelError
	case status >= http.StatusBadRequest:
		level = slog.LevelInfo
	}
	ctx := c.Request.Context()
	if !d.Log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", c.Request.Method), slog.String("route", pattern), slog.Int("status", status),
		slog.Duration("took", took), slog.String("correlation_id", q.correlation),
		slog.String("subject", q.principal.Subject),
	}
	if q.failed != nil {
		attrs = append(attrs, slog.Any("error", q.failed))
	}
	d.Log.LogAttrs(ctx, level, "answered", attrs...)
}

// recovered answers what panics with 500, if nothing has been answered yet.
func (d *doors) recovered(c *gin.Context) {
	defer func() {
		fault := recover()
		if fault == nil {
			return
		}
		if fault == http.ErrAbortHandler { //nolint:errorlint,err113 // it is a value, not an error
			panic(fault)
		}
		d.Log.Error("panic", "correlation_id", requestOf(c).correlation, "panic", fmt.Sprint(fault),
			"stack", string(debug.Stack()))
		if c.Writer.Written() {
			panic(http.ErrAbortHandler) // the rest of the answer is lost: let the caller see that
		}
		fail(c, fmt.Errorf("panic: %v", fault))
	}()
	c.Next()
}

// secured keeps browsers from doing with answers what nobody wants. Pages set a policy of their own.
func (d *doors) secured(c *gin.Context) {
	h := c.Writer.Header()
	h["X-Content-Type-Options"] = nosniff
	h["Content-Security-Policy"] = nothingAllowed
	h["Referrer-Policy"] = noReferrer
	path := c.Request.URL.Path
	if c.Request.Method != http.MethodPost && (strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, opsPrefix)) {
		h["Cache-Control"] = noCache // nobody keeps what a POST is answered with
	}
	c.Next()
}

// Header values are shared by all answers, which never write to them.
var (
	nosniff        = []string{"nosniff"}
	nothingAllowed = []string{"default-src 'none'; frame-ancestors 'none'"}
	noReferrer     = []string{"no-referrer"}
	plainJSON      = []string{"application/json"}
	problemJSON    = []string{"application/problem+json"}
	noCache        = []string{"private, no-cache"} // keep it, but ask with If-None-Match before showing it again
)

// enter is the rest of the way: whose request it is, whether it may, whether it may now; then its handler.
func (d *doors) enter(r *route) gin.HandlerFunc {
	return func(c *gin.Context) {
		q := requestOf(c)
		q.route = r
		if err := q.admit(); err != nil {
			fail(c, err)
			return
		}
		if r.ops && !q.nameable() {
			fail(c, bank.Refuse(bank.NotFound, "", "There is no such thing."))
			return
		}
		if !d.owns(r) {
			if err := q.forward(); err != nil {
				fail(c, err)
			}
			return
		}
		out, err := r.handle(q)
		q.tell(&out)
		if err != nil {
			fail(c, err)
			return
		}
		q.answer(&out)
	}
}

// forward has the owner of the ledger answer, and passes the answer on. What was forwarded goes no further.
func (q *request) forward() error {
	in := q.gin.Request
	if in.Header.Get(forward.Hop) != "" {
		return forward.Nobody()
	}
	text, err := q.text(nil) // it may still be written when this request is over
	if err != nil {
		return err
	}
	in.Header.Set("X-Correlation-Id", q.correlation)
	reply, err := q.Forward.Send(in.Context(), forward.Command{
		Method: in.Method, URI: in.URL.RequestURI(), Header: in.Header, Body: text,
		Dry: in.URL.Query().Get("dry_run") == "true",
	})
	if err != nil {
		return err
	}
	if reply.Seq > 0 {
		q.App.Acknowledge(q.principal.Subject, reply.Seq)
	}
	h := q.gin.Writer.Header()
	maps.Copy(h, reply.Header)
	q.gin.Status(reply.Status)
	if _, err := q.gin.Writer.Write(reply.Body); err != nil {
		_ = q.gin.Error(err) // the caller has hung up
	}
	return nil
}

func (q *request) admit() error {
	if q.route.may.open {
		return nil
	}
	token := bearer(q.gin.Request)
	if token == "" {
		return refuse(codeUnauthenticated, "Send a token: Authorization: Bearer …")
	}
	p, err := q.Auth.Authenticate(q.gin.Request.Context(), token)
	if err != nil {
		return err
	}
	q.principal = p
	if !p.Has(q.route.may.roles...) {
		return refuse(app.CodeForbidden, "Your role does not allow this.")
	}
	if wait := q.limit.take(&p, q.Now()); wait > 0 {
		q.gin.Header("Retry-After", seconds(wait))
		return refuse(codeRateLimited, "Too many requests in a short time.")
	}
	return nil
}

// seconds rounds up, for Retry-After.
func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

// response is what a handler answers. The zero response says that the handler has answered by itself.
type response struct {
	status   int
	body     any          // written as JSON; nil: none
	version  bank.Version // of the one resource that the answer shows; 0: no ETag
	location string
	stale    bool
	done     *app.Done // of commands, also where they are refused
	tags     bool      // If-None-Match and If-Match are obeyed: a GET on one resource
}

// appender is what writes itself as JSON, because it is answered often.
type appender interface{ AppendJSON(b []byte) []byte }

// usualAnswer is how many bytes are enough for nearly all appenders.
const usualAnswer = 1 << 10

func (q *request) writeJSON(status int, contentType []string, v any) {
	c := q.gin
	room := q.room()
	text := encode((*room)[:0], v)
	c.Writer.Header()["Content-Type"] = contentType
	c.Status(status)
	if _, err := c.Writer.Write(text); err != nil {
		_ = c.Error(err) // the caller has hung up
		return           // over HTTP/2 the text may still be on its way
	}
	*room = text
	q.giveBack(room)
}

// room is memory for a body, until it is given back.
func (d *doors) room() *[]byte {
	if b, ok := d.rooms.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, usualAnswer)
	return &b
}

// giveBack keeps room for the next, unless it is much.
func (d *doors) giveBack(room *[]byte) {
	if cap(*room) <= maxBody {
		d.rooms.Put(room)
	}
}

// encode may append to room.
func encode(room []byte, v any) []byte {
	if a, ok := v.(appender); ok {
		return a.AppendJSON(room)
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Errorf("answer %T: %w", v, err)) // a mistake in the program
	}
	return text
}
