package ports

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/ops"
)

func TestActsAreRecorded(t *testing.T) {
	t.Parallel()
	h := troubled(t)
	for _, c := range []struct {
		target, body string
		want         bank.Act
	}{
		{"POST /failures/fail_001/retry", why, bank.Act{Kind: bank.FailureRetry, Target: "fail_001"}},
		{"POST /failures/fail_001/discard", why, bank.Act{Kind: bank.FailureDiscard, Target: "fail_001"}},
		{"POST /failures/fail_001/schedule", `{"at":"2026-06-01T02:00:00+02:00","reason":"mended"}`, bank.Act{
			Kind: bank.FailureSchedule, Target: "fail_001", Body: []byte(`{"at":"2026-06-01T00:00:00Z"}`)}},
		{"POST /failure-groups/fp_1/retry", why, bank.Act{Kind: bank.GroupRetry, Target: "fp_1"}},
		{"POST /sequences/history/acc_1/retry", why, bank.Act{Kind: bank.SequenceRetry, Handler: "history", Key: "acc_1"}},
		{"POST /sequences/history/flows/rebuild", why, bank.Act{
			Kind: bank.SequenceRebuild, Handler: "history", Key: "flows"}},
		{"POST /sequences/history/a%2Fb%3F/pause", why, bank.Act{
			Kind: bank.SequencePause, Handler: "history", Key: "a/b?"}},
		{"POST /sequences/history/acc_2/resume", why, bank.Act{
			Kind: bank.SequenceResume, Handler: "history", Key: "acc_2"}},
		{"POST /replays/rpl_planned/start", why, bank.Act{Kind: bank.ReplayStart, Target: "rpl_planned"}},
		{"POST /replays/rpl_running/cancel", why, bank.Act{Kind: bank.ReplayCancel, Target: "rpl_running"}},
		{"POST /handlers/history/pause", why, bank.Act{Kind: bank.HandlerPause, Handler: "history"}},
		{"POST /handlers/history/resume", why, bank.Act{Kind: bank.HandlerResume, Handler: "history"}},
		{"PUT /handlers/history/policy", `{"policy":{},"reason":"mended"}`, bank.Act{
			Kind: bank.HandlerPolicy, Handler: "history", Body: []byte(`{}`)}},
		{"POST /demo-failures", `{"enabled":false,"reason":"mended"}`, bank.Act{
			Kind: bank.DemoFailuresSet, Body: []byte(`{"enabled":false}`)}},
	} {
		method, target, _ := strings.Cut(c.target, " ")
		before := h.seq()
		got := h.is(h.operate(method, target, c.body, "X-Correlation-Id: cor-9"), "200")
		if h.seq() != before+1 || got.body["seq"] != float64(before+1) || got.str("status") != "done" ||
			got.str("actor") != "operator" || got.str("reason") != "mended" || got.str("kind") != string(c.want.Kind) {
			t.Errorf("%s: %s", c.target, got.text)
		}
		rows, err := h.log.Read(t.Context(), before, 1)
		fatal(t, err)
		r, err := app.Decode(rows[0])
		fatal(t, err)
		have := *r.Act
		if have.ID.String() != got.str("event_id") || r.Meta.Actor != "operator" || r.Meta.CorrelationID != "cor-9" {
			t.Errorf("%s: %+v %+v, told %s", c.target, have, r.Meta, got.text)
		}
		c.want.ID, c.want.Reason = have.ID, "mended"
		if fmt.Sprint(have) != fmt.Sprint(c.want) {
			t.Errorf("%s: %+v, want %+v", c.target, have, c.want)
		}
		h.is(h.operate("GET", "/acts/"+got.str("event_id"), ""), "200")
	}
	if got := h.is(h.operate("GET", "/acts?target=fail_001&limit=1", ""), "200"); got.str("next_cursor") == "" ||
		got.str("data", "0", "kind") != "failure.schedule" {
		t.Error(got.text)
	}
}

