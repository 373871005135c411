package ports

import (
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// sameAnswer checks that two answers are one: what a replay repeats.
func (h *house) sameAnswer(first, replay answer) {
	h.t.Helper()
	const replayed = "Idempotency-Replayed"
	if first.Header.Get(replayed) != "" || replay.Header.Get(replayed) != "true" {
		h.t.Errorf("replayed: first %q, then %q", first.Header.Get(replayed), replay.Header.Get(replayed))
	}
	one, two := first.Header, replay.Header
	if first.StatusCode != replay.StatusCode || first.text != replay.text ||
		one.Get("Location") != two.Get("Location") || one.Get("ETag") != two.Get("ETag") {
		h.t.Errorf("first %d %v %s\nthen  %d %v %s", first.StatusCode, first.Header, first.text,
			replay.StatusCode, replay.Header, replay.text)
	}
}

func TestReplays(t *testing.T) {
	t.Parallel()
	h := open(t)
	a, b := h.account("", 1000), h.account("", 0)
	hold := h.is(h.post("/v1/holds", `{"account_id":"`+a+`","amount":`+eur(10)+`}`), "201").str("id")
	pending := h.account("", 100)
	h.is(h.ask(h.token(fraud), "POST", "/v1/accounts/"+pending+"/review", `{"above":`+eur(0)+`,"reason":"x"}`,
		"Idempotency-Key: r"), "200")
	h.is(h.post("/v1/customers", `{"name":"Ada Example","external_id":"taken"}`), "201")
	huge := strings.Repeat("9", 20)
	odd := strings.Replace(move(a, b, 1), "EUR", "EUX", 1)
	for _, c := range []struct{ target, body string }{
		{"/v1/accounts", `{"currency":"EUR","label":"x"}`},
		{"/v1/accounts", `{"currency":"XYZ"}`},
		{"/v1/accounts", `{"currency":"EUR","customer_id":"cus_nobody"}`},
		{"/v1/accounts", `{"currency":"EUR","overdraft_limit":{"amount":"1","currency":"USD"}}`},
		{"/v1/customers", `{"name":"Ada Example","email":"ada@example.org"}`},
		{"/v1/customers", `{"name":"Bob Example","external_id":"taken"}`},
		{"/v1/deposits", `{"account_id":"` + a + `","amount":` + eur(5) + `}`},
		{"/v1/deposits", `{"account_id":"` + a + `","amount":{"amount":"` + huge + `","currency":"EUR"}}`},
		{"/v1/deposits", `{"account_id":"nobody","amount":` + eur(5) + `}`},
		{"/v1/withdrawals", `{"account_id":"` + a + `","amount":` + eur(99999) + `}`},
		{"/v1/transfers", move(a, b, 5)},
		{"/v1/transfers", move(pending, b, 5)},
		{"/v1/transfers", strings.Replace(move(a, b, 5), "{", `{"expected_version":1,`, 1)},
		{"/v1/transfers/bulk", `{"items":[` + move(a, b, 1) + `,` + move(a, b, 2) + `]}`},
		{"/v1/transfers/bulk", `{"items":[` + move(a, b, 1) + `,` + move(a, b, 99999) + `]}`},
		{"/v1/transfers/bulk", `{"atomic":false,"items":[` + move(a, b, 1) + `,` + move(a, b, 99999) + `]}`},
		{"/v1/transfers/bulk", `{"items":[` + move(a, b, 1) + `,` + odd + `]}`},
		{"/v1/transfers/bulk", `{"atomic":false,"items":[` + odd + `,` + move(a, b, 1) + `]}`},
		{"/v1/transfers/bulk", `{"atomic":false,"items":[` + odd + `,` + odd + `]}`},
		{"/v1/holds/" + hold + "/captures", `{"amount":` + eur(3) + `,"final":false}`},
		{"/v1/holds/" + hold + "/void", ``},
		{"/v1/accounts/" + b + "/freeze", `{"reason":"x"}`},
	} {
		key := "Idempotency-Key: " + newKey()
		first := h.ask(h.token(teller), "POST", c.target, c.body, key)
		if first.StatusCode >= 400 && first.StatusCode != 409 && first.StatusCode != 422 {
			t.Fatalf("%s %s: %s", c.target, c.body, first.text)
		}
		h.sameAnswer(first, h.ask(h.token(teller), "POST", c.target, c.body, key))
		if other := h.ask(h.token(service), "POST", c.target, c.body, key); other.Header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%s: the key of one subject was another's", c.target)
		}
	}
}

