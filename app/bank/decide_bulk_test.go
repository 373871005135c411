package bank

import (
	"errors"
	"reflect"
	"testing"
)

// bulkStory is what becomes of a bulk: so many events, a code for each item, and the code of the whole.
type bulkStory struct {
	name    string
	given   []Command
	bulk    Bulk
	events  int
	refused []Code
	code    Code
	item    int // that the code is about
}

func TestBulk(t *testing.T) {
	t.Parallel()
	good := []Transfer{transfer("1", alice, bob, 600), transfer("2", bob, carol, 600), transfer("3", alice, carol, 400)}
	short := []Transfer{good[0], transfer("x", alice, bob, 401), transfer("y", alice, nowhere, 1), good[2]}
	huge := Refuse(AmountOutOfRange, "amount/amount", "an amount has at most 18 digits")
	for _, c := range []bulkStory{
		{"one upon the other", nil, Bulk{Items: good, Atomic: true}, 3, []Code{"", "", ""}, "", 0},
		{"the same, each for itself", nil, Bulk{Items: good}, 3, []Code{"", "", ""}, "", 0},
		{"each for itself", nil, Bulk{Items: short}, 2, []Code{"", InsufficientFunds, AccountNotFound, ""}, "", 0},
		{
			"one refusal refuses all", nil, Bulk{Items: short, Atomic: true},
			0, []Code{"", InsufficientFunds, "", ""}, InsufficientFunds, 1,
		},
		{
			"refused before, each for itself", nil, Bulk{Items: short, Refused: []*Error{0: huge, 3: huge}},
			1, []Code{AmountOutOfRange, "", AccountNotFound, AmountOutOfRange}, "", 0,
		},
		{
			"all refused before", nil, Bulk{Items: good, Refused: []*Error{huge, huge, huge}},
			0, []Code{AmountOutOfRange, AmountOutOfRange, AmountOutOfRange}, "", 0,
		},
		{
			"the first is one refused before", nil, Bulk{Items: short, Atomic: true, Refused: []*Error{0: huge, 3: nil}},
			0, []Code{AmountOutOfRange, "", "", ""}, AmountOutOfRange, 0,
		},
		{
			"the first is not the one refused before", nil, Bulk{Items: short, Atomic: true, Refused: []*Error{3: huge}},
			0, []Code{"", InsufficientFunds, "", ""}, InsufficientFunds, 1,
		},
		{
			"under review", []Command{review(alice, 500)}, Bulk{Items: []Transfer{good[0], good[2]}, Atomic: true},
			2, []Code{"", ""}, "", 0,
		},
		{"none", nil, Bulk{}, 0, nil, "", 0},
	} {
		t.Run(c.name, c.test)
	}
}

func (c bulkStory) test(t *testing.T) {
	t.Parallel()
	l := newBank(t, c.given)
	before := everything(l.State)
	events, refused, err := DecideBulk(l.State, c.bulk, noon)
	if err := same("decided", everything(l.State), before); err != nil {
		t.Error(err)
	}
	if len(events) != c.events || len(refused) != len(c.bulk.Items) {
		t.Fatalf("%d events and %d answers", len(events), len(refused))
	}
	for i, r := range refused {
		if r == nil && c.refused[i] != "" || r != nil && (r.Code != c.refused[i] || r.Item != i) {
			t.Errorf("item %d: %v, want %q", i, r, c.refused[i])
		}
	}
	if codeOf(err) != c.code || err != nil && !errors.Is(err, refused[c.item]) {
		t.Errorf("refused with %v, want %q", err, c.code)
	}
	again, errAgain := Decide(l.State, c.bulk, noon)
	if len(again) != len(events) || len(events) > 0 && !reflect.DeepEqual(again, events) || codeOf(errAgain) != c.code {
		t.Errorf("Decide says %v, %v; DecideBulk %v, %v", again, errAgain, events, err)
	}
	if err := l.take(events); err != nil {
		t.Error(err)
	}
}

func TestBulkItemsUnderReviewWait(t *testing.T) {
	t.Parallel()
	l := newBank(t, []Command{review(alice, 500)})
	items := []Transfer{transfer("1", alice, bob, 600), transfer("2", alice, bob, 400)}
	if err := l.take(must(Decide(l.State, Bulk{Items: items, Atomic: true}, noon))); err != nil {
		t.Fatal(err)
	}
	all(has(alice, 600, 600), has(bob, 400, 0))(t, l, nil)
}
