package ports

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/ports/render"
)

func TestConditions(t *testing.T) {
	t.Parallel()
	h := open(t)
	a := h.account("", 1000) // version 2
	get := func(headers ...string) answer {
		return h.ask(h.token(teller), "GET", "/v1/accounts/"+a, "", headers...)
	}
	for header, want := range map[string]string{
		`If-None-Match: "2"`: "304", `If-None-Match: W/"2"`: "304", `If-None-Match: *`: "304",
		`If-None-Match: "1", "2"`: "304",
		`If-None-Match: "1"`:      "200", `If-None-Match: "02"`: "200", `If-None-Match: "x"`: "200",
		`If-None-Match: 2`: "400 invalid_request", `If-None-Match: "2`: "400 invalid_request",
		`If-None-Match: "2" "3"`: "400 invalid_request",
		`If-Match: "2"`:          "200", `If-Match: *`: "200", `If-Match: "7", "2"`: "200",
		`If-Match: "1"`: "412 version_mismatch", `If-Match: W/"2"`: "412 version_mismatch",
	} {
		got := h.is(get(header), want)
		if want == "304" && (got.text != "" || got.Header.Get("ETag") != `"2"`) {
			t.Errorf("%s: %v %q", header, got.Header, got.text)
		}
	}
	change := func(match string) answer {
		return h.ask(h.token(teller), "PATCH", "/v1/accounts/"+a, `{"label":"`+newKey()+`"}`, "If-Match: "+match)
	}
	for _, match := range []string{`"1"`, `W/"2"`, `"x"`, `"1", "7"`, `""`} {
		h.is(change(match), "412 version_mismatch")
	}
	h.is(change("2"), "400 invalid_request")
	h.is(change(`"2"`), "200")
	h.is(change(`*`), "200")
	if got := h.is(change(`"3", "4"`), "200"); got.Header.Get("ETag") != `"5"` {
		t.Errorf("ETag %s", got.Header.Get("ETag"))
	}
	act := func(what, match string) answer {
		return h.post("/v1/accounts/"+a+"/"+what, `{"reason":"x"}`, "If-Match: "+match)
	}
	h.is(act("freeze", `"1"`), "412 version_mismatch")
	h.is(act("freeze", `"5"`), "200")
	if got := h.is(act("freeze", `"6"`), "200"); got.Header.Get("ETag") != `"6"` {
		t.Error("freezing what is frozen made a version")
	}
	h.is(act("unfreeze", `"6"`), "200")
}

func TestChanges(t *testing.T) {
	t.Parallel()
	h := open(t)
	a := h.is(h.post("/v1/accounts", `{"currency":"EUR","label":"l","external_id":"e","metadata":{"a":"1"},`+
		`"overdraft_limit":`+eur(9)+`,"daily_debit_limit":`+eur(9)+`}`), "201").str("id")
	patch := func(body string) answer { return h.ask(h.token(teller), "PATCH", "/v1/accounts/"+a, body) }
	got := h.is(patch(`{"metadata":{"b":"2"}}`), "200")
	if got.str("metadata", "b") != "2" || got.str("metadata", "a") != "" || got.str("label") != "l" {
		t.Errorf("changed: %s", got.text)
	}
	got = h.is(patch(`{"label":null,"external_id":null,"metadata":null,`+
		`"overdraft_limit":null,"daily_debit_limit":null}`), "200")
	for _, field := range []string{"label", "external_id", "daily_debit_limit"} {
		if got.body[field] != nil {
			t.Errorf("%s is not cleared: %s", field, got.text)
		}
	}
	if got.str("overdraft_limit", "amount") != "0" || len(got.body["metadata"].(map[string]any)) != 0 {
		t.Errorf("not cleared: %s", got.text)
	}
	h.is(patch(`{"overdraft_limit":{"amount":"5","currency":"USD"}}`), "422 currency_mismatch")
	h.is(h.ask(h.token(teller), "PATCH", "/v1/accounts/acc_00000000000000000000000000", `{"label":"x"}`), "404 not_found")
	h.is(h.post("/v1/accounts", `{"currency":"EUR","external_id":"twice"}`), "201")
	h.is(patch(`{"external_id":"twice"}`), "409 external_id_taken")
	h.is(h.post("/v1/customers", `{"name":"A","external_id":"twice"}`), "201")
	h.is(h.post("/v1/customers", `{"name":"B","external_id":"twice"}`), "409 external_id_taken")
	h.is(h.post("/v1/accounts", `{"currency":"EUR","customer_id":"cus_nobody"}`), "422 customer_not_found")
	h.is(h.post("/v1/deposits", `{"account_id":"`+a+`","amount":`+eur(100)+`}`), "201")
	h.is(patch(`{"daily_debit_limit":`+eur(50)+`}`), "200")
	h.is(h.post("/v1/withdrawals", `{"account_id":"`+a+`","amount":`+eur(51)+`}`), "422 limit_exceeded")
	h.is(h.post("/v1/accounts/"+a+"/freeze", `{"reason":"x"}`), "200")
	h.is(h.post("/v1/withdrawals", `{"account_id":"`+a+`","amount":`+eur(1)+`}`), "409 account_frozen")
}

