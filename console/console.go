// Package console is the web page that the binary serves. Its sources are in src; dist, which is embedded, is made
// from them by npm run build, and npm run check says whether it is.
package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed dist
var files embed.FS

// policy lets the page use what comes from here, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// forEver is for assets: their names change with what is in them.
const forEver = "public, max-age=31536000, immutable"

// page is one file with everything that its answer says.
type page struct {
	content []byte
	kind    string // its media type
	caching string
	tag     string // changes with the content
}

// Handler serves the page at /, and what it is made of under /assets/. Everything else is not found.
func Handler() http.Handler {
	pages, err := load(files)
	if err != nil {
		panic("console: what is embedded cannot be read: " + err.Error())
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := pages[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "This page can only be read.", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Type", p.kind)
		h.Set("Cache-Control", p.caching)
		h.Set("ETag", p.tag)
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(p.content))
	})
}

var kinds = map[string]string{
	".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

func load(from fs.FS) (map[string]page, error) {
	out := map[string]page{}
	err := fs.WalkDir(from, "dist", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		kind, ok := kinds[path.Ext(name)]
		if !ok {
			return fmt.Errorf("%s has no media type", name)
		}
		p := page{content, kind, forEver, fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(content))[:20])}
		url := strings.TrimPrefix(name, "dist")
		if url == "/index.html" {
			url, p.caching = "/", "no-cache"
		}
		out[url] = p
		return nil
	})
	return out, err
}
