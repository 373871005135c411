package bank

import (
	"runtime"
	"slices"
	"strconv"
	"testing"
)

func TestSettleForgetsWhatHasEnded(t *testing.T) {
	t.Parallel()
	l := newBank(t, []Command{place("h", alice, 1), place("other", alice, 1), review(alice, 50)})
	if _, ok := l.Transaction(txn("first")); ok {
		t.Error("a posted transaction was kept")
	}
	small, big := transfer("small", alice, bob, 1), transfer("big", alice, bob, 50)
	for _, c := range []Command{VoidHold{ID: held("h")}, small, big} {
		for _, e := range must(Decide(l.State, c, noon)) {
			l.Evolve(e)
		}
	}
	check := func(when string, ended bool) {
		_, h := l.Hold(held("h"))
		_, posted := l.Transaction(small.ID)
		_, active := l.Hold(held("other"))
		_, pending := l.Transaction(big.ID)
		if h != ended || posted != ended || !active || !pending {
			t.Errorf("%s: voided hold %v, posted %v; active hold %v, pending %v", when, h, posted, active, pending)
		}
	}
	check("before", true)
	l.Settle()
	check("after", false)
}

func TestBring(t *testing.T) {
	t.Parallel()
	l := newBank(t, []Command{place("h", alice, 1), review(alice, 50), transfer("t", alice, bob, 50)})
	mark := l.Mark()
	l.Bring(l.transactions[txn("first")])
	ended := Hold{ID: held("old"), Account: alice, Amount: euros(1), Captured: 1, Status: HoldCaptured, Version: 2}
	l.BringHold(ended)
	if got, ok := l.Hold(held("old")); !ok || got != ended {
		t.Errorf("brought %+v", got)
	}
	if got, ok := l.Transaction(txn("first")); !ok || got.Version != 1 {
		t.Errorf("brought %+v", got)
	}
	l.Rollback(mark)
	if _, ok := l.Transaction(txn("first")); ok {
		t.Error("what was brought in outlives the Rollback")
	}

	// What is out of date does not replace, nor bring back, what the state knows better.
	for _, c := range []Command{VoidHold{ID: held("h")}, DecidePending{ID: txn("t")}} {
		for _, e := range must(Decide(l.State, c, noon)) {
			l.Evolve(e)
		}
	}
	l.Bring(l.transactions[txn("t")])
	if got, _ := l.Transaction(txn("t")); got.Status != Rejected {
		t.Errorf("replaced by %+v", got)
	}
	l.Settle()
	l.Bring(l.transactions[txn("t")])
	l.BringHold(Hold{ID: held("h"), Account: alice, Amount: euros(1), Remaining: 1, Status: HoldActive, Version: 1})
	if _, ok := l.Transaction(txn("t")); ok {
		t.Error("a pending transfer came back")
	}
	if _, ok := l.Hold(held("h")); ok {
		t.Error("an active hold came back")
	}
}

func TestRollbackBeyondSettlePanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("it did not")
		}
	}()
	s := NewState()
	mark := s.Mark()
	s.Settle()
	s.Rollback(mark)
}

func TestMarksNest(t *testing.T) {
	t.Parallel()
	l := newBank(t, nil)
	decide := func(c Command) {
		for _, e := range must(Decide(l.State, c, l.now)) {
			l.Evolve(e)
		}
	}
	outside := everything(l.State)
	outer := l.Mark()
	decide(place("h", alice, 5))
	decide(ChangeAccount{ID: alice, ExternalID: new("a")})
	inside := everything(l.State)
	inner := l.Mark()
	decide(capture("c", 0))
	decide(ChangeAccount{ID: alice, ExternalID: new("")})
	decide(open(nowhere, ben, eur))
	l.Rollback(inner)
	if err := same("inner", everything(l.State), inside); err != nil {
		t.Error(err)
	}
	decide(VoidHold{ID: held("h")})
	l.Rollback(outer)
	if err := same("outer", everything(l.State), outside); err != nil {
		t.Error(err)
	}
}

func TestRestoreRefusesWhatIsNoState(t *testing.T) {
	t.Parallel()
	l := newBank(t, []Command{ChangeAccount{ID: alice, ExternalID: new("a")}})
	accounts := slices.Collect(l.Accounts())
	twin := accounts[0]
	twin.ID = nowhere
	for name, accounts := range map[string][]Account{
		"an account twice":      append(slices.Clone(accounts), accounts[1]),
		"an external id twice":  append(slices.Clone(accounts), twin),
		"an account is missing": accounts[1:],
	} {
		if _, err := RestoreState(l.Seq(), l.Time(), slices.Values(accounts), l.Holds(), l.Pending()); err == nil {
			t.Errorf("%s: it was restored", name)
		}
	}
}

// Events from a log that is not ours must not stop the program: Check is there to tell what is wrong.
func TestEvolveNeverFails(t *testing.T) {
	t.Parallel()
	s := NewState()
	s.Evolve(Event{Seq: 7, Time: noon, Legs: []Leg{{Account: alice, Customer: anna, Currency: eur, Amount: 5}}})
	s.Evolve(Event{Seq: 9})
	if a, ok := s.Account(alice); !ok || a.Customer != anna || s.Seq() != 9 {
		t.Errorf("%+v at %d", a, s.Seq())
	}
	if _, ok := s.AccountByExternalID(""); ok {
		t.Error("no external id found an account")
	}
}

// An account takes at most 300 bytes of heap beside its ids.
//
//nolint:paralleltest // it measures the heap
func TestAccountsAreSmall(t *testing.T) {
	const n = 50_000
	events := make([]Event, n)
	for i := range events {
		id := MakeID[Account]([16]byte{byte(i), byte(i >> 8), byte(i >> 16)})
		events[i] = must(Decide(NewState(), open(id, anna, eur), noon))[0]
		events[i].Seq = Seq(i + 1)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := NewState()
	for i := range events {
		s.Evolve(events[i])
		s.Settle()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; each > 300 || each < 100 {
		t.Errorf("%d bytes an account", each)
	} else {
		t.Logf("%d bytes an account", each)
	}
	if s.Len() != n {
		t.Errorf("%d accounts", s.Len())
	}
	runtime.KeepAlive(events)
}

// BenchmarkTransfer is what the decider does for each transfer, without its log.
func BenchmarkTransfer(b *testing.B) {
	s := NewState()
	take := func(c Command) {
		events, err := Decide(s, c, noon)
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range events {
			s.Evolve(e)
		}
	}
	for i := range 1000 {
		id := named16[Account](strconv.Itoa(i))
		take(open(id, anna, eur))
		take(deposit("d"+strconv.Itoa(i), id, 1e12))
	}
	s.Settle()
	transfers := make([]Transfer, 1000)
	for i := range transfers {
		from, to := named16[Account](strconv.Itoa(i)), named16[Account](strconv.Itoa((i+7)%1000))
		transfers[i] = transfer(strconv.Itoa(i), from, to, 1)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		take(transfers[i%1000])
		if i++; i%256 == 0 {
			s.Settle()
		}
	}
}
