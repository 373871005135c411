package app_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
)

// grown is a house where Ann's account gets 1 in each of ten hours, and a label in the fifth.
func grown(t *testing.T) (house, time.Time) {
	t.Helper()
	h := newHouse(t)
	begin := time.Now()
	for i := 1; i <= 10; i++ {
		pass(time.Hour)
		cmd := bank.Deposit{Account: h.anns, Amount: euros(1)}
		if _, err := h.Deposit(t.Context(), call(teller, fmt.Sprint("hour", i)), cmd); err != nil {
			t.Fatal(err)
		}
		if label := "rainy days"; i == 5 {
			cmd := bank.ChangeAccount{ID: h.anns, Label: &label}
			if _, err := h.ChangeAccount(t.Context(), call(teller, "label"), cmd); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.views.catchUp(t)
	return h, begin
}

func TestAnAccountAsItWas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, begin := grown(t)
		defer shut(t, h.ledger)
		for _, c := range []struct {
			at      time.Duration
			balance int64
			version bank.Version
			label   bool
		}{
			{0, 1000, 2, false},
			{time.Hour - time.Microsecond, 1000, 2, false},
			{time.Hour, 1001, 3, false}, // at that very time
			{4*time.Hour + time.Minute, 1004, 6, false},
			{5 * time.Hour, 1005, 8, true},
			{1000 * time.Hour, 1010, 13, true},
		} {
			got, err := h.AccountAt(t.Context(), h.ann, h.anns, bank.TimeOf(begin.Add(c.at)))
			if err != nil || got.Balance != c.balance || got.Version != c.version || (got.Details != nil) != c.label {
				t.Errorf("at %v: %+v, %v", c.at, got, err)
			}
			same, err := h.AccountAtVersion(t.Context(), h.ann, h.anns, c.version)
			if err != nil || same.Balance != c.balance || same.OpenedAt != bank.TimeOf(begin) ||
				same.Customer != h.ann.Customer {
				t.Errorf("version %d: %+v, %v", c.version, same, err)
			}
		}
		now, _, err := h.Account(t.Context(), h.ann, h.anns, 0)
		if err != nil {
			t.Fatal(err)
		}
		last, err := h.AccountAtVersion(t.Context(), h.ann, h.anns, now.Version)
		if err != nil || last.AccountState != now.AccountState || last.UpdatedAt != now.UpdatedAt ||
			last.Details.Label != now.Details.Label || last.Opening != now.Opening {
			t.Errorf("the last version: %+v, %v; now: %+v", last, err, now)
		}
		if _, err := h.AccountAt(t.Context(), h.ann, h.anns, bank.TimeOf(begin)-1); codeOf(err) != bank.NotFound {
			t.Errorf("before its opening: %v", err)
		}
		for _, v := range []bank.Version{0, 14, 1 << 62} {
			if _, err := h.AccountAtVersion(t.Context(), h.ann, h.anns, v); codeOf(err) != bank.NotFound {
				t.Errorf("version %d: %v", v, err)
			}
		}
		cash, err := h.AccountAt(t.Context(), teller, bank.CashAccount(now.Currency), bank.TimeOf(time.Now()))
		if err != nil || cash.Balance != -3010 || cash.Type != bank.Internal {
			t.Errorf("cash: %+v, %v", cash, err)
		}
	})
}

