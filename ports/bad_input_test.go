package ports

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
)

func TestBadBodies(t *testing.T) {
	t.Parallel()
	h := open(t)
	a, b := h.account("", 1000), h.account("", 0)
	good := move(a, b, 1)
	with := func(old, replacement string) string { return strings.Replace(good, old, replacement, 1) }
	amount := func(text string) string { return with(`"1"`, text) }
	for _, c := range []struct{ name, body, want, pointer string }{
		{"broken UTF-8", with("EUR", "E\xffR"), "400 invalid_request", ""},
		{"no JSON", "from=a", "400 invalid_request", ""},
		{"cut off", good[:len(good)-1], "400 invalid_request", ""},
		{"two values", good + good, "400 invalid_request", ""},
		{"a list", "[]", "400 invalid_request", ""},
		{"null", "null", "400 invalid_request", ""},
		{"nothing", "", "400 invalid_request", "/from_account_id"},
		{"an unknown field", with("{", `{"form":1,`), "400 invalid_request", "/form"},
		{"an unknown field of money", with(`"currency"`, `"curency":1,"currency"`), "400 invalid_request", "/amount/curency"},
		{"a name twice", with("{", `{"to_account_id":"x",`), "400 invalid_request", "/to_account_id"},
		{"a lone surrogate", with("{", `{"reference":"\ud800",`), "400 invalid_request", "/reference"},
		{"a control character", with("{", `{"reference":"\u0000",`), "400 invalid_request", "/reference"},
		{"a long reference", with("{", `{"reference":"`+strings.Repeat("x", 141)+`",`), "400 invalid_request", "/reference"},
		{"an object too deep", with("{", `{"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`,`),
			"400 invalid_request", "/x" + strings.Repeat("/0", 15)},
		{"a float", amount(`1.5`), "400 invalid_request", "/amount/amount"},
		{"a number", amount(`1`), "400 invalid_request", "/amount/amount"},
		{"a float in a string", amount(`"1.5"`), "400 invalid_request", "/amount/amount"},
		{"an exponent", amount(`"1e3"`), "400 invalid_request", "/amount/amount"},
		{"zero", amount(`"0"`), "400 invalid_request", "/amount/amount"},
		{"a negative amount", amount(`"-1"`), "400 invalid_request", "/amount/amount"},
		{"a leading zero", amount(`"01"`), "400 invalid_request", "/amount/amount"},
		{"other digits", amount(`"١"`), "400 invalid_request", "/amount/amount"},
		{"no amount", amount(`""`), "400 invalid_request", "/amount/amount"},
		{"money as a string", with(eur(1), `"1 EUR"`), "400 invalid_request", "/amount"},
		{"nineteen digits", amount(`"1000000000000000000"`), "422 amount_out_of_range", "/amount/amount"},
		{"a thousand digits", amount(`"` + strings.Repeat("9", 1000) + `"`), "422 amount_out_of_range", "/amount/amount"},
		{"no such currency", with("EUR", "EUX"), "422 unknown_currency", "/amount/currency"},
		{"a small currency", with("EUR", "eur"), "422 unknown_currency", "/amount/currency"},
		{"a currency that is no text", with(`"EUR"`, `978`), "400 invalid_request", "/amount/currency"},
		{"another currency", with("EUR", "USD"), "422 currency_mismatch", "/amount"},
		{"an unknown account", with(b, "acc_00000000000000000000000000"), "422 account_not_found", "/to_account_id"},
		{"no account at all", with(a, "nobody"), "422 account_not_found", "/from_account_id"},
		{"the same account", with(b, a), "422 same_account", "/to_account_id"},
		{"an internal account", with(b, "@cash:EUR"), "422 account_not_found", "/to_account_id"},
		{"too much", amount(`"1001"`), "422 insufficient_funds", "/amount"},
		{"no day", with("{", `{"value_date":"2026-02-30",`), "400 invalid_request", "/value_date"},
		{"a version below one", with("{", `{"expected_version":0,`), "400 invalid_request", "/expected_version"},
		{"a broken version", with("{", `{"expected_version":1.0,`), "400 invalid_request", "/expected_version"},
		{"another version", with("{", `{"expected_version":9,`), "409 version_mismatch", "/expected_version"},
		{"metadata with numbers", with("{", `{"metadata":{"a":1},`), "400 invalid_request", "/metadata/a"},
		{"a long key of metadata", with("{", `{"metadata":{"`+strings.Repeat("k", 41)+`":""},`), "400 invalid_request",
			"/metadata/" + strings.Repeat("k", 41)},
		{"a control character in a key", with("{", `{"metadata":{"a\u0000":""},`), "400 invalid_request", "/metadata/a\x00"},
		{"too much metadata", with("{", `{"metadata":{`+manyKeys(51)+`},`), "400 invalid_request", "/metadata"},
	} {
		got := h.is(h.post("/v1/transfers", c.body), c.want)
		if p := got.str("errors", "0", "pointer"); p != c.pointer {
			t.Errorf("%s: the pointer is %q, want %q: %s", c.name, p, c.pointer, got.text)
		}
	}
	h.is(h.post("/v1/transfers", with("{", `{"metadata":{`+manyKeys(50)+`},`)), "201")
	if got := h.ask(h.token(teller), "GET", "/v1/accounts/"+a, "").str("balance", "amount"); got != "999" {
		t.Errorf("the balance is %s: something was done twice or lost", got)
	}
}

func manyKeys(n int) string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf(`"key%d":"value"`, i)
	}
	return strings.Join(keys, ",")
}

func TestBadHeaders(t *testing.T) {
	t.Parallel()
	h := open(t)
	a, b := h.account("", 1000), h.account("", 0)
	ask := func(headers ...string) answer {
		return h.ask(h.token(teller), "POST", "/v1/transfers", move(a, b, 1), headers...)
	}
	h.is(ask(), "400 idempotency_key_missing")
	for _, key := range []string{"", "with space", "tab\t", "ümlaut", strings.Repeat("k", 256)} {
		h.is(ask("Idempotency-Key: "+key), "400 idempotency_key_missing")
	}
	for _, kind := range []string{
		"text/plain", "", "application/x-www-form-urlencoded", "application/json; charset=latin1", ";",
	} {
		h.is(ask("Idempotency-Key: k", "Content-Type: "+kind), "415 unsupported_media_type")
	}
	for _, coding := range []string{"gzip", "br", "identity, gzip", "x"} {
		got := h.is(ask("Idempotency-Key: k", "Content-Encoding: "+coding), "415 unsupported_media_type")
		if got.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("%s: %v", coding, got.Header)
		}
	}
	h.is(ask("Idempotency-Key: i", "Content-Encoding: Identity"), "201")
	h.is(ask("Idempotency-Key: "+strings.Repeat("k", 255), "Content-Type: application/json; charset=UTF-8"), "201")
	for sent, kept := range map[string]bool{"abc.DEF_1-2": true, strings.Repeat("x", 64): true, "": false,
		strings.Repeat("x", 65): false, "a b": false, "a\"b": false} {
		got := h.ask("", "GET", "/healthz", "", "X-Correlation-Id: "+sent).Header.Get("X-Correlation-Id")
		if (got == sent) != kept || got == "" {
			t.Errorf("correlation id %q came back as %q", sent, got)
		}
	}
}

// TestTwoWrongLimits expects the same pointer each time.
func TestTwoWrongLimits(t *testing.T) {
	t.Parallel()
	h := open(t)
	limits := strings.ReplaceAll(`"daily_debit_limit":`+eur(1)+`,"overdraft_limit":`+eur(1)+`}`, "EUR", "USD")
	a := h.account("", 0)
	for range 20 {
		for _, got := range []answer{
			h.post("/v1/accounts", `{"currency":"EUR",`+limits),
			h.ask(h.token(teller), "PATCH", "/v1/accounts/"+a, `{`+limits),
		} {
			if p := h.is(got, "422 currency_mismatch").str("errors", "0", "pointer"); p != "/overdraft_limit/currency" {
				t.Fatalf("the pointer is %q", p)
			}
		}
	}
}

func TestNamesOfBlanks(t *testing.T) {
	t.Parallel()
	h := open(t)
	for _, name := range []string{" ", `\t \n`, "\u00a0\u2003"} {
		got := h.is(h.post("/v1/customers", `{"name":"`+name+`"}`), "400 invalid_request")
		if p := got.str("errors", "0", "pointer"); p != "/name" {
			t.Errorf("%q: the pointer is %q", name, p)
		}
	}
	h.is(h.post("/v1/customers", `{"name":" Ada "}`), "201")
}

func TestLargeBodies(t *testing.T) {
	t.Parallel()
	h := open(t)
	pad := func(n int) string { return `{"reference":"` + strings.Repeat("x", n-16) + `"}` }
	h.is(h.post("/v1/transfers", pad(64<<10)), "400 invalid_request")
	h.is(h.post("/v1/transfers", pad(64<<10+1)), "413 body_too_large")
	h.is(h.post("/v1/transfers/bulk", pad(1<<20)), "400 invalid_request")
	h.is(h.post("/v1/transfers/bulk", pad(1<<20+1)), "413 body_too_large")
}

// TestTenMegabytesAreNotRead sends without saying how much.
func TestTenMegabytesAreNotRead(t *testing.T) {
	t.Parallel()
	h := open(t)
	server := httptest.NewServer(h.handler)
	defer server.Close()
	var body counting
	body.left.Store(10 << 20)
	r, err := http.NewRequest("POST", server.URL+"/v1/transfers", &body)
	fatal(t, err)
	r.Header.Set("Authorization", "Bearer "+h.token(teller))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "k")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err == nil { // else the server has hung up while we were still sending: that is allowed, too
		fatal(t, answer.Body.Close())
		if answer.StatusCode != 413 {
			t.Errorf("got %s", answer.Status)
		}
	}
	if left := body.left.Load(); left < 5<<20 {
		t.Errorf("only %d bytes were left unread", left)
	}
}

// counting is a body of zeros. The client may still read it when it has its answer.
type counting struct{ left atomic.Int64 }

func (c *counting) Read(b []byte) (int, error) {
	n := min(int64(len(b)), c.left.Load())
	if n == 0 {
		return 0, io.EOF
	}
	c.left.Add(-n)
	return int(n), nil
}

// TestRawConnections speaks to a real server, as no client library would.
func TestRawConnections(t *testing.T) {
	t.Parallel()
	h := open(t)
	a, b := h.account("", 1000), h.account("", 0)
	server := NewServer(h.handler)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	talk := func(text string) net.Conn {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
		fatal(t, err)
		_, _ = c.Write([]byte(text)) // the server may hang up before it has read all
		return c
	}
	head := "POST /v1/transfers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + h.token(teller) +
		"\r\nContent-Type: application/json\r\nIdempotency-Key: k\r\n"
	const get = "GET /healthz HTTP/1.1\r\nHost: x\r\n"
	for name, c := range map[string]struct{ text, want string }{
		"a flood of headers":     {get + strings.Repeat("X-Flood: 0123456789\r\n", 4000) + "\r\n", "431"},
		"a long header":          {get + "X: " + strings.Repeat("x", 100_000) + "\r\n\r\n", "431"},
		"a length of 10 MB":      {head + "Content-Length: 10000000\r\n\r\n{", "413"},
		"no HTTP":                {"hello\r\n\r\n", "400"},
		"a null byte in the URL": {"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	} {
		conn := talk(c.text)
		fatal(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
		line, _ := bufio.NewReader(conn).ReadString('\n')
		fatal(t, conn.Close())
		if !strings.HasPrefix(line, "HTTP/1.1 "+c.want) {
			t.Errorf("%s: %q", name, line)
		}
	}
	// A client that hangs up in the middle of its body has not asked for anything.
	body := move(a, b, 7)
	half := talk(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body[:20]))
	fatal(t, half.Close())
	// The same key is free, and does it once.
	whole := talk(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body))
	line, err := bufio.NewReader(whole).ReadString('\n')
	fatal(t, err)
	fatal(t, whole.Close())
	if !strings.HasPrefix(line, "HTTP/1.1 201") {
		t.Errorf("after a hang-up: %q", line)
	}
	if got := h.ask(h.token(teller), "GET", "/v1/accounts/"+b, "").str("balance", "amount"); got != "7" {
		t.Errorf("the balance is %s", got)
	}
}

func TestBadQueries(t *testing.T) {
	t.Parallel()
	h := open(t)
	a := h.account("", 0)
	for _, target := range []string{
		"/v1/accounts?limit=0", "/v1/accounts?limit=201", "/v1/accounts?limit=x", "/v1/accounts?limit=-1",
		"/v1/accounts?limit=",
		"/v1/accounts?order=up", "/v1/accounts?from=yesterday", "/v1/accounts?status=odd", "/v1/accounts?currency=eur",
		"/v1/accounts?custmer_id=x", "/v1/accounts?limit=1&limit=2", "/v1/accounts?customer_id=x",
		"/v1/accounts?external_id=",
		"/v1/accounts?external_id=%00", "/v1/accounts?external_id=%ff", "/v1/accounts?%zz", "/v1/accounts/" + a + "?at=now",
		"/v1/accounts/" + a + "?at_version=0", "/v1/accounts/" + a + "?at_version=1&at=2026-01-01T00:00:00Z",
		"/v1/accounts/" + a + "/entries?after_version=x", "/v1/transactions?kind=gift", "/v1/holds?status=posted",
		"/v1/transactions/txn_00000000000000000000000000?x=1", "/v1/currencies?x=1", "/v1/ledger/head?x=1",
	} {
		h.is(h.ask(h.token(auditor), "GET", target, ""), "400 invalid_request")
	}
	h.is(h.ask(h.token(auditor), "GET", "/v1/events?after_seq=-1", ""), "400 invalid_request")
	for _, c := range []string{"", "x", "AAAA", strings.Repeat("A", 500)} {
		h.is(h.ask(h.token(auditor), "GET", "/v1/accounts?cursor="+c, ""), "400 invalid_cursor")
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	h := open(t)
	for _, target := range []string{
		"/v1", "/v1/", "/v1/nothing", "/v1/accounts/", "/v1//accounts", "/nothing", "/problems/nothing",
	} {
		h.is(h.ask("", "GET", target, ""), "404 not_found")
	}
	for _, id := range []string{"x", "acc_0", "txn_06h09h3q657ss5pr9u4kq9irho", "..", "%00", "a%2Fb", "acc_%ff"} {
		h.is(h.ask(h.token(teller), "GET", "/v1/accounts/"+id, ""), "404 not_found")
	}
	got := h.is(h.ask("", "DELETE", "/v1/transfers", ""), "405 method_not_allowed")
	if got.Header.Get("Allow") != "POST" {
		t.Errorf("allowed: %q", got.Header.Get("Allow"))
	}
	h.is(h.ask("", "TRACE", "/v1/accounts", ""), "405 method_not_allowed")
	options := h.ask("", "OPTIONS", "/v1/accounts", "")
	if options.StatusCode != 204 || !strings.Contains(options.Header.Get("Allow"), "GET") {
		t.Errorf("OPTIONS: %d %v", options.StatusCode, options.Header)
	}
	if got := h.ask(h.token(teller), "HEAD", "/v1/accounts", ""); got.StatusCode != 200 {
		t.Errorf("HEAD: %d", got.StatusCode)
	}
}

func TestAPanicIs500(t *testing.T) {
	t.Parallel()
	h := open(t, func(c *Config) { c.Auth = panics{} })
	got := h.is(h.ask("token", "GET", "/v1/accounts", "", "X-Correlation-Id: boom"), "500 internal_error")
	if got.str("correlation_id") != "boom" || strings.Contains(got.text, "secret") {
		t.Errorf("a panic: %s", got.text)
	}
}

type panics struct{}

func (panics) Authenticate(context.Context, string) (app.Principal, error) { panic("secret") }

// refuses is an Authenticator that stands for whatever is behind it.
type refuses struct{ err error }

func (r *refuses) Authenticate(context.Context, string) (app.Principal, error) {
	return app.Principal{}, r.err
}

// TestEveryCodeHasItsStatus holds the table against CONTRACT.
func TestEveryCodeHasItsStatus(t *testing.T) {
	t.Parallel()
	want := map[int]string{
		400: "invalid_request idempotency_key_missing invalid_cursor",
		401: "unauthenticated", 403: "forbidden", 404: "not_found",
		409: "account_frozen account_closed account_not_empty hold_not_active not_reversible version_mismatch " +
			"external_id_taken not_pending not_head key_paused not_paused wrong_state not_rebuildable",
		413: "body_too_large", 415: "unsupported_media_type",
		422: "insufficient_funds currency_mismatch same_account limit_exceeded amount_exceeds_remaining " +
			"amount_out_of_range account_not_found customer_not_found unknown_currency idempotency_key_reused",
		429: "rate_limited", 503: "overloaded unavailable outcome_unknown view_behind",
	}
	refusing := new(refuses)
	h := open(t, func(c *Config) { c.Auth = refusing })
	h.odd = true
	for status, all := range want {
		for code := range strings.FieldsSeq(all) {
			refusing.err = bank.Refuse(bank.Code(code), "", "So it is.")
			got := h.ask("token", "GET", "/v1/currencies", "")
			again := status == 429 || status == 503
			if got.StatusCode != status || got.str("code") != code || got.body["retryable"] != again ||
				got.str("type") != "/problems/"+code || again != (got.Header.Get("Retry-After") != "") {
				t.Errorf("%s: %d %v", code, got.StatusCode, got.text)
			}
			if page := h.ask("", "GET", got.str("type"), ""); page.StatusCode != 200 || !strings.HasPrefix(page.text, code) {
				t.Errorf("%s: %s", got.str("type"), page.text)
			}
		}
	}
}
