package router_test

import (
	"strings"

	"bankforge/app/bank"
	"bankforge/handlers"
)

func customer(i int) bank.CustomerID { return bank.MakeID[bank.Customer]([16]byte{15: byte(i)}) }
func transaction(i int) bank.TransactionID {
	return bank.MakeID[bank.Transaction]([16]byte{15: byte(i)})
}

func amount(minor int64) bank.Amount {
	a, err := bank.NewAmount(minor, eur())
	if err != nil {
		panic(err)
	}
	return a
}

const sampleTime bank.Time = 1_767_225_600_123_456 // 2026-01-01T00:00:00.123456Z

// sampleLeg is a leg of customer 1's account 1.
func sampleLeg(change int64) *bank.Leg {
	return &bank.Leg{
		Account: account(1), Customer: customer(1), Currency: eur(), Amount: change,
		After: bank.AccountState{
			Version: 7, Status: bank.Active, Balance: -1050, Held: 200, OverdraftLimit: 5000, DailyDebitLimit: 100_000,
			ReviewAbove: bank.NoLimit, Day: sampleTime.Date(), DebitedToday: 1250, DetailsVersion: 3,
		},
	}
}

// sampleTransaction is a transfer of 12.50 EUR from account 1 to account 2.
func sampleTransaction(status bank.TransactionStatus) *bank.Transaction {
	t := &bank.Transaction{
		ID: transaction(1), Kind: bank.TransferKind, Status: status, Version: 1, Amount: amount(1250),
		From: account(1), To: account(2), Reference: "INV-7", Description: "Rent, \"January\" – ü",
		Metadata: bank.Metadata{"order": "42"}, ValueDate: sampleTime.Date(), CorrelationID: "cor-1",
		CreatedAt: sampleTime, Seq: 41,
	}
	switch status {
	case bank.PendingReview, bank.Rejected:
		return t
	case bank.PartiallyReversed:
		t.Reversed, t.Version = 250, 2
	case bank.Reversed:
		t.Reversed, t.Version = 1250, 3
	case bank.Posted:
	}
	t.PostedAt = sampleTime
	t.Entries = []bank.Entry{
		{Account: account(1), Customer: customer(1), Amount: -1250, BalanceAfter: -1050, Version: 7},
		{Account: account(2), Amount: 1250, BalanceAfter: 1250, Version: 2},
	}
	return t
}

func sampleHold() *bank.Hold {
	return &bank.Hold{
		ID: bank.MakeID[bank.Hold]([16]byte{15: 1}), Account: account(1), Customer: customer(1), Amount: amount(500),
		Captured: 300, Remaining: 200, Status: bank.HoldActive, Reference: "ROOM-1", CreatedAt: sampleTime,
		ExpiresAt: sampleTime + 7*24*3600*1_000_000, Version: 2,
	}
}

// sampleActs has an act of each kind, by the name of its message.
func sampleActs() map[string]bank.Act {
	acts := map[string]bank.Act{
		"failure.retry": {}, "failure.discard": {}, "failure.schedule": {Body: []byte(`{"at":"2026-01-01T09:00:00Z"}`)},
		"sequence.retry": {}, "sequence.rebuild": {}, "sequence.pause": {}, "sequence.resume": {},
		"group.retry":   {Target: "9f86d081884c7d65"},
		"replay.plan":   {Body: []byte(`{"filter":{"class":"unknown","handler":"history"},"rate":500}`)},
		"replay.start":  {Target: "rep_00000000000000000000000004"},
		"replay.cancel": {Target: "rep_00000000000000000000000004"},
		"handler.pause": {}, "handler.resume": {}, "handler.policy": {Body: []byte(`{"tries":{"unknown":3}}`)},
		"demo_failures.set": {Body: []byte(`{"enabled":false}`)},
	}
	out := map[string]bank.Act{}
	for kind, a := range acts {
		a.ID, a.Kind, a.Reason = bank.MakeID[bank.Act]([16]byte{15: 1}), bank.ActKind(kind), "\"mended\" – ü"
		switch about, _, _ := strings.Cut(kind, "."); about {
		case "failure":
			a.Handler, a.Key, a.Target = "history", account(1).String(), "fail_00000000000000000000000004"
		case "sequence":
			a.Handler, a.Key = "history", account(1).String()
		case "handler":
			a.Handler = "history"
		}
		out["ops."+kind] = a
	}
	return out
}

// samples has a fact for each type of message, by its name.
func samples() map[string]handlers.Fact {
	status := func(s bank.AccountStatus, reason string) bank.Change {
		leg := sampleLeg(0)
		leg.After.Status = s
		return bank.Change{Leg: leg, Reason: reason}
	}
	opened := bank.Change{
		Leg: &bank.Leg{Account: account(1), Customer: customer(1), Currency: eur(), After: bank.AccountState{
			Version: 1, Status: bank.Active, DailyDebitLimit: bank.NoLimit, ReviewAbove: bank.NoLimit, DetailsVersion: 1,
		}},
		Opening: &bank.Opening{Customer: customer(1), Currency: eur(), Type: bank.Current},
		Details: &bank.Details{Label: "Household", ExternalID: "erp-1", Metadata: bank.Metadata{"branch": "Graz"}},
	}
	review := bank.Change{Leg: sampleLeg(0), Reason: "unusual pattern"}
	review.Leg.After.ReviewAbove = 0
	changes := map[string]bank.Change{
		"account.opened":     opened,
		"account.updated":    {Leg: sampleLeg(0), Details: &bank.Details{Label: "Rent"}},
		"account.frozen":     status(bank.Frozen, "court order"),
		"account.unfrozen":   status(bank.Active, "lifted"),
		"account.closed":     status(bank.Closed, "asked for"),
		"account.review_set": review,
		"account.credited":   {Leg: sampleLeg(1250), Transaction: sampleTransaction(bank.Posted)},
		"account.debited":    {Leg: sampleLeg(-1250), Transaction: sampleTransaction(bank.Posted), Hold: sampleHold()},
		"account.held":       {Leg: sampleLeg(0), Hold: sampleHold()},
		"account.released":   {Leg: sampleLeg(0), Transaction: sampleTransaction(bank.Rejected), Reason: "suspicious"},
	}
	for name, status := range map[string]bank.TransactionStatus{
		"posted": bank.Posted, "pending_review": bank.PendingReview, "rejected": bank.Rejected,
		"partially_reversed": bank.PartiallyReversed, "reversed": bank.Reversed,
	} {
		changes["transaction."+name] = bank.Change{Transaction: sampleTransaction(status), Payer: customer(1)}
	}
	for name, a := range sampleActs() {
		changes[name] = bank.Change{Act: &a}
	}
	facts := map[string]handlers.Fact{}
	for name, c := range changes {
		c.Name, c.Seq, c.N, c.Time = name, 41, 1, sampleTime
		facts[name] = handlers.Fact{
			Change: c, Incarnation: "inc_1", CorrelationID: "cor-1", CausationID: "inc_1-40-0", Actor: "alice",
			IdempotencyKey: "key-1", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		}
	}
	return facts
}
