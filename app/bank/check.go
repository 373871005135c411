package bank

import "fmt"

// Check tells what is wrong with e as the next event after the state, for those who replay a log and trust
// nobody. It knows what every event must keep, whatever command made it: dense numbers, sums of zero, no
// overdraw. A transaction that e changes, and that is not pending, must have been brought in.
func (s *State) Check(e *Event) error {
	if e.Seq != s.seq+1 {
		return fmt.Errorf("event %d follows event %d", e.Seq, s.seq)
	}
	if err := s.check(e); err != nil {
		return fmt.Errorf("event %d: %w", e.Seq, err)
	}
	return nil
}

func (s *State) check(e *Event) error {
	if e.Time < s.time {
		return fmt.Errorf("it is earlier than the one before")
	}
	if err := e.checkAct(); err != nil {
		return err
	}
	sums := make(map[Currency]int64)
	seen := make(map[AccountID]bool)
	for i := range e.Legs {
		l := &e.Legs[i]
		if seen[l.Account] {
			return fmt.Errorf("it has two legs on account %s", l.Account)
		}
		seen[l.Account] = true
		if err := s.checkLeg(e, l); err != nil {
			return fmt.Errorf("leg on account %s: %w", l.Account, err)
		}
		sum, ok := add(sums[l.Currency], l.Amount)
		if !ok {
			return fmt.Errorf("its legs leave int64")
		}
		sums[l.Currency] = sum
	}
	for c, sum := range sums {
		if sum != 0 {
			return fmt.Errorf("its legs in %s come to %d, not to 0", c, sum)
		}
	}
	for i := range e.Transactions {
		if err := s.checkTransaction(e, i); err != nil {
			return fmt.Errorf("transaction %s: %w", e.Transactions[i].ID, err)
		}
	}
	if e.Hold != nil {
		if err := s.checkHold(e.Hold); err != nil {
			return fmt.Errorf("hold %s: %w", e.Hold.ID, err)
		}
	}
	return s.checkHeld(e, seen)
}

// checkAct refuses an act that comes with something else, or as something else.
func (e *Event) checkAct() error {
	rest := len(e.Legs) + len(e.Transactions)
	switch {
	case e.Type != OperatorActed && e.Act != nil:
		return fmt.Errorf("it has an act, and is none")
	case e.Type != OperatorActed:
		return nil
	case e.Act == nil:
		return fmt.Errorf("it is an act without one")
	case rest > 0 || e.Opening != nil || e.Details != nil || e.Hold != nil || e.Reason != "":
		return fmt.Errorf("it is an act, and does something else")
	}
	return e.Act.Check()
}

func (s *State) checkLeg(e *Event, l *Leg) error {
	before := Account{Opening: Opening{Customer: l.Customer, Currency: l.Currency}}
	if a, ok := s.accounts[l.Account]; ok {
		before = *a
	} else if e.Opening == nil {
		return fmt.Errorf("it was never opened")
	} else {
		before.Opening = *e.Opening
		before.AccountState = l.After // what an account is opened with is checked by audit
		before.Version, before.Status, before.Balance, before.Held = 0, Active, 0, 0
	}
	balance, ok := add(before.Balance, l.Amount)
	switch after := l.After; {
	case before.Version != 0 && e.Opening != nil:
		return fmt.Errorf("it is opened twice")
	case l.Customer != before.Customer || l.Currency != before.Currency:
		return fmt.Errorf("it changes its owner or currency")
	case after.Version != before.Version+1:
		return fmt.Errorf("version %d follows version %d", after.Version, before.Version)
	case before.Status == Closed:
		return fmt.Errorf("it is closed")
	case !ok || after.Balance != balance:
		return fmt.Errorf("%d and %d are not %d", before.Balance, l.Amount, after.Balance)
	}
	if err := l.After.audit(before.Type == Internal); err != nil {
		return err
	}
	if err := checkGiving(&before, l.After); err != nil {
		return err
	}
	if err := checkDay(e, &before, l.After); err != nil {
		return err
	}
	return checkConstant(e, &before.AccountState, l.After)
}

// checkGiving refuses what takes more than there is, or takes from an account that does not give. What is
// captured or approved was taken when it was held, so that balance − held stays.
func checkGiving(before *Account, after AccountState) error {
	if before.Type == Internal || after.Balance-after.Held >= before.Balance-before.Held {
		return nil
	}
	switch {
	case before.Status != Active:
		return fmt.Errorf("it is %s, and gives", before.Status)
	case after.Available() < 0:
		return fmt.Errorf("it is overdrawn: %d are available", after.Available())
	}
	return nil
}

var becomes = map[EventType]AccountStatus{AccountFrozen: Frozen, AccountUnfrozen: Active, AccountClosed: Closed}

