package bank

import (
	"maps"
	"testing"
)

func TestOpeningAccounts(t *testing.T) {
	t.Parallel()
	other := named16[Account]("other")
	tagged := func(id AccountID, tag string) OpenAccount {
		c := open(id, ben, usd)
		c.Details = Details{Label: "rent", ExternalID: tag, Metadata: Metadata{"k": "v"}}
		return c
	}
	limited := func(overdraft, day Limit) OpenAccount {
		c := open(other, ben, usd)
		c.OverdraftLimit, c.DailyDebitLimit = overdraft, day
		return c
	}
	internal := open(other, ben, usd)
	internal.Type = Internal
	tell(t, []story{
		{name: "plain", when: open(other, ben, usd), then: func(t *testing.T, l *ledger, events []Event) {
			t.Helper()
			a, _ := l.Account(other)
			want := Account{ID: other, Opening: Opening{ben, usd, Current}, OpenedAt: noon, UpdatedAt: noon}
			want.AccountState = AccountState{Version: 1, Status: Active, DailyDebitLimit: NoLimit, ReviewAbove: NoLimit}
			if a != want || len(events) != 1 || events[0].Details != nil {
				t.Errorf("opened %+v with %d events, want %+v", a, len(events), want)
			}
		}},
		{name: "with details", when: tagged(other, "x"), then: func(t *testing.T, l *ledger, _ []Event) {
			t.Helper()
			a, ok := l.AccountByExternalID("x")
			if !ok || a.ID != other || a.Details.Label != "rent" || a.DetailsVersion != 1 {
				t.Errorf("found %+v", a)
			}
		}},
		{name: "with limits", when: limited(MaxAmount, 0)},
		{name: "overdraft below zero", when: limited(-1, 0), code: AmountOutOfRange, field: "overdraft_limit"},
		{name: "overdraft too high", when: limited(MaxAmount+1, 0), code: AmountOutOfRange, field: "overdraft_limit"},
		{name: "daily limit below none", when: limited(0, -2), code: AmountOutOfRange, field: "daily_debit_limit"},
		{
			name: "daily limit too high", when: limited(0, MaxAmount+1),
			code: AmountOutOfRange, field: "daily_debit_limit",
		},
		{
			name: "external id taken", given: []Command{tagged(other, "x")}, when: tagged(named16[Account]("third"), "x"),
			code: ExternalIDTaken, field: "external_id",
		},
		{
			name:  "external id of a closed account stays taken",
			given: []Command{tagged(other, "x"), closing(other)}, when: tagged(named16[Account]("third"), "x"),
			code: ExternalIDTaken, field: "external_id",
		},
		{
			name:  "external id free after a change",
			given: []Command{tagged(other, "x"), ChangeAccount{ID: other, ExternalID: new("")}},
			when:  tagged(named16[Account]("third"), "x"),
		},
		{name: "twice", when: open(alice, anna, eur), code: InvalidRequest, field: "id"},
		{name: "without id", when: open(AccountID{}, anna, eur), code: InvalidRequest, field: "id"},
		{name: "as cash", when: open(CashAccount(usd), anna, usd), code: InvalidRequest, field: "id"},
		{name: "as internal", when: internal, code: InvalidRequest, field: "type"},
		{name: "without currency", when: open(other, anna, Currency{}), code: InvalidRequest, field: "currency"},
	})
}

