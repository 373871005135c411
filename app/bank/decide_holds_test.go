package bank

import "testing"

func TestPlacingHolds(t *testing.T) {
	t.Parallel()
	until := func(at Time) PlaceHold {
		c := place("h", alice, 1)
		c.ExpiresAt = at
		return c
	}
	by := func(who CustomerID, expected Version) PlaceHold {
		c := place("h", alice, 1)
		c.By, c.ExpectedVersion = who, expected
		return c
	}
	tell(t, []story{
		{name: "placed", when: place("h", alice, 300), then: func(t *testing.T, l *ledger, events []Event) {
			t.Helper()
			has(alice, 1000, 300)(t, l, events)
			want := Hold{
				ID: held("h"), Account: alice, Customer: anna, Amount: euros(300), Remaining: 300, Status: HoldActive,
				CreatedAt: noon, ExpiresAt: noon + hour, Version: 1,
			}
			if h, _ := l.Hold(held("h")); h != want || events[0].Type != HoldPlaced || events[0].Legs[0].Amount != 0 {
				t.Errorf("%+v, want %+v", h, want)
			}
			if at, ok := l.NextExpiry(); !ok || at != noon+hour {
				t.Errorf("next expiry %v, %v", at, ok)
			}
		}},
		{name: "more than available", when: place("h", alice, 1001), code: InsufficientFunds, field: "amount"},
		{
			name: "beside another", given: []Command{place("h0", alice, 600)}, when: place("h", alice, 401),
			code: InsufficientFunds, field: "amount",
		},
		{name: "of the overdraft", given: []Command{overdraft(bob, 5)}, when: place("h", bob, 5), then: has(bob, 0, 5)},
		{name: "already over", when: until(noon), code: InvalidRequest, field: "expires_at"},
		{name: "for a week, when nothing is said", when: until(0), then: func(t *testing.T, l *ledger, _ []Event) {
			t.Helper()
			if at, ok := l.NextExpiry(); !ok || at != noon+usualHold {
				t.Errorf("next expiry %v, %v", at, ok)
			}
		}},
		{name: "for 31 days", when: until(noon + maxHold)},
		{name: "for longer", when: until(noon + maxHold + 1), code: InvalidRequest, field: "expires_at"},
		{
			name: "frozen", given: []Command{freeze(alice)}, when: place("h", alice, 1),
			code: AccountIsFrozen, field: "account_id",
		},
		{
			name: "closed", given: []Command{closing(bob)}, when: place("h", bob, 1),
			code: AccountIsClosed, field: "account_id",
		},
		{name: "nowhere", when: place("h", nowhere, 1), code: AccountNotFound, field: "account_id"},
		{name: "on cash", when: place("h", CashAccount(eur), 1), code: AccountNotFound, field: "account_id"},
		{name: "other currency", when: place("h", dollars, 1), code: CurrencyMismatch, field: "amount"},
		{name: "by the owner", when: by(anna, 2)},
		{name: "by another", when: by(ben, 0), code: AccountNotFound, field: "account_id"},
		{name: "other version", when: by(anna, 1), code: VersionMismatch, field: "expected_version"},
		{
			name: "with the id of another", given: []Command{place("h", alice, 1)}, when: place("h", alice, 1),
			code: InvalidRequest, field: "id",
		},
	})
}

func captureTo(to AccountID, minor int64) Capture {
	c := capture("c", minor)
	c.To = to
	return c
}

func captureBy(who CustomerID, expected Version) Capture {
	c := capture("c", 1)
	c.By, c.ExpectedVersion = who, expected
	return c
}

