package ports

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/ops"
)

const why = `{"reason":"mended"}`

var noon = time.Date(2026, 5, 31, 12, 0, 0, 0, time.UTC)

// credited is a payload as the topic of accounts has it.
const credited = `{"account":{"id":"acc_1","customer_id":"cus_1","version":7,"status":"active",
	"balance":{"amount":"-1050","currency":"EUR"},"review_above":null,"day":"2026-05-31","details_version":3},
	"details":{"label":"Household","external_id":"crm-4711","metadata":{"pet":"cat"}},
	"amount":{"amount":"1250","currency":"EUR"},"reason":"he was rude","new":[{"iban":"DE00","id":"x"},"DE01",1,true],
	"transaction":{"id":"txn_1","kind":"transfer","reference":"INV-7","description":"Rent","seq":41,
	"entries":[{"account_id":"acc_1","direction":"debit","amount":{"amount":"777","currency":"EUR"}}]}}`

// parkedAt is failure n of a key: the first of it is the head.
func parkedAt(n int, key string) ops.Detail {
	d := ops.Detail{Failure: ops.Failure{
		ID: fmt.Sprintf("fail_%03d", n), Handler: "history", Topic: bank.AccountsTopic, Incarnation: "inc-1",
		Seq: bank.Seq(n), N: 1, Key: key, Type: "bankforge.account.credited.v1", Status: ops.Blocked,
		Correlation: "cor-1", Accounts: []string{key}, ParkedAt: noon.Add(time.Duration(n) * time.Second),
	}, Payload: []byte(credited), Metadata: map[string]string{"position": "41.1"}}
	return d
}

// troubled is a bank with seven failures of three keys.
func troubled(t *testing.T, change ...func(*Config)) *house {
	t.Helper()
	h := open(t, change...)
	h.lot.with(func(l *lot) {
		for n := range 7 {
			d := parkedAt(n, fmt.Sprintf("acc_%d", n%3))
			if n < 3 {
				d.Status, d.Head, d.Class, d.Error, d.Fingerprint = ops.Parked, true, "unknown", "no such row 4711", "fp_1"
				d.Tries = []ops.Attempt{
					{At: noon, Took: 1500 * time.Microsecond, Class: "unknown", Error: "first", By: ops.ByStream},
					{At: noon, Class: "unknown", Error: "no such row 4711", Stack: "goroutine 1", By: "act_1"},
				}
				d.Attempts = len(d.Tries)
				l.sequences = append(l.sequences, ops.Sequence{
					ID: "seq_" + d.Key, Handler: "history", Key: d.Key, Waiting: 2, Since: d.ParkedAt, Head: d.ID,
					Class: "unknown", Fingerprint: "fp_1", Paused: n == 2,
				})
			}
			l.failures = append(l.failures, d)
		}
		l.groups = []ops.Group{{
			Fingerprint: "fp_1", Handler: "history", Class: "unknown", Error: "no such row 4711", Count: 3, Waiting: 7,
			Accounts: 3, First: noon, Last: noon.Add(time.Minute),
		}}
		l.handlers = []ops.Handler{
			{Name: "balances", Topic: bank.AccountsTopic, Places: []ops.Place{{Seq: 1 << 40}}, Runs: []ops.Run{
				{Process: "a", State: "running", Lag: 3, Rate: 10, At: noon},
				{Process: "b", State: "running", Lag: 5, Rate: 2, Error: "late", FailedAt: noon, At: noon},
			}},
			{Name: "history", Topic: bank.AccountsTopic, Paused: true, Why: "repair", PausedBy: "act_1", PausedAt: noon},
		}
		l.replays = []ops.Replay{
			{ID: "rpl_planned", Status: ops.ReplayPlanned, Messages: 7, Keys: 3, PlannedAt: noon},
			{ID: "rpl_running", Status: ops.ReplayRunning, Handled: 2, PlannedAt: noon, StartedAt: noon},
			{ID: "rpl_done", Status: ops.ReplayDone, PlannedAt: noon, StartedAt: noon, EndedAt: noon},
		}
	})
	return h
}

func (h *house) operate(method, target, body string, headers ...string) answer {
	h.t.Helper()
	return h.ask(h.token(operator), method, "/ops/v1"+target, body, headers...)
}

