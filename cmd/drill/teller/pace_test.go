package teller_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bankforge/cmd/drill/teller"
)

func TestThePaceIsOfCommandsThatWereAnswered(t *testing.T) {
	t.Parallel()
	f := &forged{answer: say(201, `{"id":"acc_1"}`)}
	o, _ := office(t, f)
	if err := o.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := len(o.Commands())
	if p := o.Pace(-1); p.Answered != before || p.Failed != 0 || p.Median <= 0 || p.Slow < p.Median {
		t.Errorf("of %d that were done: %s", before, p)
	}
	if p := o.Pace(o.Now()); p.Answered != 0 || p.Failed != 0 {
		t.Errorf("of nothing: %s", p)
	}
	since := o.Now()
	const each = 4
	ctx, stop := context.WithCancel(t.Context())
	var n atomic.Int64
	f.answer = func(_ int, w http.ResponseWriter) {
		switch k := n.Add(1); {
		case k <= each:
			say(201, `{"id":"txn_1"}`)(0, w)
		case k <= 2*each:
			say(422, problem(422, "insufficient_funds"))(0, w)
		case k <= 3*each:
			say(503, problem(503, "unavailable"))(0, w)
		default:
			stop()
			say(503, problem(503, "unavailable"))(0, w)
		}
	}
	o.Move(ctx, 1, time.Microsecond)
	if p := o.Pace(since); p.Answered == 0 || p.Failed == 0 || p.Answered+p.Failed != len(o.Commands())-before {
		t.Errorf("of %d commands of one client, some refused and some not done: %s", len(o.Commands())-before, p)
	}
}

func TestWhetherAnAnswerSaysThatTheBrokerHasIt(t *testing.T) {
	t.Parallel()
	f := &forged{answer: say(201, `{"id":"acc_1"}`)}
	o, _ := office(t, f)
	if err := o.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	since := o.Now()
	if _, said, err := o.Published(t.Context(), 0); said || err != nil {
		t.Errorf("it does not say so: %t, %v", said, err)
	}
	f.answer = func(_ int, w http.ResponseWriter) {
		w.Header().Set("Preference-Applied", "ack=published")
		say(201, `{"id":"txn_1"}`)(0, w)
	}
	took, said, err := o.Published(t.Context(), 0)
	if !said || err != nil || took <= 0 {
		t.Errorf("it says so: %t after %s, %v", said, took, err)
	}
	if all := o.Commands(); all[len(all)-1].Prefer == "" || o.Pace(since) != (teller.Pace{}) {
		t.Errorf("who waits for the broker counts for the pace: %s", o.Pace(since))
	}
	f.answer = say(503, problem(503, "unavailable"))
	if _, _, err := o.Published(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "is not-done") {
		t.Errorf("not done: %v", err)
	}
}
