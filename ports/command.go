package ports

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/ports/body"
	"bankforge/ports/forward"
	"bankforge/ports/strictjson"
)

// command makes a handler of a function that gets the request's body read, and the rest that a command
// carries. What is well formed but cannot be is refused where keys are known, so that it is remembered, too.
func command[B any](do func(q *request, call app.Call, in *B) (response, error)) action {
	return reading(func(q *request, call app.Call, in *B, report *body.Report) (response, error) {
		if len(report.Refused) > 0 {
			first := report.Refused[0]
			call.Refusal = bank.Refuse(first.Code, strings.TrimPrefix(first.Pointer, "/"), first.Detail)
		}
		return do(q, call, in)
	})
}

// reading is command for those who look at the refused parts themselves.
func reading[B any](do func(*request, app.Call, *B, *body.Report) (response, error)) action {
	shape := body.Of[B]()
	return action{body: reflect.TypeFor[B](), handle: func(q *request) (response, error) {
		call, err := q.call()
		if err != nil {
			return response{}, err
		}
		v, err := q.read()
		if err != nil {
			return response{}, err
		}
		var in B
		var report body.Report
		shape.Read(&v, &in, &report)
		if err := malformed(&report); err != nil {
			return response{}, err
		}
		if !call.DryRun {
			call.Fingerprint = fingerprint(q.gin.Request.URL.RawQuery, &v)
		}
		return do(q, call, &in, &report)
	}}
}

// call reads what a command carries beside its body: query and headers.
func (q *request) call() (app.Call, error) {
	call := app.Call{
		Principal: q.principal, CorrelationID: q.correlation,
		TraceParent:  traceParent(q.gin.Request.Header.Get("Traceparent")),
		AckPublished: q.prefers("ack", "published"),
	}
	params := q.query()
	call.DryRun = params.choice("dry_run", "true", "false") == "true"
	if params.err != nil {
		return call, params.err
	}
	if call.DryRun && len(q.gin.Request.Header["Idempotency-Key"]) == 0 {
		return call, nil
	}
	key, err := q.idempotencyKey() // a dry run needs none, and remembers none
	if key != "" && !call.DryRun {
		call.IdempotencyKey = key
		call.Key = keyOf(q.principal.Subject, q.gin.Request.URL.Path, key)
	}
	return call, err
}

const maxKey = 255

func (q *request) idempotencyKey() (string, error) {
	values := q.gin.Request.Header["Idempotency-Key"]
	if len(values) == 0 && !q.route.needsKey() {
		return "", nil
	}
	visible := func(r rune) bool { return r > ' ' && r < 0x7f }
	if len(values) != 1 || values[0] == "" || len(values[0]) > maxKey ||
		strings.ContainsFunc(values[0], func(r rune) bool { return !visible(r) }) {
		detail := "Send one Idempotency-Key of 1 to 255 visible characters."
		return "", refuse(codeKeyMissing, detail, ProblemError{"", "Idempotency-Key", string(codeKeyMissing), detail})
	}
	return values[0], nil
}

// prefers reports whether the caller asked for it with Prefer (RFC 7240); the value may stand in quotes.
func (q *request) prefers(name, value string) bool {
	for _, line := range q.gin.Request.Header["Prefer"] {
		for p := range strings.SplitSeq(line, ",") {
			p, _, _ = strings.Cut(p, ";") // its parameters
			n, v, _ := strings.Cut(p, "=")
			v = strings.Trim(strings.TrimSpace(v), `"`)
			if strings.EqualFold(strings.TrimSpace(n), name) && strings.EqualFold(v, value) {
				return true
			}
		}
	}
	return false
}

// traceParent is the W3C trace context, or "" when it is not one.
func traceParent(s string) string {
	const form = "00-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx"
	if len(s) != len(form) {
		return ""
	}
	for i := range form {
		hex := '0' <= s[i] && s[i] <= '9' || 'a' <= s[i] && s[i] <= 'f'
		if form[i] == 'x' && !hex || form[i] != 'x' && s[i] != form[i] {
			return ""
		}
	}
	return s
}

// keyOf names the command for ever: who, where, and the caller's key.
func keyOf(subject, path, key string) app.Key {
	b := make([]byte, 0, 512)
	for _, part := range [...]string{subject, path, key} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return sha256.Sum256(b)
}

// fingerprint is the same for two requests that ask for the same: the order of the members of
// objects and of parameters, and white space do not matter.
func fingerprint(rawQuery string, v *strictjson.Value) app.Hash {
	b := make([]byte, 0, 1024)
	if rawQuery != "" {
		params := strings.Split(rawQuery, "&")
		slices.Sort(params)
		b = append(b, strings.Join(params, "&")...)
	}
	return sha256.Sum256(v.AppendCanonical(append(b, 0)))
}

// tell writes the headers that answers of commands have, refusals too.
func (q *request) tell(out *response) {
	d := out.done
	if d == nil {
		return
	}
	h := q.writer.Header()
	h["Server-Timing"] = q.value(serverTiming(&d.Timing))
	if d.Replayed {
		h["Idempotency-Replayed"] = []string{"true"}
	}
	if d.Published {
		h["Preference-Applied"] = []string{"ack=published"}
	}
}

