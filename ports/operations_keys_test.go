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

// Wherever it is said why something failed, what that quotes is for those who may see everything.
func TestWhatErrorsQuoteIsMasked(t *testing.T) {
	t.Parallel()
	const secret = "INV 4711"
	text := ops.Discreet("no shelf for "+secret, []string{secret})
	h := troubled(t)
	h.lot.with(func(l *lot) {
		for i := range l.failures {
			f := &l.failures[i]
			f.Payload, f.Error = []byte("{}"), text
			for j := range f.Tries {
				f.Tries[j].Error = text
			}
		}
		for i := range l.sequences {
			l.sequences[i].Error = text
		}
		for i := range l.groups {
			l.groups[i].Error = text
		}
		for i := range l.handlers {
			l.handlers[i].Why = text
			for j := range l.handlers[i].Runs {
				l.handlers[i].Runs[j].Error = text
			}
		}
		l.become = func(*bank.Act) ops.Executed {
			return ops.Executed{Status: ops.ActFailed, Code: ops.FailedAgain, Detail: text, EndedAt: noon}
		}
	})
	acted := h.is(h.operate("POST", "/failures/fail_001/retry", why), "200 failed_again")
	const masked = "no shelf for ***"
	if acted.str("detail") != masked {
		t.Error(acted.text)
	}
	h.lot.with(func(l *lot) {
		l.become = func(*bank.Act) ops.Executed {
			return ops.Executed{Status: ops.ActRefused, Code: "wrong_state", Detail: text}
		}
	})
	if refused := h.is(h.operate("POST", "/failures/fail_001/retry", why), "409 wrong_state"); !strings.Contains(
		refused.str("detail"), masked) || strings.Contains(refused.text, secret) {
		t.Error(refused.text)
	}
	for _, target := range []string{
		"/failures", "/failures/fail_001", "/failure-groups", "/sequences", "/sequences/history/acc_1", "/handlers", "/acts",
		"/acts/" + acted.str("event_id"), "/trace/cor-1",
	} {
		got := h.operate("GET", target, "")
		if !strings.Contains(got.text, masked) || strings.Contains(got.text, secret) || strings.Contains(got.text, "\ue000") {
			t.Errorf("the operator sees of %s: %s", target, got.text)
		}
		for _, role := range []app.Role{auditor, admin} {
			all := h.ask(h.token(role), "GET", "/ops/v1"+target, "")
			if !strings.Contains(all.text, "no shelf for "+secret) || strings.Contains(all.text, masked) {
				t.Errorf("the %s sees of %s: %s", role, target, all.text)
			}
		}
	}
}

func TestDivergedKeysAreListed(t *testing.T) {
	t.Parallel()
	h := troubled(t)
	h.lot.with(func(l *lot) {
		for n := range 5 {
			k := ops.DivergedKey{
				Handler: []string{"history", "balances"}[n%2], Key: fmt.Sprintf("acc_%d", n),
				Since: noon.Add(time.Duration(n) * time.Minute), Why: "hopeless",
			}
			l.diverged = append(l.diverged, k)
		}
		l.sequences[0].Diverged, l.sequences[2].Diverged = true, true // they wait besides, the others flow
	})
	keys := func(a answer) string {
		var out []string
		for _, row := range a.body["data"].([]any) {
			r := row.(map[string]any)
			out = append(out, fmt.Sprint(r["key"]))
			if r["diverged"] != true || r["id"] == "" {
				t.Errorf("%v", r)
			}
		}
		return strings.Join(out, " ")
	}
	for target, want := range map[string]string{
		"": "acc_4 acc_3 acc_2 acc_1 acc_0", "&order=asc&limit=2": "acc_0 acc_1", "&handler=balances": "acc_3 acc_1",
		"&from=2026-05-31T12:02:00Z&to=2026-05-31T12:04:00Z": "acc_3 acc_2", "&handler=none": "",
	} {
		if got := keys(h.is(h.operate("GET", "/sequences?diverged=true"+target, ""), "200")); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	var seen []string
	for target := "/sequences?diverged=true&limit=2"; target != ""; {
		page := h.is(h.operate("GET", target, ""), "200")
		seen = append(seen, keys(page))
		if target = ""; page.str("next_cursor") != "" {
			target = "/sequences?diverged=true&limit=2&cursor=" + page.str("next_cursor")
			h.is(h.operate("GET", "/sequences?cursor="+page.str("next_cursor"), ""), "400 invalid_cursor")
		}
	}
	if got := strings.Join(seen, " "); got != "acc_4 acc_3 acc_2 acc_1 acc_0" {
		t.Errorf("page by page: %q", got)
	}
	for _, wrong := range []string{"x", "true&paused=true", "true&class=poison", "true&fingerprint=fp_1", "true&key=k"} {
		h.is(h.operate("GET", "/sequences?diverged="+wrong, ""), "400 invalid_request")
	}
	h.is(h.operate("GET", "/sequences?diverged=false", ""), "200")
	h.lot.with(func(l *lot) { l.broken = true })
	h.is(h.operate("GET", "/sequences?diverged=true", ""), "503 unavailable")
}
