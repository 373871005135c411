package ports

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func newKey() string { return rand.Text() }

func eur(minor int) string { return fmt.Sprintf(`{"amount":"%d","currency":"EUR"}`, minor) }

// account opens one, with an owner where there is one, and money on it.
func (h *house) account(owner string, minor int) string {
	h.t.Helper()
	who := ""
	if owner != "" {
		who = `,"customer_id":"` + owner + `"`
	}
	id := h.is(h.post("/v1/accounts", `{"currency":"EUR"`+who+`}`), "201").str("id")
	if minor > 0 {
		h.is(h.post("/v1/deposits", `{"account_id":"`+id+`","amount":`+eur(minor)+`}`), "201")
	}
	return id
}

func (h *house) customer() string {
	h.t.Helper()
	return h.is(h.post("/v1/customers", `{"name":"Ada Example"}`), "201").str("id")
}

func move(from, to string, minor int) string {
	return `{"from_account_id":"` + from + `","to_account_id":"` + to + `","amount":` + eur(minor) + `}`
}

func TestAJourney(t *testing.T) {
	t.Parallel()
	h := open(t)
	made := h.is(h.post("/v1/accounts", `{"currency":"EUR","label":"Household","metadata":{"k":"v"},"overdraft_limit":`+
		eur(500)+`,"daily_debit_limit":`+eur(100000)+`,"type":"savings","external_id":"x-1"}`), "201")
	a := made.str("id")
	if made.Header.Get("Location") != "/v1/accounts/"+a || made.Header.Get("ETag") != `"1"` {
		t.Errorf("headers of a new account: %v", made.Header)
	}
	for path, want := range map[string]string{
		"type": "savings", "label": "Household", "status": "active", "external_id": "x-1", "metadata/k": "v",
		"overdraft_limit/amount": "500", "available/amount": "500", "balance/amount": "0", "held/currency": "EUR",
		"daily_debit_limit/amount": "100000", "stream/epoch": "inc-1",
	} {
		if got := made.str(strings.Split(path, "/")...); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	b := h.account("", 0)
	deposited := h.is(h.post("/v1/deposits", `{"account_id":"`+a+`","amount":`+eur(1000)+`}`), "201")
	if deposited.body["from_account_id"] != nil || deposited.str("entries", "0", "account_id") != "@cash:EUR" {
		t.Errorf("a deposit: %s", deposited.text)
	}
	moved := h.is(h.post("/v1/transfers", move(a, b, 1200)), "201")
	id := moved.str("id")
	if moved.str("entries", "0", "balance_after", "amount") != "-200" || moved.str("status") != "posted" {
		t.Errorf("a transfer: %s", moved.text)
	}
	shown := h.is(h.ask(h.token(auditor), "GET", "/v1/transactions/"+id, ""), "200")
	if shown.text != moved.text || shown.Header.Get("ETag") != moved.Header.Get("ETag") {
		t.Errorf("shown %s, made %s", shown.text, moved.text)
	}
	h.is(h.post("/v1/transactions/"+id+"/reversals", `{"reason":"wrong","amount":`+eur(200)+`}`), "201")
	h.is(h.post("/v1/transactions/"+id+"/reversals", `{"reason":"wrong","amount":`+eur(2000)+`}`),
		"422 amount_exceeds_remaining")
	reversal := h.is(h.post("/v1/transactions/"+id+"/reversals", `{"reason":"wrong"}`), "201")
	if reversal.str("amount", "amount") != "1000" || reversal.str("reverses") != id {
		t.Errorf("a reversal: %s", reversal.text)
	}
	h.is(h.post("/v1/transactions/"+id+"/reversals", `{"reason":"again"}`), "409 not_reversible")
	h.is(h.post("/v1/withdrawals", `{"account_id":"`+a+`","amount":`+eur(1000)+`}`), "201")
	h.is(h.post("/v1/accounts/"+a+"/close", `{"reason":"moved away"}`), "200")
	h.is(h.post("/v1/deposits", `{"account_id":"`+a+`","amount":`+eur(1)+`}`), "409 account_closed")
}

func TestHoldsOverHTTP(t *testing.T) {
	t.Parallel()
	h := open(t)
	a, b := h.account("", 1000), h.account("", 0)
	held := h.is(h.post("/v1/holds", `{"account_id":"`+a+`","amount":`+eur(600)+`,"reference":"hotel"}`), "201")
	id := held.str("id")
	if held.Header.Get("Location") != "/v1/holds/"+id || held.str("remaining", "amount") != "600" {
		t.Errorf("a hold: %s", held.text)
	}
	h.is(h.post("/v1/withdrawals", `{"account_id":"`+a+`","amount":`+eur(500)+`}`), "422 insufficient_funds")
	h.is(h.post("/v1/accounts/"+a+"/close", `{"reason":"x"}`), "409 account_not_empty")
	body := `{"amount":` + eur(100) + `,"to_account_id":"` + b + `","final":false}`
	h.is(h.post("/v1/holds/"+id+"/captures", body), "201")
	h.is(h.post("/v1/holds/"+id+"/captures", `{"amount":`+eur(501)+`}`), "422 amount_exceeds_remaining")
	h.is(h.post("/v1/holds/"+id+"/captures", ``), "201")
	h.is(h.post("/v1/holds/"+id+"/void", ``), "409 hold_not_active")
	second := h.is(h.post("/v1/holds", `{"account_id":"`+a+`","amount":`+eur(10)+`}`), "201").str("id")
	void := h.is(h.post("/v1/holds/"+second+"/void", `{}`), "200")
	if void.str("status") != "voided" || void.str("remaining", "amount") != "0" {
		t.Errorf("a voided hold: %s", void.text)
	}
	for _, at := range []string{"2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"} {
		got := h.post("/v1/holds", `{"account_id":"`+a+`","amount":`+eur(10)+`,"expires_at":"`+at+`"}`)
		h.is(got, "400 invalid_request")
	}
	list := h.is(h.ask(h.token(teller), "GET", "/v1/holds?status=voided&account_id="+a, ""), "200")
	if list.str("data", "0", "id") != second {
		t.Errorf("voided holds: %s", list.text)
	}
}

func TestReviewOverHTTP(t *testing.T) {
	t.Parallel()
	h := open(t)
	a, b := h.account("", 1000), h.account("", 0)
	review := func(body string) answer {
		return h.ask(h.token(fraud), "POST", "/v1/accounts/"+a+"/review", body, "Idempotency-Key: "+newKey())
	}
	h.is(review(`{"above":`+eur(500)+`,"reason":"odd"}`), "200")
	pending := h.is(h.post("/v1/transfers", move(a, b, 500)), "202")
	id := pending.str("id")
	if pending.str("status") != "pending_review" || pending.body["posted_at"] != nil ||
		pending.Header.Get("Location") == "" {
		t.Errorf("a pending transfer: %s", pending.text)
	}
	decide := func(what string) answer {
		return h.ask(h.token(fraud), "POST", "/v1/transactions/"+id+"/"+what, `{"reason":"x"}`, "Idempotency-Key: "+newKey())
	}
	if got := h.is(decide("approve"), "200"); got.str("status") != "posted" {
		t.Errorf("approved: %s", got.text)
	}
	h.is(decide("reject"), "409 not_pending")
	if got := h.is(review(`{"above":null,"reason":"fine"}`), "200"); got.body["review_above"] != nil {
		t.Errorf("review ended: %s", got.text)
	}
	h.is(review(`{"reason":"fine"}`), "400 invalid_request")
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	h := open(t)
	a, b := h.account("", 1000), h.account("", 0)
	before := h.ask(h.token(service), "GET", "/v1/ledger/head", "").text
	for target, body := range map[string]string{
		"/v1/transfers":   move(a, b, 100),
		"/v1/deposits":    `{"account_id":"` + a + `","amount":` + eur(5) + `}`,
		"/v1/withdrawals": `{"account_id":"` + a + `","amount":` + eur(5) + `}`,
		"/v1/holds":       `{"account_id":"` + a + `","amount":` + eur(5) + `}`,
	} {
		got := h.is(h.ask(h.token(teller), "POST", target+"?dry_run=true", body), "200")
		if got.str("status") != "projected" || got.body["id"] != nil || got.body["seq"] != nil {
			t.Errorf("%s: %s", target, got.text)
		}
	}
	for _, key := range []string{"", "with space", strings.Repeat("k", 256)} { // it needs none, but takes no odd one
		got := h.ask(h.token(teller), "POST", "/v1/transfers?dry_run=true", move(a, b, 1), "Idempotency-Key: "+key)
		h.is(got, "400 idempotency_key_missing")
	}
	dry := func(body string) answer { return h.ask(h.token(teller), "POST", "/v1/transfers?dry_run=true", body) }
	h.is(dry(move(a, b, 5000)), "422 insufficient_funds")
	h.is(h.ask(h.token(teller), "POST", "/v1/transfers?dry_run=perhaps", move(a, b, 1)), "400 invalid_request")
	bulk := `{"atomic":false,"items":[` + move(a, b, 1) + `,` + move(a, b, 9999) + `]}`
	got := h.is(h.ask(h.token(teller), "POST", "/v1/transfers/bulk?dry_run=true", bulk), "200")
	if got.str("results", "0", "transaction", "status") != "projected" || got.body["failed"] != 1.0 {
		t.Errorf("bulk: %s", got.text)
	}
	if after := h.ask(h.token(service), "GET", "/v1/ledger/head", "").text; after != before {
		t.Errorf("the ledger moved from %s to %s", before, after)
	}
}

func TestBulk(t *testing.T) {
	t.Parallel()
	h := open(t)
	a, b := h.account("", 1000), h.account("", 0)
	huge := strings.Replace(move(a, b, 1), `"1"`, `"`+strings.Repeat("9", 19)+`"`, 1)
	items := move(a, b, 10) + `,` + move(a, a, 10) + `,` + huge + `,` + move(a, b, 20)
	got := h.is(h.post("/v1/transfers/bulk", `{"atomic":false,"items":[`+items+`]}`), "200")
	if got.body["succeeded"] != 2.0 || got.body["failed"] != 2.0 ||
		got.str("results", "1", "problem", "code") != "same_account" ||
		got.str("results", "2", "problem", "code") != "amount_out_of_range" ||
		got.str("results", "3", "transaction", "amount", "amount") != "20" {
		t.Errorf("not atomic: %s", got.text)
	}
	var answer BulkAnswer
	fatal(t, json.Unmarshal([]byte(got.text), &answer))
	if again, err := json.Marshal(answer); err != nil || string(again) != got.text {
		t.Errorf("it is written as\n%s\nnot as\n%s", got.text, again)
	}
	for _, c := range []struct{ items, want, pointer string }{ // the first that is refused, whoever refuses it
		{items, "422 same_account", "/items/1/to_account_id"},
		{move(a, b, 10) + `,` + huge + `,` + move(a, a, 10), "422 amount_out_of_range", "/items/1/amount/amount"},
		{move(a, b, 10) + `,` + move(a, b, 5000), "422 insufficient_funds", "/items/1/amount"},
	} {
		got := h.is(h.post("/v1/transfers/bulk", `{"items":[`+c.items+`]}`), c.want)
		if p := got.str("errors", "0", "pointer"); p != c.pointer {
			t.Errorf("atomic: the pointer is %q, want %q: %s", p, c.pointer, got.text)
		}
	}
	h.is(h.post("/v1/accounts/"+b+"/freeze", `{"reason":"x"}`), "200")
	h.is(h.post("/v1/transfers/bulk", `{"items":[`+move(b, a, 10)+`]}`), "422 account_frozen")
	h.is(h.post("/v1/transfers/bulk", `{"items":[`+move(a, b, 10)+`,{"x":1}]}`), "400 invalid_request")
	h.is(h.post("/v1/transfers/bulk", `{"items":[]}`), "400 invalid_request")
	h.is(h.post("/v1/transfers/bulk", `{"items":[`+strings.TrimSuffix(strings.Repeat(move(a, b, 1)+",", 1001), ",")+`]}`),
		"400 invalid_request")
	shown := h.ask(h.token(teller), "GET", "/v1/accounts/"+a, "")
	if shown.str("balance", "amount") != "970" {
		t.Errorf("the balance is %s", shown.str("balance", "amount"))
	}
}