func TestStatements(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, begin := grown(t)
		defer shut(t, h.ledger)
		for _, c := range []struct {
			from, to         time.Duration // 0: open
			opening, closing int64
			entries          int
		}{
			{0, 0, 0, 1010, 11},
			{time.Hour, 0, 1000, 1010, 10},
			{time.Hour, 3 * time.Hour, 1000, 1002, 2}, // from ≤ t < to
			{0, 2 * time.Hour, 0, 1001, 2},
			{90 * time.Minute, 100 * time.Minute, 1001, 1001, 0},
			{100 * time.Hour, 0, 1010, 1010, 0},
		} {
			at := func(d time.Duration) bank.Time {
				if d == 0 {
					return 0
				}
				return bank.TimeOf(begin.Add(d))
			}
			s, fresh, err := h.Statement(t.Context(), h.ann, h.anns, at(c.from), at(c.to))
			if err != nil || fresh.Stale || s.Opening != c.opening || s.Closing != c.closing {
				t.Errorf("%v to %v: %+v, %v", c.from, c.to, s, err)
				continue
			}
			sum, n, last := s.Opening, 0, bank.Version(0)
			for e, err := range s.Entries {
				if err != nil || e.Version <= last {
					t.Fatalf("%+v, %v", e, err)
				}
				n, sum, last = n+1, sum+e.Amount, e.Version
			}
			if n != c.entries || sum != s.Closing {
				t.Errorf("%v to %v: %d entries, from %d to %d", c.from, c.to, n, s.Opening, sum)
			}
		}
		opened := bank.TimeOf(begin)
		for _, from := range []bank.Time{0, opened - 9, opened + 9_000_000_000} { // the last is behind the end
			s, fresh, err := h.Statement(t.Context(), h.ann, h.anns, from, opened-1)
			if err != nil || fresh.Stale || s.Opening != 0 || s.Closing != 0 || s.Account.Version != 1 ||
				s.Account.OpenedAt != opened {
				t.Errorf("before its opening: %+v, %v", s, err)
				continue
			}
			for e, err := range s.Entries {
				t.Errorf("before its opening: %+v, %v", e, err)
			}
		}
		for _, to := range []bank.Time{0, opened - 1} {
			if _, _, err := h.Statement(t.Context(), h.bob, h.anns, 0, to); codeOf(err) != bank.NotFound {
				t.Errorf("another's: %v", err)
			}
			if _, _, err := h.Statement(t.Context(), teller, accountID(7), 0, to); codeOf(err) != bank.NotFound {
				t.Errorf("one that does not exist: %v", err)
			}
		}
	})
}

// A statement that is read while the account moves on, over several pages.
func TestAStatementStaysConsistent(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	t.Cleanup(func() { shut(t, h.ledger) })
	deposit := func(n int) {
		cmd := bank.Deposit{Account: h.anns, Amount: euros(1)}
		if _, err := h.Deposit(t.Context(), call(teller, fmt.Sprint("n", n)), cmd); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 1200 {
		deposit(n)
	}
	h.views.catchUp(t)
	s, _, err := h.Statement(t.Context(), h.ann, h.anns, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	sum, n := s.Opening, 0
	for e, err := range s.Entries {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 600 {
			deposit(5000)
			h.views.catchUp(t)
		}
		sum += e.Amount
	}
	if sum != s.Closing || n != 1201 {
		t.Fatalf("%d entries come to %d; it closes with %d", n, sum, s.Closing)
	}
}

func TestEventsOfAnAccount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, begin := grown(t)
		defer shut(t, h.ledger)
		for name, c := range map[string]struct {
			filter      app.EventFilter
			n           int
			first, last bank.Version
		}{
			"all":                  {app.EventFilter{Limit: 99, Ascending: true}, 13, 1, 13},
			"newest first":         {app.EventFilter{Limit: 99}, 13, 13, 1},
			"a page":               {app.EventFilter{Limit: 5, Ascending: true}, 5, 1, 5},
			"the next page":        {app.EventFilter{Limit: 5, Ascending: true, AfterVersion: 5}, 5, 6, 10},
			"the page before":      {app.EventFilter{Limit: 5, AfterVersion: 6}, 5, 5, 1},
			"behind the end":       {app.EventFilter{Limit: 5, Ascending: true, AfterVersion: 13}, 0, 0, 0},
			"before the beginning": {app.EventFilter{Limit: 5, AfterVersion: 1}, 0, 0, 0},
			"a time": {app.EventFilter{
				Limit: 99, Ascending: true,
				From: bank.TimeOf(begin.Add(time.Hour)), To: bank.TimeOf(begin.Add(3 * time.Hour)),
			}, 2, 3, 4},
			"a time, newest first": {app.EventFilter{
				Limit: 99, From: bank.TimeOf(begin.Add(time.Hour)), To: bank.TimeOf(begin.Add(3 * time.Hour)),
			}, 2, 4, 3},
			"the future": {app.EventFilter{Limit: 9, From: bank.TimeOf(begin.Add(99 * time.Hour))}, 0, 0, 0},
			"the past":   {app.EventFilter{Limit: 9, To: bank.TimeOf(begin.Add(-time.Hour))}, 0, 0, 0},
		} {
			c.filter.Account = h.anns
			got, err := h.AccountEvents(t.Context(), h.ann, c.filter)
			if err != nil || len(got) != c.n {
				t.Errorf("%s: %d events, %v", name, len(got), err)
				continue
			}
			version := func(r app.Recorded) bank.Version { return r.Legs[len(r.Legs)-1].After.Version }
			if c.n > 0 && (version(got[0]) != c.first || version(got[c.n-1]) != c.last) {
				t.Errorf("%s: from %d to %d", name, version(got[0]), version(got[c.n-1]))
			}
		}
		head, at, err := h.Head(t.Context())
		if err != nil || head.Seq != h.ledger.Committed() || at != bank.TimeOf(time.Now()) {
			t.Errorf("%+v, %v, %v", head, at, err)
		}
		events, err := h.Events(t.Context(), head.Seq-2, 99)
		if err != nil || len(events) != 2 || events[1].Seq != head.Seq || events[1].Chain != head.Chain {
			t.Errorf("%d events, %v", len(events), err)
		}
	})
}

