package bank

import "testing"

var nowhere = named16[Account]("nowhere")

func TestDeposits(t *testing.T) {
	t.Parallel()
	inDollars := Deposit{Terms: terms("d"), Account: dollars, Amount: must(NewAmount(7, usd))}
	tell(t, []story{
		{name: "in", when: deposit("d", bob, 5), then: all(has(bob, 5, 0), has(CashAccount(eur), -1005, 0))},
		{name: "first of a currency opens its cash account", when: inDollars,
			then: func(t *testing.T, l *ledger, events []Event) {
				t.Helper()
				has(CashAccount(usd), -7, 0)(t, l, events)
				if len(events) != 2 || events[0].Type != AccountOpened || events[1].Legs[0].Account != CashAccount(usd) {
					t.Fatalf("%+v", events)
				}
				cash, _ := l.Account(CashAccount(usd))
				if cash.Type != Internal || !cash.Customer.IsZero() || cash.Version != 2 {
					t.Errorf("cash is %+v", cash)
				}
			}},
		{name: "transaction", when: deposit("d", bob, 5), then: func(t *testing.T, l *ledger, events []Event) {
			t.Helper()
			d := events[0].Transactions[0]
			if d.Kind != DepositKind || !d.From.IsZero() || d.To != bob || d.Version != 1 || d.Status != Posted ||
				d.Seq != l.Seq() || d.PostedAt != noon || d.CreatedAt != noon || d.ValueDate != noon.Date() {
				t.Errorf("%+v", d)
			}
			want := Entry{Account: bob, Customer: ben, Amount: 5, BalanceAfter: 5, Version: 2}
			if d.Entries[0].Account != CashAccount(eur) || d.Entries[1] != want {
				t.Errorf("entries %+v", d.Entries)
			}
		}},
		{name: "on a frozen account", given: []Command{freeze(bob)}, when: deposit("d", bob, 5), then: has(bob, 5, 0)},
		{
			name: "on a closed account", given: []Command{closing(bob)}, when: deposit("d", bob, 5),
			code: AccountIsClosed, field: "account_id",
		},
		{name: "nowhere", when: deposit("d", nowhere, 5), code: AccountNotFound, field: "account_id"},
		{name: "on cash", when: deposit("d", CashAccount(eur), 5), code: AccountNotFound, field: "account_id"},
		{name: "other currency", when: deposit("d", dollars, 5), code: CurrencyMismatch, field: "amount"},
		{name: "too much at last", when: deposit("d", alice, MaxAmount-999), code: AmountOutOfRange, field: "amount"},
		{name: "as much as fits", when: deposit("d", alice, MaxAmount-1000), then: has(alice, MaxAmount, 0)},
		{
			name: "more than cash can count",
			given: []Command{
				open(named16[Account]("1"), ben, eur), deposit("d1", named16[Account]("1"), MaxAmount),
				open(named16[Account]("2"), ben, eur), deposit("d2", named16[Account]("2"), MaxAmount),
				open(named16[Account]("3"), ben, eur), deposit("d3", named16[Account]("3"), MaxAmount),
				open(named16[Account]("4"), ben, eur), deposit("d4", named16[Account]("4"), MaxAmount),
				open(named16[Account]("5"), ben, eur), deposit("d5", named16[Account]("5"), MaxAmount),
				open(named16[Account]("6"), ben, eur), deposit("d6", named16[Account]("6"), MaxAmount),
				open(named16[Account]("7"), ben, eur), deposit("d7", named16[Account]("7"), MaxAmount),
				open(named16[Account]("8"), ben, eur), deposit("d8", named16[Account]("8"), MaxAmount),
				open(named16[Account]("9"), ben, eur), deposit("d9", named16[Account]("9"), MaxAmount),
			},
			when: deposit("d", bob, MaxAmount), code: AmountOutOfRange, field: "amount",
		},
	})
}