// checkConstant refuses that an event changes what its type does not.
func checkConstant(e *Event, before *AccountState, after AccountState) error {
	status, turns := becomes[e.Type]
	if !turns {
		status = before.Status
	}
	limited := after.OverdraftLimit != before.OverdraftLimit || after.DailyDebitLimit != before.DailyDebitLimit
	described := e.Details != nil
	switch {
	case after.Status != status:
		return fmt.Errorf("it becomes %s", after.Status)
	case limited && e.Type != AccountChanged:
		return fmt.Errorf("its limits change")
	case after.ReviewAbove != before.ReviewAbove && e.Type != ReviewSet:
		return fmt.Errorf("its bound for review changes")
	case described && after.DetailsVersion != after.Version,
		!described && after.DetailsVersion != before.DetailsVersion:
		return fmt.Errorf("its details are of version %d", after.DetailsVersion)
	}
	return nil
}

// checkDay recounts the daily limit: what is taken counts, but for reversals.
func checkDay(e *Event, before *Account, after AccountState) error {
	day, debited := before.Day, before.DebitedToday
	taken := before.Balance - before.Held - after.Balance + after.Held
	reversal := len(e.Transactions) > 0 && e.Transactions[0].Kind == ReversalKind
	if taken > 0 && !reversal && before.Type != Internal {
		d := desk{now: e.Time}
		l := Leg{After: before.AccountState}
		d.count(&l, taken)
		day, debited = l.After.Day, l.After.DebitedToday
		if limit := before.DailyDebitLimit; limit != NoLimit && debited > int64(limit) {
			return fmt.Errorf("its daily limit of %d is exceeded: %d", limit, debited)
		}
	}
	if after.Day != day || after.DebitedToday != debited {
		return fmt.Errorf("%d are debited on %s, not %d on %s", after.DebitedToday, after.Day, debited, day)
	}
	return nil
}

func (s *State) checkTransaction(e *Event, i int) error {
	t := &e.Transactions[i]
	var before Transaction
	if known, ok := s.transactions.rows[t.ID]; ok {
		before = *known
	} else if t.Version != 1 {
		return fmt.Errorf("version %d follows on nothing", t.Version)
	}
	left := t.Amount.Minor() - t.Reversed
	switch {
	case t.Version != before.Version+1:
		return fmt.Errorf("version %d follows version %d", t.Version, before.Version)
	case before.Version != 0 && t.Amount != before.Amount:
		return fmt.Errorf("its amount changes from %s to %s", before.Amount, t.Amount)
	case t.Reversed < before.Reversed || left < 0:
		return fmt.Errorf("%d of %s are reversed, after %d", t.Reversed, t.Amount, before.Reversed)
	case (t.Status == Reversed) != (left == 0), (t.Status == PartiallyReversed) != (left > 0 && t.Reversed > 0):
		return fmt.Errorf("it is %s, and %d of %s are reversed", t.Status, t.Reversed, t.Amount)
	case i == 1 && (t.ID != e.Transactions[0].Reverses || t.Reversed-before.Reversed != e.Transactions[0].Amount.Minor()):
		return fmt.Errorf("%d of it are given back, not %s", t.Reversed-before.Reversed, e.Transactions[0].Amount)
	case i == 0 && t.Status == Posted:
		return t.checkEntries(e)
	}
	return nil
}

// checkEntries compares the entries with the legs: the debit, then the credit.
func (t *Transaction) checkEntries(e *Event) error {
	if len(t.Entries) != 2 || len(e.Legs) != 2 || t.Seq != e.Seq || t.PostedAt != e.Time {
		return fmt.Errorf("it is not posted by this event, or not twice")
	}
	for i := range e.Legs {
		if t.Entries[i] != e.Legs[i].entry() {
			return fmt.Errorf("its entry on account %s is not the leg", t.Entries[i].Account)
		}
	}
	if t.Entries[0].Amount != -t.Amount.Minor() || t.Entries[1].Amount != t.Amount.Minor() {
		return fmt.Errorf("%d and %d are moved, not %s", t.Entries[0].Amount, t.Entries[1].Amount, t.Amount)
	}
	return nil
}

func (s *State) checkHold(h *Hold) error {
	var before Hold
	if known, ok := s.holds.rows[h.ID]; ok {
		before = *known
	} else if h.Version != 1 {
		return fmt.Errorf("version %d follows on nothing", h.Version)
	}
	ended := h.Status != HoldActive
	switch {
	case h.Version != before.Version+1:
		return fmt.Errorf("version %d follows version %d", h.Version, before.Version)
	case before.Version != 0 && before.Status != HoldActive:
		return fmt.Errorf("it was %s", before.Status)
	case before.Version != 0 && (h.Amount != before.Amount || h.Account != before.Account):
		return fmt.Errorf("its amount or account changes")
	case h.Captured < before.Captured || h.Captured > h.Amount.Minor():
		return fmt.Errorf("%d of %s are captured, after %d", h.Captured, h.Amount, before.Captured)
	case ended && h.Remaining != 0, !ended && (h.Remaining < 1 || h.Remaining != h.Amount.Minor()-h.Captured):
		return fmt.Errorf("it is %s, and %d remain", h.Status, h.Remaining)
	}
	return nil
}

