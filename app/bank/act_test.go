package bank

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// act is a good one of the kind, which says no more than it must.
func act(name string, kind ActKind) Act {
	a, n := Act{ID: named16[Act](name), Kind: kind, Reason: "seen"}, needs[kind]
	if n.handler {
		a.Handler = "history"
	}
	if n.key {
		a.Key = alice.String()
	}
	if n.target {
		a.Target = "fail_1"
	}
	if n.body {
		a.Body = []byte(`{"n":1}`)
	}
	return a
}

// Every kind of act is accepted when it says what it must, and is refused without any part of that.
func TestEveryKindOfAct(t *testing.T) {
	t.Parallel()
	want := strings.Fields(`failure.retry failure.discard failure.schedule sequence.retry sequence.rebuild sequence.pause
		sequence.resume group.retry replay.plan replay.start replay.cancel handler.pause handler.resume handler.policy
		demo_failures.set`)
	if kinds := ActKinds(); !slices.EqualFunc(kinds, want, func(k ActKind, w string) bool { return string(k) == w }) {
		t.Errorf("the kinds are %v; they are permanent", kinds)
	}
	if len(needs) != len(want) {
		t.Errorf("%d kinds are known, and %d listed", len(needs), len(want))
	}
	for _, kind := range ActKinds() {
		l, good := newBank(t, nil), act("a", kind)
		before := everything(l.State)
		events, err := Decide(l.State, good, noon)
		if err != nil || len(events) != 1 || events[0].Type != OperatorActed || !reflect.DeepEqual(*events[0].Act, good) {
			t.Errorf("%s: %+v, %v", kind, events, err)
			continue
		}
		if err := l.take(events); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		after := everything(l.State)
		after.seq--
		if err := same("after an act", after, before); err != nil {
			t.Error(err)
		}
		for field, take := range map[string]func(*Act){
			"handler": func(a *Act) { a.Handler = "" }, "key": func(a *Act) { a.Key = "" },
			"target": func(a *Act) { a.Target = "" }, "body": func(a *Act) { a.Body = nil },
			"reason": func(a *Act) { a.Reason = "" },
		} {
			less := good
			if take(&less); reflect.DeepEqual(less, good) {
				continue
			}
			if _, err := Decide(l.State, less, noon); codeOf(err) != InvalidRequest || fieldOf(err) != field {
				t.Errorf("%s without its %s: %v", kind, field, err)
			}
		}
	}
}

func fieldOf(err error) string {
	if refusal, refused := errors.AsType[*Error](err); refused {
		return refusal.Field
	}
	return ""
}

func TestActs(t *testing.T) {
	t.Parallel()
	with := func(change func(*Act)) Act {
		a := act("a", FailureSchedule)
		change(&a)
		return a
	}
	long := func(n int) string { return strings.Repeat("x", n) }
	object := func(n int) []byte { return []byte(`{"` + long(n-6) + `":1}`) }
	tell(t, []story{
		{
			name: "no id", code: InvalidRequest, field: "id",
			when: with(func(a *Act) { a.ID = ActID{} }),
		},
		{
			name: "no such kind", code: InvalidRequest, field: "kind",
			when: with(func(a *Act) { a.Kind = "failure.repair" }),
		},
		{
			name: "control character", code: InvalidRequest, field: "target",
			when: with(func(a *Act) { a.Target = "a\x00b" }),
		},
		{
			name: "no UTF-8", code: InvalidRequest, field: "handler",
			when: with(func(a *Act) { a.Handler = "a\xffb" }),
		},
		{
			name: "a long reason", when: with(func(a *Act) { a.Reason = strings.Repeat("é", MaxActReason) }),
		},
		{
			name: "a reason that is too long", code: InvalidRequest, field: "reason",
			when: with(func(a *Act) { a.Reason = long(MaxActReason + 1) }),
		},
		{
			name: "a reason of several lines", when: with(func(a *Act) { a.Reason = "a\tb\r\nc" }),
		},
		{
			name: "a long target", when: with(func(a *Act) { a.Target = long(MaxActName) }),
		},
		{
			name: "a target that is too long", code: InvalidRequest, field: "target",
			when: with(func(a *Act) { a.Target = long(MaxActName + 1) }),
		},
		{
			name: "a key that is too long", code: InvalidRequest, field: "key",
			when: with(func(a *Act) { a.Key = long(MaxActKey + 1) }),
		},
		{
			name: "a long body", when: with(func(a *Act) { a.Body = object(MaxActBody) }),
		},
		{
			name: "a body that is too long", code: InvalidRequest, field: "body",
			when: with(func(a *Act) { a.Body = object(MaxActBody + 1) }),
		},
		{
			name: "a body that is no object", code: InvalidRequest, field: "body",
			when: with(func(a *Act) { a.Body = []byte(`[1]`) }),
		},
		{
			name: "a body that is no UTF-8", code: InvalidRequest, field: "body",
			when: with(func(a *Act) { a.Body = []byte("{\"a\":\"\xff\"}") }),
		},
		{
			name: "on what is frozen", given: []Command{freeze(alice)},
			when: act("a", SequenceRetry), then: all(has(alice, 1000, 0), oneAct),
		},
	})
}