func TestCaptures(t *testing.T) {
	t.Parallel()
	placed := []Command{place("h", alice, 300)}
	part := func(name string, minor int64) Capture {
		c := capture(name, minor)
		c.Final = false
		return c
	}
	status := func(want HoldStatus, captured, remaining int64) func(*testing.T, *ledger, []Event) {
		return func(t *testing.T, _ *ledger, events []Event) {
			t.Helper()
			h := events[len(events)-1].Hold
			if h.Status != want || h.Captured != captured || h.Remaining != remaining {
				t.Errorf("hold %+v", h)
			}
		}
	}
	tell(t, []story{
		{
			name: "all, out", given: placed, when: capture("c", 0),
			then: all(has(alice, 700, 0), has(CashAccount(eur), -700, 0), status(HoldCaptured, 300, 0)),
		},
		{
			name: "all, to an account", given: placed, when: captureTo(bob, 300),
			then: all(has(alice, 700, 0), has(bob, 300, 0)),
		},
		{
			name: "a part, the rest is released", given: placed, when: captureTo(bob, 100),
			then: all(has(alice, 900, 0), has(bob, 100, 0), status(HoldCaptured, 100, 0)),
		},
		{
			name: "a part, the rest stays held", given: placed, when: part("c", 100),
			then: all(has(alice, 900, 200), status(HoldActive, 100, 200)),
		},
		{
			name: "the last part", given: plus(placed, part("c1", 100)), when: part("c", 0),
			then: all(has(alice, 700, 0), status(HoldCaptured, 300, 0)),
		},
		{
			name: "more than the last part", given: plus(placed, part("c1", 100)), when: part("c", 201),
			code: AmountExceedsRemaining, field: "amount",
		},
		{name: "transaction", given: placed, when: captureTo(bob, 300), then: func(t *testing.T, _ *ledger, events []Event) {
			t.Helper()
			c := events[0].Transactions[0]
			if c.Kind != CaptureKind || c.Hold != held("h") || c.From != alice || c.To != bob || c.Version != 1 {
				t.Errorf("%+v", c)
			}
		}},
		{name: "frozen since", given: plus(placed, freeze(alice)), when: captureTo(bob, 300), then: has(bob, 300, 0)},
		{
			name: "to a frozen account", given: plus(placed, freeze(bob)), when: captureTo(bob, 300),
			then: has(bob, 300, 0),
		},
		{
			name:  "overdraft lowered since",
			given: []Command{overdraft(bob, 300), place("h", bob, 300), overdraft(bob, 0)}, when: captureTo(alice, 300),
			then: has(bob, -300, 0),
		},
		{name: "by the owner", given: placed, when: captureBy(anna, 3)},
		{name: "just before", given: placed, when: capture("c", 0), after: hour - 1},
	})
}

func TestRefusedCaptures(t *testing.T) {
	t.Parallel()
	placed := []Command{place("h", alice, 300)}
	inDollars := capture("c", 0)
	inDollars.Amount = must(NewAmount(1, usd))
	tell(t, []story{
		{
			name: "more than remains", given: placed, when: capture("c", 301),
			code: AmountExceedsRemaining, field: "amount",
		},
		{
			name: "to a closed account", given: plus(placed, closing(bob)), when: captureTo(bob, 300),
			code: AccountIsClosed, field: "to_account_id",
		},
		{name: "nowhere", given: placed, when: captureTo(nowhere, 1), code: AccountNotFound, field: "to_account_id"},
		{
			name: "to cash by name", given: placed, when: captureTo(CashAccount(eur), 1),
			code: AccountNotFound, field: "to_account_id",
		},
		{name: "to itself", given: placed, when: captureTo(alice, 1), code: SameAccount, field: "to_account_id"},
		{
			name: "to another currency", given: placed, when: captureTo(dollars, 1),
			code: CurrencyMismatch, field: "to_account_id",
		},
		{name: "in another currency", given: placed, when: inDollars, code: CurrencyMismatch, field: "amount"},
		{
			name: "more than fits", given: plus(placed, deposit("d", bob, MaxAmount)), when: captureTo(bob, 1),
			code: AmountOutOfRange, field: "amount",
		},
		{name: "by another", given: placed, when: captureBy(ben, 0), code: NotFound},
		{name: "other version", given: placed, when: captureBy(anna, 1), code: VersionMismatch, field: "expected_version"},
		{name: "no such hold", when: capture("c", 0), code: NotFound},
		{
			name: "captured", given: plus(placed, capture("c1", 1)), when: capture("c", 0),
			code: HoldNotActive,
		},
		{
			name: "voided", given: plus(placed, VoidHold{ID: held("h")}), when: capture("c", 0),
			code: HoldNotActive,
		},
		{name: "expired", given: placed, when: capture("c", 0), after: hour, code: HoldNotActive},
	})
}

