package codec

import (
	"testing"

	"bankforge/app/bank"
)

// The events of the golden files. They may not change; new ones may be added.

const noon bank.Time = 1_760_000_000_123_456

func id16(n byte) (b [16]byte) {
	b[0], b[15] = 1, n
	return b
}

func accountID(n byte) bank.AccountID   { return bank.MakeID[bank.Account](id16(n)) }
func customerID(n byte) bank.CustomerID { return bank.MakeID[bank.Customer](id16(n)) }
func txID(n byte) bank.TransactionID    { return bank.MakeID[bank.Transaction](id16(n)) }
func holdID(n byte) bank.HoldID         { return bank.MakeID[bank.Hold](id16(n)) }

func currency(tb testing.TB) bank.Currency {
	tb.Helper()
	c, err := bank.ParseCurrency("EUR")
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func amount(tb testing.TB, minor int64) bank.Amount {
	tb.Helper()
	a, err := bank.NewAmount(minor, currency(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func legOn(tb testing.TB, n byte, moved, balance, held int64, v bank.Version) bank.Leg {
	tb.Helper()
	return bank.Leg{
		Account: accountID(n), Customer: customerID(n), Currency: currency(tb), Amount: moved,
		After: bank.AccountState{
			Version: v, Status: bank.Active, Balance: balance, Held: held,
			DailyDebitLimit: bank.NoLimit, ReviewAbove: bank.NoLimit, Day: noon.Date(), DebitedToday: max(-moved, 0),
		},
	}
}

func cashLeg(tb testing.TB, moved, balance int64, v bank.Version) bank.Leg {
	tb.Helper()
	return bank.Leg{
		Account: bank.CashAccount(currency(tb)), Currency: currency(tb), Amount: moved,
		After: bank.AccountState{
			Version: v, Status: bank.Active, Balance: balance, DailyDebitLimit: bank.NoLimit, ReviewAbove: bank.NoLimit,
		},
	}
}

func meta() Meta {
	return Meta{CorrelationID: "req-7f3a.1", Actor: "teller-1", IdempotencyKey: "9f0c2c34-2d1e-4a57-8a4e-5d8f2f0b7a11"}
}

// posted is a transaction that the event's legs are the entries of.
func posted(
	tb testing.TB, n byte, kind bank.TransactionKind, minor int64, seq bank.Seq, legs []bank.Leg,
) bank.Transaction {
	tb.Helper()
	tx := bank.Transaction{
		ID: txID(n), Kind: kind, Status: bank.Posted, Version: 1, Amount: amount(tb, minor),
		ValueDate: noon.Date(), CorrelationID: meta().CorrelationID, CreatedAt: noon, PostedAt: noon, Seq: seq,
		Entries: entriesOf(nil, legs),
	}
	for _, e := range tx.Entries {
		switch {
		case bank.IsInternal(e.Account):
		case e.Amount < 0:
			tx.From = e.Account
		default:
			tx.To = e.Account
		}
	}
	return tx
}

func transfer(tb testing.TB) golden {
	tb.Helper()
	legs := []bank.Leg{legOn(tb, 1, -2500, 7500, 0, 4), legOn(tb, 2, 2500, 2500, 0, 2)}
	tx := posted(tb, 9, bank.TransferKind, 2500, 12, legs)
	tx.Reference, tx.Description = "invoice 2025-17", "Schöne Grüße 👋"
	tx.Metadata = bank.Metadata{"order": "17", "empty": "", "": "no key"}
	return golden{
		event: bank.Event{
			Seq: 12, Type: bank.TransactionMade, Time: noon, Legs: legs, Transactions: []bank.Transaction{tx},
		},
		meta: meta(),
	}
}

// movements are transaction.made in its other kinds.
func movements(tb testing.TB) []golden {
	tb.Helper()
	in := []bank.Leg{cashLeg(tb, -10000, -10000, 1), legOn(tb, 1, 10000, 10000, 0, 2)}
	back := []bank.Leg{legOn(tb, 2, -500, 2000, 0, 3), legOn(tb, 1, 500, 8000, 0, 5)}
	original := transfer(tb).event.Transactions[0]
	original.Version, original.Status, original.Reversed = 2, bank.PartiallyReversed, 500
	original.CreatedAt, original.PostedAt, original.CorrelationID = noon-5_000_000, noon-5_000_000, "req-earlier"
	reversal := posted(tb, 10, bank.ReversalKind, 500, 13, back)
	reversal.Reverses = original.ID
	out := []bank.Leg{legOn(tb, 1, -300, 7700, 700, 7), cashLeg(tb, 300, -9700, 2)}
	capture := posted(tb, 11, bank.CaptureKind, 300, 15, out)
	capture.Hold = holdID(1)
	hold := heldOn(tb, 2, bank.HoldActive)
	hold.Captured, hold.Remaining = 300, 700
	made := func(variant string, seq bank.Seq, legs []bank.Leg, txs ...bank.Transaction) golden {
		e := bank.Event{Seq: seq, Type: bank.TransactionMade, Time: noon, Legs: legs, Transactions: txs}
		return golden{e, meta(), variant}
	}
	all := []golden{
		made("deposit", 3, in, posted(tb, 8, bank.DepositKind, 10000, 3, in)),
		made("reversal", 13, back, reversal, original),
		made("capture", 15, out, capture),
	}
	all[1].event.Reason = "sent twice"
	all[2].event.Hold = hold
	return all
}

func heldOn(tb testing.TB, v bank.Version, status bank.HoldStatus) *bank.Hold {
	tb.Helper()
	h := &bank.Hold{
		ID: holdID(1), Account: accountID(1), Customer: customerID(1), Amount: amount(tb, 1000), Remaining: 1000,
		Status: status, Reference: "hotel", CreatedAt: noon, ExpiresAt: noon + 7*86_400_000_000, Version: v,
	}
	if status != bank.HoldActive {
		h.Remaining = 0
		h.CreatedAt -= 60_000_000
	}
	return h
}

func goldenEvents(tb testing.TB) []golden {
	tb.Helper()
	account := func(typ bank.EventType, v bank.Version, reason string, status bank.AccountStatus) golden {
		l := legOn(tb, 1, 0, 7500, 0, v)
		l.After.Status = status
		return golden{
			event: bank.Event{Seq: 20 + bank.Seq(v), Type: typ, Time: noon, Legs: []bank.Leg{l}, Reason: reason},
			meta: Meta{
				Actor: "fraud", CausationID: "fraud/12.0",
				TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			},
		}
	}
	opened := account(bank.AccountOpened, 1, "", bank.Active)
	opened.event.Legs[0].After.Balance, opened.event.Legs[0].After.OverdraftLimit = 0, 50000
	opened.event.Legs[0].After.DetailsVersion = 1
	opened.event.Opening = &bank.Opening{Customer: customerID(1), Currency: currency(tb), Type: bank.Current}
	opened.event.Details = &bank.Details{Label: "Haushalt", ExternalID: "X-1", Metadata: bank.Metadata{"a": "1", "b": "2"}}
	changed := account(bank.AccountChanged, 2, "", bank.Active)
	changed.event.Legs[0].After.DailyDebitLimit, changed.event.Legs[0].After.DetailsVersion = 100000, 2
	changed.event.Details = &bank.Details{}
	review := account(bank.ReviewSet, 5, "unusual transfers", bank.Active)
	review.event.Legs[0].After.ReviewAbove = 0

	pending := transfer(tb)
	pending.event.Type, pending.event.Legs = bank.TransferPending, []bank.Leg{legOn(tb, 1, 0, 10000, 2500, 4)}
	tx := &pending.event.Transactions[0]
	tx.Status, tx.PostedAt, tx.Entries = bank.PendingReview, 0, nil
	approved := transfer(tb)
	approved.event.Type, approved.event.Reason = bank.TransferApproved, "called the customer"
	approved.event.Transactions[0].Version, approved.event.Transactions[0].CreatedAt = 2, noon-3_600_000_000
	rejected := pending
	rejected.event.Type, rejected.event.Legs = bank.TransferRejected, []bank.Leg{legOn(tb, 1, 0, 10000, 0, 5)}
	rejected.event.Transactions = []bank.Transaction{*tx}
	rejected.event.Transactions[0].Status, rejected.event.Transactions[0].Version = bank.Rejected, 2

	hold := func(typ bank.EventType, v bank.Version, status bank.HoldStatus, held int64) golden {
		return golden{bank.Event{
			Seq: 30 + bank.Seq(v), Type: typ, Time: noon, Legs: []bank.Leg{legOn(tb, 1, 0, 7500, held, 5+v)},
			Hold: heldOn(tb, v, status),
		}, meta(), ""}
	}
	all := []golden{
		opened, changed, review, transfer(tb), pending, approved, rejected,
		account(bank.AccountFrozen, 3, "stolen card", bank.Frozen),
		account(bank.AccountUnfrozen, 4, "found again", bank.Active),
		account(bank.AccountClosed, 6, "moved away", bank.Closed),
		hold(bank.HoldPlaced, 1, bank.HoldActive, 1000),
		hold(bank.HoldVoidedEvent, 2, bank.HoldVoided, 0),
		hold(bank.HoldExpiredEvent, 3, bank.HoldExpired, 0),
	}
	return append(append(all, movements(tb)...), acts()...)
}

// acts are operator.acted with everything that it can say, and with as little as it must.
func acts() []golden {
	made := func(variant string, a bank.Act) golden {
		m := meta()
		m.Actor = "operator-1"
		return golden{bank.Event{Seq: 40, Type: bank.OperatorActed, Time: noon, Act: &a}, m, variant}
	}
	return []golden{
		made("", bank.Act{
			ID: bank.MakeID[bank.Act](id16(1)), Kind: bank.FailureSchedule, Handler: "history", Key: accountID(1).String(),
			Target: "fail_00000000000000000000000001", Body: []byte(`{"at":"2025-10-09T09:00:00Z"}`),
			Reason: "nach der Wartung – später",
		}),
		made("group", bank.Act{
			ID: bank.MakeID[bank.Act](id16(2)), Kind: bank.GroupRetry, Target: "9f86d081884c7d65", Reason: "mended",
		}),
	}
}
