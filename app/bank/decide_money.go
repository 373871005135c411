package bank

func (c Deposit) decide(d *desk) error {
	to, err := d.account(c.Account, CustomerID{}, "account_id")
	if err != nil {
		return err
	}
	amount := c.Amount.Minor()
	err = firstOf(
		inCurrency(to, c.Amount.Currency(), "amount"),
		mayTake(to, "account_id"),
		fits(to, amount),
		d.unused(c.ID),
	)
	if err != nil {
		return err
	}
	from := d.cash(to.Currency)
	if err := fits(from, -amount); err != nil {
		return err
	}
	t := d.transaction(c.Terms, DepositKind, c.Amount)
	t.To = to.ID
	d.post(Event{Type: TransactionMade}, t, leg(from, -amount, 0), leg(to, amount, 0))
	return nil
}

func (c Withdraw) decide(d *desk) error {
	from, err := d.account(c.Account, c.By, "account_id")
	if err != nil {
		return err
	}
	amount := c.Amount.Minor()
	err = firstOf(
		inCurrency(from, c.Amount.Currency(), "amount"),
		atVersion(from, c.ExpectedVersion),
		mayGive(from, "account_id"),
		d.withinDay(from, amount),
		funded(from, amount),
		d.unused(c.ID),
	)
	if err != nil {
		return err
	}
	to := d.cash(from.Currency)
	if err := fits(to, amount); err != nil {
		return err
	}
	debit := leg(from, -amount, 0)
	d.count(&debit, amount)
	t := d.transaction(c.Terms, WithdrawalKind, c.Amount)
	t.From = from.ID
	d.post(Event{Type: TransactionMade}, t, debit, leg(to, amount, 0))
	return nil
}

func (c Transfer) decide(d *desk) error {
	from, err := d.account(c.From, c.By, "from_account_id")
	if err != nil {
		return err
	}
	to, err := d.account(c.To, CustomerID{}, "to_account_id")
	if err != nil {
		return err
	}
	amount := c.Amount.Minor()
	err = firstOf(
		differ(from, to),
		inCurrency(from, c.Amount.Currency(), "amount"),
		inCurrency(to, c.Amount.Currency(), "to_account_id"),
		atVersion(from, c.ExpectedVersion),
		mayGive(from, "from_account_id"),
		mayTake(to, "to_account_id"),
		d.withinDay(from, amount),
		funded(from, amount),
		fits(to, amount),
		d.unused(c.ID),
	)
	if err != nil {
		return err
	}
	t := d.transaction(c.Terms, TransferKind, c.Amount)
	t.From, t.To = from.ID, to.ID
	if from.ReviewAbove != NoLimit && amount >= int64(from.ReviewAbove) {
		d.hold(from, amount, Event{Type: TransferPending, Transactions: []Transaction{t}})
		return nil
	}
	debit := leg(from, -amount, 0)
	d.count(&debit, amount)
	d.post(Event{Type: TransactionMade}, t, debit, leg(to, amount, 0))
	return nil
}

func (c DecidePending) decide(d *desk) error {
	known, ok := d.s.transactions.rows[c.ID]
	switch {
	case !ok:
		return Refuse(NotFound, "", "There is no such transaction.")
	case known.Status != PendingReview:
		return Refuse(NotPending, "", "The transaction does not wait for review.")
	}
	t := *known
	t.Version++
	amount := t.Amount.Minor()
	from, to := d.s.accounts[t.From], d.s.accounts[t.To]
	if !c.Approve {
		t.Status = Rejected
		d.emit(Event{
			Type: TransferRejected, Legs: []Leg{leg(from, 0, -amount)},
			Transactions: []Transaction{t}, Reason: c.Reason,
		})
		return nil
	}
	if err := firstOf(mayTake(to, ""), fits(to, amount)); err != nil {
		return err
	}
	d.post(Event{Type: TransferApproved, Reason: c.Reason}, t, leg(from, -amount, -amount), leg(to, amount, 0))
	return nil
}

