package kafka_test

import (
	"context"
	"fmt"
	"sync"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/codec"
	"bankforge/router"
)

const incarnation = "inc_0123456789abcdef"

// transfers is a log of transfers among some accounts, in its stored form.
type transfers struct {
	app.Log
	mu       sync.Mutex
	rows     []app.Row
	versions []bank.Version // of the accounts
	balances []int64
}

// newTransfers makes a log that opens the accounts, and has n transfers among them.
func newTransfers(n, accounts int) *transfers {
	l := &transfers{versions: make([]bank.Version, accounts), balances: make([]int64, accounts)}
	for i := range accounts {
		l.open(i)
	}
	for range n {
		l.add()
	}
	return l
}

func euro() bank.Currency {
	c, err := bank.ParseCurrency("EUR")
	if err != nil {
		panic(err)
	}
	return c
}

func (l *transfers) open(i int) {
	at := bank.Time(1_767_225_600_000_000)
	leg := l.leg(i, 0, euro(), at.Date())
	e := bank.Event{
		Seq: bank.Seq(len(l.rows) + 1), Type: bank.AccountOpened, Time: at, Legs: []bank.Leg{leg},
		Opening: &bank.Opening{Customer: leg.Customer, Currency: leg.Currency, Type: bank.Current},
	}
	l.rows = append(l.rows, app.Row{Seq: e.Seq, Data: codec.Encode(nil, &e, app.Meta{Actor: "usr_teller"})})
}

func (l *transfers) source() router.Source { return router.FromLog(l) }

func (l *transfers) Head(context.Context) (app.Head, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return app.Head{Incarnation: incarnation, Term: 1, Seq: bank.Seq(len(l.rows))}, nil
}

func (l *transfers) Read(_ context.Context, after bank.Seq, limit int) ([]app.Row, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := min(int(after), len(l.rows))
	return l.rows[from:min(from+limit, len(l.rows))], nil
}

func (l *transfers) account(i int) bank.AccountID {
	return bank.MakeID[bank.Account]([16]byte{0: 1, 14: byte(i >> 8), 15: byte(i)})
}

func (l *transfers) leg(i int, amount int64, c bank.Currency, day bank.Date) bank.Leg {
	l.versions[i]++
	l.balances[i] += amount
	return bank.Leg{
		Account: l.account(i), Customer: bank.MakeID[bank.Customer]([16]byte{15: byte(i)}), Currency: c, Amount: amount,
		After: bank.AccountState{
			Version: l.versions[i], Status: bank.Active, Balance: l.balances[i], DailyDebitLimit: bank.NoLimit,
			ReviewAbove: bank.NoLimit, Day: day, DetailsVersion: 1,
		},
	}
}

// add appends a transfer of two accounts.
func (l *transfers) add() {
	c := euro()
	seq := len(l.rows) + 1
	from := seq % len(l.versions)
	to := (from + 1 + seq/len(l.versions)%(len(l.versions)-1)) % len(l.versions)
	at := bank.Time(1_767_225_600_000_000 + int64(seq)*37)
	amount, err := bank.NewAmount(int64(seq%10_000+1), c)
	if err != nil {
		panic(err)
	}
	debit, credit := l.leg(from, -amount.Minor(), c, at.Date()), l.leg(to, amount.Minor(), c, at.Date())
	m := app.Meta{
		CorrelationID: fmt.Sprintf("cor_%020d", seq), Actor: "usr_teller", IdempotencyKey: fmt.Sprintf("key-%024d", seq),
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	e := bank.Event{
		Seq: bank.Seq(seq), Type: bank.TransactionMade, Time: at, Legs: []bank.Leg{debit, credit},
		Transactions: []bank.Transaction{{
			ID:   bank.MakeID[bank.Transaction]([16]byte{13: byte(seq >> 16), 14: byte(seq >> 8), 15: byte(seq)}),
			Kind: bank.TransferKind, Status: bank.Posted, Version: 1, Amount: amount, From: debit.Account, To: credit.Account,
			Reference: "INV-2026-000017", ValueDate: at.Date(), CorrelationID: m.CorrelationID,
			CreatedAt: at, PostedAt: at, Seq: bank.Seq(seq), Entries: []bank.Entry{
				entry(&debit),
				entry(&credit),
			},
		}},
	}
	l.rows = append(l.rows, app.Row{Seq: e.Seq, Data: codec.Encode(nil, &e, m)})
}

// act appends an act about one of some handlers, or about none.
func (l *transfers) act() {
	seq := len(l.rows) + 1
	e := bank.Event{
		Seq: bank.Seq(seq), Type: bank.OperatorActed, Time: bank.Time(1_767_225_600_000_000 + int64(seq)*37),
		Act: &bank.Act{
			ID: bank.MakeID[bank.Act]([16]byte{14: byte(seq >> 8), 15: byte(seq)}), Kind: bank.FailureSchedule,
			Handler: []string{"", "history", "balances"}[seq%3], Target: "fail_1",
			Body: []byte(`{"at":"2026-01-01T09:00:00Z"}`), Reason: "later",
		},
	}
	l.rows = append(l.rows, app.Row{Seq: e.Seq, Data: codec.Encode(nil, &e, app.Meta{Actor: "usr_operator"})})
}

func entry(l *bank.Leg) bank.Entry {
	return bank.Entry{
		Account: l.Account, Customer: l.Customer, Amount: l.Amount, BalanceAfter: l.After.Balance, Version: l.After.Version,
	}
}
