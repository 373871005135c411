package bank

import "errors"

// Decide says what becomes of a command at the time now (raised to the state's own time): events to append,
// none when there is nothing to do, or an *Error that refuses it. It leaves the state as it was.
// Of a Bulk that is not atomic it says nothing about the refused items; DecideBulk does.
func Decide(s *State, c Command, now Time) ([]Event, error) {
	d := desk{s: s, now: max(now, s.time)}
	if err := c.decide(&d); err != nil {
		return nil, err
	}
	return d.events, nil
}

// DecideBulk decides the items one upon the other. refused has an entry for each item, nil where it is
// accepted; events are the accepted ones' in order. Atomic and one refused: no events, and err is that refusal.
// What b.Refused has for an item stands in its turn, so that the first refusal is the first item's, whoever found it.
func DecideBulk(s *State, b Bulk, now Time) (events []Event, refused []*Error, err error) {
	mark := s.Mark()
	defer s.Rollback(mark)
	events = make([]Event, 0, len(b.Items))
	refused = make([]*Error, len(b.Items))
	for i, item := range b.Items {
		var made []Event
		var err error
		if i < len(b.Refused) && b.Refused[i] != nil {
			err = b.Refused[i]
		} else {
			made, err = Decide(s, item, now)
		}
		if err != nil {
			refused[i] = ofItem(i, err)
			if b.Atomic {
				return nil, refused, refused[i]
			}
		}
		for _, e := range made {
			s.Evolve(e)
		}
		events = append(events, made...)
	}
	return events, refused, nil
}

func (b Bulk) decide(d *desk) error {
	events, _, err := DecideBulk(d.s, b, d.now)
	d.events = events
	return err
}

// desk is where one command is decided: it reads the state, and collects the events.
type desk struct {
	s      *State
	now    Time // the events' time
	events []Event
}

// next is the seq of the next event.
func (d *desk) next() Seq { return d.s.seq + Seq(len(d.events)) + 1 }

func (d *desk) emit(e Event) {
	e.Seq, e.Time = d.next(), d.now
	d.events = append(d.events, e)
}

// firstOf returns the first refusal. The order of its arguments is the order of decision.
func firstOf(refusals ...error) error {
	for _, r := range refusals {
		if r != nil {
			return r
		}
	}
	return nil
}

func ofItem(i int, err error) *Error {
	e, ok := errors.AsType[*Error](err)
	if !ok { // Decide returns no other
		return &Error{Code: InvalidRequest, Detail: "The item cannot be decided.", Item: i, Cause: err}
	}
	of := *e
	of.Item = i
	return &of
}

// account finds an account that a field of the command names. For a customer, only their own exist.
func (d *desk) account(id AccountID, by CustomerID, field string) (*Account, error) {
	a, ok := d.s.accounts[id]
	if !ok || a.Type == Internal || !by.IsZero() && a.Customer != by {
		return nil, Refuse(AccountNotFound, field, "There is no such account.")
	}
	return a, nil
}

// subject finds the account that the command itself is about.
func (d *desk) subject(id AccountID) (*Account, error) {
	a, ok := d.s.accounts[id]
	if !ok || a.Type == Internal {
		return nil, Refuse(NotFound, "", "There is no such account.")
	}
	return a, nil
}

// cash finds the internal account of a currency. On first use it opens it, with an event of its own.
func (d *desk) cash(c Currency) *Account {
	id := CashAccount(c)
	if a, ok := d.s.accounts[id]; ok {
		return a
	}
	a := &Account{ID: id, Opening: Opening{Currency: c, Type: Internal}}
	a.AccountState = AccountState{Version: 1, Status: Active, DailyDebitLimit: NoLimit, ReviewAbove: NoLimit}
	d.emit(Event{
		Type: AccountOpened, Opening: &a.Opening,
		Legs: []Leg{{Account: id, Currency: c, After: a.AccountState}},
	})
	return a
}

// leg is the next version of the account, with amount added to its balance and held to what it holds.
func leg(a *Account, amount, held int64) Leg {
	after := a.AccountState
	after.Version++
	after.Balance += amount
	after.Held += held
	return Leg{Account: a.ID, Customer: a.Customer, Currency: a.Currency, Amount: amount, After: after}
}

// entry is the same as a transaction tells it.
func (l *Leg) entry() Entry {
	return Entry{l.Account, l.Customer, l.Amount, l.After.Balance, l.After.Version}
}

// count adds to what was debited on the day of the event. Past int64 it stays at its end, above every limit.
func (d *desk) count(l *Leg, amount int64) {
	sum, ok := add(d.spent(&l.After), amount)
	if !ok {
		sum = 1<<63 - 1
	}
	l.After.Day, l.After.DebitedToday = d.now.Date(), sum
}

func (d *desk) spent(a *AccountState) int64 {
	if a.Day != d.now.Date() {
		return 0
	}
	return a.DebitedToday
}

func inCurrency(a *Account, c Currency, field string) error {
	if a.Currency != c {
		return Refuse(CurrencyMismatch, field, "The account is in "+a.Currency.String()+", not in "+c.String()+".")
	}
	return nil
}

func atVersion(a *Account, expected Version) error {
	if expected != 0 && expected != a.Version {
		return Refuse(VersionMismatch, "expected_version", "The account has changed since the expected version.")
	}
	return nil
}

func ifVersion(a *Account, wanted Version) error {
	if wanted != 0 && wanted != a.Version {
		return Refuse(PreconditionFailed, "", "The account has changed since the version that If-Match names.")
	}
	return nil
}

// mayTake refuses credits to closed accounts; frozen ones take them.
func mayTake(a *Account, field string) error {
	if a.Status == Closed {
		return Refuse(AccountIsClosed, field, "The account is closed.")
	}
	return nil
}

// mayGive refuses debits and holds on all but active accounts.
func mayGive(a *Account, field string) error {
	if a.Status == Frozen {
		return Refuse(AccountIsFrozen, field, "The account is frozen.")
	}
	return mayTake(a, field)
}

func (d *desk) withinDay(a *Account, amount int64) error {
	if a.DailyDebitLimit != NoLimit && amount > int64(a.DailyDebitLimit)-d.spent(&a.AccountState) {
		return Refuse(LimitExceeded, "amount", "The amount is more than what remains of the account's daily limit.")
	}
	return nil
}

func funded(a *Account, amount int64) error {
	if a.Type != Internal && amount > a.Available() {
		return Refuse(InsufficientFunds, "amount", "The amount is more than what is available on the account.")
	}
	return nil
}

// fits refuses what would carry the balance out of its range. For debits, amount is negative.
func fits(a *Account, amount int64) error {
	if sum, ok := add(a.Balance, amount); !ok || !within(a.Type == Internal, sum) {
		return Refuse(AmountOutOfRange, "amount", "The account's balance would leave the range of amounts.")
	}
	return nil
}

// unused refuses the id of a transaction that is known already. Ids are made to be unique, and the log holds
// that for all of history; here it guards what is pending.
func (d *desk) unused(id TransactionID) error {
	if _, taken := d.s.transactions.rows[id]; taken || id.IsZero() {
		return Refuse(InvalidRequest, "id", "There is a transaction with this id already.")
	}
	return nil
}
