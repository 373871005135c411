package ports

import (
	"bytes"
	"context"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/ports/forward"
)

// owners says who owns the ledger.
type owners struct {
	mu   sync.Mutex
	at   string
	over chan struct{}
}

func (o *owners) Owner() (string, bool, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over == nil {
		o.over = make(chan struct{})
	}
	return o.at, false, o.over
}

func (o *owners) move(at string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.at = at; o.over != nil {
		close(o.over)
		o.over = nil
	}
}

// front is another process of the bank that h is: it decides nothing, and forwards to whom owners says.
func (h *house) front(to *owners, change ...func(*Config)) *house {
	h.t.Helper()
	ctx := context.Background()
	db, err := sqlite.Open(ctx, filepath.Join(h.t.(*testing.T).TempDir(), "state.db"), sqlite.StateFile)
	fatal(h.t, err)
	f := &house{t: h.t, key: h.key, log: h.log, views: h.views, ledger: h.ledger, lot: h.lot}
	parts, err := app.New(app.Parts{
		Tide: h.ledger.Tide(), Log: h.log, Lookup: h.log, Balances: h.views, History: h.views, Progress: h.views,
		Customers: sqlite.NewCustomers(db), MasterKey: make([]byte, 32), Publisher: app.LogIsBroker{},
	})
	fatal(h.t, err)
	tokens, err := NewTokens(nil, h.key.Public())
	fatal(h.t, err)
	sender := forward.New(to, nil)
	h.t.Cleanup(func() { sender.Close(); fatal(h.t, db.Close()) })
	c := Config{
		App: parts, Auth: tokens, Readiness: f, Log: quiet, Epoch: "inc-1", Forward: sender, Ops: &Operations{Lot: h.lot},
	}
	for _, do := range change {
		do(&c)
	}
	f.handler, err = New(c)
	fatal(h.t, err)
	return f
}

// pair is an owner behind a real server, and a front that forwards to it.
func pair(t *testing.T, change ...func(*Config)) (owner, front *house) {
	t.Helper()
	owner = open(t)
	server := httptest.NewServer(owner.handler)
	t.Cleanup(server.Close)
	return owner, owner.front(&owners{at: server.URL}, change...)
}

// TestForwardedCommandsAreAnsweredByTheOwner, headers and refusals included: under the same keys the owner answers
// the same.
func TestForwardedCommandsAreAnsweredByTheOwner(t *testing.T) {
	t.Parallel()
	owner, front := pair(t)
	a, b := owner.account("", 1000), owner.account("", 0)
	front.is(front.post("/v1/customers", `{"name":"Ada Example"}`), "201") // needs no ledger
	for _, c := range []struct{ target, body, want string }{
		{"/v1/accounts", `{"currency":"EUR","label":"x"}`, "201"},
		{"/v1/deposits", `{"account_id":"` + a + `","amount":` + eur(5) + `}`, "201"},
		{"/v1/transfers", move(a, b, 5), "201"},
		{"/v1/transfers", move(a, b, 99999), "422 insufficient_funds"},
		{"/v1/transfers/bulk", `{"items":[` + move(a, b, 1) + `,` + move(a, b, 2) + `]}`, "200"},
		{"/v1/holds", `{"account_id":"` + a + `","amount":` + eur(3) + `}`, "201"},
		{"/v1/accounts/" + b + "/freeze", `{"reason":"x"}`, "200"},
	} {
		key := "Idempotency-Key: " + newKey()
		first := front.is(front.post(c.target, c.body, key, "X-Correlation-Id: from-afar"), c.want)
		front.sameAnswer(first, owner.post(c.target, c.body, key, "X-Correlation-Id: from-afar"))
		front.sameAnswer(first, front.post(c.target, c.body, key, "X-Correlation-Id: from-afar"))
		for _, name := range []string{"Server-Timing", "X-Correlation-Id", "Content-Security-Policy"} {
			if first.Header.Get(name) == "" {
				t.Errorf("%s: the answer has no %s", c.target, name)
			}
		}
		if got := first.Header.Get("X-Correlation-Id"); got != "from-afar" {
			t.Errorf("%s: the correlation id is %q", c.target, got)
		}
		if first.Header.Get(forward.Seq) != "" {
			t.Errorf("%s: the caller sees what is between processes: %v", c.target, first.Header)
		}
	}
	key := "Idempotency-Key: " + newKey()
	made := front.is(front.post("/v1/deposits?dry_run=true", `{"account_id":"`+a+`","amount":`+eur(5)+`}`), "200")
	if made.str("status") != "projected" {
		t.Errorf("a dry run is %s", made.text)
	}
	asked := front.is(front.post("/v1/deposits", `{"account_id":"`+a+`","amount":`+eur(5)+`}`, key,
		"Prefer: ack=published"), "201")
	if asked.Header.Get("Preference-Applied") != "ack=published" || asked.Header.Get("Location") == "" {
		t.Errorf("headers are missing: %v", asked.Header)
	}
	version := owner.ask(owner.token(teller), "GET", "/v1/accounts/"+a, "").Header.Get("ETag")
	patch := func(tag string) answer {
		return front.ask(front.token(teller), "PATCH", "/v1/accounts/"+a, `{"label":"new"}`, "If-Match: "+tag)
	}
	front.is(patch(`"1"`), "412 version_mismatch")
	front.is(patch(version), "200")
}

