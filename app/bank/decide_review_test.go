package bank

import "testing"

func TestTransfersUnderReview(t *testing.T) {
	t.Parallel()
	watched := []Command{review(alice, 100)}
	waiting := plus(watched, transfer("t", alice, bob, 400))
	tell(t, []story{
		{name: "below the bound", given: watched, when: transfer("t", alice, bob, 99), then: has(bob, 99, 0)},
		{name: "at the bound", given: watched, when: transfer("t", alice, bob, 100),
			then: func(t *testing.T, l *ledger, events []Event) {
				t.Helper()
				all(has(alice, 1000, 100), has(bob, 0, 0))(t, l, events)
				p, ok := l.Transaction(txn("t"))
				if !ok || p.Status != PendingReview || p.Version != 1 || len(p.Entries) != 0 || p.PostedAt != 0 ||
					p.Seq != l.Seq() || events[0].Type != TransferPending || len(events[0].Legs) != 1 {
					t.Errorf("%+v of %+v", p, events)
				}
			}},
		{
			name: "all are watched", given: []Command{review(alice, 0)}, when: transfer("t", alice, bob, 1),
			then: has(alice, 1000, 1),
		},
		{
			name:  "the payee's bound does not matter",
			given: []Command{review(bob, 0)}, when: transfer("t", alice, bob, 1),
			then: has(bob, 1, 0),
		},
		{
			name: "without funds", given: watched, when: transfer("t", alice, bob, 1001),
			code: InsufficientFunds, field: "amount",
		},
		{
			name: "what waits is not available", given: waiting, when: withdraw("w", alice, 601),
			code: InsufficientFunds, field: "amount",
		},
	})
}

func TestDecidingPendingTransfers(t *testing.T) {
	t.Parallel()
	waiting := []Command{review(alice, 100), transfer("t", alice, bob, 400)}
	approve, reject := DecidePending{ID: txn("t"), Approve: true, Reason: "fine"}, DecidePending{ID: txn("t")}
	tell(t, []story{
		{name: "approve", given: waiting, when: approve, after: hour, then: func(t *testing.T, l *ledger, events []Event) {
			t.Helper()
			all(has(alice, 600, 0), has(bob, 400, 0))(t, l, events)
			p := events[0].Transactions[0]
			if p.Status != Posted || p.Version != 2 || p.PostedAt != noon+hour || p.CreatedAt != noon || p.Seq != l.Seq() ||
				len(p.Entries) != 2 || events[0].Type != TransferApproved || events[0].Reason != "fine" {
				t.Errorf("%+v of %+v", p, events)
			}
		}},
		{
			name: "approve for a frozen payer", given: plus(waiting, freeze(alice)), when: approve,
			then: has(bob, 400, 0),
		},
		{
			name: "approve for a frozen payee", given: plus(waiting, freeze(bob)), when: approve,
			then: has(bob, 400, 0),
		},
		{
			name: "approve for a closed payee", given: plus(waiting, closing(bob)), when: approve,
			code: AccountIsClosed,
		},
		{
			name: "approve more than fits", given: plus(waiting, deposit("d", bob, MaxAmount)), when: approve,
			code: AmountOutOfRange, field: "amount",
		},
		{name: "the payer cannot be closed", given: waiting, when: closing(alice), code: AccountNotEmpty},
		{name: "reject", given: waiting, when: reject, then: func(t *testing.T, l *ledger, events []Event) {
			t.Helper()
			all(has(alice, 1000, 0), has(bob, 0, 0))(t, l, events)
			p := events[0].Transactions[0]
			if p.Status != Rejected || p.Version != 2 || p.PostedAt != 0 || p.Seq != l.Seq()-1 || len(p.Entries) != 0 {
				t.Errorf("%+v", p)
			}
		}},
		{
			name: "reject for a closed payee", given: plus(waiting, closing(bob)), when: reject,
			then: has(alice, 1000, 0),
		},
		{name: "approve twice", given: plus(waiting, approve), when: approve, code: NotPending},
		{name: "reject what was approved", given: plus(waiting, approve), when: reject, code: NotPending},
		{name: "approve a deposit", when: DecidePending{ID: txn("first"), Approve: true}, code: NotPending},
		{name: "approve nothing", when: approve, code: NotFound},
		{
			name:  "still pending after the bound is gone",
			given: plus(waiting, SetReview{ID: alice}), when: approve,
		},
	})
}

