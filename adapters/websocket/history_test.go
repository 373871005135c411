package websocket_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"bankforge/adapters/websocket"
	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/push"
)

// events is a log of events that touch one account and make one transaction each.
type events struct {
	list []app.Recorded
	skip int // leaves out this one, from 0, when above 0
}

func (e *events) Head(context.Context) (app.Head, error) { return app.Head{Incarnation: "inc-7"}, nil }

func (e *events) Latest(_ context.Context, subjects []string) (map[string]app.Row, error) {
	out := map[string]app.Row{}
	for _, s := range subjects {
		if s != unknown.String() && len(e.list) > 0 {
			out[s] = app.Row{Seq: bank.Seq(len(e.list))}
		}
	}
	return out, nil
}

func (e *events) Versions(_ context.Context, _ string, after bank.Version, limit int) ([]app.Row, error) {
	var out []app.Row
	for i := int(after); i < len(e.list) && len(out) < limit; i++ {
		if e.skip == 0 || i != e.skip {
			out = append(out, app.Row{Seq: bank.Seq(i + 1)})
		}
	}
	return out, nil
}

func (e *events) decode(r app.Row) (app.Recorded, error) {
	if int(r.Seq) > len(e.list) {
		return app.Recorded{}, errors.New("malformed")
	}
	return e.list[r.Seq-1], nil
}

var (
	mine    = bank.MakeID[bank.Account]([16]byte{1})
	unknown = bank.MakeID[bank.Account]([16]byte{9})
)

func leg(id bank.AccountID, minor int64, v bank.Version, c bank.Currency) bank.Leg {
	return bank.Leg{
		Account: id, Currency: c, Amount: minor, After: bank.AccountState{Version: v, Status: bank.Active},
	}
}

func deposits(t *testing.T, n int) *events {
	t.Helper()
	eur, err := bank.ParseCurrency("EUR")
	if err != nil {
		t.Fatal(err)
	}
	amount, err := bank.NewAmount(100, eur)
	if err != nil {
		t.Fatal(err)
	}
	e := &events{}
	for i := range n {
		e.list = append(e.list, app.Recorded{
			Event: bank.Event{
				Seq: bank.Seq(i + 1), Type: bank.TransactionMade, Time: bank.Time(i),
				Legs: []bank.Leg{
					leg(bank.CashAccount(eur), -100, bank.Version(i+50), eur), leg(mine, 100, bank.Version(i+1), eur),
				},
				Transactions: []bank.Transaction{{
					ID: bank.MakeID[bank.Transaction]([16]byte{byte(i)}), Kind: bank.DepositKind, Status: bank.Posted,
					Version: 1, Amount: amount, To: mine,
				}},
			},
			Meta: app.Meta{CorrelationID: "corr"},
		})
	}
	return e
}

func TestTheLogIsTheHistory(t *testing.T) {
	t.Parallel()
	e := deposits(t, 5)
	h := websocket.NewLogHistory(e, e.decode)
	channel := "account:" + mine.String()
	top, err := h.Top(context.Background(), channel)
	if err != nil || top != (websocket.Place{Epoch: "inc-7", Offset: 5}) {
		t.Fatalf("top is %+v (%v)", top, err)
	}
	got, err := h.Since(context.Background(), channel, 2, 2)
	if err != nil || len(got) != 2 {
		t.Fatalf("read %d (%v)", len(got), err)
	}
	for i, p := range got {
		r := e.list[i+2]
		f := handlers.Fact{Change: r.Changes()[1], Incarnation: "inc-7", CorrelationID: "corr", Actor: "somebody"}
		pushed := push.Encode(&f)
		if p.Channel != channel || p.Offset != uint64(i+3) || string(p.Data) != string(pushed.Data) {
			t.Errorf("recovered %+v %s\nbut pushed %s", p, p.Data, pushed.Data)
		}
	}
	top, err = h.Top(context.Background(), "account:"+unknown.String())
	if err != nil || top != (websocket.Place{Epoch: "inc-7"}) {
		t.Errorf("nothing is known of it, but top is %+v (%v)", top, err)
	}
}

func TestATransactionHasAHistoryToo(t *testing.T) {
	t.Parallel()
	e := deposits(t, 1)
	h := websocket.NewLogHistory(e, e.decode)
	channel := "transaction:" + e.list[0].Transactions[0].ID.String()
	got, err := h.Since(context.Background(), channel, 0, 10)
	if err != nil || len(got) != 1 || got[0].Channel != channel ||
		!strings.Contains(string(got[0].Data), "live.transaction/1") {
		t.Errorf("recovered %+v (%v)", got, err)
	}
}

func TestADamagedLogIsNoHistory(t *testing.T) {
	t.Parallel()
	e := deposits(t, 5)
	e.skip = 3
	h := websocket.NewLogHistory(e, e.decode)
	if _, err := h.Since(context.Background(), "account:"+mine.String(), 1, 9); err == nil {
		t.Error("a missing version went unnoticed")
	}
	if _, err := h.Since(context.Background(), "account:"+unknown.String(), 0, 1); err == nil {
		t.Error("an event of another account went unnoticed")
	}
}