func TestAKeyBelongsToItsRequest(t *testing.T) {
	t.Parallel()
	h := open(t)
	a, b := h.account("", 1000), h.account("", 0)
	ask := func(target, body string) answer {
		return h.ask(h.token(teller), "POST", target, body, "Idempotency-Key: one")
	}
	first := h.is(ask("/v1/transfers", move(a, b, 5)), "201")
	// The order of members and white space say nothing.
	other := `{ "amount" : {"currency":"EUR", "amount":"5"},` + "\n" +
		`"to_account_id":"` + b + `","from_account_id":"` + a + `"}`
	h.sameAnswer(first, ask("/v1/transfers", other))
	h.is(ask("/v1/transfers", move(a, b, 6)), "422 idempotency_key_reused")
	h.is(ask("/v1/transfers", strings.Replace(move(a, b, 5), "EUR", "XXX", 1)), "422 idempotency_key_reused")
	h.is(ask("/v1/transfers?dry_run=false", move(a, b, 5)), "422 idempotency_key_reused")
	h.is(ask("/v1/transfers/bulk", `{"items":[`+move(a, b, 5)+`]}`), "200") // another path, another command
	// Also where every item is refused at the door.
	bulk := func(currency string) answer {
		return h.ask(h.token(teller), "POST", "/v1/transfers/bulk", `{"atomic":false,"items":[`+
			strings.Replace(move(a, b, 5), "EUR", currency, 1)+`]}`, "Idempotency-Key: all")
	}
	h.is(bulk("EUX"), "200")
	h.is(bulk("EUY"), "422 idempotency_key_reused")
	h.is(bulk("EUR"), "422 idempotency_key_reused")
	// What is malformed does not use a key up.
	h.is(h.ask(h.token(teller), "POST", "/v1/transfers", `{}`, "Idempotency-Key: two"), "400 invalid_request")
	h.is(h.ask(h.token(teller), "POST", "/v1/transfers", move(a, b, 5), "Idempotency-Key: two"), "201")
	// The key is looked up before If-Match.
	freeze := func() answer {
		return h.ask(h.token(teller), "POST", "/v1/accounts/"+b+"/freeze", `{"reason":"x"}`,
			"Idempotency-Key: f", `If-Match: "4"`)
	}
	h.sameAnswer(h.is(freeze(), "200"), freeze())
}

// TestTheSameKeyFromAHundredConnections expects one transfer, and a hundred times its answer.
func TestTheSameKeyFromAHundredConnections(t *testing.T) {
	t.Parallel()
	h := open(t)
	a, b := h.account("", 1000), h.account("", 0)
	const callers = 100
	var wait sync.WaitGroup
	begin, answers := make(chan struct{}), make([]answer, callers)
	for i := range callers {
		wait.Go(func() {
			<-begin
			answers[i] = h.ask(h.token(teller), "POST", "/v1/transfers", move(a, b, 10), "Idempotency-Key: same")
		})
	}
	close(begin)
	wait.Wait()
	for _, got := range answers {
		if got.StatusCode != http.StatusCreated || got.text != answers[0].text {
			t.Fatalf("got %d %s, and %s", got.StatusCode, got.text, answers[0].text)
		}
	}
	if got := h.ask(h.token(teller), "GET", "/v1/accounts/"+b, "").str("balance", "amount"); got != "10" {
		t.Errorf("the balance is %s", got)
	}
}

func TestPreferAndTiming(t *testing.T) {
	t.Parallel()
	h := open(t)
	a, b := h.account("", 1000), h.account("", 0)
	for prefer, applied := range map[string]bool{
		"respond-async, Ack=published": true, `ack="published"`: true, "ack = published;wait=5": true,
		"": false, "ack": false, "ack=stored": false, "published": false, "respond-async; ack=published": false,
	} {
		got := h.is(h.post("/v1/transfers", move(a, b, 5), "Prefer: "+prefer), "201")
		if (got.Header.Get("Preference-Applied") == "ack=published") != applied {
			t.Errorf("Prefer %q: %v", prefer, got.Header)
		}
	}
	freeze, customer := "/v1/accounts/"+a+"/freeze", `{"name":"Ada Example","external_id":"one"}`
	h.is(h.post(freeze, `{"reason":"x"}`), "200")
	for _, c := range []struct{ target, body, want string }{ // nothing has to be published of them
		{freeze, `{"reason":"again"}`, "200"},
		{"/v1/transfers", move(a, b, 5), "409 account_frozen"},
		{"/v1/transfers?dry_run=true", move(b, a, 5), "200"},
		{"/v1/customers", customer, "201"},
		{"/v1/customers", customer, "409 external_id_taken"},
	} {
		got := h.is(h.post(c.target, c.body, "Prefer: ack=published"), c.want)
		if got.Header.Get("Preference-Applied") != "ack=published" {
			t.Errorf("%s: %v", c.want, got.Header)
		}
	}
	for target, body := range map[string]string{"/v1/transfers": move(b, a, 5), "/v1/customers": `{"name":"Bob"}`} {
		got := h.is(h.post(target, body), "201")
		if timing.FindString(got.Header.Get("Server-Timing")) == "" || got.Header.Get("Preference-Applied") != "" {
			t.Errorf("%s: %v", target, got.Header)
		}
	}
}

// timing is Server-Timing of something that took time to commit.
var timing = regexp.MustCompile(
	`^queue;dur=[\d.]+, decide;dur=[\d.]+, commit;dur=[\d.]*[1-9][\d.]*, publish;dur=[\d.]+$`)
