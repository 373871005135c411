package bank

import (
	"errors"
	"slices"
	"testing"
)

// noon is when the stories start: noon of some day.
const noon = Time(20_000*microsPerDay + microsPerDay/2)

const hour = Time(microsPerDay / 24)

var (
	eur = must(ParseCurrency("EUR"))
	usd = must(ParseCurrency("USD"))

	alice, bob, carol = named16[Account]("alice"), named16[Account]("bob"), named16[Account]("carol")
	dollars           = named16[Account]("dollars")
	anna, ben         = named16[Customer]("anna"), named16[Customer]("ben")
)

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

// named16 is the id that a name of up to 16 bytes stands for.
func named16[K kind](name string) ID[K] {
	var b [16]byte
	copy(b[:], name)
	return MakeID[K](b)
}

func txn(name string) TransactionID { return named16[Transaction](name) }
func held(name string) HoldID       { return named16[Hold](name) }
func euros(minor int64) Amount      { return must(NewAmount(minor, eur)) }
func terms(name string) Terms       { return Terms{ID: txn(name), Reference: name} }

func open(id AccountID, owner CustomerID, c Currency) OpenAccount {
	return OpenAccount{ID: id, Opening: Opening{owner, c, Current}, DailyDebitLimit: NoLimit}
}

func deposit(name string, to AccountID, minor int64) Deposit {
	return Deposit{Terms: terms(name), Account: to, Amount: euros(minor)}
}

func withdraw(name string, from AccountID, minor int64) Withdraw {
	return Withdraw{Terms: terms(name), Account: from, Amount: euros(minor)}
}

func transfer(name string, from, to AccountID, minor int64) Transfer {
	return Transfer{Terms: terms(name), From: from, To: to, Amount: euros(minor)}
}

func place(name string, on AccountID, minor int64) PlaceHold {
	return PlaceHold{ID: held(name), Account: on, Amount: euros(minor), ExpiresAt: noon + hour}
}

// capture is of the hold "h"; of all that remains when minor is 0.
func capture(name string, minor int64) Capture {
	c := Capture{Terms: terms(name), Hold: held("h"), Final: true}
	if minor > 0 {
		c.Amount = euros(minor)
	}
	return c
}

func reverse(name, of string, minor int64) Reverse {
	r := Reverse{Terms: terms(name), Of: txn(of)}
	if minor > 0 {
		r.Amount = euros(minor)
	}
	return r
}

// codeOf is the code of a refusal; "" when there is none.
func codeOf(err error) Code {
	if refusal, refused := errors.AsType[*Error](err); refused {
		return refusal.Code
	}
	return ""
}

// plus is given and then more.
func plus(given []Command, more ...Command) []Command { return slices.Concat(given, more) }

func freeze(id AccountID) SetStatus   { return SetStatus{ID: id, To: Frozen, Reason: "seen"} }
func unfreeze(id AccountID) SetStatus { return SetStatus{ID: id, To: Active} }
func closing(id AccountID) SetStatus  { return SetStatus{ID: id, To: Closed} }

func review(id AccountID, above int64) SetReview {
	return SetReview{ID: id, Above: &Review{above, eur}, Reason: "watched"}
}

func overdraft(id AccountID, limit int64) ChangeAccount {
	return ChangeAccount{ID: id, OverdraftLimit: new(Limit(limit))}
}

func daily(id AccountID, limit Limit) ChangeAccount {
	return ChangeAccount{ID: id, DailyDebitLimit: &limit}
}

// ledger is a state with what an executor has around it: a clock, and a log to look up ended things in.
type ledger struct {
	*State
	now          Time
	log          []Event
	transactions map[TransactionID]Transaction
	ended        map[HoldID]Hold
	evolve       func(*State, Event) // State.Evolve, or one that is broken on purpose
}

func newLedger() *ledger {
	return &ledger{
		State: NewState(), now: noon, evolve: (*State).Evolve,
		transactions: make(map[TransactionID]Transaction), ended: make(map[HoldID]Hold),
	}
}

// bring puts in what the command may need, as an executor does after looking it up in its log.
func (l *ledger) bring(c Command) {
	switch c := c.(type) {
	case Reverse:
		l.bringTransaction(c.Of)
	case DecidePending:
		l.bringTransaction(c.ID)
	case Capture:
		l.bringHold(c.Hold)
	case VoidHold:
		l.bringHold(c.ID)
	}
}