// checkHeld compares what the accounts hold more or less with what the event says of holds and pending transfers.
func (s *State) checkHeld(e *Event, seen map[AccountID]bool) error {
	change := make(map[AccountID]int64)
	if h := e.Hold; h != nil {
		change[h.Account] += h.Remaining
		if before, ok := s.holds.rows[h.ID]; ok {
			change[h.Account] -= before.Remaining
		}
	}
	for i := range e.Transactions {
		t := &e.Transactions[i]
		if before, ok := s.transactions.rows[t.ID]; ok && before.Status == PendingReview {
			change[t.From] -= t.Amount.Minor()
		}
		if t.Status == PendingReview {
			change[t.From] += t.Amount.Minor()
		}
	}
	for i := range e.Legs {
		l := &e.Legs[i]
		held := l.After.Held
		if a, ok := s.accounts[l.Account]; ok {
			held -= a.Held
		}
		if held != change[l.Account] {
			return fmt.Errorf("account %s holds %d more, but the event keeps back %d", l.Account, held, change[l.Account])
		}
	}
	for id, minor := range change {
		if !seen[id] && minor != 0 {
			return fmt.Errorf("it keeps back %d on account %s, on which it has no leg", minor, id)
		}
	}
	return nil
}

// Audit looks at the state as a whole: that no money was made or lost, that what accounts hold is what the
// holds and the pending transfers say, and that nothing is out of its range.
func (s *State) Audit() error {
	held := make(map[AccountID]int64)
	for h := range s.Holds() {
		if h.Remaining < 1 || h.Captured < 0 || h.Remaining != h.Amount.Minor()-h.Captured {
			return fmt.Errorf("hold %s: %d of %s are captured, and %d remain", h.ID, h.Captured, h.Amount, h.Remaining)
		}
		held[h.Account] += h.Remaining
	}
	for t := range s.Pending() {
		held[t.From] += t.Amount.Minor()
	}
	total := make(map[Currency]int64)
	externals := 0
	for _, a := range s.opened {
		if err := a.audit(a.Type == Internal); err != nil {
			return fmt.Errorf("account %s: %w", a.ID, err)
		}
		if a.Held != held[a.ID] {
			return fmt.Errorf("account %s holds %d, but its holds and pending transfers come to %d",
				a.ID, a.Held, held[a.ID])
		}
		delete(held, a.ID)
		total[a.Currency] += a.Balance // may leave int64 on the way, and comes back with the last account
		if id := a.externalID(); id != "" {
			externals++
			if s.external.rows[id] != a.ID {
				return fmt.Errorf("account %s is not found by its external id", a.ID)
			}
		}
	}
	for id, minor := range held {
		return fmt.Errorf("%d are held on account %s, which does not exist", minor, id)
	}
	for c, sum := range total {
		if sum != 0 {
			return fmt.Errorf("the balances in %s come to %d, not to 0", c, sum)
		}
	}
	if n := len(s.external.rows); n != externals {
		return fmt.Errorf("%d external ids lead to accounts, but %d accounts have one", n, externals)
	}
	return nil
}

// audit looks at what must be true of every account at every time.
func (a *AccountState) audit(internal bool) error {
	switch {
	case a.Version == 0:
		return fmt.Errorf("it has no version")
	case a.Status.String() == "":
		return fmt.Errorf("it has no status")
	case !within(internal, a.Balance):
		return fmt.Errorf("its balance of %d is out of range", a.Balance)
	case a.Held < 0 || a.Held > 2*MaxAmount || internal && a.Held != 0:
		return fmt.Errorf("it holds %d", a.Held)
	case a.OverdraftLimit < 0 || a.OverdraftLimit > MaxAmount:
		return fmt.Errorf("its overdraft limit of %d is out of range", a.OverdraftLimit)
	case a.DailyDebitLimit < NoLimit || a.DailyDebitLimit > MaxAmount:
		return fmt.Errorf("its daily limit of %d is out of range", a.DailyDebitLimit)
	case a.ReviewAbove < NoLimit || a.ReviewAbove > MaxAmount:
		return fmt.Errorf("its bound for review of %d is out of range", a.ReviewAbove)
	case a.Status == Closed && (a.Balance != 0 || a.Held != 0):
		return fmt.Errorf("it is closed with a balance of %d, and holds %d", a.Balance, a.Held)
	case a.DebitedToday < 0 || a.DetailsVersion > a.Version:
		return fmt.Errorf("it has debited %d, and its details are of version %d", a.DebitedToday, a.DetailsVersion)
	}
	return nil
}