// seq is where the log ends.
func (h *house) seq() bank.Seq {
	head, err := h.log.Head(h.t.Context())
	fatal(h.t, err)
	return head.Seq
}

// ids are those of a list.
func (a answer) ids() string {
	var out []string
	for _, row := range a.body["data"].([]any) {
		id, _ := row.(map[string]any)["id"].(string)
		out = append(out, strings.TrimLeft(strings.TrimPrefix(id, "fail_"), "0"))
	}
	return strings.Join(out, " ")
}

func TestFailuresAreListed(t *testing.T) {
	t.Parallel()
	h := troubled(t)
	for target, want := range map[string]string{
		"/failures":                                  "6 5 4 3 2 1 ",
		"/failures?order=asc&limit=2":                " 1",
		"/failures?status=parked":                    "2 1 ",
		"/failures?status=resolved":                  "",
		"/failures?handler=history&key=acc_1":        "4 1",
		"/failures?handler=balances":                 "",
		"/failures?class=unknown&fingerprint=fp_1":   "2 1 ",
		"/failures?class=poison":                     "",
		"/failures?account_id=acc_2":                 "5 2",
		"/failures?correlation_id=cor-2":             "",
		"/failures?waiting=true":                     "6 5 4 3 2 1 ",
		"/failures?from=2026-05-31T12:00:05Z":        "6 5",
		"/failures?to=2026-05-31T12:00:02Z":          "1 ",
		"/sequences/history/acc_1":                   "1 4",
		"/sequences/history/acc_1?limit=1":           "1",
		"/sequences?paused=true":                     "seq_acc_2",
		"/sequences?handler=history&fingerprint=x":   "",
		"/sequences?order=asc":                       "seq_acc_0 seq_acc_1 seq_acc_2",
		"/replays?status=done":                       "rpl_done",
		"/failures?from=2026-05-31T12:00:05%2B00:00": "6 5",
	} {
		if got := h.is(h.operate("GET", target, ""), "200").ids(); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	// Page by page, each is seen once.
	for list, want := range map[string]string{"/failures": "6 5 4 3 2 1 ", "/sequences/history/acc_0": " 3 6"} {
		var seen []string
		for target := list + "?limit=1"; ; {
			page := h.is(h.operate("GET", target, ""), "200")
			seen = append(seen, page.ids())
			next := page.str("next_cursor")
			if next == "" {
				break
			}
			target = list + "?limit=1&cursor=" + next
			h.is(h.operate("GET", "/acts?cursor="+next, ""), "400 invalid_cursor")
		}
		if got := strings.Join(seen, " "); got != want {
			t.Errorf("%s: %q", list, got)
		}
	}
}

func TestOneOfEach(t *testing.T) {
	t.Parallel()
	h := troubled(t)
	group := h.is(h.operate("GET", "/failure-groups", ""), "200")
	if g := group.body["data"].([]any)[0].(map[string]any); g["count"] != 3.0 || g["accounts"] != 3.0 ||
		g["message"] != "no such row 4711" || g["oldest_age_seconds"].(float64) <= 0 {
		t.Error(group.text)
	}
	all := h.is(h.operate("GET", "/handlers", ""), "200").body["data"].([]any)
	balances, history := all[0].(map[string]any), all[1].(map[string]any)
	if balances["state"] != "running" || balances["lag"] != 5.0 || balances["rate"] != 12.0 ||
		balances["last_error"] != "late" || history["state"] != "paused" || history["paused_why"] != "repair" {
		t.Error(all)
	}
	replay := h.is(h.operate("GET", "/replays/rpl_running", ""), "200")
	if replay.body["handled"] != 2.0 || replay.Header.Get("ETag") != `"5"` {
		t.Errorf("%v %s", replay.Header, replay.text)
	}
	h.is(h.operate("GET", "/replays/rpl_running", "", `If-None-Match: "5"`), "304")
	policy := h.is(h.operate("GET", "/handlers/history/policy", ""), "200")
	if policy.Header.Get("ETag") != `"1"` || policy.body["is_default"] != true ||
		policy.body["policy"].(map[string]any)["outage_after_keys"] != 10.0 {
		t.Errorf("%v %s", policy.Header, policy.text)
	}
	h.is(h.operate("GET", "/demo-failures", ""), "200")
	for _, target := range []string{
		"/failures/x", "/sequences/history/x", "/sequences/x/acc_1", "/replays/x", "/handlers/x/policy", "/acts/x",
		"/trace/x",
		"/trace/a%20b", "/failures/fail_%ff", "/sequences/history/%00", "/sequences/history/a%2Fb",
	} {
		h.is(h.operate("GET", target, ""), "404 not_found")
	}
	for _, target := range []string{
		"/failures?class=odd", "/failures?status=odd", "/failures?waiting=1", "/failures?limit=0", "/failures?handler=",
		"/failures?handler=%ff", "/failures?x=1", "/failures/fail_001?x=1", "/failure-groups?key=x", "/sequences?paused=x",
		"/sequences/history/acc_1?order=asc", "/replays?status=parked", "/replays/rpl_done?x=1", "/handlers?x=1",
		"/handlers/history/policy?x=1", "/trace/c?x=1", "/acts?status=odd", "/acts/x?x=1", "/demo-failures?x=1",
		"/failures?handler=" + strings.Repeat("h", 256),
	} {
		h.is(h.operate("GET", target, ""), "400 invalid_request")
	}
	h.lot.with(func(l *lot) { l.broken = true })
	for i := range routes {
		if r := &routes[i]; r.ops && r.method == GET {
			h.is(h.ask(h.token(auditor), "GET", r.target(), ""), "503 unavailable")
		}
	}
	// What no name has is not looked for: stores refuse such texts in ways of their own.
	for _, target := range []string{
		"/failures/fail_%ff", "/failures/%00", "/replays/%c3%28", "/acts/%7f", "/handlers/%0a/policy", "/trace/%ff",
		"/sequences/%ff/acc_1",
	} {
		h.is(h.operate("GET", target, ""), "404 not_found")
	}
	h.is(h.operate("POST", "/failure-groups/%00/retry", why), "404 not_found")
	h.is(h.operate("POST", "/failures/fail_001/retry", why), "503 unavailable")
	if h.seq() != 0 {
		t.Error("an act was recorded that nobody could look at")
	}
}

func TestPayloadsAreMasked(t *testing.T) {
	t.Parallel()
	problem := error(nil)
	h := troubled(t, func(c *Config) { c.Ops.Check = func(map[string]string, []byte) error { return problem } })
	get := func(role app.Role) answer {
		return h.is(h.ask(h.token(role), "GET", "/ops/v1/failures/fail_001", ""), "200")
	}
	shown := get(operator)
	for _, secret := range []string{
		"1250", "-1050", "777", "Household", "crm-4711", "pet", "cat", "rude", "INV-7", "Rent", "DE00", "DE01",
	} {
		if strings.Contains(shown.text, secret) {
			t.Errorf("the operator sees %s: %s", secret, shown.text)
		}
		for _, role := range []app.Role{admin, auditor} {
			if all := get(role); !strings.Contains(all.text, secret) || all.body["payload_masked"] != false {
				t.Errorf("the %s does not see %s: %s", role, secret, all.text)
			}
		}
	}
	for path, want := range map[string]string{
		"account id": "acc_1", "account balance amount": "***", "account balance currency": "EUR", "account status": "active",
		"account day": "2026-05-31", "transaction kind": "transfer", "details metadata": "***", "reason": "***",
		"transaction entries 0 direction": "debit", "new 0 iban": "***", "new 1": "***", "new 3": "***",
	} {
		if got := shown.str(append([]string{"payload"}, strings.Fields(path)...)...); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	about := shown.body["payload"].(map[string]any)["account"].(map[string]any)
	if about["version"] != 7.0 || about["review_above"] != nil {
		t.Errorf("%v", about)
	}
	if shown.body["payload_masked"] != true || shown.str("stack") != "goroutine 1" ||
		shown.str("attempts", "0", "error") != "first" || shown.str("attempts", "1", "by") != "act_1" {
		t.Error(shown.text)
	}

	// What is no JSON is for those who may see everything; why it is none may quote it.
	problem = fmt.Errorf("amount %q", "1250")
	h.lot.with(func(l *lot) { l.failures[1].Payload = []byte("1250\xff") })
	if got := get(operator); strings.Contains(got.text, "1250") || strings.Contains(got.text, "MTI1MP8=") ||
		got.body["payload"] != nil || got.str("payload_problem") == "" {
		t.Error(got.text)
	}
	if got := get(admin); got.str("payload_bytes") != "MTI1MP8=" || got.str("payload_problem") != `amount "1250"` {
		t.Error(got.text)
	}
	// What operators did is theirs to see, on its topic alone.
	act := `{"act":{"kind":"handler.pause","body":{"a":"b1250"}},"reason":"mended"}`
	for topic, masked := range map[bank.Topic]bool{bank.OpsTopic: false, bank.AccountsTopic: true} {
		h.lot.with(func(l *lot) {
			f := &l.failures[1]
			f.Payload, f.Topic, f.Type = []byte(act), topic, "bankforge.ops.handler.pause.v1"
		})
		if got := get(operator); strings.Contains(got.text, `"b1250"`) == masked {
			t.Errorf("%s: %s", topic, got.text)
		}
	}
}

func TestTraces(t *testing.T) {
	t.Parallel()
	h := troubled(t)
	a := h.account("", 1000)
	b := h.account("", 0)
	moved := h.is(h.post("/v1/transfers", move(a, b, 10), "X-Correlation-Id: cor-7", "Idempotency-Key: the-key"), "201")
	h.is(h.ask(h.token(fraud), "POST", "/v1/accounts/"+a+"/freeze", why, "X-Correlation-Id: cor-8", "Idempotency-Key: f"),
		"200")
	seq := bank.Seq(moved.body["seq"].(float64))
	h.lot.with(func(l *lot) {
		d := parkedAt(8, a)
		d.Seq, d.N, d.Correlation, d.Status = seq, 0, "cor-7", ops.Parked
		l.failures = append(l.failures, d)
	})
	got := h.is(h.operate("GET", "/trace/cor-7", ""), "200")
	if got.str("command", "actor") != "teller" || got.str("command", "idempotency_key") != "the-key" ||
		len(got.body["events"].([]any)) != 1 || got.body["looked_from"] != 1.0 || len(got.body["failures"].([]any)) != 1 {
		t.Error(got.text)
	}
	message := func(n string, path ...string) string {
		return got.str(append([]string{"events", "0", "messages", n}, path...)...)
	}
	if message("0", "live_channel") != "account:"+a || message("0", "handlers", "0", "status") != "done" ||
		message("0", "handlers", "1", "handler") != "history" || message("0", "handlers", "1", "status") != "parked" ||
		message("0", "handlers", "1", "failure_id") != "fail_008" || message("1", "handlers", "1", "status") != "waiting" ||
		message("2", "live_channel") != "transaction:"+moved.str("id") ||
		message("2", "topic") != "bankforge.transactions.v1" {
		t.Error(got.text)
	}
	if strings.Contains(got.text, `"amount"`) {
		t.Errorf("a trace tells of money: %s", got.text)
	}
	frozen := h.is(h.operate("GET", "/trace/cor-8", ""), "200")
	if frozen.str("events", "0", "messages", "0", "type") != "bankforge.account.frozen.v1" {
		t.Error(frozen.text)
	}
	acted := h.is(h.operate("POST", "/handlers/history/pause", why, "X-Correlation-Id: cor-9"), "200")
	seen := h.is(h.operate("GET", "/trace/cor-9", ""), "200")
	if seen.str("events", "0", "act_id") != acted.str("event_id") {
		t.Error(seen.text)
	}
}

// One command may be many transfers, of which more are parked than fit a page.
func TestATraceKnowsOfAllThatIsParked(t *testing.T) {
	t.Parallel()
	h := troubled(t)
	a, b := h.account("", 1000), h.account("", 0)
	moved := h.is(h.post("/v1/transfers", move(a, b, 10), "X-Correlation-Id: cor-7"), "201")
	const others = 450
	h.lot.with(func(l *lot) {
		for n := range others + 1 {
			d := parkedAt(100+n, a)
			d.Seq, d.N, d.Correlation, d.Status = 0, n, "cor-7", ops.Blocked
			if n == others {
				d.Seq, d.N = bank.Seq(moved.body["seq"].(float64)), 0
			}
			l.failures = append(l.failures, d)
		}
	})
	got := h.is(h.operate("GET", "/trace/cor-7", ""), "200")
	status := got.str("events", "0", "messages", "0", "handlers", "1", "status")
	if status != "blocked" || len(got.body["failures"].([]any)) != others+1 {
		t.Errorf("%d failures, and what waits is %s", len(got.body["failures"].([]any)), status)
	}
}
