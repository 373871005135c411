package ports

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"bankforge/app"
)

var allRoles = []app.Role{customer, teller, service, fraud, operator, auditor, admin}

// TestRolesAndRoutes asks every door as every role, and pins who gets in.
func TestRolesAndRoutes(t *testing.T) {
	t.Parallel()
	h := open(t, func(c *Config) { c.Live = &Live{Hub: &script{}, Access: &script{}, Tickets: NewTickets(time.Now)} })
	want := map[string]string{
		"POST /v1/customers": "teller service", "GET /v1/customers": "customer teller service auditor",
		"GET /v1/customers/{id}": "customer teller service auditor",
		"POST /v1/accounts":      "teller service", "PATCH /v1/accounts/{id}": "teller service",
		"POST /v1/accounts/{id}/freeze": "teller service fraud", "POST /v1/accounts/{id}/unfreeze": "teller service fraud",
		"POST /v1/accounts/{id}/close": "teller service", "POST /v1/accounts/{id}/review": "fraud",
		"POST /v1/deposits": "teller service", "POST /v1/withdrawals": "teller service",
		"POST /v1/transfers": "customer teller service", "POST /v1/transfers/bulk": "customer teller service",
		"POST /v1/transactions/{id}/reversals": "teller service", "POST /v1/transactions/{id}/approve": "fraud",
		"POST /v1/transactions/{id}/reject": "fraud", "POST /v1/holds": "customer teller service",
		"POST /v1/holds/{id}/captures": "teller service", "POST /v1/holds/{id}/void": "customer teller service",
		"GET /v1/events": "service auditor",
	}
	everyone := "customer teller service fraud operator auditor admin"
	for _, door := range []string{"GET /v1/ledger/head", "GET /v1/currencies", "POST /v1/live/tickets"} {
		want[door] = everyone
	}
	for _, door := range []string{"", "/{id}", "/{id}/entries", "/{id}/events", "/{id}/statement", "/{id}/live"} {
		want["GET /v1/accounts"+door] = "customer teller service fraud auditor"
	}
	for _, door := range []string{"transactions", "transactions/{id}", "holds", "holds/{id}"} {
		want["GET /v1/"+door] = "customer teller service fraud auditor"
	}
	for _, door := range []string{
		"failures", "failures/{id}", "failure-groups", "sequences", "sequences/{handler}/{key}", "replays", "replays/{id}",
		"handlers", "handlers/{name}/policy", "trace/{correlation_id}", "acts", "acts/{id}", "demo-failures",
	} {
		want["GET /ops/v1/"+door] = "operator auditor admin"
	}
	for _, door := range []string{
		"POST failures/{id}/retry", "POST failures/{id}/discard", "POST failures/{id}/schedule",
		"POST failure-groups/{fingerprint}/retry", "POST sequences/{handler}/{key}/retry",
		"POST sequences/{handler}/{key}/rebuild", "POST sequences/{handler}/{key}/pause",
		"POST sequences/{handler}/{key}/resume", "POST replays", "POST replays/{id}/start", "POST replays/{id}/cancel",
		"POST handlers/{name}/pause", "POST handlers/{name}/resume", "PUT handlers/{name}/policy", "POST demo-failures",
	} {
		method, path, _ := strings.Cut(door, " ")
		want[method+" /ops/v1/"+path] = "operator admin"
	}
	for i := range routes {
		r := &routes[i]
		door := r.method + " " + r.path
		target := r.target()
		if r.may.open {
			continue
		}
		h.is(h.ask("", r.method, target, ""), "401 unauthenticated")
		var got []string
		for _, role := range allRoles {
			if a := h.ask(h.token(role, customerFor(role)...), r.method, target, ""); a.StatusCode != 403 {
				got = append(got, string(role))
			} else {
				h.is(a, "403 forbidden")
			}
		}
		if strings.Join(got, " ") != want[door] {
			t.Errorf("%s: %v may, want %s", door, got, want[door])
		}
		delete(want, door)
	}
	if len(want) > 0 {
		t.Errorf("no doors: %v", want)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	now := time.Now()
	h := open(t, func(c *Config) { c.Auth.(*Tokens).now = func() time.Time { return now } })
	good := h.token(teller)
	h.is(h.ask(good, "GET", "/v1/currencies", ""), "200")
	if got := h.ask("", "GET", "/v1/currencies", "", "Authorization: bearer "+good); got.StatusCode != 200 {
		t.Errorf("the scheme's case matters: %s", got.text)
	}
	none := h.is(h.ask("", "GET", "/v1/currencies", ""), "401 unauthenticated")
	if none.Header.Get("WWW-Authenticate") == "" {
		t.Error("no WWW-Authenticate")
	}
	sign := func(method jwt.SigningMethod, key any, change func(jwt.MapClaims)) string {
		c := jwt.MapClaims{"iss": issuer, "sub": "x", "roles": []string{"teller"}, "exp": now.Add(time.Hour).Unix()}
		change(c)
		token := jwt.NewWithClaims(method, c)
		token.Header["kid"] = keyID(h.key.Public())
		text, err := token.SignedString(key)
		fatal(t, err)
		return text
	}
	ours := func(change func(jwt.MapClaims)) string { return sign(jwt.SigningMethodEdDSA, h.key.private, change) }
	h.is(h.ask(ours(func(jwt.MapClaims) {}), "GET", "/v1/currencies", ""), "200")
	_, other, err := ed25519.GenerateKey(nil)
	fatal(t, err)
	for name, token := range map[string]string{
		"garbage":            "x.y.z",
		"no signature":       good[:strings.LastIndex(good, ".")+1],
		"another signature":  good[:len(good)-8] + "AAAAAAAA",
		"another key":        sign(jwt.SigningMethodEdDSA, other, func(jwt.MapClaims) {}),
		"no algorithm":       sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, func(jwt.MapClaims) {}),
		"the key as secret":  sign(jwt.SigningMethodHS256, []byte(h.key.Public()), func(jwt.MapClaims) {}),
		"expired":            ours(func(c jwt.MapClaims) { c["exp"] = now.Add(-time.Second).Unix() }),
		"never expiring":     ours(func(c jwt.MapClaims) { delete(c, "exp") }),
		"not yet valid":      ours(func(c jwt.MapClaims) { c["nbf"] = now.Add(time.Minute).Unix() }),
		"another issuer":     ours(func(c jwt.MapClaims) { c["iss"] = "x" }),
		"no subject":         ours(func(c jwt.MapClaims) { delete(c, "sub") }),
		"no role":            ours(func(c jwt.MapClaims) { c["roles"] = []string{} }),
		"an unknown role":    ours(func(c jwt.MapClaims) { c["roles"] = []string{"root"} }),
		"a customer nobody":  ours(func(c jwt.MapClaims) { c["roles"] = []string{"customer"} }),
		"a teller's account": ours(func(c jwt.MapClaims) { c["customer"] = customerFor(customer)[0] }),
		"too long":           strings.Repeat("x", maxToken+1),
	} {
		if got := h.ask(token, "GET", "/v1/currencies", ""); got.str("code") != "unauthenticated" {
			t.Errorf("%s: %d %s", name, got.StatusCode, got.text)
		}
	}
	now = now.Add(2 * time.Hour) // what is remembered does not outlive its token
	h.is(h.ask(good, "GET", "/v1/currencies", ""), "401 unauthenticated")
}

