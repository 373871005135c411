package bank

import (
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every kind of event has its messages: the names are permanent, because consumers match them.
func TestChanges(t *testing.T) {
	t.Parallel()
	const a, x = "account.", "transaction."
	for _, c := range []struct {
		given []Command
		when  Command
		names string
	}{
		{nil, open(nowhere, ben, eur), a + "opened"},
		{nil, daily(bob, 1), a + "updated"},
		{nil, freeze(bob), a + "frozen"},
		{[]Command{freeze(bob)}, unfreeze(bob), a + "unfrozen"},
		{nil, closing(bob), a + "closed"},
		{nil, review(bob, 1), a + "review_set"},
		{nil, deposit("d", bob, 1), a + "debited " + a + "credited " + x + "posted"},
		{nil, transfer("t", alice, bob, 1), a + "debited " + a + "credited " + x + "posted"},
		{[]Command{review(alice, 0)}, transfer("t", alice, bob, 1), a + "held " + x + "pending_review"},
		{
			[]Command{review(alice, 0), transfer("t", alice, bob, 1)}, DecidePending{ID: txn("t"), Approve: true},
			a + "debited " + a + "credited " + x + "posted",
		},
		{
			[]Command{review(alice, 0), transfer("t", alice, bob, 1)}, DecidePending{ID: txn("t")},
			a + "released " + x + "rejected",
		},
		{nil, place("h", alice, 1), a + "held"},
		{[]Command{place("h", alice, 1)}, VoidHold{ID: held("h")}, a + "released"},
		{[]Command{place("h", alice, 1)}, capture("c", 0), a + "debited " + a + "credited " + x + "posted"},
		{
			nil, reverse("r", "first", 1),
			a + "debited " + a + "credited " + x + "posted " + x + "partially_reversed",
		},
		{nil, reverse("r", "first", 0), a + "debited " + a + "credited " + x + "posted " + x + "reversed"},
	} {
		l := newBank(t, c.given)
		l.bring(c.when)
		events := must(Decide(l.State, c.when, noon))
		changes := events[0].Changes()
		var names []string
		for i, ch := range changes {
			names = append(names, ch.Name)
			if ch.N != i || ch.Seq != events[0].Seq || ch.Time != noon || ch.Version() == 0 {
				t.Errorf("%T: %+v", c.when, ch)
			}
			account := strings.HasPrefix(ch.Key(), "acc_") || ch.Key() == "@cash:EUR"
			if account != (ch.Topic() == AccountsTopic) {
				t.Errorf("%T: %s on %s", c.when, ch.Key(), ch.Topic())
			}
		}
		if got := strings.Join(names, " "); got != c.names {
			t.Errorf("%T tells %q, want %q", c.when, got, c.names)
		}
	}
	due := newBank(t, []Command{place("h", alice, 1)})
	if got := Expire(due.State, noon+hour, 1)[0].Changes()[0].Name; got != a+"released" {
		t.Errorf("expiring tells %q", got)
	}
}

// The domain is pure: it imports nothing but these parts of the standard library, no clock and no randomness.
func TestImports(t *testing.T) {
	t.Parallel()
	allowed := strings.Fields("cmp container/heap errors fmt iter maps math slices strconv strings time unicode/utf8")
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		source, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		seen++
		for _, i := range source.Imports {
			path := must(strconv.Unquote(i.Path.Value))
			if !slices.Contains(allowed, path) || path == "time" && f.Name() != "time.go" {
				t.Errorf("%s imports %s", f.Name(), path)
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d files", seen)
	}
}
