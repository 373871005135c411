package console_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"bankforge/console"
)

func ask(method, path, tag string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	if tag != "" {
		r.Header.Set("If-None-Match", tag)
	}
	w := httptest.NewRecorder()
	console.Handler().ServeHTTP(w, r)
	return w
}

func TestThePageAndAllThatItNeeds(t *testing.T) {
	t.Parallel()
	index := ask(http.MethodGet, "/", "")
	if index.Code != http.StatusOK || index.Header().Get("Cache-Control") != "no-cache" {
		t.Fatalf("the page is answered %d, %v", index.Code, index.Header())
	}
	policy := index.Header().Get("Content-Security-Policy")
	if strings.Contains(policy, "unsafe") || !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("the policy is %q", policy)
	}
	html := index.Body.String()
	if regexp.MustCompile(`(?i)<script>|<style|\son\w+=|\sstyle=|https?://`).MatchString(html) {
		t.Error("the page has something inline, or from another host")
	}
	assets := regexp.MustCompile(`/assets/[\w.-]+`).FindAllString(html, -1)
	if len(assets) != 3 {
		t.Fatalf("the page needs %v", assets)
	}
	for _, path := range assets {
		a := ask(http.MethodGet, path, "")
		if a.Code != http.StatusOK || !strings.Contains(a.Header().Get("Cache-Control"), "immutable") ||
			a.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s is answered %d, %v", path, a.Code, a.Header())
		}
	}
	if again := ask(http.MethodGet, "/", index.Header().Get("ETag")); again.Code != http.StatusNotModified {
		t.Errorf("who has the page is answered %d", again.Code)
	}
}

func TestThereIsNothingElse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{http.MethodHead, "/", http.StatusOK},
		{http.MethodPost, "/", http.StatusMethodNotAllowed},
		{http.MethodGet, "/index.html", http.StatusNotFound},
		{http.MethodGet, "/assets/", http.StatusNotFound},
		{http.MethodGet, "/src/main.ts", http.StatusNotFound},
		{http.MethodGet, "/../console.go", http.StatusNotFound},
	} {
		if r := ask(c.method, c.path, ""); r.Code != c.status {
			t.Errorf("%s %s is answered %d, not %d", c.method, c.path, r.Code, c.status)
		}
	}
}