func (c Reverse) decide(d *desk) error {
	known, ok := d.s.transactions.rows[c.Of]
	if !ok {
		return Refuse(NotFound, "", "There is no such transaction.")
	}
	original := *known
	given, err := original.giveBack(c.Amount)
	if err != nil {
		return err
	}
	amount := given.Minor()
	from := d.side(original.To, given.Currency())
	to := d.side(original.From, given.Currency())
	err = firstOf(
		mayGive(from, ""),
		mayTake(to, ""),
		original.leaves(amount),
		funded(from, amount),
		fits(from, -amount),
		fits(to, amount),
		d.unused(c.ID),
	)
	if err != nil {
		return err
	}
	t := d.transaction(c.Terms, ReversalKind, given)
	t.From, t.To, t.Reverses = original.To, original.From, original.ID
	original.Version++
	original.Reversed += amount
	original.Status = PartiallyReversed
	if original.Reversed == original.Amount.Minor() {
		original.Status = Reversed
	}
	d.post(Event{Type: TransactionMade, Transactions: []Transaction{{}, original}, Reason: c.Reason},
		t, leg(from, -amount, 0), leg(to, amount, 0))
	return nil
}

// giveBack is what a reversal of asked moves; a zero asked is all that remains.
func (t *Transaction) giveBack(asked Amount) (Amount, error) {
	if !asked.IsZero() && asked.Currency() != t.Amount.Currency() {
		return Amount{}, Refuse(CurrencyMismatch, "amount", "The transaction is in another currency.")
	}
	if t.Kind == ReversalKind || t.Status != Posted && t.Status != PartiallyReversed {
		return Amount{}, Refuse(NotReversible, "", "There is nothing in the transaction to give back.")
	}
	if asked.IsZero() {
		return Amount{t.Amount.Minor() - t.Reversed, t.Amount.Currency()}, nil
	}
	return asked, nil
}

func (t *Transaction) leaves(amount int64) error {
	if amount > t.Amount.Minor()-t.Reversed {
		return Refuse(AmountExceedsRemaining, "amount", "The amount is more than what remains to be given back.")
	}
	return nil
}

// side is one side of a posted transaction: an account, or cash when there is none.
func (d *desk) side(id AccountID, c Currency) *Account {
	if id.IsZero() {
		return d.cash(c)
	}
	return d.s.accounts[id]
}

func differ(from, to *Account) error {
	if from == to {
		return Refuse(SameAccount, "to_account_id", "The money would go to where it comes from.")
	}
	return nil
}

// transaction is a new transaction, not yet posted. Without a date of its own it is of value on the event's day.
func (d *desk) transaction(terms Terms, kind TransactionKind, amount Amount) Transaction {
	t := Transaction{
		ID: terms.ID, Kind: kind, Status: PendingReview, Version: 1, Amount: amount,
		Reference: terms.Reference, Description: terms.Description, Metadata: terms.Metadata,
		ValueDate: terms.ValueDate, CorrelationID: terms.CorrelationID, CreatedAt: d.now, Seq: d.next(),
	}
	if t.ValueDate == 0 {
		t.ValueDate = d.now.Date()
	}
	return t
}

// post emits e as the movement of t's money. e's own transactions, if any, start with a place for t.
func (d *desk) post(e Event, t Transaction, debit, credit Leg) {
	t.Status, t.PostedAt, t.Seq = Posted, d.now, d.next()
	t.Entries = []Entry{debit.entry(), credit.entry()}
	e.Legs = []Leg{debit, credit}
	if e.Transactions == nil {
		e.Transactions = make([]Transaction, 1)
	}
	e.Transactions[0] = t
	d.emit(e)
}

// hold emits e as the holding of amount, which counts for the daily limit.
func (d *desk) hold(a *Account, amount int64, e Event) {
	l := leg(a, 0, amount)
	d.count(&l, amount)
	e.Legs = []Leg{l}
	d.emit(e)
}