// oneAct is the check that there is one event, which has its act and nothing else.
func oneAct(t *testing.T, _ *ledger, events []Event) {
	t.Helper()
	if len(events) != 1 || events[0].Act == nil {
		t.Fatalf("%d events", len(events))
	}
	rest := events[0]
	rest.Act = nil
	if want := (Event{Seq: rest.Seq, Type: OperatorActed, Time: rest.Time}); !reflect.DeepEqual(rest, want) {
		t.Errorf("it also has %+v", rest)
	}
}

// Who replays a log does not take for an act what does something else.
func TestCheckRefusesWhatIsNoAct(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*Event){
		"without its act": func(e *Event) { e.Act = nil },
		"of another type": func(e *Event) { e.Type = HoldPlaced },
		"with a leg":      func(e *Event) { e.Legs = []Leg{{Account: alice}} },
		"with details":    func(e *Event) { e.Details = &Details{} },
		"with an opening": func(e *Event) { e.Opening = &Opening{} },
		"with a hold":     func(e *Event) { e.Hold = &Hold{} },
		"with money":      func(e *Event) { e.Transactions = []Transaction{{}} },
		"another reason":  func(e *Event) { e.Reason = "x" },
		"malformed":       func(e *Event) { e.Act.Kind = "x" },
		"too early":       func(e *Event) { e.Time = noon - 1 },
	} {
		l := newBank(t, nil)
		e := must(Decide(l.State, act("a", HandlerPause), noon))[0]
		if err := l.Check(&e); err != nil {
			t.Fatalf("a good act: %v", err)
		}
		spoil(&e)
		if err := l.Check(&e); err == nil {
			t.Errorf("%s: nothing is wrong", name)
		}
	}
}

// An act is told once, on a topic of its own, in the order of the handler that it is about.
func TestActsAreTold(t *testing.T) {
	t.Parallel()
	for _, kind := range ActKinds() {
		l, a := newBank(t, nil), act("a", kind)
		e := must(Decide(l.State, a, noon))[0]
		told := e.Changes()
		key := a.Handler
		if key == "" {
			key = a.ID.String()
		}
		if len(told) != 1 || told[0].Topic() != OpsTopic || told[0].Key() != key || told[0].Version() != 1 ||
			told[0].Name != "ops."+string(kind) || told[0].Seq != e.Seq || told[0].Time != noon || told[0].Act != e.Act {
			t.Errorf("%s is told as %+v", kind, told)
		}
		if k, ok := ParseActName(told[0].Name); !ok || k != kind {
			t.Errorf("%s is read as %q, %t", told[0].Name, k, ok)
		}
	}
	for _, name := range []string{"", "ops.", "failure.retry", "ops.failure.repair", "account.opened"} {
		if k, ok := ParseActName(name); ok || k != "" {
			t.Errorf("%q is read as %q", name, k)
		}
	}
	if topics := Topics(); !slices.Equal(topics, []Topic{
		"bankforge.accounts.v1", "bankforge.transactions.v1", "bankforge.ops.v1",
	}) {
		t.Errorf("the topics are %v; they are permanent", topics)
	}
}