func (l *ledger) bringTransaction(id TransactionID) {
	if t, ok := l.transactions[id]; ok {
		l.Bring(t)
	}
}

func (l *ledger) bringHold(id HoldID) {
	if h, ok := l.ended[id]; ok {
		l.BringHold(h)
	}
}

// take checks the events, evolves with them and commits.
func (l *ledger) take(events []Event) error {
	for _, e := range events {
		if err := l.Check(&e); err != nil {
			return err
		}
		l.evolve(l.State, e)
		l.log = append(l.log, e)
		for _, t := range e.Transactions {
			l.transactions[t.ID] = t
		}
		if e.Hold != nil && e.Hold.Status != HoldActive {
			l.ended[e.Hold.ID] = *e.Hold
		}
	}
	l.Settle()
	return l.Audit()
}

// story is one test in three parts: given what was accepted, when a command is decided, then this comes of it.
type story struct {
	name  string
	given []Command
	when  Command
	after Time // the command comes so much after noon
	code  Code // "": accepted
	field string
	then  func(t *testing.T, l *ledger, events []Event)
}

// newBank is a bank where alice (EUR, anna's) has 1000, bob (EUR, ben's) and carol (EUR, savings, nobody's) have
// nothing, and dollars is anna's account in USD; and then what is given has happened.
func newBank(t *testing.T, given []Command) *ledger {
	t.Helper()
	l := newLedger()
	savings := open(carol, CustomerID{}, eur)
	savings.Type = Savings
	world := []Command{
		open(alice, anna, eur), open(bob, ben, eur), savings, open(dollars, anna, usd),
		deposit("first", alice, 1000),
	}
	for _, c := range plus(world, given...) {
		l.bring(c)
		if err := l.take(must(Decide(l.State, c, l.now))); err != nil {
			t.Fatalf("given %+v: %v", c, err)
		}
	}
	return l
}

// tell runs each story in a newBank.
func tell(t *testing.T, stories []story) {
	t.Helper()
	for _, st := range stories {
		t.Run(st.name, func(t *testing.T) {
			t.Parallel()
			l := newBank(t, st.given)
			l.now += st.after
			if err := l.take(Expire(l.State, l.now, 100)); err != nil {
				t.Fatal(err)
			}
			l.bring(st.when)
			events, err := Decide(l.State, st.when, l.now)
			st.compare(t, l, events, err)
		})
	}
}

func (st *story) compare(t *testing.T, l *ledger, events []Event, err error) {
	t.Helper()
	if refusal, refused := errors.AsType[*Error](err); refused {
		if refusal.Code != st.code || refusal.Field != st.field {
			t.Errorf("refused with %s of %q, want %q of %q", refusal.Code, refusal.Field, st.code, st.field)
		}
		if len(events) != 0 || refusal.Detail == "" || refusal.Item != -1 {
			t.Errorf("refused with %d events, and %+v", len(events), refusal)
		}
		return
	}
	if st.code != "" {
		t.Fatalf("accepted, want %s", st.code)
	}
	if err := l.take(events); err != nil {
		t.Fatal(err)
	}
	if st.then != nil {
		st.then(t, l, events)
	}
}

// has is the check that accounts stand at balance and held.
func has(id AccountID, balance, held int64) func(*testing.T, *ledger, []Event) {
	return func(t *testing.T, l *ledger, _ []Event) {
		t.Helper()
		a, ok := l.Account(id)
		if !ok || a.Balance != balance || a.Held != held {
			t.Errorf("account %s: balance %d, held %d; want %d, %d", id, a.Balance, a.Held, balance, held)
		}
	}
}

// nothing is the check that there were no events.
func nothing(t *testing.T, _ *ledger, events []Event) {
	t.Helper()
	if len(events) != 0 {
		t.Errorf("%d events, want none: %+v", len(events), events)
	}
}

// all is the check of all of them.
func all(checks ...func(*testing.T, *ledger, []Event)) func(*testing.T, *ledger, []Event) {
	return func(t *testing.T, l *ledger, events []Event) {
		t.Helper()
		for _, check := range checks {
			check(t, l, events)
		}
	}
}