func TestCustomersSeeTheirOwn(t *testing.T) {
	t.Parallel()
	h := open(t)
	ada, bob := h.customer(), h.customer()
	a, b := h.account(ada, 1000), h.account(bob, 1000)
	asAda := h.token(customer, ada)
	get := func(target string) answer { return h.ask(asAda, "GET", target, "") }
	post := func(target, body string) answer {
		return h.ask(asAda, "POST", target, body, "Idempotency-Key: "+newKey())
	}

	moved := h.is(post("/v1/transfers", move(a, b, 10)), "201")
	id := moved.str("id")
	for _, shown := range []answer{moved, h.is(get("/v1/transactions/"+id), "200"), {
		body: map[string]any{"entries": h.is(get("/v1/transactions?account_id="+a+"&kind=transfer"), "200").
			body["data"].([]any)[0].(map[string]any)["entries"]},
	}} {
		own, foreign := shown.body["entries"].([]any)[0].(map[string]any), shown.body["entries"].([]any)[1].(map[string]any)
		if own["balance_after"] == nil || own["version"] == nil {
			t.Errorf("the own leg: %v", own)
		}
		if len(foreign) != 3 || foreign["account_id"] != b || foreign["direction"] != "credit" || foreign["amount"] == nil {
			t.Errorf("the foreign leg: %v", foreign)
		}
	}
	h.is(post("/v1/transfers", move(b, a, 10)), "422 account_not_found")
	h.is(post("/v1/holds", `{"account_id":"`+b+`","amount":`+eur(1)+`}`), "422 account_not_found")
	foreign := h.is(h.post("/v1/withdrawals", `{"account_id":"`+b+`","amount":`+eur(1)+`}`), "201").str("id")
	hold := h.is(h.post("/v1/holds", `{"account_id":"`+b+`","amount":`+eur(1)+`}`), "201").str("id")
	h.is(post("/v1/holds/"+hold+"/void", ""), "404 not_found")
	for _, target := range []string{
		"/v1/accounts/" + b, "/v1/accounts/" + b + "?at_version=1", "/v1/accounts/" + b + "/entries",
		"/v1/accounts/" + b + "/events", "/v1/accounts/" + b + "/statement",
		"/v1/transactions/" + foreign, "/v1/holds/" + hold, "/v1/customers/" + bob, "/v1/accounts/@cash:EUR",
	} {
		h.is(get(target), "404 not_found")
	}
	for target, count := range map[string]int{
		"/v1/accounts": 1, "/v1/accounts?customer_id=" + bob: 0, "/v1/transactions": 2, "/v1/holds": 0, "/v1/customers": 1,
		"/v1/transactions?customer_id=" + bob: 0, "/v1/customers?external_id=x": 0,
	} {
		if got := h.is(get(target), "200"); len(got.body["data"].([]any)) != count {
			t.Errorf("%s: %s", target, got.text)
		}
	}
	for line := range strings.Lines(h.is(get("/v1/accounts/"+a+"/events"), "200").text) {
		if strings.Contains(line, `"balance_after":{"amount":"10`) && strings.Contains(line, bob) {
			t.Errorf("an event tells of others: %s", line)
		}
		if strings.Contains(line, bob) {
			t.Errorf("an event names another customer: %s", line)
		}
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	h := open(t, func(c *Config) {
		c.Rate, c.Now = Rate{PerSecond: 0.5, Burst: 3}, func() time.Time { return now }
	})
	ada := h.token(customer, h.customer())
	ask := func() answer { return h.ask(ada, "GET", "/v1/currencies", "") }
	for range 3 {
		h.is(ask(), "200")
	}
	got := h.is(ask(), "429 rate_limited")
	if got.Header.Get("Retry-After") != "2" || got.body["retryable"] != true {
		t.Errorf("%v %s", got.Header, got.text)
	}
	now = now.Add(2 * time.Second)
	h.is(ask(), "200")
	h.is(ask(), "429 rate_limited")
	h.is(h.ask(h.token(customer, h.customer()), "GET", "/v1/currencies", ""), "200")
	for range 10 {
		h.is(h.ask(h.token(teller), "GET", "/v1/currencies", ""), "200")
	}
	for _, r := range []Rate{{-1, 1}, {1, 0}} {
		if _, err := newLimiter(r); err == nil {
			t.Error(fmt.Sprint(r) + " is taken for a rate")
		}
	}
}