func TestWithdrawals(t *testing.T) {
	t.Parallel()
	by := func(who CustomerID, expected Version) Withdraw {
		w := withdraw("w", alice, 1)
		w.By, w.ExpectedVersion = who, expected
		return w
	}
	tell(t, []story{
		{
			name: "all there is", when: withdraw("w", alice, 1000),
			then: all(has(alice, 0, 0), has(CashAccount(eur), 0, 0)),
		},
		{name: "one more", when: withdraw("w", alice, 1001), code: InsufficientFunds, field: "amount"},
		{
			name: "into the overdraft", given: []Command{overdraft(bob, 5)}, when: withdraw("w", bob, 5),
			then: has(bob, -5, 0),
		},
		{
			name: "beyond the overdraft", given: []Command{overdraft(bob, 5)}, when: withdraw("w", bob, 6),
			code: InsufficientFunds, field: "amount",
		},
		{
			name: "what is held", given: []Command{place("h", alice, 600)}, when: withdraw("w", alice, 401),
			code: InsufficientFunds, field: "amount",
		},
		{
			name:  "after the overdraft was lowered",
			given: []Command{overdraft(bob, 5), withdraw("w0", bob, 5), overdraft(bob, 0)}, when: withdraw("w", bob, 1),
			code: InsufficientFunds, field: "amount",
		},
		{
			name: "from a frozen account", given: []Command{freeze(alice)}, when: withdraw("w", alice, 2000),
			code: AccountIsFrozen, field: "account_id",
		},
		{
			name: "from a closed account", given: []Command{closing(bob)}, when: withdraw("w", bob, 1),
			code: AccountIsClosed, field: "account_id",
		},
		{name: "nowhere", when: withdraw("w", nowhere, 1), code: AccountNotFound, field: "account_id"},
		{name: "from cash", when: withdraw("w", CashAccount(eur), 1), code: AccountNotFound, field: "account_id"},
		{name: "by the owner", when: by(anna, 2)},
		{name: "by another", when: by(ben, 9), code: AccountNotFound, field: "account_id"},
		{name: "other version", when: by(anna, 1), code: VersionMismatch, field: "expected_version"},
		{name: "other currency", when: withdraw("w", dollars, 1), code: CurrencyMismatch, field: "amount"},
	})
}

func TestTransfers(t *testing.T) {
	t.Parallel()
	by := func(who CustomerID, expected Version) Transfer {
		c := transfer("t", alice, bob, 10)
		c.By, c.ExpectedVersion = who, expected
		return c
	}
	tell(t, []story{
		{name: "over", when: transfer("t", alice, bob, 10), then: func(t *testing.T, l *ledger, events []Event) {
			t.Helper()
			all(has(alice, 990, 0), has(bob, 10, 0))(t, l, events)
			made := events[0].Transactions[0]
			if made.From != alice || made.To != bob || made.Entries[0].Amount != -10 || made.Entries[1].BalanceAfter != 10 {
				t.Errorf("%+v", made)
			}
		}},
		{name: "to a frozen account", given: []Command{freeze(bob)}, when: transfer("t", alice, bob, 10)},
		{name: "by the owner", when: by(anna, 2)},
		{name: "by another", when: by(ben, 0), code: AccountNotFound, field: "from_account_id"},
		{
			name: "from nowhere", when: transfer("t", nowhere, nowhere, 1),
			code: AccountNotFound, field: "from_account_id",
		},
		{name: "to nowhere", when: transfer("t", alice, nowhere, 1), code: AccountNotFound, field: "to_account_id"},
		{
			name: "to cash", when: transfer("t", alice, CashAccount(eur), 1),
			code: AccountNotFound, field: "to_account_id",
		},
		{name: "to itself", when: transfer("t", dollars, dollars, 1), code: SameAccount, field: "to_account_id"},
		{
			name: "from another currency", when: transfer("t", dollars, alice, 1),
			code: CurrencyMismatch, field: "amount",
		},
		{
			name: "to another currency", when: transfer("t", alice, dollars, 1),
			code: CurrencyMismatch, field: "to_account_id",
		},
		{
			name: "other version", given: []Command{freeze(alice)}, when: by(anna, 1),
			code: VersionMismatch, field: "expected_version",
		},
		{
			name: "from a frozen account", given: []Command{freeze(alice), closing(bob)}, when: by(anna, 0),
			code: AccountIsFrozen, field: "from_account_id",
		},
		{
			name: "to a closed account", given: []Command{closing(bob), daily(alice, 0)}, when: by(anna, 0),
			code: AccountIsClosed, field: "to_account_id",
		},
		{
			name: "from a closed account", given: []Command{closing(bob)}, when: transfer("t", bob, alice, 1),
			code: AccountIsClosed, field: "from_account_id",
		},
		{
			name: "beyond the day", given: []Command{daily(alice, 9)}, when: transfer("t", alice, bob, 5000),
			code: LimitExceeded, field: "amount",
		},
		{name: "beyond the funds", when: transfer("t", alice, bob, 1001), code: InsufficientFunds, field: "amount"},
		{
			name: "more than fits", given: []Command{deposit("d", bob, MaxAmount)}, when: transfer("t", alice, bob, 1),
			code: AmountOutOfRange, field: "amount",
		},
		{
			name: "with the id of another", given: []Command{review(alice, 1), transfer("t", alice, bob, 1)},
			when: transfer("t", alice, bob, 1), code: InvalidRequest, field: "id",
		},
	})
}