func TestPages(t *testing.T) {
	t.Parallel()
	h := open(t)
	var ids []string
	for range 7 {
		ids = append(ids, h.account("", 0))
	}
	get := func(query string) answer { return h.ask(h.token(teller), "GET", "/v1/accounts?"+query, "") }
	for _, order := range []string{"", "asc", "desc"} {
		var got []string
		query := "currency=EUR&limit=2&order=" + order
		if order == "" {
			query = "currency=EUR&limit=2"
		}
		next := ""
		for pages := 1; ; pages++ {
			page := h.is(get(query+next), "200")
			for _, row := range page.body["data"].([]any) {
				if id := row.(map[string]any)["id"].(string); strings.HasPrefix(id, "acc_") {
					got = append(got, id)
				}
			}
			cursor := page.str("next_cursor")
			if cursor == "" {
				break
			}
			next = "&cursor=" + cursor
			h.is(get("currency=USD&limit=2"+next), "400 invalid_cursor")
			h.is(get("limit=2"+next), "400 invalid_cursor")
			h.is(get(strings.Replace(query, "limit=2", "limit=200", 1)+next), "200")
			if order == "" { // which is desc
				h.is(get(query+"&order=desc"+next), "200")
				h.is(get(query+"&order=asc"+next), "400 invalid_cursor")
			}
			h.is(h.ask(h.token(teller), "GET", "/v1/holds?limit=2"+next, ""), "400 invalid_cursor")
			if pages > 10 {
				t.Fatal("the pages do not end")
			}
		}
		want := fmt.Sprint(ids)
		if order != "asc" {
			for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 {
				got[i], got[j] = got[j], got[i]
			}
		}
		if fmt.Sprint(got) != want {
			t.Errorf("order %q: got %v, want %v", order, got, want)
		}
	}
	if got := h.is(get("to=2020-01-01T00:00:00Z"), "200"); len(got.body["data"].([]any)) != 0 {
		t.Errorf("before the bank: %s", got.text)
	}
	if got := h.is(get("from="+url.QueryEscape("2020-01-01T00:00:00+02:00")), "200"); len(got.body["data"].([]any)) != 7 {
		t.Errorf("since 2020: %s", got.text)
	}
}

func TestEntriesAndEvents(t *testing.T) {
	t.Parallel()
	h := open(t)
	a, b := h.account("", 1000), h.account("", 0) // version 2: the deposit
	for i := range 4 {
		h.is(h.post("/v1/transfers", move(a, b, i+1)), "201") // versions 3 to 6
	}
	versions := func(query string) (out []int) {
		for next := ""; ; {
			page := h.is(h.ask(h.token(auditor), "GET", "/v1/accounts/"+a+"/entries?limit=2"+query+next, ""), "200")
			for _, row := range page.body["data"].([]any) {
				out = append(out, int(row.(map[string]any)["version"].(float64)))
			}
			cursor := page.str("next_cursor")
			if cursor == "" {
				return out
			}
			next = "&cursor=" + cursor
		}
	}
	for query, want := range map[string]string{
		"": "[6 5 4 3 2]", "&order=asc": "[2 3 4 5 6]", "&after_version=4": "[6 5]", "&after_version=4&order=asc": "[5 6]",
		"&after_version=6": "[]", "&after_version=5": "[6]", "&after_version=3&order=asc": "[4 5 6]",
	} {
		if got := fmt.Sprint(versions(query)); got != want {
			t.Errorf("entries%s: %s, want %s", query, got, want)
		}
	}
	lines := h.is(h.ask(h.token(auditor), "GET", "/v1/accounts/"+a+"/events?after_version=4&limit=1", ""), "200")
	if lines.Header.Get("Content-Type") != ndjson || strings.Count(lines.text, "\n") != 1 ||
		!strings.Contains(lines.text, `"type":"transaction.made"`) || !strings.Contains(lines.text, `"version":5`) {
		t.Errorf("events: %s", lines.text)
	}
	all := h.is(h.ask(h.token(service), "GET", "/v1/events", ""), "200")
	for i, line := range strings.Split(strings.TrimSpace(all.text), "\n") {
		if !strings.HasPrefix(line, fmt.Sprintf(`{"seq":%d,"type":"`, i+1)) {
			t.Errorf("line %d: %s", i, line)
		}
	}
	h.is(h.ask(h.token(service), "GET", "/v1/events?after_seq=100000", ""), "200")
	head := h.is(h.ask(h.token(service), "GET", "/v1/ledger/head", ""), "200")
	if !strings.Contains(all.text, head.str("chain")) || head.str("time") == "" {
		t.Errorf("head: %s", head.text)
	}
}