// A command's events are found by its correlation id, wherever they are in the log if a transaction or somebody else
// knows of them.
func TestTraced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _ := grown(t)
		defer shut(t, h.ledger)
		by := func(key, correlation string) app.Call {
			c := call(teller, key)
			c.CorrelationID = correlation
			return c
		}
		moved, err := h.Deposit(t.Context(), by("d", "cor-1"), bank.Deposit{Account: h.anns, Amount: euros(1)})
		if err != nil {
			t.Fatal(err)
		}
		label := "cor-1 is not its own"
		named, err := h.ChangeAccount(t.Context(), by("l", "cor-2"), bank.ChangeAccount{ID: h.anns, Label: &label})
		if err != nil {
			t.Fatal(err)
		}
		h.views.catchUp(t)
		seqs := func(correlation string, also ...bank.Seq) string {
			found, from, err := h.Traced(t.Context(), correlation, also)
			if err != nil {
				t.Fatal(err)
			}
			out := fmt.Appendf(nil, "from %d:", from)
			for _, r := range found {
				if r.Meta.CorrelationID != correlation {
					t.Errorf("%s: %+v", correlation, r.Meta)
				}
				out = fmt.Append(out, " ", r.Seq)
			}
			return string(out)
		}
		all := fmt.Sprint("from 1: ", moved.Seq)
		for range 2 {
			if got := seqs("cor-1", moved.Seq, moved.Seq, 0); got != all {
				t.Errorf("%s, want %s", got, all)
			}
			if got, want := seqs("cor-1"), all; got != want {
				t.Errorf("%s, want %s", got, want)
			}
			h.LookBack(1) // it is behind that, and found by its transaction
			all = fmt.Sprint("from ", named.Seq, ": ", moved.Seq)
		}
		if got, want := seqs("cor-2"), fmt.Sprint("from ", named.Seq, ": ", named.Seq); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		h.LookBack(0)
		if got, want := seqs("cor-2"), fmt.Sprint("from ", named.Seq+1, ":"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if got, want := seqs("cor-2", named.Seq, moved.Seq), fmt.Sprint("from ", named.Seq+1, ": ", named.Seq); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}
