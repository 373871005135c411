package ports

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// document is what the OpenAPI document says, as the tests hold answers against it.
var document = sync.OnceValue(func() *huma.OpenAPI { return describe("") })

// isTrue checks an answer of any test against the document: its status, its headers, its body.
func (h *house) isTrue(method, target string, a answer) {
	h.t.Helper()
	path, _, _ := strings.Cut(target, "?")
	r := routeOf(method, path)
	if r == nil || r.hidden {
		return
	}
	item := document().Paths[r.path]
	op := map[string]*huma.Operation{GET: item.Get, POST: item.Post, PUT: item.Put, PATCH: item.Patch}[method]
	said := op.Responses[strconv.Itoa(a.StatusCode)]
	if said == nil {
		h.t.Errorf("%s %s answers %d, which is not documented: %s", method, r.path, a.StatusCode, a.text)
		return
	}
	for name, header := range said.Headers {
		if header.Required && a.Header.Get(name) == "" {
			h.t.Errorf("%s %s answers %d without %s", method, r.path, a.StatusCode, name)
		}
	}
	if said.Content == nil {
		if a.text != "" {
			h.t.Errorf("%s %s answers %d with a body: %s", method, r.path, a.StatusCode, a.text)
		}
		return
	}
	media := said.Content[a.Header.Get("Content-Type")]
	if media == nil {
		h.t.Errorf("%s %s answers %d with %s", method, r.path, a.StatusCode, a.Header.Get("Content-Type"))
		return
	}
	texts, schema := []string{a.text}, media.Schema
	if r.media == ndjson && a.StatusCode == 200 {
		texts = strings.Split(strings.TrimSuffix(a.text, "\n"), "\n")
		schema = &huma.Schema{Ref: "#/components/schemas/EventLine"}
	} else if !strings.Contains(a.Header.Get("Content-Type"), "json") {
		return
	}
	for _, text := range texts {
		h.fits(text, schema, method+" "+r.path)
	}
}

// validating guards the schemas: checking them fills caches.
var validating sync.Mutex

func (h *house) fits(text string, schema *huma.Schema, what string) {
	h.t.Helper()
	var v any
	if text == "" {
		return
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		h.t.Errorf("%s answers no JSON: %s", what, text)
		return
	}
	validating.Lock()
	defer validating.Unlock()
	result := &huma.ValidateResult{}
	huma.Validate(document().Components.Schemas, schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, v, result)
	for _, err := range result.Errors {
		h.t.Errorf("%s: %v in %s", what, err, text)
	}
}

func routeOf(method, path string) *route {
	steps := strings.Split(path, "/")
	for i := range routes {
		own := strings.Split(routes[i].path, "/")
		if routes[i].method == method && len(own) == len(steps) && slices.EqualFunc(own, steps, func(a, b string) bool {
			return a == b || strings.HasPrefix(a, "{")
		}) {
			return &routes[i]
		}
	}
	return nil
}

func TestTheCommittedDocumentIsTheGeneratedOne(t *testing.T) {
	t.Parallel()
	want, err := OpenAPIYAML("")
	fatal(t, err)
	got, err := os.ReadFile("../api/openapi.yaml")
	fatal(t, err)
	if string(got) != string(want) {
		t.Error("api/openapi.yaml is old: go run ./cmd/bankforge openapi > api/openapi.yaml")
	}
}

func TestEveryRouteIsDescribed(t *testing.T) {
	t.Parallel()
	for i := range routes {
		r := &routes[i]
		for _, code := range r.everyCode() {
			if meanings[code].status == 0 {
				t.Errorf("%s %s: no meaning for %s", r.method, r.path, code)
			}
		}
		for _, name := range r.query {
			if queries[name].what == "" {
				t.Errorf("%s %s: nothing is said of %s", r.method, r.path, name)
			}
		}
		if !r.hidden && (r.sum == "" || r.reply.of == nil) {
			t.Errorf("%s %s: nothing is said of it", r.method, r.path)
		}
		if !r.may.open && len(r.may.roles) == 0 {
			t.Errorf("%s %s: nobody may", r.method, r.path)
		}
	}
}

// TestBodiesAndSchemasAgree breaks each body in every way that its schema forbids, and expects 400.
func TestBodiesAndSchemasAgree(t *testing.T) {
	t.Parallel()
	h := open(t)
	for i := range routes {
		r := &routes[i]
		if r.body == nil {
			continue
		}
		schema := document().Components.Schemas.Schema(r.body, false, "")
		full := map[string]any{}
		for name, s := range schema.Properties {
			full[name] = exampleOf(s)
		}
		delete(full, "expires_at") // an example that is always in the near future cannot be written down
		role := r.may.roles[0]
		send := func(body map[string]any) answer {
			text, err := json.Marshal(body)
			fatal(t, err)
			return h.ask(h.token(role, customerFor(role)...), r.method, r.target(), string(text),
				"Idempotency-Key: "+newKey())
		}
		if got := send(full); got.StatusCode == 400 {
			t.Errorf("%s %s refuses the schema's examples: %s", r.method, r.path, got.text)
		}
		for name, s := range schema.Properties {
			refuses := func(v any, why string) {
				body := maps.Clone(full)
				if body[name] = v; v == absent {
					delete(body, name)
				}
				got := send(body)
				if got.StatusCode != 400 || !strings.HasPrefix(got.str("errors", "0", "pointer"), "/"+name) {
					t.Errorf("%s %s takes %s: %s (%s)", r.method, r.path, name, why, got.text)
				}
			}
			refuses([]any{[]any{}}, "of a wrong type")
			if slices.Contains(schema.Required, name) {
				refuses(absent, "absent")
			}
			if !s.Nullable {
				refuses(nil, "null")
			}
			if s.MaxLength != nil {
				refuses(strings.Repeat("x", *s.MaxLength+1), "too long")
			}
			if s.MinLength != nil {
				refuses("", "empty")
			}
			if s.Enum != nil {
				refuses("nothing of it", "of no such value")
			}
		}
		full["no_such_field"] = 1
		if got := send(full); got.StatusCode != 400 || got.str("errors", "0", "code") != "unknown_field" {
			t.Errorf("%s %s takes unknown fields: %s", r.method, r.path, got.text)
		}
	}
}

var absent = new(int)

func exampleOf(s *huma.Schema) any {
	switch {
	case s.Ref != "":
		s = document().Components.Schemas.SchemaFromRef(s.Ref)
		out := map[string]any{}
		for name, p := range s.Properties {
			out[name] = exampleOf(p)
		}
		return out
	case len(s.Examples) > 0:
		return s.Examples[0]
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Type == huma.TypeBoolean:
		return true
	case s.Type == huma.TypeInteger:
		return *s.Minimum
	case s.Type == huma.TypeObject:
		out := map[string]any{}
		for name, p := range s.Properties {
			out[name] = exampleOf(p)
		}
		return out
	case s.Type == huma.TypeArray:
		return []any{exampleOf(s.Items)}
	}
	panic(fmt.Sprintf("no example in %v", reflect.ValueOf(s).Elem()))
}

// target is the path with something in the place of what it names.
func (r *route) target() string {
	return strings.NewReplacer("{id}", r.idExample(), "{handler}", "history", "{name}", "history", "{key}", "k",
		"{fingerprint}", "fp_1", "{correlation_id}", "c", "{code}", "not_found").Replace(r.path)
}

func customerFor(role any) []string {
	if fmt.Sprint(role) == "customer" {
		return []string{"cus_06h09h3q657ss5pr9u4kq9irho"}
	}
	return nil
}