func TestVoidingHolds(t *testing.T) {
	t.Parallel()
	placed := []Command{place("h", alice, 300)}
	tell(t, []story{
		{name: "voided", given: placed, when: VoidHold{ID: held("h")}, then: func(t *testing.T, l *ledger, events []Event) {
			t.Helper()
			has(alice, 1000, 0)(t, l, events)
			h := events[0].Hold
			if h.Status != HoldVoided || h.Remaining != 0 || h.Version != 2 || events[0].Type != HoldVoidedEvent {
				t.Errorf("%+v", h)
			}
			if _, ok := l.NextExpiry(); ok {
				t.Error("it still expires")
			}
		}},
		{name: "frozen since", given: plus(placed, freeze(alice)), when: VoidHold{ID: held("h")}},
		{name: "by the owner", given: placed, when: VoidHold{ID: held("h"), By: anna}},
		{name: "by another", given: placed, when: VoidHold{ID: held("h"), By: ben}, code: NotFound},
		{name: "no such hold", when: VoidHold{ID: held("h")}, code: NotFound},
		{
			name:  "voided twice",
			given: plus(placed, VoidHold{ID: held("h")}), when: VoidHold{ID: held("h")},
			code: HoldNotActive,
		},
		{name: "expired", given: placed, when: VoidHold{ID: held("h")}, after: hour, code: HoldNotActive},
	})
}

// A hold that is due is over, also when nobody has called Expire.
func TestDueHoldsAreNotActive(t *testing.T) {
	t.Parallel()
	l := newLedger()
	for _, c := range []Command{open(alice, anna, eur), deposit("d", alice, 9), place("h", alice, 9)} {
		if err := l.take(must(Decide(l.State, c, noon))); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []Command{capture("c", 0), VoidHold{ID: held("h")}} {
		if _, err := Decide(l.State, c, noon+hour); codeOf(err) != HoldNotActive {
			t.Errorf("%T: %v", c, err)
		}
	}
}

func TestExpire(t *testing.T) {
	t.Parallel()
	l := newLedger()
	given := []Command{open(alice, anna, eur), open(bob, ben, eur), deposit("d", alice, 100), deposit("e", bob, 100)}
	for i, name := range []string{"c", "a", "d", "b"} {
		c := place(name, alice, 10)
		if name == "d" {
			c.Account = bob
		}
		c.ExpiresAt = noon + Time(10-i/2)*hour // a and c together, after b and d together
		given = append(given, c)
	}
	for _, c := range given {
		if err := l.take(must(Decide(l.State, c, noon))); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(Expire(l.State, noon+9*hour-1, 10)); n != 0 {
		t.Errorf("%d expire too early", n)
	}
	if at, _ := l.NextExpiry(); at != noon+9*hour {
		t.Errorf("next expiry is %d", at)
	}
	first := Expire(l.State, noon+11*hour, 3)
	if len(first) != 3 || len(l.due.queue) != 4 {
		t.Fatalf("%d expire, %d wait; want 3 of 4, and the state as it was", len(first), len(l.due.queue))
	}
	if err := l.take(first); err != nil {
		t.Fatal(err)
	}
	if err := l.take(Expire(l.State, noon+11*hour, 3)); err != nil {
		t.Fatal(err)
	}
	var order []HoldID
	for _, e := range l.log[len(l.log)-4:] {
		order = append(order, e.Hold.ID)
	}
	want := [4]HoldID{held("b"), held("d"), held("a"), held("c")}
	if [4]HoldID(order) != want {
		t.Errorf("they expire as %v, want %v", order, want)
	}
	all(has(alice, 100, 0), has(bob, 100, 0))(t, l, nil)
	if _, ok := l.NextExpiry(); ok {
		t.Error("one is left")
	}
}
