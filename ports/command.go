package ports

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/ports/body"
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
	return action{body: schemaOf[B](), handle: func(q *request) (response, error) {
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
		AckPublished: q.prefers("ack=published"),
	}
	params := q.query()
	call.DryRun = params.choice("dry_run", "true", "false") == "true"
	if params.err != nil {
		return call, params.err
	}
	if call.DryRun {
		return call, nil
	}
	key, err := q.idempotencyKey()
	if key != "" {
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

// prefers reports whether the caller asked for it with Prefer (RFC 7240).
func (q *request) prefers(what string) bool {
	for _, line := range q.gin.Request.Header["Prefer"] {
		for p := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(p), what) {
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

// made is the answer to what made something: 201, or 200 when nothing was stored.
func made(call *app.Call, path string, v any, version bank.Version, done *app.Done) response {
	if call.DryRun {
		return response{status: 200, body: v, done: done}
	}
	return response{status: 201, body: v, version: version, location: path, done: done}
}

// changed is the answer to what changed something.
func changed(call *app.Call, v any, version bank.Version, done *app.Done) response {
	if call.DryRun {
		version = 0
	}
	return response{status: 200, body: v, version: version, done: done}
}

// answer writes what a handler has answered.
func (q *request) answer(out response) {
	if out.status == 0 {
		return
	}
	h := q.gin.Writer.Header()
	if out.location != "" {
		h["Location"] = []string{out.location}
	}
	if out.version != 0 {
		h["Etag"] = []string{etag(out.version)}
	}
	if out.stale {
		h["Bankforge-Stale"] = []string{"true"}
	}
	if d := out.done; d != nil {
		h["Server-Timing"] = []string{serverTiming(&d.Timing)}
		if d.Replayed {
			h["Idempotency-Replayed"] = []string{"true"}
		}
		if d.Published {
			h["Preference-Applied"] = []string{"ack=published"}
		}
	}
	if out.tags {
		unchanged, err := q.compareTags(out.version)
		switch {
		case err != nil:
			fail(q.gin, err)
			return
		case unchanged:
			q.gin.Status(304)
			return
		}
	}
	writeJSON(q.gin, out.status, "application/json", out.body)
}

func serverTiming(t *app.Timing) string {
	b := make([]byte, 0, 96)
	for _, part := range [...]struct {
		name string
		took time.Duration
	}{{"queue", t.Queue}, {", decide", t.Decide}, {", commit", t.Commit}, {", publish", t.Publish}} {
		b = append(append(b, part.name...), ";dur="...)
		b = strconv.AppendFloat(b, float64(part.took.Microseconds())/1000, 'f', -1, 64)
	}
	return string(b)
}