func TestChangingAccounts(t *testing.T) {
	t.Parallel()
	unknown := named16[Account]("unknown")
	detailed := ChangeAccount{ID: alice, Label: new("pay"), ExternalID: new("a1"), Metadata: &Metadata{"k": "v"}}
	tell(t, []story{
		{name: "details", when: detailed, then: func(t *testing.T, l *ledger, _ []Event) {
			t.Helper()
			a, _ := l.AccountByExternalID("a1")
			if a.ID != alice || a.Details.Label != "pay" || a.Details.Metadata["k"] != "v" || a.DetailsVersion != a.Version {
				t.Errorf("%+v with %+v", a, a.Details)
			}
		}},
		{
			name: "one of the details", given: []Command{detailed}, when: ChangeAccount{ID: alice, Label: new("rent")},
			then: func(t *testing.T, l *ledger, _ []Event) {
				t.Helper()
				a, _ := l.AccountByExternalID("a1")
				if a.ID != alice || a.Details.Label != "rent" || !maps.Equal(a.Details.Metadata, Metadata{"k": "v"}) {
					t.Errorf("%+v with %+v", a, a.Details)
				}
			},
		},
		{
			name: "all details away", given: []Command{detailed},
			when: ChangeAccount{ID: alice, Label: new(""), ExternalID: new(""), Metadata: new(Metadata)},
			then: func(t *testing.T, l *ledger, _ []Event) {
				t.Helper()
				a, _ := l.Account(alice)
				if a.Details != nil || a.DetailsVersion != a.Version {
					t.Errorf("%+v with %+v", a, a.Details)
				}
			},
		},
		{name: "limits leave the details", given: []Command{detailed}, when: overdraft(alice, 5),
			then: func(t *testing.T, l *ledger, events []Event) {
				t.Helper()
				a, _ := l.Account(alice)
				if a.OverdraftLimit != 5 || a.DetailsVersion != a.Version-1 || events[0].Details != nil {
					t.Errorf("%+v", a)
				}
			}},
		{name: "nothing", when: ChangeAccount{ID: alice}, then: nothing},
		{name: "to what it is", given: []Command{detailed}, when: detailed, then: nothing},
		{name: "no metadata to empty metadata", when: ChangeAccount{ID: alice, Metadata: &Metadata{}}, then: nothing},
		{name: "right version", when: ChangeAccount{ID: alice, Label: new("x"), IfVersion: 2}},
		{name: "wrong version", when: ChangeAccount{ID: alice, IfVersion: 1}, code: PreconditionFailed},
		{name: "unknown", when: ChangeAccount{ID: unknown, IfVersion: 9}, code: NotFound},
		{name: "cash", when: overdraft(CashAccount(eur), 1), code: NotFound},
		{name: "closed", given: []Command{closing(bob)}, when: overdraft(bob, -1), code: AccountIsClosed},
		{name: "frozen", given: []Command{freeze(bob)}, when: overdraft(bob, 1)},
		{
			name: "overdraft out of range", when: overdraft(bob, MaxAmount+1),
			code: AmountOutOfRange, field: "overdraft_limit",
		},
		{name: "daily limit out of range", when: daily(bob, -2), code: AmountOutOfRange, field: "daily_debit_limit"},
		{
			name: "external id of another", given: []Command{detailed}, when: ChangeAccount{ID: bob, ExternalID: new("a1")},
			code: ExternalIDTaken, field: "external_id",
		},
	})
}

func TestStatus(t *testing.T) {
	t.Parallel()
	tell(t, []story{
		{name: "freeze", when: freeze(bob), then: func(t *testing.T, l *ledger, events []Event) {
			t.Helper()
			a, _ := l.Account(bob)
			if a.Status != Frozen || a.Version != 2 || events[0].Type != AccountFrozen || events[0].Reason != "seen" {
				t.Errorf("%+v after %+v", a, events)
			}
		}},
		{name: "freeze frozen", given: []Command{freeze(bob)}, when: freeze(bob), then: nothing},
		{name: "unfreeze", given: []Command{freeze(bob)}, when: unfreeze(bob)},
		{name: "unfreeze active", when: unfreeze(bob), then: nothing},
		{name: "close", when: closing(bob)},
		{name: "close frozen", given: []Command{freeze(bob)}, when: closing(bob)},
		{name: "close closed", given: []Command{closing(bob)}, when: closing(bob), then: nothing},
		{name: "close with balance", when: closing(alice), code: AccountNotEmpty},
		{
			name:  "close with holds",
			given: []Command{overdraft(bob, 10), place("h", bob, 10)}, when: closing(bob), code: AccountNotEmpty,
		},
		{name: "freeze closed", given: []Command{closing(bob)}, when: freeze(bob), code: AccountIsClosed},
		{name: "unfreeze closed", given: []Command{closing(bob)}, when: unfreeze(bob), code: AccountIsClosed},
		{name: "wrong version", when: SetStatus{ID: bob, To: Active, IfVersion: 2}, code: PreconditionFailed},
		{name: "unknown", when: freeze(named16[Account]("unknown")), code: NotFound},
		{name: "cash", when: freeze(CashAccount(eur)), code: NotFound},
		{name: "no such status", when: SetStatus{ID: bob, To: 9}, code: InvalidRequest, field: "status"},
	})
}

func TestReviewBound(t *testing.T) {
	t.Parallel()
	inDollars := SetReview{ID: bob, Above: &Review{1, usd}, IfVersion: 9}
	tell(t, []story{
		{name: "set", when: review(bob, 0), then: func(t *testing.T, l *ledger, events []Event) {
			t.Helper()
			a, _ := l.Account(bob)
			if a.ReviewAbove != 0 || events[0].Type != ReviewSet || events[0].Reason != "watched" {
				t.Errorf("%+v after %+v", a, events)
			}
		}},
		{name: "clear", given: []Command{review(bob, 5)}, when: SetReview{ID: bob}},
		{name: "unchanged", given: []Command{review(bob, 5)}, when: review(bob, 5), then: nothing},
		{name: "clear what is clear", when: SetReview{ID: bob}, then: nothing},
		{name: "other currency", when: inDollars, code: CurrencyMismatch, field: "above"},
		{name: "wrong version", when: SetReview{ID: bob, IfVersion: 9}, code: PreconditionFailed},
		{name: "below zero", when: review(bob, -1), code: AmountOutOfRange, field: "above"},
		{name: "out of range", when: review(bob, MaxAmount+1), code: AmountOutOfRange, field: "above"},
		{name: "closed", given: []Command{closing(bob)}, when: SetReview{ID: bob}, code: AccountIsClosed},
		{name: "unknown", when: SetReview{ID: named16[Account]("unknown")}, code: NotFound},
	})
}
