package payload

import (
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"bankforge/app/bank"
)

// drawChange makes a change of which a payload can tell everything.
func drawChange(t *rapid.T) *bank.Change {
	if rapid.IntRange(0, 4).Draw(t, "about an act") == 0 {
		a := drawAct(t)
		return &bank.Change{Name: "ops." + string(a.Kind), Act: a}
	}
	c := &bank.Change{Name: "account.credited", Reason: drawText(t, "reason")}
	if rapid.Bool().Draw(t, "about a transaction") {
		c.Name, c.Transaction = "transaction.posted", drawTransaction(t)
		c.Payer = drawID(t, bank.MakeID[bank.Customer])
		return c
	}
	c.Leg = drawLeg(t)
	if rapid.Bool().Draw(t, "opening") {
		c.Name = "account.opened"
		c.Opening = &bank.Opening{
			Customer: drawID(t, bank.MakeID[bank.Customer]), Currency: drawCurrency(t),
			Type: rapid.SampledFrom([]bank.AccountType{bank.Current, bank.Savings, bank.Internal}).Draw(t, "type"),
		}
	}
	if rapid.Bool().Draw(t, "details") {
		c.Details = &bank.Details{
			Label: drawText(t, "label"), ExternalID: drawText(t, "external id"), Metadata: drawMetadata(t),
		}
	}
	if rapid.Bool().Draw(t, "hold") {
		c.Hold = drawHold(t)
	}
	if rapid.Bool().Draw(t, "transaction") {
		c.Transaction = drawTransaction(t)
	}
	return c
}

