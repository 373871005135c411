package apptest

import (
	"encoding/binary"
	"fmt"

	"bankforge/app"
	"bankforge/app/bank"
)

// RandomHistory is what a small bank has done after some random commands. pick gives a number from 0 to n−1, from
// any source: the same numbers make the same history. There is some of everything that the ledger knows,
// refusals left out; and many events happen at the same time.
func RandomHistory(pick func(n int) int, commands int) []app.Recorded {
	r := &randomBank{pick: pick, state: bank.NewState(), now: 1_700_000_000_000_000}
	for range commands {
		r.now += bank.Time(pick(3)) * 1000
		if pick(20) == 0 {
			r.now += 24 * 60 * 60 * 1_000_000
		}
		for _, e := range bank.Expire(r.state, r.now, 100) {
			r.record(e, app.Meta{})
		}
		c := r.command()
		meta := app.Meta{
			CorrelationID: fmt.Sprintf("correlation-%d", pick(10)), Actor: "somebody",
			IdempotencyKey: fmt.Sprintf("key-%d", pick(20)),
		}
		events, err := bank.Decide(r.state, c, r.now)
		if err != nil {
			continue
		}
		for _, e := range events {
			r.record(e, meta)
		}
	}
	return r.events
}

type randomBank struct {
	pick         func(n int) int
	state        *bank.State // never settled, so that it knows all transactions
	now          bank.Time
	events       []app.Recorded
	accounts     []bank.AccountID
	transactions []bank.TransactionID
	pending      []bank.TransactionID
	holds        []bank.HoldID
	ids          uint64
}

func (r *randomBank) record(e bank.Event, m app.Meta) {
	r.state.Evolve(e)
	r.events = append(r.events, app.Recorded{Event: e, Meta: m})
	if e.Opening != nil && e.Opening.Type != bank.Internal {
		r.accounts = append(r.accounts, e.Legs[0].Account)
	}
	for _, t := range e.Transactions {
		if t.Version == 1 {
			r.transactions = append(r.transactions, t.ID)
		}
		if t.Status == bank.PendingReview {
			r.pending = append(r.pending, t.ID)
		}
	}
	if e.Hold != nil && e.Hold.Version == 1 {
		r.holds = append(r.holds, e.Hold.ID)
	}
}

// id is unique, and in no order.
func (r *randomBank) id() (b [16]byte) {
	r.ids++
	binary.BigEndian.PutUint64(b[:], r.ids*0x9e3779b97f4a7c15)
	return b
}

func (r *randomBank) command() bank.Command {
	switch n := r.pick(28); {
	case len(r.accounts) < 2 || n == 0:
		return r.open()
	case n < 5:
		return bank.Deposit{Terms: r.terms(), Account: r.account(), Amount: r.amount(1000)}
	case n < 7:
		return bank.Withdraw{Terms: r.terms(), Account: r.account(), Amount: r.amount(200)}
	case n < 14:
		return bank.Transfer{Terms: r.terms(), From: r.account(), To: r.account(), Amount: r.amount(300)}
	case n < 16:
		return bank.PlaceHold{
			ID: bank.MakeID[bank.Hold](r.id()), Account: r.account(), Amount: r.amount(100),
			ExpiresAt: r.now + bank.Time(1+r.pick(60))*1000, Reference: r.text("hold", 3),
		}
	case n < 18 && len(r.holds) > 0:
		return bank.Capture{
			Terms: r.terms(), Hold: r.hold(), To: r.maybeAccount(),
			Amount: r.maybeAmount(60), Final: r.pick(2) == 0,
		}
	case n < 19 && len(r.holds) > 0:
		return bank.VoidHold{ID: r.hold()}
	case n < 21 && len(r.pending) > 0:
		return bank.DecidePending{ID: r.pending[r.pick(len(r.pending))], Approve: r.pick(3) > 0, Reason: "seen"}
	case n < 23 && len(r.transactions) > 0:
		return bank.Reverse{Terms: r.terms(), Of: r.transactions[r.pick(len(r.transactions))], Amount: r.maybeAmount(200)}
	case n == 23:
		return randomAct(r.pick, r.id(), r.account().String())
	default:
		return r.administer()
	}
}