// TestTheFrontChecksWhatItCan, and the owner everything once more.
func TestTheFrontChecksWhatItCan(t *testing.T) {
	t.Parallel()
	owner, front := pair(t)
	a := owner.account("", 1000)
	body := `{"account_id":"` + a + `","amount":` + eur(5) + `}`
	front.is(front.ask("", "POST", "/v1/deposits", body, "Idempotency-Key: k"), "401 unauthenticated")
	front.is(front.ask(front.token(auditor), "POST", "/v1/deposits", body, "Idempotency-Key: k"), "403 forbidden")
	front.is(front.post("/v1/deposits", strings.Repeat(" ", maxBody+1)), "413 body_too_large")
	front.is(front.post("/v1/deposits", body, "Content-Encoding: gzip"), "415 unsupported_media_type")
	front.is(front.ask(front.token(teller), "POST", "/v1/deposits", body), "400 idempotency_key_missing")
	front.is(front.post("/v1/deposits", `{"amount":1}`), "400 invalid_request")
	front.is(front.post("/v1/deposits", body, "Content-Type: text/plain"), "415 unsupported_media_type")
}

// TestTheOwnerVerifiesTheToken: a front that believes anybody opens no door.
func TestTheOwnerVerifiesTheToken(t *testing.T) {
	t.Parallel()
	owner, front := pair(t, func(c *Config) { c.Auth = believer{} })
	a := owner.account("", 1000)
	front.is(front.ask("anything", "POST", "/v1/deposits", `{"account_id":"`+a+`","amount":`+eur(5)+`}`,
		"Idempotency-Key: k"), "401 unauthenticated")
}

type believer struct{}

func (believer) Authenticate(context.Context, string) (app.Principal, error) {
	return app.Principal{Subject: "x", Roles: []app.Role{teller}}, nil
}

// TestACommandIsForwardedOnce: where the one who was asked does not own the ledger either, the command goes no further.
func TestACommandIsForwardedOnce(t *testing.T) {
	t.Parallel()
	owner := open(t)
	a := owner.account("", 1000)
	to := &owners{}
	front := owner.front(to)
	server := httptest.NewServer(front.handler)
	defer server.Close()
	to.move(server.URL) // it takes itself for another one
	body := `{"account_id":"` + a + `","amount":` + eur(5) + `}`
	got := front.is(front.post("/v1/deposits", body), "503 unavailable")
	if got.Header.Get("Retry-After") == "" || got.body["retryable"] != true {
		t.Errorf("%v %s", got.Header, got.text)
	}
	to.move("")
	front.is(front.post("/v1/deposits", body), "503 unavailable")
}

// TestCommandsExistWhereverTheyCanBeForwarded, also where no command module runs.
func TestCommandsExistWhereverTheyCanBeForwarded(t *testing.T) {
	t.Parallel()
	only := func(c *Config) { c.Runs = func(module string) bool { return module == accountQuery } }
	owner, front := pair(t, only)
	a := owner.account("", 1000)
	body := `{"account_id":"` + a + `","amount":` + eur(5) + `}`
	front.is(front.post("/v1/deposits", body), "201")
	alone := open(t, only)
	front.odd, alone.odd = true, true // no document says what does not run
	front.is(front.ask(front.token(teller), "GET", "/v1/transactions", ""), "404 not_found")
	alone.is(alone.post("/v1/deposits", body), "404 not_found")
}

// TestReadsSeeWhatWasForwarded: the process that has forwarded a command waits for its view.
func TestReadsSeeWhatWasForwarded(t *testing.T) {
	t.Parallel()
	owner, front := pair(t)
	a := owner.account("", 1000)
	front.is(front.ask(front.token(teller), "GET", "/v1/accounts/"+a, ""), "200")
	owner.views.hold(true)
	front.is(front.post("/v1/deposits", `{"account_id":"`+a+`","amount":`+eur(5)+`}`), "201")
	other := front.is(front.ask(front.token(service), "GET", "/v1/accounts/"+a, ""), "200")
	if other.Header.Get("Bankforge-Stale") != "" {
		t.Error("who has done nothing was told that the view is stale")
	}
	got := front.is(front.ask(front.token(teller), "GET", "/v1/accounts/"+a, ""), "200")
	if got.Header.Get("Bankforge-Stale") != "true" {
		t.Error("the view was read as if nothing had happened")
	}
}

// cut is a server that takes a request in and hangs up, after n bytes of an answer.
func cut(t *testing.T, taken chan<- string, answer string) string {
	t.Helper()
	var conf net.ListenConfig
	l, err := conf.Listen(t.Context(), "tcp", "127.0.0.1:0")
	fatal(t, err)
	server := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(quiet.Handler(), slog.LevelError),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			taken <- string(body)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { fatal(t, server.Close()) })
	return "http://" + l.Addr().String()
}