// What can be seen to be impossible is refused, and leaves nothing in the log.
func TestActsThatCannotBe(t *testing.T) {
	t.Parallel()
	h := troubled(t)
	h.lot.with(func(l *lot) { l.failures[6].Status = ops.Resolved })
	for target, want := range map[string]string{
		"/failures/fail_004/retry": "409 not_head", "/failures/fail_004/discard": "409 not_head",
		"/failures/fail_006/retry": "409 not_head", "/failures/x/retry": "404 not_found",
		"/failure-groups/fp_2/retry": "404 not_found", "/sequences/history/acc_2/retry": "409 key_paused",
		"/sequences/history/x/retry": "404 not_found", "/sequences/x/acc_1/pause": "404 not_found",
		"/sequences/history/acc_1/resume": "409 not_paused", "/sequences/history/a%ffb/pause": "400 invalid_request",
		"/sequences/history/a%00b/rebuild": "400 invalid_request", "/replays/x/start": "404 not_found",
		"/replays/rpl_running/start": "409 wrong_state", "/replays/rpl_done/cancel": "409 wrong_state",
		"/handlers/x/pause": "404 not_found", "/handlers/operations/pause": "409 wrong_state",
		"/sequences/operations/history/pause":                        "409 wrong_state",
		"/sequences/history/" + strings.Repeat("k", 4097) + "/pause": "400 invalid_request",
	} {
		if got := h.is(h.operate("POST", target, why), want); got.str("event_id") != "" {
			t.Errorf("%s: %s", target, got.text)
		}
	}
	h.is(h.operate("POST", "/failures/fail_004/schedule", `{"at":"2026-06-01T00:00:00Z","reason":"x"}`), "409 not_head")
	h.is(h.operate("PUT", "/handlers/x/policy", `{"policy":{},"reason":"x"}`), "404 not_found")
	if n := h.seq(); n != 0 {
		t.Errorf("%d events were recorded", n)
	}
	quiet := open(t, func(c *Config) { c.Ops.Demo = false })
	quiet.is(quiet.operate("POST", "/demo-failures", `{"enabled":true,"reason":"x"}`), "404 not_found")
	none := open(t, func(c *Config) { c.Ops = nil })
	none.odd = true // where there is nothing, nothing is documented
	none.is(none.operate("GET", "/failures", ""), "404 not_found")
}

// What is found out only when the act's turn comes is told as if it had been known, with the event that recorded it.
func TestActsThatAreRefusedLater(t *testing.T) {
	t.Parallel()
	h := troubled(t)
	for code, want := range map[string]string{
		ops.RefusedNotFound: "404 not_found", ops.RefusedNotHead: "409 not_head", ops.RefusedPaused: "409 key_paused",
		ops.RefusedNotPaused: "409 not_paused", ops.RefusedState: "409 wrong_state",
		ops.RefusedInvalid:   "400 invalid_request",
		ops.RefusedNoRebuild: "409 not_rebuildable", "something new": "409 wrong_state",
	} {
		for _, status := range []ops.ActStatus{ops.ActRefused, ops.ActFailed} {
			h.lot.with(func(l *lot) {
				l.become = func(*bank.Act) ops.Executed {
					return ops.Executed{Status: status, Code: code, Detail: "somebody was faster"}
				}
			})
			got := h.is(h.operate("POST", "/sequences/history/acc_1/rebuild", why), want)
			if !strings.HasPrefix(got.str("event_id"), "act_") || !strings.Contains(got.str("detail"), "was faster") {
				t.Errorf("%s: %s", code, got.text)
			}
		}
	}
	h.lot.with(func(l *lot) {
		l.become = func(*bank.Act) ops.Executed {
			return ops.Executed{Status: ops.ActFailed, Code: ops.FailedAgain, Detail: "no such row"}
		}
	})
	got := h.is(h.operate("POST", "/failures/fail_001/retry", why), "200 failed_again")
	if got.str("status") != "failed" || got.str("code") != "failed_again" {
		t.Error(got.text)
	}
	h.lot.with(func(l *lot) { l.become = func(*bank.Act) ops.Executed { return ops.Executed{Status: ops.ActPending} } })
	if got := h.is(h.operate("POST", "/failures/fail_001/retry", why), "200"); got.str("status") != "pending" {
		t.Error(got.text)
	}
	h.lot.with(func(l *lot) { l.behind = true })
	got = h.is(h.operate("POST", "/failures/fail_001/retry", why), "200")
	if got.str("status") != "pending" || got.str("event_id") == "" || got.body["ended_at"] != nil {
		t.Error(got.text)
	}
}