func TestReversals(t *testing.T) {
	t.Parallel()
	moved := []Command{transfer("t", alice, bob, 400)}
	tell(t, []story{
		{name: "whole", given: moved, when: reverse("r", "t", 0), then: func(t *testing.T, l *ledger, events []Event) {
			t.Helper()
			all(has(alice, 1000, 0), has(bob, 0, 0))(t, l, events)
			r, o := events[0].Transactions[0], events[0].Transactions[1]
			if r.Kind != ReversalKind || r.From != bob || r.To != alice || r.Reverses != txn("t") || r.Version != 1 {
				t.Errorf("reversal %+v", r)
			}
			if o.ID != txn("t") || o.Status != Reversed || o.Reversed != 400 || o.Version != 2 || o.Seq == r.Seq ||
				o.Entries[0].Account != alice {
				t.Errorf("original %+v", o)
			}
		}},
		{name: "in part", given: moved, when: reverse("r", "t", 150), then: func(t *testing.T, l *ledger, events []Event) {
			t.Helper()
			all(has(alice, 750, 0), has(bob, 250, 0))(t, l, events)
			if o := events[0].Transactions[1]; o.Status != PartiallyReversed || o.Reversed != 150 {
				t.Errorf("original %+v", o)
			}
		}},
		{
			name: "the rest", given: plus(moved, reverse("r1", "t", 150)), when: reverse("r", "t", 0),
			then: all(has(alice, 1000, 0), has(bob, 0, 0)),
		},
		{
			name:  "what was approved",
			given: []Command{review(alice, 0), transfer("t", alice, bob, 1), DecidePending{ID: txn("t"), Approve: true}},
			when:  reverse("r", "t", 0), then: func(t *testing.T, _ *ledger, events []Event) {
				t.Helper()
				if o := events[0].Transactions[1]; o.Version != 3 {
					t.Errorf("%+v", o)
				}
			},
		},
		{
			name: "a deposit", when: reverse("r", "first", 1),
			then: all(has(alice, 999, 0), has(CashAccount(eur), -999, 0)),
		},
		{
			name: "a withdrawal", given: []Command{withdraw("w", alice, 7)}, when: reverse("r", "w", 0),
			then: all(has(alice, 1000, 0), has(CashAccount(eur), -1000, 0)),
		},
		{
			name: "a capture", given: []Command{place("h", alice, 7), capture("c", 0)}, when: reverse("r", "c", 0),
			then: has(alice, 1000, 0),
		},
		{name: "into a frozen account", given: plus(moved, freeze(alice)), when: reverse("r", "t", 0)},
	})
}

func TestRefusedReversals(t *testing.T) {
	t.Parallel()
	moved := []Command{transfer("t", alice, bob, 400)}
	inDollars := reverse("r", "t", 0)
	inDollars.Amount = must(NewAmount(1, usd))
	tell(t, []story{
		{
			name: "more than the rest", given: plus(moved, reverse("r1", "t", 150)), when: reverse("r", "t", 251),
			code: AmountExceedsRemaining, field: "amount",
		},
		{
			name: "what is reversed", given: plus(moved, reverse("r1", "t", 0)), when: reverse("r", "t", 1),
			code: NotReversible,
		},
		{
			name: "a reversal", given: plus(moved, reverse("r1", "t", 0)), when: reverse("r", "r1", 0),
			code: NotReversible,
		},
		{
			name:  "what waits",
			given: []Command{review(alice, 0), transfer("t", alice, bob, 1)}, when: reverse("r", "t", 0),
			code: NotReversible,
		},
		{
			name:  "what was rejected",
			given: []Command{review(alice, 0), transfer("t", alice, bob, 1), DecidePending{ID: txn("t")}},
			when:  reverse("r", "t", 0), code: NotReversible,
		},
		{name: "nothing", when: reverse("r", "t", 0), code: NotFound},
		{name: "other currency", given: moved, when: inDollars, code: CurrencyMismatch, field: "amount"},
		{
			name: "without funds", given: plus(moved, withdraw("w", bob, 1)), when: reverse("r", "t", 0),
			code: InsufficientFunds, field: "amount",
		},
		{
			name: "out of a frozen account", given: plus(moved, freeze(bob)), when: reverse("r", "t", 0),
			code: AccountIsFrozen,
		},
		{
			name:  "out of a closed account",
			given: plus(moved, withdraw("w", bob, 400), closing(bob)), when: reverse("r", "t", 0), code: AccountIsClosed,
		},
		{
			name:  "into a closed account",
			given: plus(moved, withdraw("w", alice, 600), closing(alice)), when: reverse("r", "t", 0),
			code: AccountIsClosed,
		},
		{
			name:  "into a full account",
			given: plus(moved, deposit("d", alice, MaxAmount-600)), when: reverse("r", "t", 1),
			code: AmountOutOfRange, field: "amount",
		},
	})
}
