package app_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
)

var operator = app.Principal{Subject: "olga", Roles: []app.Role{app.RoleOperator}}

// policy is an act with everything that it can say.
func policy() bank.Act {
	return bank.Act{
		Kind: bank.HandlerPolicy, Handler: "history", Key: "acc_1", Target: "fail_1", Reason: "it is slow",
		Body: []byte(` { "tries" : 12345678901234567890, "a" : [1.50, "<é>"] } `),
	}
}

const canonicalPolicy = `{"a":[1.50,"\u003cé\u003e"],"tries":12345678901234567890}`

// An act is an event, once, with its key; and nothing of the bank changes.
func TestActsAreRecorded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		defer shut(t, h.ledger)
		before, err := h.AccountAt(t.Context(), h.ann, h.anns, bank.TimeOf(time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		done, err := h.Act(t.Context(), call(operator, "k"), policy())
		if err != nil {
			t.Fatal(err)
		}
		want := policy()
		want.ID, want.Body = done.Act.ID, []byte(canonicalPolicy)
		if !reflect.DeepEqual(done.Act, want) || done.Act.ID.IsZero() || done.Seq != h.ledger.Committed() || done.At == 0 {
			t.Errorf("it is answered with %+v", done)
		}
		events, err := h.Events(t.Context(), done.Seq-1, 2)
		if err != nil || len(events) != 1 {
			t.Fatalf("%d events, %v", len(events), err)
		}
		e := &events[0]
		if e.Type != bank.OperatorActed || !reflect.DeepEqual(*e.Act, want) || e.Time != done.At || len(e.Legs) > 0 {
			t.Errorf("it is recorded as %+v", e.Event)
		}
		if m := e.Meta; m.Actor != "olga" || m.IdempotencyKey != "k" || m.CorrelationID != "corr-k" {
			t.Errorf("its origin is %+v", m)
		}
		again, err := h.Act(t.Context(), call(operator, "k"), policy())
		if done.Done = again.Done; err != nil || !again.Replayed || !reflect.DeepEqual(again, done) {
			t.Errorf("asked again, it is %+v, %v", again, err)
		}
		other := call(operator, "k")
		other.Fingerprint[0] ^= 1
		if _, err := h.Act(t.Context(), other, policy()); codeOf(err) != app.CodeKeyReused {
			t.Errorf("with another content: %v", err)
		}
		found, err := h.log.Latest(t.Context(), []string{want.ID.String()})
		if err != nil || found[want.ID.String()].Seq != e.Seq {
			t.Errorf("by its id is found %+v, %v", found, err)
		}
		after, err := h.AccountAt(t.Context(), h.ann, h.anns, bank.TimeOf(time.Now()))
		if err != nil || !reflect.DeepEqual(after, before) {
			t.Errorf("an account has become %+v, %v", after, err)
		}
	})
}

func TestADryRunOfAnActStoresNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		defer shut(t, h.ledger)
		before := h.ledger.Committed()
		c := call(operator, "k")
		c.DryRun = true
		done, err := h.Act(t.Context(), c, policy())
		if err != nil || !done.Act.ID.IsZero() || done.Act.Kind != bank.HandlerPolicy || done.At != 0 || done.Seq != 0 {
			t.Errorf("%+v, %v", done, err)
		}
		if h.ledger.Committed() != before {
			t.Error("something was stored")
		}
	})
}

// What is malformed is refused, and not remembered: the same key may say it right.
func TestMalformedActsAreRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		defer shut(t, h.ledger)
		before := h.ledger.Committed()
		object := func(n int) string { return `{"` + strings.Repeat("x", n-6) + `":1}` }
		for name, c := range map[string]struct {
			field string
			spoil func(*bank.Act)
		}{
			"no kind":            {"kind", func(a *bank.Act) { a.Kind = "" }},
			"no reason":          {"reason", func(a *bank.Act) { a.Reason = "" }},
			"no handler":         {"handler", func(a *bank.Act) { a.Handler = "" }},
			"no body":            {"body", func(a *bank.Act) { a.Body = nil }},
			"half a body":        {"body", func(a *bank.Act) { a.Body = []byte(`{"a":`) }},
			"a list":             {"body", func(a *bank.Act) { a.Body = []byte(`[]`) }},
			"null":               {"body", func(a *bank.Act) { a.Body = []byte(`null`) }},
			"two bodies":         {"body", func(a *bank.Act) { a.Body = []byte(`{} {}`) }},
			"no UTF-8":           {"body", func(a *bank.Act) { a.Body = []byte("{\"a\":\"\xff\"}") }},
			"too long":           {"body", func(a *bank.Act) { a.Body = []byte(object(bank.MaxActBody + 1)) }},
			"too long, escaped":  {"body", func(a *bank.Act) { a.Body = []byte(`{"a":"` + strings.Repeat("<", 4000) + `"}`) }},
			"an unknown control": {"target", func(a *bank.Act) { a.Target = "\x01" }},
		} {
			a := policy()
			c.spoil(&a)
			_, err := h.Act(t.Context(), call(operator, "k"), a)
			if codeOf(err) != bank.InvalidRequest || !strings.Contains(err.Error(), c.field) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if h.ledger.Committed() != before {
			t.Error("something was stored")
		}
		good := policy()
		good.Body = []byte(object(bank.MaxActBody))
		if done, err := h.Act(t.Context(), call(operator, "k"), good); err != nil || done.Replayed {
			t.Errorf("the same key, said right: %+v, %v", done, err)
		}
	})
}

// The form of a body is the one that messages carry without a change.
func FuzzBodiesOfActs(f *testing.F) {
	for _, seed := range []string{
		canonicalPolicy, `{}`, `{"b":{"z":null,"y":[true,1e400]},"a":"\u2028\\"}`, `{"a":1,"a":2}`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		once, err := app.Canonical(body)
		if err != nil {
			return
		}
		twice, err := app.Canonical(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q becomes %q, and that %q, %v", body, once, twice, err)
		}
		if len(body) == 0 {
			return
		}
		carried, err := json.Marshal(json.RawMessage(once))
		if err != nil || !bytes.Equal(once, carried) {
			t.Fatalf("%q is carried as %q, %v", once, carried, err)
		}
		good := bank.Act{ID: bank.MakeID[bank.Act](id(1)), Kind: bank.DemoFailuresSet, Body: once, Reason: "r"}
		if err := good.Check(); err != nil && len(once) <= bank.MaxActBody {
			t.Fatalf("%q: %v", once, err)
		}
	})
}