// The same key is one act, however often and at once it comes, and also when what it was about is no longer there.
func TestActsWithAKey(t *testing.T) {
	t.Parallel()
	h := troubled(t)
	h.lot.with(func(l *lot) {
		l.effects = func(l *lot, a *bank.Act, _ bank.Seq) {
			if a.Kind == bank.FailureRetry {
				l.failures[1].Head, l.failures[1].Status = false, ops.Resolved
			}
		}
	})
	answers := make([]answer, 8)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			answers[i] = h.operate("POST", "/failures/fail_001/retry", why, "Idempotency-Key: k")
		})
	}
	all.Wait()
	for _, a := range answers {
		if h.is(a, "200"); a.text != answers[0].text {
			t.Errorf("%s\n%s", a.text, answers[0].text)
		}
	}
	if h.seq() != 1 {
		t.Errorf("%d events", h.seq())
	}
	again := h.is(h.operate("POST", "/failures/fail_001/retry", why, "Idempotency-Key: k"), "200")
	if again.Header.Get("Idempotency-Replayed") != "true" || again.text != answers[0].text {
		t.Errorf("%v %s", again.Header, again.text)
	}
	h.is(h.operate("POST", "/failures/fail_001/retry", `{"reason":"x"}`, "Idempotency-Key: k"),
		"422 idempotency_key_reused")
	refused := h.is(h.operate("POST", "/failures/fail_001/retry", why, "Idempotency-Key: l"), "409 not_head")
	h.lot.with(func(l *lot) { l.failures[1].Head = true })
	later := h.is(h.operate("POST", "/failures/fail_001/retry", why, "Idempotency-Key: l"), "409 not_head")
	if later.Header.Get("Idempotency-Replayed") != "true" || later.str("detail") != refused.str("detail") {
		t.Errorf("%v %s", later.Header, later.text)
	}
	h.is(h.operate("POST", "/failures/fail_001/retry", why, "Idempotency-Key: "+strings.Repeat("k", 256)),
		"400 idempotency_key_missing")
}

func TestBadActs(t *testing.T) {
	t.Parallel()
	h := troubled(t)
	long := strings.Repeat("é", 501)
	for body, pointer := range map[string]string{
		``: "/reason", `{}`: "/reason", `[]`: "", `null`: "", `{"reason":null}`: "/reason", `{"reason":7}`: "/reason",
		`{"reason":""}`: "/reason", `{"reason":"` + long + `"}`: "/reason", `{"reason":"a\u0000"}`: "/reason",
		`{"reason":"x","x":1}`: "/x", "{\"reason\":\"\xff\"}": "", `{"reason":"x","reason":"y"}`: "/reason",
	} {
		got := h.is(h.operate("POST", "/failures/fail_001/retry", body), "400 invalid_request")
		if p := got.str("errors", "0", "pointer"); p != pointer {
			t.Errorf("%.40s: %q, want %q", body, p, pointer)
		}
	}
	h.is(h.operate("POST", "/handlers/history/pause", `{"reason":"`+long[:1000]+`"}`), "200")
	h.is(h.operate("POST", "/handlers/history/pause", `{"reason":"`+strings.Repeat("x", 64<<10)+`"}`),
		"413 body_too_large")
	h.is(h.operate("POST", "/handlers/history/pause", why, "Content-Type: text/plain"), "415 unsupported_media_type")
	h.is(h.operate("POST", "/handlers/history/pause?dry_run=true", why), "400 invalid_request")
	h.is(h.operate("DELETE", "/handlers/history/policy", ""), "405 method_not_allowed")
	for _, body := range []string{
		`{"reason":"x"}`, `{"at":"tomorrow","reason":"x"}`, `{"at":null,"reason":"x"}`, `{"at":1,"reason":"x"}`,
		`{"at":"0001-01-01T00:00:00Z","reason":"x"}`, `{"at":"1969-12-31T23:59:59Z","reason":"x"}`,
		`{"at":"0000-01-01T00:00:00+23:59","reason":"x"}`, `{"at":"9999-12-31T23:59:59-23:59","reason":"x"}`,
	} {
		got := h.is(h.operate("POST", "/failures/fail_001/schedule", body), "400 invalid_request")
		if p := got.str("errors", "0", "pointer"); p != "/at" {
			t.Errorf("%s: %q", body, p)
		}
	}
	for _, fields := range []string{
		`"rate":-1`, `"rate":100001`, `"rate":1.5`, `"rate":"1"`, `"concurrency":0`, `"concurrency":65`,
		`"stop_after_errors":1000001`, `"filter":[]`, `"filter":{"x":1}`, `"filter":{"class":"odd"}`,
		`"filter":{"handler":""}`, `"Rate":1`,
	} {
		h.is(h.operate("POST", "/replays", `{"reason":"x",`+fields+`}`), "400 invalid_request")
	}
	for _, policy := range []string{
		`null`, `[]`, `{"x":1}`, `{"Backoff":{}}`, `{"attempts":{"unknown":0}}`, `{"attempts":{"poison":1}}`,
		`{"attempts":{"unknown":101}}`, `{"backoff":{"first_ms":0}}`, `{"backoff":{"first_ms":9000}}`,
		`{"hold":{"jitter_percent":101}}`, `{"timeout_ms":0}`, `{"again_ms":[0]}`, `{"again_ms":["1"]}`,
		`{"again_ms":[` + strings.Repeat("1,", 20) + `1]}`, `{"classes":[{"error_contains":"x"}]}`,
		`{"classes":[{"error_contains":"","class":"poison"}]}`, `{"classes":[{"error_contains":"x","class":"odd"}]}`,
		`{"classes":[` + strings.Repeat(`{"error_contains":"`+strings.Repeat("<", 120)+`","class":"poison"},`, 49) +
			`{"error_contains":"y","class":"poison"}]}`, // too much for an event
	} {
		got := h.is(h.operate("PUT", "/handlers/history/policy", `{"policy":`+policy+`,"reason":"x"}`), "400 invalid_request")
		if p := got.str("errors", "0", "pointer"); !strings.HasPrefix(p, "/policy") {
			t.Errorf("%s: %q", policy, p)
		}
	}
	if h.seq() != 1 {
		t.Errorf("%d events were recorded, want 1", h.seq())
	}
}