// TestAnAnswerThatIsLostIsNoFailure: the command has been sent, so nobody knows.
func TestAnAnswerThatIsLostIsNoFailure(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"nothing":     "",
		"half a head": "HTTP/1.1 201 Crea",
		"half a body": "HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{",
		"a wrong seq": "HTTP/1.1 201 Created\r\nContent-Length: 2\r\nBankforge-Seq: x\r\n\r\n{}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			owner := open(t)
			a := owner.account("", 1000)
			taken := make(chan string, 10)
			front := owner.front(&owners{at: cut(t, taken, answer)})
			body := `{"account_id":"` + a + `","amount":` + eur(5) + `}`
			got := front.is(front.post("/v1/deposits", body), "503 outcome_unknown")
			if got.body["retryable"] != true || got.Header.Get("Retry-After") == "" {
				t.Errorf("%v %s", got.Header, got.text)
			}
			if sent := <-taken; sent != body {
				t.Errorf("it was sent as %q", sent)
			}
			front.is(front.post("/v1/deposits?dry_run=true", body), "503 unavailable") // it changes nothing anyway
		})
	}
}

// TestWhoIsNotThereHasDoneNothing: a refused connection is not an unknown outcome.
func TestWhoIsNotThereHasDoneNothing(t *testing.T) {
	t.Parallel()
	owner := open(t)
	a := owner.account("", 1000)
	front := owner.front(&owners{at: "http://127.0.0.1:1"})
	got := front.is(front.post("/v1/deposits", `{"account_id":"`+a+`","amount":`+eur(5)+`}`), "503 unavailable")
	if got.body["retryable"] != true {
		t.Errorf("%s", got.text)
	}
}

// TestForwardingOverTLS: only to an owner whose certificate somebody trusted has signed.
func TestForwardingOverTLS(t *testing.T) {
	t.Parallel()
	owner := open(t)
	a := owner.account("", 1000)
	server := httptest.NewTLSServer(owner.handler)
	t.Cleanup(server.Close)
	server.Config.ErrorLog = slog.NewLogLogger(quiet.Handler(), slog.LevelError)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	body := `{"account_id":"` + a + `","amount":` + eur(5) + `}`
	for want, trusted := range map[string]*x509.CertPool{"201": roots, "503 unavailable": x509.NewCertPool()} {
		sender := forward.New(&owners{at: server.URL}, trusted)
		t.Cleanup(sender.Close)
		front := owner.front(&owners{}, func(c *Config) { c.Forward = sender })
		front.is(front.post("/v1/deposits", body), want)
	}
}

// TestNobodyWaitsForAnOwnerWhoIsNot: it was stopped, and has got the command; by now another one is the owner.
func TestNobodyWaitsForAnOwnerWhoIsNot(t *testing.T) {
	t.Parallel()
	owner := open(t)
	a := owner.account("", 1000)
	taken, wake := make(chan struct{}), make(chan struct{})
	stopped := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(taken)
		<-wake
	}))
	t.Cleanup(func() { close(wake); stopped.Close() })
	awake := httptest.NewServer(owner.handler)
	t.Cleanup(awake.Close)
	to := &owners{at: stopped.URL}
	front := owner.front(to)
	go func() {
		<-taken
		to.move(awake.URL)
	}()
	body := `{"account_id":"` + a + `","amount":` + eur(5) + `}`
	front.is(front.post("/v1/deposits", body, "Idempotency-Key: again"), "503 outcome_unknown")
	front.is(front.post("/v1/deposits", body, "Idempotency-Key: again"), "201")
}

// TestACallerWhoLeavesTakesNobodyAlong: the forwarded command's outcome stands.
func TestACallerWhoLeavesTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	owner := open(t)
	a := owner.account("", 1000)
	before := owner.ledger.Committed()
	arrived, leave := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		close(arrived)
		<-leave
		r = r.Clone(context.WithoutCancel(r.Context()))
		r.Body = io.NopCloser(bytes.NewReader(body))
		owner.handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	front := owner.front(&owners{at: server.URL})
	ctx, cancel := context.WithCancel(t.Context())
	body := `{"account_id":"` + a + `","amount":` + eur(5) + `}`
	r := httptest.NewRequestWithContext(ctx, "POST", "/v1/deposits", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+front.token(teller))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "left")
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		front.handler.ServeHTTP(w, r)
	}()
	<-arrived
	cancel()
	<-done
	if !strings.Contains(w.Body.String(), string(app.CodeOutcomeUnknown)) {
		t.Errorf("who left would have heard %s", w.Body)
	}
	close(leave)
	for {
		next := owner.ledger.Tide().Next()
		if owner.ledger.Committed() > before {
			break
		}
		<-next
	}
	replay := owner.is(owner.post("/v1/deposits", body, "Idempotency-Key: left"), "201")
	if replay.Header.Get("Idempotency-Replayed") != "true" {
		t.Error("the command was not done")
	}
}