func TestDailyLimit(t *testing.T) {
	t.Parallel()
	most := []Command{daily(alice, 100), transfer("t1", alice, bob, 90)}
	more := func(minor int64) Command { return withdraw("w", alice, minor) }
	tell(t, []story{
		{name: "what remains", given: most, when: more(10)},
		{name: "more than remains", given: most, when: more(11), code: LimitExceeded, field: "amount"},
		{name: "the next day", given: most, when: more(100), after: 12 * hour},
		{
			name: "the same day, late", given: most, when: more(11), after: 12*hour - 1,
			code: LimitExceeded, field: "amount",
		},
		{name: "holds count", given: most, when: place("h", alice, 11), code: LimitExceeded, field: "amount"},
		{
			name: "voided holds give nothing back", when: more(100), code: LimitExceeded, field: "amount",
			given: []Command{daily(alice, 100), place("h", alice, 1), VoidHold{ID: held("h")}},
		},
		{
			name: "expired holds give nothing back", when: more(100), after: 2 * hour, code: LimitExceeded, field: "amount",
			given: []Command{daily(alice, 100), place("h", alice, 1)},
		},
		{
			name:  "captures do not count",
			given: []Command{daily(alice, 100), place("h", alice, 60), capture("c", 60)}, when: more(40),
		},
		{
			name:  "pending transfers count, rejected ones still",
			given: []Command{review(alice, 60), daily(alice, 100), transfer("t1", alice, bob, 60), DecidePending{ID: txn("t1")}},
			when:  more(41), code: LimitExceeded, field: "amount",
		},
		{
			name: "approvals do not count", when: more(40),
			given: []Command{
				review(alice, 60), daily(alice, 100),
				transfer("t1", alice, bob, 60), DecidePending{ID: txn("t1"), Approve: true},
			},
		},
		{
			name: "reversals do not count", when: reverse("r", "first", 0),
			given: []Command{daily(alice, 0)}, then: has(alice, 0, 0),
		},
		{name: "credits do not count", given: []Command{daily(alice, 0)}, when: deposit("d", alice, 1)},
		{
			name: "zero is none at all", given: []Command{daily(alice, 0)}, when: more(1),
			code: LimitExceeded, field: "amount",
		},
		{
			name:  "lowered below what is used",
			given: plus(most, daily(alice, 50)), when: more(1), code: LimitExceeded, field: "amount",
		},
	})
}

// What is debited in a day may be more than int64 holds, as long as there is no limit.
func TestDailyCountStaysAtItsEnd(t *testing.T) {
	t.Parallel()
	l := newLedger()
	given := []Command{open(alice, anna, eur), open(bob, ben, eur), deposit("d", alice, MaxAmount)}
	for range 10 {
		n := string(rune('a' + len(given)))
		given = append(given, transfer("to"+n, alice, bob, MaxAmount), transfer("fro"+n, bob, alice, MaxAmount))
	}
	for _, c := range append(given, daily(alice, MaxAmount)) {
		if err := l.take(must(Decide(l.State, c, noon))); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := l.Account(alice)
	if a.DebitedToday != 1<<63-1 {
		t.Errorf("%d debited", a.DebitedToday)
	}
	if _, err := Decide(l.State, withdraw("w", alice, 1), noon); codeOf(err) != LimitExceeded {
		t.Errorf("after 10 times the largest amount: %v", err)
	}
	if _, err := Decide(l.State, withdraw("w", alice, MaxAmount), noon+24*hour); err != nil {
		t.Errorf("the next day: %v", err)
	}
}
