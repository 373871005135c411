package render

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"bankforge/app/bank"
)

// TestAppendedIsMarshalled holds the two ways to write an answer against each other.
func TestAppendedIsMarshalled(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tx, projected := drawTransaction(t), rapid.Bool().Draw(t, "projected")
		r := Reader{Customer: drawID(t, "reader", bank.MakeID[bank.Customer])}
		same(t, TransactionJSON{&tx, r, projected}.AppendJSON(nil), TransactionOf(&tx, r, projected))
		acc, epoch := drawAccount(t), rapid.String().Draw(t, "epoch")
		same(t, AccountJSON{&acc, epoch}.AppendJSON(nil), AccountOf(&acc, epoch))
	})
}

func same(t *rapid.T, got []byte, shown any) {
	t.Helper()
	want, err := json.Marshal(shown)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Fatalf("appended\n%s\nmarshalled\n%s", got, want)
	}
}

func drawTransaction(t *rapid.T) bank.Transaction {
	c := drawCurrency(t)
	amount, err := bank.NewAmount(rapid.Int64Range(1, 1e17).Draw(t, "amount"), c)
	if err != nil {
		t.Fatal(err)
	}
	return bank.Transaction{
		ID: drawID(t, "id", bank.MakeID[bank.Transaction]), Kind: bank.TransactionKind(rapid.IntRange(1, 5).Draw(t, "kind")),
		Status:  bank.TransactionStatus(rapid.IntRange(1, 5).Draw(t, "status")),
		Version: bank.Version(rapid.Uint64().Draw(t, "version")), Amount: amount,
		Reversed: rapid.Int64().Draw(t, "reversed"),
		From:     drawID(t, "from", bank.MakeID[bank.Account]), To: drawID(t, "to", bank.MakeID[bank.Account]),
		Reference: rapid.String().Draw(t, "reference"), Description: rapid.String().Draw(t, "description"),
		Metadata: drawMetadata(t), Reverses: drawID(t, "reverses", bank.MakeID[bank.Transaction]),
		Hold:          drawID(t, "hold", bank.MakeID[bank.Hold]),
		ValueDate:     bank.Date(rapid.Int32Range(-10_000, 100_000).Draw(t, "value date")),
		CorrelationID: rapid.String().Draw(t, "correlation"), PostedAt: drawTime(t),
		Seq:     bank.Seq(rapid.Uint64().Draw(t, "seq")),
		Entries: rapid.SliceOfN(rapid.Custom(drawEntry), 0, 3).Draw(t, "entries"),
	}
}

func drawEntry(t *rapid.T) bank.Entry {
	return bank.Entry{
		Account: drawID(t, "account", bank.MakeID[bank.Account]), Customer: drawID(t, "customer", bank.MakeID[bank.Customer]),
		Amount: rapid.Int64().Draw(t, "moved"), BalanceAfter: rapid.Int64().Draw(t, "balance"),
		Version: bank.Version(rapid.Uint64().Draw(t, "account version")),
	}
}

func drawAccount(t *rapid.T) bank.Account {
	a := bank.Account{
		ID: drawID(t, "id", bank.MakeID[bank.Account]), OpenedAt: drawTime(t), UpdatedAt: drawTime(t),
		Opening: bank.Opening{
			Customer: drawID(t, "customer", bank.MakeID[bank.Customer]), Currency: drawCurrency(t),
			Type: bank.AccountType(rapid.IntRange(1, 3).Draw(t, "type")),
		},
	}
	a.Status = bank.AccountStatus(rapid.IntRange(1, 3).Draw(t, "status"))
	a.Version = bank.Version(rapid.Uint64().Draw(t, "version"))
	a.Balance = rapid.Int64Range(-1e18, 1e18).Draw(t, "balance")
	a.Held = rapid.Int64Range(0, 1e18).Draw(t, "held")
	a.OverdraftLimit, a.DailyDebitLimit, a.ReviewAbove = drawLimit(t), drawLimit(t), drawLimit(t)
	if rapid.Bool().Draw(t, "details") {
		a.Details = &bank.Details{
			Label: rapid.String().Draw(t, "label"), ExternalID: rapid.String().Draw(t, "external id"),
			Metadata: drawMetadata(t),
		}
	}
	return a
}

// drawID draws few ids, so that some are the same, and some are none.
func drawID[ID any](t *rapid.T, what string, make16 func([16]byte) ID) (id ID) {
	if n := rapid.ByteRange(0, 3).Draw(t, what); n > 0 {
		id = make16([16]byte{n})
	}
	return id
}

func drawCurrency(t *rapid.T) bank.Currency {
	return rapid.SampledFrom(bank.Currencies()).Draw(t, "currency")
}

func drawTime(t *rapid.T) bank.Time {
	return bank.Time(rapid.Int64Range(0, 4e15).Draw(t, "time"))
}

func drawLimit(t *rapid.T) bank.Limit {
	return rapid.SampledFrom([]bank.Limit{bank.NoLimit, 0, 1, 500_00}).Draw(t, "limit")
}

func drawMetadata(t *rapid.T) bank.Metadata {
	return rapid.MapOfN(rapid.String(), rapid.String(), 0, 3).Draw(t, "metadata")
}
