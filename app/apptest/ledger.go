// Package apptest holds the conformance suites of the interfaces in package app, stores that break
// the promises on purpose to prove the suites, and stores in memory for fast tests.
package apptest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/codec"
)

// Ledger makes believable logs by having bank decide random commands. The same seed makes the same log.
type Ledger struct {
	State    *bank.State
	rand     *rand.Rand
	ids      uint64
	now      bank.Time
	currency bank.Currency
	accounts []bank.AccountID
	holds    []bank.HoldID
	made     []bank.TransactionID
	known    map[bank.TransactionID]bank.Transaction
}

// NewLedger is a bank before its first event.
func NewLedger(seed uint64) (*Ledger, error) {
	eur, err := bank.ParseCurrency("EUR")
	if err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // the same seed must make the same log
	return &Ledger{
		State: bank.NewState(), rand: random, now: 1_760_000_000_000_000, currency: eur,
		known: map[bank.TransactionID]bank.Transaction{},
	}, nil
}

// Events makes n events or a few more, and the state takes them in. A movement of money on which
// everything depends comes often; what is rare in life is less so here.
func (l *Ledger) Events(n int) []bank.Event {
	var out []bank.Event
	for len(out) < n {
		l.now += bank.Time(l.rand.IntN(40_000_000))
		events := bank.Expire(l.State, l.now, 3)
		if len(events) == 0 {
			if events = l.decide(l.command()); events == nil {
				continue
			}
		}
		for _, e := range events {
			l.State.Evolve(e)
			for _, t := range e.Transactions {
				l.known[t.ID] = t
			}
			out = append(out, e)
		}
		l.State.Settle()
	}
	return out
}

// decide returns nothing when the command is refused.
func (l *Ledger) decide(c bank.Command) []bank.Event {
	if r, ok := c.(bank.Reverse); ok {
		if t, ok := l.known[r.Of]; ok {
			l.State.Bring(t)
		}
	}
	events, err := bank.Decide(l.State, c, l.now)
	if err != nil {
		return nil
	}
	switch c := c.(type) {
	case bank.OpenAccount:
		l.accounts = append(l.accounts, c.ID)
	case bank.PlaceHold:
		l.holds = append(l.holds, c.ID)
	case bank.Deposit:
		l.made = append(l.made, c.ID)
	case bank.Transfer:
		l.made = append(l.made, c.ID)
	}
	return events
}

func (l *Ledger) command() bank.Command {
	if len(l.accounts) < 3 || l.rand.IntN(30) == 0 {
		return l.open()
	}
	a := pick(l, l.accounts)
	switch l.rand.IntN(17) {
	case 0, 1, 2:
		return bank.Deposit{Terms: l.terms(), Account: a, Amount: l.amount()}
	case 3:
		return bank.Withdraw{Terms: l.terms(), Account: a, Amount: l.amount()}
	case 4:
		return bank.PlaceHold{
			ID: bank.MakeID[bank.Hold](l.id()), Account: a, Amount: l.amount(), Reference: "hotel",
			ExpiresAt: l.now + bank.Time(1+l.rand.IntN(1_000_000_000)),
		}
	case 5:
		return bank.Capture{Terms: l.terms(), Hold: pick(l, l.holds), To: a, Final: l.rand.IntN(2) == 0}
	case 6:
		return bank.VoidHold{ID: pick(l, l.holds)}
	case 7:
		return bank.Reverse{Terms: l.terms(), Of: pick(l, l.made), Amount: l.amount(), Reason: "sent twice"}
	case 8:
		return bank.DecidePending{ID: pick(l, l.made), Approve: l.rand.IntN(2) == 0, Reason: "asked"}
	case 9:
		return l.change(a)
	case 10:
		return randomAct(l.rand.IntN, l.id(), a.String())
	default:
		return bank.Transfer{Terms: l.terms(), From: a, To: pick(l, l.accounts), Amount: l.amount()}
	}
}

// change is what operators do to an account.
func (l *Ledger) change(a bank.AccountID) bank.Command {
	switch l.rand.IntN(6) {
	case 0:
		return bank.SetStatus{ID: a, To: bank.Frozen, Reason: "stolen card"}
	case 1:
		return bank.SetStatus{ID: a, To: bank.Closed, Reason: "moved away"}
	case 2:
		return bank.SetReview{ID: a, Above: &bank.Review{Minor: 20_000, Currency: l.currency}, Reason: "unusual"}
	case 3:
		limit := bank.Limit(l.rand.IntN(100_000))
		return bank.ChangeAccount{ID: a, OverdraftLimit: &limit}
	case 4:
		label := fmt.Sprint("label ", l.ids)
		return bank.ChangeAccount{ID: a, Label: &label, Metadata: &bank.Metadata{"k": label}}
	default:
		return bank.SetStatus{ID: a, To: bank.Active, Reason: "found again"}
	}
}