// An act of an operator is a line of the log as any other, though it has no legs.
func TestActsInTheLog(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.account("", 1000)
	head := h.is(h.ask(h.token(service), "GET", "/v1/ledger/head", ""), "200")
	for _, a := range []bank.Act{
		{
			ID: bank.MakeID[bank.Act]([16]byte{1}), Kind: bank.FailureSchedule, Handler: "history", Key: "acc_1",
			Target: "fail_1", Body: []byte(`{"at":"<é>"}`), Reason: "later",
		},
		{ID: bank.MakeID[bank.Act]([16]byte{2}), Kind: bank.GroupRetry, Target: "f00", Reason: "mended"},
	} {
		_, err := h.ledger.Execute(t.Context(), app.Ask{Name: "act", Command: a})
		fatal(t, err)
	}
	all := h.is(h.ask(h.token(service), "GET", fmt.Sprintf("/v1/events?after_seq=%v", head.body["seq"]), ""), "200")
	var data []string
	for line := range strings.SplitSeq(strings.TrimSpace(all.text), "\n") {
		var e struct {
			Type string          `json:"type"`
			Data json.RawMessage `json:"data"`
		}
		fatal(t, json.Unmarshal([]byte(line), &e))
		data = append(data, e.Type+" "+string(e.Data))
	}
	want := []string{
		`operator.acted {"legs":[],"transactions":[],"act":{"id":"act_04000000000000000000000000",` +
			`"kind":"failure.schedule","handler":"history","key":"acc_1","target":"fail_1",` +
			`"body":{"at":"\u003cé\u003e"}},"reason":"later"}`,
		`operator.acted {"legs":[],"transactions":[],"act":{"id":"act_08000000000000000000000000",` +
			`"kind":"group.retry","target":"f00"},"reason":"mended"}`,
	}
	if !slices.Equal(data, want) {
		t.Errorf("the lines have\n%s\nwant\n%s", strings.Join(data, "\n"), strings.Join(want, "\n"))
	}
	recorded := app.Recorded{Event: bank.Event{Act: &bank.Act{Reason: "r"}, Reason: "s"}}
	reader := render.Reader{Customer: bank.MakeID[bank.Customer]([16]byte{1})}
	if seen := render.EventOf(&recorded, reader); seen.Act != nil || seen.Reason != "" {
		t.Errorf("a customer sees %+v", seen)
	}
}