func TestReplayPlans(t *testing.T) {
	t.Parallel()
	h := troubled(t)
	h.lot.with(func(l *lot) {
		l.effects = func(l *lot, a *bank.Act, _ bank.Seq) {
			if a.Kind != bank.ReplayPlan {
				return
			}
			spec, err := ops.ParseReplay(a.Body)
			fatal(t, err)
			l.replays = append(l.replays, ops.Replay{
				ID: ops.ReplayOf(a.ID.String()), Spec: spec, Status: ops.ReplayPlanned, Messages: 7, Keys: 3, Oldest: noon,
				Estimated: 1500 * time.Millisecond, PlannedAt: noon,
			})
		}
	})
	body := `{"filter":{"handler":"history","class":"unknown","fingerprint":"fp_1","account_id":"acc_1",
		"correlation_id":"c"},"rate":10,"concurrency":2,"stop_after_errors":3,"reason":"mended"}`
	got := h.is(h.operate("POST", "/replays", body, "Idempotency-Key: k"), "201")
	id := got.str("id")
	if got.Header.Get("Location") != "/ops/v1/replays/"+id || got.Header.Get("ETag") != `"2"` ||
		got.body["count"] != 7.0 || got.body["keys"] != 3.0 || got.str("oldest") != "2026-05-31T12:00:00.000000Z" ||
		got.body["estimated_seconds"] != 1.5 || got.str("filter", "account_id") != "acc_1" || got.body["rate"] != 10.0 ||
		got.body["concurrency"] != 2.0 || got.body["stop_after_errors"] != 3.0 || got.body["seq"] != 1.0 ||
		"rpl_"+strings.TrimPrefix(got.str("event_id"), "act_") != id {
		t.Errorf("%v %s", got.Header, got.text)
	}
	h.sameAnswer(got, h.is(h.operate("POST", "/replays", body, "Idempotency-Key: k"), "201"))
	h.is(h.operate("GET", "/replays/"+id, ""), "200")
	all := h.is(h.operate("POST", "/replays", `{"filter":null,"reason":"x"}`), "201")
	if all.body["concurrency"] != 4.0 || len(all.body["filter"].(map[string]any)) != 0 {
		t.Error(all.text)
	}
	h.lot.with(func(l *lot) { l.behind = true })
	later := h.is(h.operate("POST", "/replays", why), "202")
	if later.str("status") != "pending" || later.Header.Get("Location") != "/ops/v1/replays/"+later.str("id") {
		t.Errorf("%v %s", later.Header, later.text)
	}
}

