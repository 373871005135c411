package ports

import (
	"crypto/sha256"
	_ "embed" // the page of /docs
	"encoding/base64"
	"net/http"
	"regexp"
	"strings"

	"bankforge/app/bank"
	"bankforge/ports/render"
)

// Readiness knows how the modules of this process are.
type Readiness interface {
	// Ready returns the state of each module that runs here.
	Ready() []ModuleState
}

// ModuleState is how one module is.
type ModuleState struct {
	Module string `json:"module" example:"account-query"`
	Ready  bool   `json:"ready"`
	Lag    uint64 `json:"lag" doc:"How many events it is behind."`
	Detail string `json:"detail,omitempty" doc:"Why it is not ready; of a command module, else, who owns the ledger."`
}

// Alive is what a process answers that runs.
type Alive struct {
	Status string `json:"status" enum:"ok"`
}

func healthz(*request) (response, error) {
	return response{status: http.StatusOK, body: Alive{"ok"}}, nil
}

// Ready is whether every module is ready.
type Ready struct {
	Ready   bool          `json:"ready"`
	Modules []ModuleState `json:"modules" nullable:"false"`
}

func readyz(q *request) (response, error) {
	out := Ready{true, q.Readiness.Ready()}
	if out.Modules == nil {
		out.Modules = []ModuleState{}
	}
	status := http.StatusOK
	for _, m := range out.Modules {
		if !m.Ready {
			out.Ready, status = false, http.StatusServiceUnavailable
			q.gin.Header("Retry-After", retryAfter)
		}
	}
	return response{status: status, body: out}, nil
}

// serveText makes the handlers of documents.
func serveText(contentType string, text func(*doors) []byte) func(*request) (response, error) {
	return func(q *request) (response, error) {
		q.gin.Header("Cache-Control", "no-cache")
		q.gin.Data(http.StatusOK, contentType, text(q.doors))
		return response{}, nil
	}
}

//go:embed docs.html
var docsPage []byte

// docs shows the OpenAPI document, with what is in this page only: no other host is asked for anything.
func docs(q *request) (response, error) {
	q.gin.Header("Content-Security-Policy", q.docsPolicy)
	q.gin.Header("Cache-Control", "no-cache")
	q.gin.Data(http.StatusOK, "text/html; charset=utf-8", docsPage)
	return response{}, nil
}

var inline = regexp.MustCompile(`(?s)<(script|style)>(.*?)</(?:script|style)>`)

// policyOf lets a page run exactly the scripts and styles that it has inline, and ask this host.
func policyOf(page []byte) string {
	sources := map[string]string{}
	for _, m := range inline.FindAllSubmatch(page, -1) {
		sum := sha256.Sum256(m[2])
		sources[string(m[1])] += " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
		"script-src" + sources["script"] + "; style-src" + sources["style"]
}

// problemPage says what a code means, at the URL that problems have as their type.
func problemPage(q *request) (response, error) {
	code := bank.Code(q.gin.Param("code"))
	m, ok := meanings[code]
	if !ok || publicCode(code) != code {
		return response{}, bank.Refuse(bank.NotFound, "", "There is no such code.")
	}
	again := "Ask again with a new Idempotency-Key."
	if m.again {
		again = "Ask again with the same Idempotency-Key."
	}
	text := strings.Join([]string{string(code), m.title + ".", again, ""}, "\n\n")
	q.gin.Data(http.StatusOK, "text/plain; charset=utf-8", []byte(text))
	return response{}, nil
}

func (d *doors) openAPIText() []byte { return d.openAPI }

func (d *doors) asyncAPIText() []byte { return d.AsyncAPI }

// liveSocket opens a WebSocket. Who asks is said in its first frame.
func liveSocket(q *request) (response, error) {
	return response{}, q.Live.Hub.Serve(q.gin.Writer, q.gin.Request)
}

// accountLive refuses who has come to know the account in another incarnation of the log: its versions may have been
// others. Who names none is taken at the word of Last-Event-ID.
func accountLive(q *request) (response, error) {
	params := q.query()
	if epoch := params.text("epoch"); epoch != "" && epoch != q.Epoch {
		params.fail("epoch", "conflict", "the bank was restored, and this is another epoch; load the account again")
	}
	if params.err != nil {
		return response{}, params.err
	}
	return response{}, q.Live.accountStream(q.gin.Writer, q.gin.Request, q.principal, q.gin.Param("id"))
}

func liveTicket(q *request) (response, error) {
	if params := q.query(); params.err != nil {
		return response{}, params.err
	}
	text, expires, err := q.Live.Tickets.Issue(q.principal)
	if err != nil {
		return response{}, err
	}
	q.gin.Header("Cache-Control", "no-store")
	return response{status: http.StatusCreated, body: LiveTicket{text, render.Clock(expires)}}, nil
}
