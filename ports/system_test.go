package ports

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"bankforge/app"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.is(h.ask("", "GET", "/healthz", ""), "200")
	h.is(h.ask("", "GET", "/readyz", ""), "200")
	h.modules = []ModuleState{{Module: "push", Ready: true}, {Module: "account-query", Lag: 7, Detail: "7 events behind"}}
	got := h.ask("", "GET", "/readyz", "")
	if got.StatusCode != 503 || got.str("modules", "1", "module") != "account-query" ||
		got.Header.Get("Retry-After") == "" {
		t.Errorf("not ready: %d %s", got.StatusCode, got.text)
	}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	h := open(t)
	api := h.is(h.ask("", "GET", "/openapi.json", ""), "200")
	if api.str("openapi") != "3.1.0" || !json.Valid([]byte(api.text)) {
		t.Errorf("openapi.json: %.100s", api.text)
	}
	if got := h.is(h.ask("", "GET", "/asyncapi.yaml", ""), "200"); got.text != "asyncapi: 3.0.0\n" {
		t.Errorf("asyncapi.yaml: %s", got.text)
	}
	page := h.is(h.ask("", "GET", "/docs", ""), "200")
	if strings.Contains(page.text, "//") && regexp.MustCompile(`https?://`).MatchString(page.text) {
		t.Error("the page names another host")
	}
	policy := page.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Count(policy, "'sha256-") != 2 ||
		strings.Contains(policy, "unsafe") {
		t.Errorf("policy: %s", policy)
	}
}

func TestThePageAndTheAPIAreApart(t *testing.T) {
	t.Parallel()
	h := open(t, func(c *Config) {
		c.Page = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("the page")) })
	})
	for target, want := range map[string]string{
		"/": "200", "/assets/app.js": "200", "/v1/nothing": "404 not_found", "/v1": "404 not_found",
		"/app.js": "404 not_found", "/nothing": "404 not_found", "/assets": "404 not_found", "//": "404 not_found",
	} {
		got := h.is(h.ask("", "GET", target, ""), want)
		if (got.text == "the page") != (want == "200") {
			t.Errorf("%s: %s", target, got.text)
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	h := open(t)
	for _, target := range []string{"/v1/currencies", "/nothing", "/healthz", "/docs"} {
		got := h.ask(h.token(teller), "GET", target, "")
		if got.Header.Get("X-Content-Type-Options") != "nosniff" || got.Header.Get("Referrer-Policy") != "no-referrer" ||
			!strings.Contains(got.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("%s: %v", target, got.Header)
		}
	}
}

func TestModulesThatDoNotRunHaveNoDoors(t *testing.T) {
	t.Parallel()
	h := open(t, func(c *Config) { c.Runs = func(module string) bool { return module == accountCommand } })
	h.is(h.post("/v1/accounts", `{"currency":"EUR"}`), "201")
	h.odd = true
	if got := h.ask(h.token(teller), "GET", "/v1/holds", ""); got.StatusCode != 404 {
		t.Errorf("a door of another module: %d", got.StatusCode)
	}
}

func TestObservations(t *testing.T) {
	t.Parallel()
	var seen []Observation
	h := open(t, func(c *Config) { c.Observe = func(o Observation) { seen = append(seen, o) } })
	h.ask(h.token(teller), "GET", "/v1/accounts/x", "")
	h.ask("", "GET", "/nothing", "")
	if len(seen) != 2 || seen[0].Route != "/v1/accounts/{id}" || seen[0].Status != 404 || seen[1].Route != "" {
		t.Errorf("seen: %+v", seen)
	}
}

// TestMiddlewareOrder pins it: who moves one must know why it stands where it does.
func TestMiddlewareOrder(t *testing.T) {
	t.Parallel()
	h := open(t, func(c *Config) { c.Auth = panics{} })
	got := h.ask("token", "GET", "/v1/currencies", "", "X-Correlation-Id: c-1")
	if got.StatusCode != 500 || got.Header.Get("X-Correlation-Id") != "c-1" ||
		got.Header.Get("X-Content-Type-Options") == "" {
		t.Errorf("a panic behind all of them: %d %v", got.StatusCode, got.Header)
	}
	// Who it is comes before what he may, and that before how often, the headers, the body.
	h = open(t)
	for _, step := range []struct{ token, key, body, want string }{
		{"", "", "{", "401 unauthenticated"},
		{h.token(operator), "", "{", "403 forbidden"},
		{h.token(teller), "", "{", "400 idempotency_key_missing"},
		{h.token(teller), "k", "{", "400 invalid_request"},
	} {
		headers := []string{}
		if step.key != "" {
			headers = append(headers, "Idempotency-Key: "+step.key)
		}
		h.is(h.ask(step.token, "POST", "/v1/transfers", step.body, headers...), step.want)
	}
}

func TestTokenKeyFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token.key")
	first, err := LoadTokenKey(path)
	fatal(t, err)
	again, err := LoadTokenKey(path)
	fatal(t, err)
	if !first.Public().Equal(again.Public()) {
		t.Error("the second load made another key")
	}
	info, err := os.Stat(path)
	fatal(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := first.Sign(app.Principal{Subject: "x", Roles: []app.Role{"root"}}, time.Now(), time.Hour); err == nil {
		t.Error("signed for an unknown role")
	}
	for name, change := range map[string]func() error{
		"readable by others": func() error { return os.Chmod(path, 0o644) },
		"not PEM":            func() error { return write(path, "x") },
		"not a key": func() error {
			return write(path, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
		},
		"a directory": func() error { return remake(path) },
	} {
		fatal(t, change())
		if _, err := LoadTokenKey(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func write(path, text string) error {
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

func remake(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	return os.Mkdir(path, fs.FileMode(0o700))
}