// answer writes what a handler has answered.
func (q *request) answer(out *response) {
	if out.status == 0 {
		return
	}
	h := q.writer.Header()
	if out.done != nil && q.gin.Request.Header.Get(forward.Hop) != "" {
		h[forward.Seq] = []string{strconv.FormatUint(uint64(out.done.Seq), 10)}
	}
	if out.location != "" {
		h["Location"] = q.value(out.location)
	}
	if out.version != 0 {
		h["Etag"] = q.value(etag(out.version))
	}
	if out.stale {
		h["Bankforge-Stale"] = []string{"true"}
	}
	if out.tags {
		unchanged, err := q.compareTags(out.version)
		if err != nil {
			fail(q.gin, err)
			return
		}
		if unchanged {
			q.gin.Status(http.StatusNotModified)
			return
		}
	}
	q.writeJSON(out.status, plainJSON, out.body)
}

func serverTiming(t *app.Timing) string {
	b := make([]byte, 0, 96)
	for _, part := range [...]struct {
		name string
		took time.Duration
	}{{"queue", t.Queue}, {", decide", t.Decide}, {", commit", t.Commit}, {", publish", t.Publish}} {
		b = append(append(b, part.name...), ";dur="...)
		b = appendMillis(b, part.took)
	}
	return string(b)
}

// appendMillis appends milliseconds, with as many of three decimals as are needed.
func appendMillis(b []byte, d time.Duration) []byte {
	micros := max(d.Microseconds(), 0)
	b = strconv.AppendInt(b, micros/1000, 10)
	rest := micros % 1000
	if rest == 0 {
		return b
	}
	b = append(b, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
	return bytes.TrimRight(b, "0")
}

// etag is a version as an entity tag.
func etag(v bank.Version) string { return `"` + strconv.FormatUint(uint64(v), 10) + `"` }

// noVersion is what no resource has: a condition that nothing meets.
const noVersion bank.Version = math.MaxUint64

// tags is what a conditional header lists.
type tags struct {
	any      bool           // *
	versions []bank.Version // of strong and, for If-None-Match, weak tags; tags that are not ours are left out
}

// parseTags reads the value of If-Match or If-None-Match (RFC 9110). Weak tags only count where weak says so.
func parseTags(value string, weak bool) (t tags, ok bool) {
	rest := strings.TrimSpace(value)
	if rest == "*" {
		return tags{any: true}, true
	}
	for {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			return t, true
		}
		isWeak := strings.HasPrefix(rest, "W/")
		rest = strings.TrimPrefix(rest, "W/")
		if rest == "" || rest[0] != '"' {
			return t, false
		}
		end := strings.IndexByte(rest[1:], '"')
		if end < 0 {
			return t, false
		}
		opaque := rest[1 : 1+end]
		rest = strings.TrimLeft(rest[end+2:], " \t")
		if rest != "" && rest[0] != ',' {
			return t, false
		}
		n, err := strconv.ParseUint(opaque, 10, 64)
		if err == nil && n > 0 && strconv.FormatUint(n, 10) == opaque && (weak || !isWeak) {
			t.versions = append(t.versions, bank.Version(n))
		}
	}
}

func (t *tags) match(v bank.Version) bool {
	return t.any || slices.Contains(t.versions, v)
}

// conditional reads one of the two headers; given is false when it is not there.
func (q *request) conditional(header string, weak bool) (t tags, given bool, err error) {
	values := q.gin.Request.Header[header]
	if len(values) == 0 {
		return t, false, nil
	}
	t, ok := parseTags(strings.Join(values, ","), weak)
	if !ok {
		return t, true, badParameter(header, "format", `entity tags such as "7" were expected, or *`)
	}
	return t, true, nil
}

// compareTags obeys both headers on a GET: unchanged means that the caller has this version already.
func (q *request) compareTags(v bank.Version) (unchanged bool, err error) {
	want, given, err := q.conditional("If-Match", false)
	if err != nil {
		return false, err
	}
	if given && !want.match(v) {
		return false, bank.Refuse(bank.PreconditionFailed, "", "The version is "+strconv.FormatUint(uint64(v), 10)+".")
	}
	have, given, err := q.conditional("If-None-Match", true)
	return given && err == nil && have.match(v), err
}

// ifVersion is the version that If-Match asks for, 0 when it does not. The ledger compares it, after it has looked the
// key up. Of several it is the one that the account has.
func (q *request) ifVersion(id bank.AccountID) (bank.Version, error) {
	want, given, err := q.conditional("If-Match", false)
	switch {
	case err != nil, !given, want.any:
		return 0, err
	case len(want.versions) == 0:
		return noVersion, nil
	case len(want.versions) == 1:
		return want.versions[0], nil
	}
	if a, _, err := q.App.Account(q.gin.Request.Context(), q.principal, id, 0); err == nil && want.match(a.Version) {
		return a.Version, nil
	}
	return want.versions[0], nil
}

// pathID reads the id in the path. What cannot be an id names nothing.
func pathID[T any](q *request, parse func(string) (T, error)) (T, error) {
	id, err := parse(q.gin.Param("id"))
	if err != nil {
		return id, bank.Refuse(bank.NotFound, "", "There is no such thing.")
	}
	return id, nil
}