// treating is a bank where policies of history can be changed.
func treating(t *testing.T) (h *house, put func(policy string, headers ...string) answer) {
	t.Helper()
	h = troubled(t)
	h.lot.with(func(l *lot) {
		l.become = func(a *bank.Act) ops.Executed {
			if a.Target != "" && a.Target != ops.PolicyVersion(l.handlers[1].Version) {
				return ops.Executed{Status: ops.ActRefused, Code: ops.RefusedVersion, Detail: "the version is another one"}
			}
			return ops.Executed{Status: ops.ActDone, EndedAt: noon}
		}
		l.effects = func(l *lot, a *bank.Act, _ bank.Seq) {
			p, err := ops.ParsePolicy(a.Body, ops.DefaultPolicy())
			fatal(t, err)
			l.handlers[1].Policy = &p
			l.handlers[1].Version++
		}
	})
	return h, func(policy string, headers ...string) answer {
		return h.operate("PUT", "/handlers/history/policy", `{"policy":`+policy+`,"reason":"x"}`, headers...)
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	h, put := treating(t)
	policy := `{"attempts":{"unknown":5},"backoff":{"first_ms":20},"hold":{"jitter_percent":0},"timeout_ms":1,
		"outage_after_keys":2,"max_parked_per_key":3,"max_parked_per_handler":4,"again_ms":[5,6],
		"classes":[{"error_contains":"refused","class":"unavailable"}]}`
	if got := h.is(put(policy, `If-Match: "1"`), "200"); got.Header.Get("ETag") != `"2"` {
		t.Errorf("%v %s", got.Header, got.text)
	}
	h.is(put(`{}`, `If-Match: "1"`), "412 version_mismatch")
	h.is(put(`{}`, `If-Match: "9", "7"`), "412 version_mismatch")
	h.is(put(`{}`, `If-Match: 7`), "400 invalid_request")
	got := h.is(h.operate("GET", "/handlers/history/policy", ""), "200")
	want := `{"attempts":{"transient":8,"unknown":5},"backoff":{"first_ms":20,"most_ms":2000,"jitter_percent":50},` +
		`"hold":{"first_ms":100,"most_ms":15000,"jitter_percent":0},"timeout_ms":1,"outage_after_keys":2,` +
		`"max_parked_per_key":3,"max_parked_per_handler":4,"again_ms":[5,6],` +
		`"classes":[{"error_contains":"refused","class":"unavailable"}]}`
	if !strings.Contains(got.text, want) || got.body["version"] != 2.0 || got.body["is_default"] != false {
		t.Errorf("%s, want %s", got.text, want)
	}
	shown, err := json.Marshal(got.body["policy"])
	fatal(t, err)
	h.is(put(string(shown), "If-Match: *"), "200") // what is shown can be put back
	if again := h.is(h.operate("GET", "/handlers/history/policy", ""), "200"); !strings.Contains(again.text, want) {
		t.Error(again.text)
	}
	// Of many that change the same version, one does.
	done := make(chan int, 8)
	for range cap(done) {
		go func() { done <- put(`{}`, `If-Match: "3"`).StatusCode }()
	}
	counts := map[int]int{}
	for range cap(done) {
		counts[<-done]++
	}
	if counts[200] != 1 || counts[412] != cap(done)-1 {
		t.Errorf("%v", counts)
	}
}

// While a change is recorded and not in force, another one of the same version is recorded, too: also by an owner of
// the ledger who does not know of the first. Only the first one is done.
func TestPoliciesAreChangedOnce(t *testing.T) {
	t.Parallel()
	h, put := treating(t)
	h.lot.with(func(l *lot) { l.behind = true })
	first, second := h.is(put(`{"timeout_ms":7}`, `If-Match: "1"`), "200"), h.is(put(`{}`, `If-Match: "1", "9"`), "200")
	if first.str("status") != "pending" || second.str("status") != "pending" || second.Header.Get("ETag") != "" {
		t.Errorf("%s %s", first.text, second.text)
	}
	h.lot.with(func(l *lot) { l.behind = false })
	if a := h.is(h.operate("GET", "/acts/"+first.str("event_id"), ""), "200"); a.str("status") != "done" {
		t.Error(a.text)
	}
	late := h.is(h.operate("GET", "/acts/"+second.str("event_id"), ""), "200 version_mismatch")
	if late.str("status") != "refused" {
		t.Error(late.text)
	}
	h.is(put(`{}`, `If-Match: "1"`), "412 version_mismatch")
	h.is(put(`{}`, `If-Match: "2"`), "200")
	h.is(put(`{}`, `If-Match: *`), "200")
}

// A process without a ledger forwards acts to the one that has it, and they are executed there.
func TestActsAreForwarded(t *testing.T) {
	t.Parallel()
	owner, front := pair(t, func(c *Config) {
		c.Runs = func(module string) bool { return module == monitoring }
	})
	_ = front
	owner.lot.with(func(l *lot) { l.handlers = []ops.Handler{{Name: "history"}} })
	got := front.is(front.operate("POST", "/handlers/history/pause", why, "Idempotency-Key: k"), "200")
	if got.str("status") != "done" || owner.seq() != 1 {
		t.Error(got.text)
	}
	put := front.is(front.operate("PUT", "/handlers/history/policy", `{"policy":{},"reason":"x"}`, `If-Match: "9"`),
		"412 version_mismatch")
	if put.str("event_id") != "" {
		t.Error(put.text)
	}
	front.is(front.ask(front.token(auditor), "POST", "/ops/v1/handlers/history/pause", why), "403 forbidden")
}