func drawText(t *rapid.T, label string) string {
	return rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[a-zA-Z0-9 ]{1,20}`), rapid.String(),
		rapid.SampledFrom([]string{"<a&b>", "\"\\/\b\f\n\r\t\x00\x7f", "\u2028\u2029", "é\u6f22👛"})).Draw(t, label)
}

// drawAct draws a good one, whose body is as encoding/json would write it.
func drawAct(t *rapid.T) *bank.Act {
	shown := func(label string) string {
		return rapid.OneOf(rapid.StringMatching(`[a-zA-Z0-9 ]{1,20}`),
			rapid.SampledFrom([]string{"<a&b>", "\"\\/\n\r\t", "\u2028\u2029", "é\u6f22👛"})).Draw(t, label)
	}
	body, err := json.Marshal(map[string]any{shown("name"): []any{drawText(t, "value"), drawNatural(t, "number"), nil}})
	if err != nil {
		t.Fatal(err)
	}
	a := &bank.Act{
		ID:   bank.MakeID[bank.Act]([16]byte{15: byte(rapid.IntRange(0, 255).Draw(t, "act"))}),
		Kind: rapid.SampledFrom(bank.ActKinds()).Draw(t, "kind"), Reason: shown("reason"), Body: body,
	}
	for _, text := range []*string{&a.Handler, &a.Key, &a.Target} {
		if rapid.Bool().Draw(t, "there") || a.Check() != nil {
			*text = shown("text")
		}
	}
	without := *a
	if without.Body = nil; without.Check() == nil && rapid.Bool().Draw(t, "without a body") {
		return &without
	}
	return a
}

// drawID draws an id, or the zero one.
func drawID[ID any](t *rapid.T, of func([16]byte) ID) (id ID) {
	if rapid.IntRange(0, 3).Draw(t, "no id") == 0 {
		return id
	}
	return of([16]byte{0: byte(rapid.IntRange(0, 255).Draw(t, "id")), 15: 1})
}

func drawAccount(t *rapid.T) bank.AccountID {
	if rapid.IntRange(0, 4).Draw(t, "cash") == 0 {
		return bank.CashAccount(drawCurrency(t))
	}
	return bank.MakeID[bank.Account]([16]byte{0: byte(rapid.IntRange(0, 255).Draw(t, "account")), 15: 1})
}

func drawCurrency(t *rapid.T) bank.Currency {
	c, err := bank.ParseCurrency(rapid.SampledFrom([]string{"EUR", "JPY", "BHD"}).Draw(t, "currency"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func drawAmount(t *rapid.T) bank.Amount {
	a, err := bank.NewAmount(rapid.Int64Range(1, bank.MaxAmount).Draw(t, "amount"), drawCurrency(t))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func drawNatural(t *rapid.T, label string) int64 {
	return rapid.Int64Range(0, bank.MaxAmount).Draw(t, label)
}

func drawLimit(t *rapid.T, label string) bank.Limit {
	if rapid.Bool().Draw(t, "no limit") {
		return bank.NoLimit
	}
	return bank.Limit(drawNatural(t, label))
}

func drawTime(t *rapid.T) bank.Time {
	return bank.Time(rapid.Int64Range(-1_000_000_000_000_000, 4_000_000_000_000_000).Draw(t, "time"))
}

func drawVersion(t *rapid.T) bank.Version { return bank.Version(rapid.Uint64Min(1).Draw(t, "version")) }

func drawMetadata(t *rapid.T) bank.Metadata {
	m := bank.Metadata{}
	for range rapid.IntRange(0, 3).Draw(t, "entries") {
		m[drawText(t, "key")] = drawText(t, "value")
	}
	if len(m) == 0 {
		return nil
	}
	return m
}

func drawLeg(t *rapid.T) *bank.Leg {
	return &bank.Leg{
		Account: drawAccount(t), Customer: drawID(t, bank.MakeID[bank.Customer]), Currency: drawCurrency(t),
		Amount: rapid.Int64Range(-bank.MaxAmount, bank.MaxAmount).Draw(t, "amount"),
		After: bank.AccountState{
			Version: drawVersion(t),
			Status:  rapid.SampledFrom([]bank.AccountStatus{bank.Active, bank.Frozen, bank.Closed}).Draw(t, "status"),
			Balance: rapid.Int64Range(-bank.MaxAmount, bank.MaxAmount).Draw(t, "balance"), Held: drawNatural(t, "held"),
			OverdraftLimit: bank.Limit(drawNatural(t, "overdraft")), DailyDebitLimit: drawLimit(t, "daily"),
			ReviewAbove: drawLimit(t, "review"), Day: drawTime(t).Date(), DebitedToday: drawNatural(t, "today"),
			DetailsVersion: bank.Version(rapid.Uint64().Draw(t, "details")),
		},
	}
}

func drawHold(t *rapid.T) *bank.Hold {
	return &bank.Hold{
		ID: bank.MakeID[bank.Hold]([16]byte{15: 1}), Account: drawAccount(t),
		Customer: drawID(t, bank.MakeID[bank.Customer]), Amount: drawAmount(t), Captured: drawNatural(t, "captured"),
		Remaining: drawNatural(t, "remaining"),
		Status:    rapid.SampledFrom([]bank.HoldStatus{bank.HoldActive, bank.HoldVoided}).Draw(t, "status"),
		Reference: drawText(t, "reference"), CreatedAt: drawTime(t), ExpiresAt: drawTime(t), Version: drawVersion(t),
	}
}

func drawTransaction(t *rapid.T) *bank.Transaction {
	out := &bank.Transaction{
		ID:      bank.MakeID[bank.Transaction]([16]byte{15: byte(rapid.IntRange(0, 255).Draw(t, "transaction"))}),
		Kind:    rapid.SampledFrom([]bank.TransactionKind{bank.DepositKind, bank.ReversalKind}).Draw(t, "kind"),
		Status:  rapid.SampledFrom([]bank.TransactionStatus{bank.Posted, bank.Rejected}).Draw(t, "status"),
		Version: drawVersion(t), Amount: drawAmount(t), Reversed: drawNatural(t, "reversed"),
		From: drawID(t, bank.MakeID[bank.Account]), To: drawID(t, bank.MakeID[bank.Account]),
		Reference: drawText(t, "reference"), Description: drawText(t, "description"), Metadata: drawMetadata(t),
		Reverses: drawID(t, bank.MakeID[bank.Transaction]), Hold: drawID(t, bank.MakeID[bank.Hold]),
		ValueDate: drawTime(t).Date(), CorrelationID: drawText(t, "correlation"), CreatedAt: drawTime(t),
		Seq: bank.Seq(rapid.Uint64().Draw(t, "seq")),
	}
	if rapid.Bool().Draw(t, "posted") {
		out.PostedAt = drawTime(t)
	}
	for range rapid.IntRange(0, 3).Draw(t, "entries") {
		amount := rapid.Int64Range(1, bank.MaxAmount).Draw(t, "amount")
		if rapid.Bool().Draw(t, "debit") {
			amount = -amount
		}
		out.Entries = append(out.Entries, bank.Entry{
			Account: drawAccount(t), Customer: drawID(t, bank.MakeID[bank.Customer]), Amount: amount,
			BalanceAfter: rapid.Int64().Draw(t, "balance"), Version: drawVersion(t),
		})
	}
	return out
}

// Whatever is written, is written as encoding/json would, and read as it was.
func TestPayloads(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var w Writer
		first := drawChange(t)
		for _, c := range []*bank.Change{first, drawChange(t), first, first} {
			got := w.Append([]byte("before"), c)
			want, err := json.Marshal(payloadOf(c))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != "before"+string(want) {
				t.Fatalf("written as\n%s\nwant\n%s", got, want)
			}
			read := bank.Change{Name: c.Name}
			if err := Read(&read, want); err != nil || !reflect.DeepEqual(read, *c) {
				t.Fatalf("%s is read as\n%+v, %v", want, read, err)
			}
		}
	})
}
