package codec

import (
	"math"

	"pgregory.net/rapid"

	"bankforge/app/bank"
)

// The draw functions make random values of bank, sensible or not: all that the stored form can say.

// texts makes a generator of its own for each use: they may not be shared by tests that run in parallel.
func texts() *rapid.Generator[string] {
	return rapid.OneOf(rapid.Just(""), rapid.String(), rapid.SampledFrom([]string{"a", "é \u6f22\x00\n", "👛"}))
}

func drawText(t *rapid.T, label string) string { return texts().Draw(t, label) }

func drawID[ID any](t *rapid.T, of func([16]byte) ID) ID {
	var b [16]byte
	copy(b[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	return of(b)
}

// maybe draws an id, or the zero one.
func maybe[ID any](t *rapid.T, of func([16]byte) ID) (id ID) {
	if rapid.Bool().Draw(t, "no id") {
		return id
	}
	return drawID(t, of)
}

func drawAccountID(t *rapid.T) bank.AccountID {
	if rapid.IntRange(0, 4).Draw(t, "cash") == 0 {
		return bank.CashAccount(drawCurrency(t))
	}
	return drawID(t, bank.MakeID[bank.Account])
}

func drawCurrency(t *rapid.T) bank.Currency {
	c, err := bank.ParseCurrency(rapid.SampledFrom([]string{"EUR", "JPY", "BHD", "USD"}).Draw(t, "currency"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func drawAmount(t *rapid.T) bank.Amount {
	if rapid.IntRange(0, 9).Draw(t, "no amount") == 0 {
		return bank.Amount{}
	}
	a, err := bank.NewAmount(rapid.Int64Range(1, bank.MaxAmount).Draw(t, "amount"), drawCurrency(t))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func drawTime(t *rapid.T) bank.Time { return bank.Time(rapid.Int64().Draw(t, "time")) }

func drawDate(t *rapid.T) bank.Date { return bank.Date(rapid.Int32().Draw(t, "date")) }

func drawVersion(t *rapid.T) bank.Version { return bank.Version(rapid.Uint64().Draw(t, "version")) }

func drawMetadata(t *rapid.T) bank.Metadata {
	m := rapid.MapOfN(texts(), texts(), 0, 4).Draw(t, "metadata")
	if len(m) == 0 {
		return nil
	}
	return m
}

func drawDetails(t *rapid.T) *bank.Details {
	if rapid.Bool().Draw(t, "no details") {
		return nil
	}
	return &bank.Details{
		Label: drawText(t, "label"), ExternalID: drawText(t, "external id"), Metadata: drawMetadata(t),
	}
}

func drawState(t *rapid.T) bank.AccountState {
	edges := rapid.SampledFrom([]int64{0, -1, math.MinInt64, math.MaxInt64})
	number := rapid.OneOf(rapid.Int64(), edges)
	return bank.AccountState{
		Version: drawVersion(t), Status: bank.AccountStatus(rapid.IntRange(0, 3).Draw(t, "status")),
		Balance: number.Draw(t, "balance"), Held: number.Draw(t, "held"),
		OverdraftLimit:  bank.Limit(number.Draw(t, "overdraft")),
		DailyDebitLimit: bank.Limit(number.Draw(t, "daily")),
		ReviewAbove:     bank.Limit(number.Draw(t, "review")),
		Day:             drawDate(t), DebitedToday: number.Draw(t, "today"), DetailsVersion: drawVersion(t),
	}
}

func drawOpening(t *rapid.T) bank.Opening {
	return bank.Opening{
		Customer: maybe(t, bank.MakeID[bank.Customer]), Currency: drawCurrency(t),
		Type: bank.AccountType(rapid.IntRange(0, 3).Draw(t, "type")),
	}
}

func drawAccount(t *rapid.T) bank.Account {
	return bank.Account{
		ID: drawAccountID(t), Opening: drawOpening(t), OpenedAt: drawTime(t), Details: drawDetails(t),
		AccountState: drawState(t), UpdatedAt: drawTime(t),
	}
}

func drawLeg(t *rapid.T) bank.Leg {
	return bank.Leg{
		Account: drawAccountID(t), Customer: maybe(t, bank.MakeID[bank.Customer]), Currency: drawCurrency(t),
		Amount: rapid.Int64().Draw(t, "leg amount"), After: drawState(t),
	}
}

// party draws an account of the event's legs, another one, or none.
func party(t *rapid.T, e *bank.Event) bank.AccountID {
	if len(e.Legs) > 0 && rapid.Bool().Draw(t, "of a leg") {
		return e.Legs[rapid.IntRange(0, len(e.Legs)-1).Draw(t, "leg")].Account
	}
	if rapid.Bool().Draw(t, "no account") {
		return bank.AccountID{}
	}
	return drawAccountID(t)
}

func drawTransaction(t *rapid.T, e *bank.Event, m *Meta) bank.Transaction {
	tx := bank.Transaction{
		ID: drawID(t, bank.MakeID[bank.Transaction]), Kind: bank.TransactionKind(rapid.IntRange(0, 5).Draw(t, "kind")),
		Status: bank.TransactionStatus(rapid.IntRange(0, 5).Draw(t, "tx status")), Version: drawVersion(t),
		Amount: drawAmount(t), Reversed: rapid.Int64().Draw(t, "reversed"), From: party(t, e), To: party(t, e),
		Reference: drawText(t, "reference"), Description: drawText(t, "description"), Metadata: drawMetadata(t),
		Reverses: maybe(t, bank.MakeID[bank.Transaction]), Hold: maybe(t, bank.MakeID[bank.Hold]),
		ValueDate: drawDate(t), CorrelationID: m.CorrelationID, CreatedAt: e.Time, PostedAt: e.Time, Seq: e.Seq,
	}
	if rapid.Bool().Draw(t, "older") {
		tx.CorrelationID = drawText(t, "correlation")
		tx.CreatedAt, tx.PostedAt, tx.Seq = drawTime(t), 0, bank.Seq(rapid.Uint64().Draw(t, "tx seq"))
	}
	switch rapid.IntRange(0, 3).Draw(t, "entries") {
	case 1:
		tx.Entries = entriesOf(nil, e.Legs)
	case 2:
		tx.Entries = append(entriesOf(nil, e.Legs), drawEntry(t, e))
	case 3:
		tx.Entries = []bank.Entry{drawEntry(t, e)}
	}
	return tx
}

func drawEntry(t *rapid.T, e *bank.Event) bank.Entry {
	return bank.Entry{
		Account: party(t, e), Customer: maybe(t, bank.MakeID[bank.Customer]), Amount: rapid.Int64().Draw(t, "entry"),
		BalanceAfter: rapid.Int64().Draw(t, "after"), Version: drawVersion(t),
	}
}

func drawHold(t *rapid.T, e *bank.Event) *bank.Hold {
	if rapid.Bool().Draw(t, "no hold") {
		return nil
	}
	return &bank.Hold{
		ID: drawID(t, bank.MakeID[bank.Hold]), Account: party(t, e), Customer: maybe(t, bank.MakeID[bank.Customer]),
		Amount: drawAmount(t), Captured: rapid.Int64().Draw(t, "captured"), Remaining: rapid.Int64().Draw(t, "remaining"),
		Status: bank.HoldStatus(rapid.IntRange(0, 4).Draw(t, "hold status")), Reference: drawText(t, "hold reference"),
		CreatedAt: drawTime(t), ExpiresAt: drawTime(t), Version: drawVersion(t),
	}
}

func drawMeta(t *rapid.T) Meta {
	return Meta{
		CorrelationID: drawText(t, "correlation id"), CausationID: drawText(t, "causation id"),
		Actor: drawText(t, "actor"), IdempotencyKey: drawText(t, "key"), TraceParent: drawText(t, "trace"),
	}
}

func drawEvent(t *rapid.T) (bank.Event, Meta) {
	m := drawMeta(t)
	e := bank.Event{
		Seq:  bank.Seq(rapid.Uint64().Draw(t, "seq")),
		Type: bank.EventType(rapid.IntRange(1, len(forms)-1).Draw(t, "event type")), Time: drawTime(t),
		Details: drawDetails(t), Reason: drawText(t, "reason"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "legs") {
		e.Legs = append(e.Legs, drawLeg(t))
	}
	if rapid.Bool().Draw(t, "opening") {
		o := drawOpening(t)
		e.Opening = &o
	}
	for range rapid.IntRange(0, 2).Draw(t, "transactions") {
		e.Transactions = append(e.Transactions, drawTransaction(t, &e, &m))
	}
	e.Hold = drawHold(t, &e)
	e.Act = drawAct(t)
	return e, m
}

func drawAct(t *rapid.T) *bank.Act {
	if rapid.Bool().Draw(t, "no act") {
		return nil
	}
	a := &bank.Act{
		ID:      maybe(t, bank.MakeID[bank.Act]),
		Kind:    rapid.SampledFrom(append(bank.ActKinds(), "")).Draw(t, "act kind"),
		Handler: drawText(t, "handler"), Key: drawText(t, "act key"), Target: drawText(t, "target"),
		Reason: drawText(t, "act reason"),
	}
	if body := drawText(t, "body"); body != "" {
		a.Body = []byte(body)
	}
	return a
}