func (l *Ledger) open() bank.Command {
	return bank.OpenAccount{
		ID: bank.MakeID[bank.Account](l.id()),
		Opening: bank.Opening{
			Customer: bank.MakeID[bank.Customer](l.id()), Currency: l.currency, Type: bank.Current,
		},
		Details:        bank.Details{ExternalID: fmt.Sprint("x-", l.ids)},
		OverdraftLimit: bank.Limit(l.rand.IntN(2) * 5_000), DailyDebitLimit: bank.NoLimit,
	}
}

func (l *Ledger) terms() bank.Terms {
	return bank.Terms{
		ID: bank.MakeID[bank.Transaction](l.id()), Reference: fmt.Sprint("ref ", l.ids),
		CorrelationID: fmt.Sprint("req-", l.ids),
	}
}

func (l *Ledger) amount() bank.Amount {
	a, err := bank.NewAmount(1+l.rand.Int64N(30_000), l.currency)
	if err != nil {
		panic(err) // it is in range
	}
	return a
}

func (l *Ledger) id() (b [16]byte) {
	l.ids++
	binary.BigEndian.PutUint64(b[:8], l.ids)
	binary.BigEndian.PutUint64(b[8:], l.rand.Uint64())
	return b
}

// pick chooses one, the zero one when there is none.
func pick[T any](l *Ledger, all []T) (one T) {
	if len(all) == 0 {
		return one
	}
	return all[l.rand.IntN(len(all))]
}

// Rows are the events as rows that follow the head, as a decider stores what nobody has sent a key for.
func Rows(head app.Head, events []bank.Event) []app.Row {
	return rows(head, events, func(*bank.Event) string { return "" })
}

// Batch are the events as a decider appends them behind the head when each was made under a key of its own. The
// keys of their outcomes are the chains of their rows.
func Batch(head app.Head, events []bank.Event) app.Batch {
	b := app.Batch{Term: head.Term, Number: head.Batch + 1, After: head.Seq}
	b.Rows = rows(head, events, func(e *bank.Event) string { return fmt.Sprint("key-", e.Seq) })
	for i, r := range b.Rows {
		o := app.Outcome{
			Key: app.Key(r.Chain), Fingerprint: sha256.Sum256(r.Data), Seq: r.Seq, Events: 1, Command: "apptest",
			At: events[i].Time,
		}
		switch e := &events[i]; {
		case len(e.Transactions) > 0:
			o.Subject = e.Transactions[0].ID.String()
		case e.Act != nil:
			o.Subject = e.Act.ID.String()
		}
		b.Outcomes = append(b.Outcomes, o)
	}
	return b
}

func rows(head app.Head, events []bank.Event, key func(*bank.Event) string) []app.Row {
	chain := head.Chain
	rows := make([]app.Row, 0, len(events))
	for i := range events {
		e := &events[i]
		meta := app.Meta{Actor: "apptest", IdempotencyKey: key(e)}
		if len(e.Transactions) > 0 {
			meta.CorrelationID = e.Transactions[0].CorrelationID
		}
		data := codec.Encode(nil, e, meta)
		chain = codec.Chain(chain, data)
		rows = append(rows, app.Row{Seq: e.Seq, Data: data, Chain: chain, Touches: touches(e)})
	}
	return rows
}

func touches(e *bank.Event) (out []app.Touch) {
	for _, l := range e.Legs {
		out = append(out, app.Touch{Subject: l.Account.String(), Version: l.After.Version})
	}
	for _, t := range e.Transactions {
		out = append(out, app.Touch{Subject: t.ID.String(), Version: t.Version})
	}
	if e.Hold != nil {
		out = append(out, app.Touch{Subject: e.Hold.ID.String(), Version: e.Hold.Version})
	}
	if e.Act != nil {
		out = append(out, app.Touch{Subject: e.Act.ID.String(), Version: 1})
	}
	return out
}

// randomAct is what an operator may want of a handler, or of all that failed.
func randomAct(pick func(n int) int, id [16]byte, key string) bank.Act {
	a := bank.Act{ID: bank.MakeID[bank.Act](id), Reason: fmt.Sprint("reason ", pick(9))}
	kinds := bank.ActKinds()
	switch a.Kind = kinds[pick(len(kinds))]; a.Kind {
	case bank.FailureRetry, bank.FailureDiscard, bank.FailureSchedule, bank.GroupRetry, bank.ReplayStart,
		bank.ReplayCancel:
		a.Target = fmt.Sprint("target-", pick(9))
	default:
		a.Handler, a.Key = fmt.Sprint("handler-", pick(3)), key
	}
	if pick(2) == 0 || a.Check() != nil {
		a.Body = fmt.Appendf(nil, `{"n":%d,"text":"ü\u0026\""}`, pick(1000))
	}
	return a
}