func TestStatements(t *testing.T) {
	t.Parallel()
	h := open(t)
	a, b := h.account("", 1000), h.account("", 0)
	texts := `{"reference":"=1+1","description":"a \"b\", c\nd",`
	h.is(h.post("/v1/transfers", strings.Replace(move(a, b, 30), "{", texts, 1)), "201")
	get := func(accept, query string) answer {
		return h.ask(h.token(teller), "GET", "/v1/accounts/"+a+"/statement"+query, "", "Accept: "+accept)
	}
	got := h.is(get("application/json", ""), "200")
	if got.str("opening_balance", "amount") != "0" || got.str("closing_balance", "amount") != "970" ||
		got.str("entries", "1", "reference") != "=1+1" || got.str("entries", "1", "direction") != "debit" {
		t.Errorf("JSON: %s", got.text)
	}
	text := h.is(get("text/csv", ""), "200")
	rows, err := csv.NewReader(strings.NewReader(text.text)).ReadAll()
	fatal(t, err)
	const header = "posted_at,value_date,transaction_id,kind,direction,amount,currency,balance_after,version," +
		"reference,description"
	if len(rows) != 3 || strings.Join(rows[0], ",") != header {
		t.Fatalf("CSV: %s", text.text)
	}
	if got := strings.Join(rows[2][3:], "|"); got != "transfer|debit|30|EUR|970|3|'=1+1|a \"b\", c\nd" {
		t.Errorf("CSV: %s", got)
	}
	for accept, want := range map[string]string{
		"": "application/json", "*/*": "application/json", "text/*": "text/csv",
		"application/xml, text/csv;q=0.5":        "text/csv",
		"text/csv;q=0.1, application/json;q=0.2": "application/json", "text/csv, application/json;q=0": "text/csv",
		"application/*, text/csv": "application/json",
	} {
		if got := h.is(get(accept, ""), "200").Header.Get("Content-Type"); got != want {
			t.Errorf("Accept %q: %s, want %s", accept, got, want)
		}
	}
	for _, accept := range []string{"application/xml", "image/png", "text/csv;q=0", "nonsense"} {
		h.is(get(accept, ""), "406 not_acceptable")
	}
	before := h.is(get("", "?to=2020-01-01T00:00:00Z"), "200")
	if len(before.body["entries"].([]any)) != 0 || before.str("opening_balance", "amount") != "0" ||
		before.str("closing_balance", "amount") != "0" || before.str("account", "id") != a {
		t.Errorf("before its opening: %s", before.text)
	}
	if got := h.is(get("text/csv", "?to=2020-01-01T00:00:00Z"), "200"); got.text != header+"\n" {
		t.Errorf("before its opening: %s", got.text)
	}
	h.is(h.ask(h.token(teller), "GET", "/v1/accounts/acc_00000000000000000000000000/statement", ""), "404 not_found")
	if got := h.is(get("", "?from=2999-01-01T00:00:00Z"), "200"); len(got.body["entries"].([]any)) != 0 ||
		got.str("opening_balance", "amount") != "970" {
		t.Errorf("later: %s", got.text)
	}
}

func TestThePast(t *testing.T) {
	t.Parallel()
	h := open(t)
	before := time.Now().Add(-time.Second)
	a := h.account("", 1000)
	h.is(h.post("/v1/withdrawals", `{"account_id":"`+a+`","amount":`+eur(1)+`}`), "201")
	get := func(query string) answer { return h.ask(h.token(auditor), "GET", "/v1/accounts/"+a+query, "") }
	second := h.is(get("?at_version=2"), "200")
	if second.str("balance", "amount") != "1000" || second.Header.Get("ETag") != `"2"` {
		t.Errorf("version 2: %s", second.text)
	}
	at := h.is(get(""), "200").str("updated_at")
	if got := h.is(get("?at="+at), "200"); got.str("balance", "amount") != "999" {
		t.Errorf("at its own time: %s", got.text)
	}
	h.is(get("?at_version=99"), "404 not_found")
	h.is(get("?at="+before.UTC().Format(time.RFC3339)), "404 not_found")
	h.is(get("?min_version=3"), "200")
}

func TestStaleAndBehind(t *testing.T) {
	t.Parallel()
	h := open(t)
	a := h.account("", 1000)
	h.ask(h.token(teller), "GET", "/v1/accounts/"+a, "") // the view has it
	h.views.hold(true)
	b := h.is(h.post("/v1/accounts", `{"currency":"EUR"}`), "201").str("id")
	h.is(h.ask(h.token(teller), "GET", "/v1/accounts/"+b, ""), "503 view_behind")
	for _, target := range []string{
		"/v1/accounts/" + a, "/v1/accounts", "/v1/transactions", "/v1/holds", "/v1/accounts/" + a + "/entries",
	} {
		if got := h.is(h.ask(h.token(teller), "GET", target, ""), "200"); got.Header.Get("Bankforge-Stale") != "true" {
			t.Errorf("%s is not stale: %v", target, got.Header)
		}
	}
	h.views.hold(false)
	if got := h.is(h.ask(h.token(teller), "GET", "/v1/accounts/"+b, ""), "200"); got.Header.Get("Bankforge-Stale") != "" {
		t.Error("it stays stale")
	}
}