func (r *randomBank) open() bank.Command {
	opening := bank.Opening{Currency: r.currency(), Type: bank.Current}
	if n := r.pick(3); n > 0 {
		opening.Customer = bank.MakeID[bank.Customer]([16]byte{15: byte(n)})
	}
	if r.pick(3) == 0 {
		opening.Type = bank.Savings
	}
	return bank.OpenAccount{
		ID: bank.MakeID[bank.Account](r.id()), Opening: opening, Details: r.details(),
		OverdraftLimit: bank.Limit(r.pick(500)), DailyDebitLimit: bank.NoLimit,
	}
}

func (r *randomBank) details() bank.Details {
	d := bank.Details{Label: r.text("label", 3), ExternalID: r.text("external", 8)}
	if r.pick(3) == 0 {
		d.Metadata = r.metadata()
	}
	return d
}

func (r *randomBank) administer() bank.Command {
	id := r.account()
	switch r.pick(6) {
	case 0:
		return bank.SetStatus{ID: id, To: bank.Frozen, Reason: "odd"}
	case 1, 2:
		return bank.SetStatus{ID: id, To: bank.Active, Reason: "not odd"}
	case 3:
		return bank.SetReview{ID: id, Above: &bank.Review{Minor: int64(r.pick(100)), Currency: r.currency()}}
	case 4:
		if a, _ := r.state.Account(id); a.Balance == 0 && a.Held == 0 {
			return bank.SetStatus{ID: id, To: bank.Closed, Reason: "empty"}
		}
		limit := bank.Limit(r.pick(2000))
		return bank.ChangeAccount{ID: id, DailyDebitLimit: &limit}
	default:
		d := r.details()
		return bank.ChangeAccount{ID: id, Label: &d.Label, ExternalID: &d.ExternalID, Metadata: &d.Metadata}
	}
}

func (r *randomBank) terms() bank.Terms {
	t := bank.Terms{
		ID: bank.MakeID[bank.Transaction](r.id()), Reference: r.text("reference", 4), Description: r.text("text", 2),
		ValueDate: bank.Date(19_000 + r.pick(3)), CorrelationID: fmt.Sprintf("correlation-%d", r.pick(10)),
	}
	if r.pick(4) == 0 {
		t.Metadata = r.metadata()
	}
	return t
}

func (r *randomBank) metadata() bank.Metadata {
	return bank.Metadata{"purpose": r.text("ünïcode\"", 3), "empty": ""}
}

func (r *randomBank) account() bank.AccountID { return r.accounts[r.pick(len(r.accounts))] }

// hold is one of the last ones: they do not last.
func (r *randomBank) hold() bank.HoldID {
	return r.holds[len(r.holds)-1-r.pick(min(3, len(r.holds)))]
}

func (r *randomBank) maybeAccount() bank.AccountID {
	if r.pick(2) == 0 {
		return bank.AccountID{}
	}
	return r.account()
}

// currency is one of two, the first one nearly always.
func (r *randomBank) currency() bank.Currency {
	if r.pick(6) == 0 {
		return currency("USD")
	}
	return currency("EUR")
}

func (r *randomBank) amount(below int) bank.Amount {
	a, err := bank.NewAmount(int64(1+r.pick(below-1)), r.currency())
	if err != nil {
		panic(err)
	}
	return a
}

func (r *randomBank) maybeAmount(below int) bank.Amount {
	if r.pick(3) == 0 {
		return bank.Amount{}
	}
	return r.amount(below)
}

func currency(code string) bank.Currency {
	c, err := bank.ParseCurrency(code)
	if err != nil {
		panic(err)
	}
	return c
}

// text is "" or one of some texts.
func (r *randomBank) text(kind string, kinds int) string {
	if n := r.pick(kinds); n > 0 {
		return fmt.Sprintf("%s %d", kind, n)
	}
	return ""
}
