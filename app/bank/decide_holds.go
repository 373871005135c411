package bank

// How long a hold lasts: usually, and at most.
const (
	usualHold Time = 7 * microsPerDay
	maxHold   Time = 31 * microsPerDay
)

func (c PlaceHold) decide(d *desk) error {
	if c.ExpiresAt == 0 {
		c.ExpiresAt = d.now + usualHold
	}
	if c.ExpiresAt <= d.now || c.ExpiresAt > d.now+maxHold {
		return Refuse(InvalidRequest, "expires_at", "A hold ends in the future, and after at most 31 days.")
	}
	a, err := d.account(c.Account, c.By, "account_id")
	if err != nil {
		return err
	}
	amount := c.Amount.Minor()
	err = firstOf(
		inCurrency(a, c.Amount.Currency(), "amount"),
		atVersion(a, c.ExpectedVersion),
		mayGive(a, "account_id"),
		d.withinDay(a, amount),
		funded(a, amount),
	)
	if err != nil {
		return err
	}
	if _, taken := d.s.holds.rows[c.ID]; taken || c.ID.IsZero() {
		return Refuse(InvalidRequest, "id", "There is a hold with this id already.")
	}
	d.hold(a, amount, Event{Type: HoldPlaced, Hold: &Hold{
		ID: c.ID, Account: a.ID, Customer: a.Customer, Amount: c.Amount, Remaining: amount, Status: HoldActive,
		Reference: c.Reference, CreatedAt: d.now, ExpiresAt: c.ExpiresAt, Version: 1,
	}})
	return nil
}

func (c Capture) decide(d *desk) error {
	h, err := d.ownHold(c.Hold, c.By)
	if err != nil {
		return err
	}
	from := d.s.accounts[h.Account]
	to, err := d.receiver(c.To, from.Currency)
	if err != nil {
		return err
	}
	taken := c.Amount
	if taken.IsZero() {
		taken = Amount{h.Remaining, h.Amount.Currency()}
	}
	amount := taken.Minor()
	err = firstOf(
		differ(from, to),
		inCurrency(from, taken.Currency(), "amount"),
		inCurrency(to, taken.Currency(), "to_account_id"),
		atVersion(from, c.ExpectedVersion),
		d.active(h),
		mayTake(to, "to_account_id"),
		h.leaves(amount),
		fits(to, amount),
		d.unused(c.ID),
	)
	if err != nil {
		return err
	}
	t := d.transaction(c.Terms, CaptureKind, taken)
	t.From, t.To, t.Hold = from.ID, c.To, h.ID
	after := *h
	after.Version++
	after.Captured += amount
	after.Remaining -= amount
	if c.Final || after.Remaining == 0 {
		after.Status, after.Remaining = HoldCaptured, 0
	}
	d.post(Event{Type: TransactionMade, Hold: &after},
		t, leg(from, -amount, after.Remaining-h.Remaining), leg(to, amount, 0))
	return nil
}

// receiver is the account that a capture goes to, or cash when it goes out.
func (d *desk) receiver(to AccountID, c Currency) (*Account, error) {
	if to.IsZero() {
		return d.cash(c), nil
	}
	return d.account(to, CustomerID{}, "to_account_id")
}

func (c VoidHold) decide(d *desk) error {
	h, err := d.ownHold(c.ID, c.By)
	if err != nil {
		return err
	}
	if err := d.active(h); err != nil {
		return err
	}
	d.release(h, HoldVoided, HoldVoidedEvent)
	return nil
}

// release ends the hold with nothing more captured.
func (d *desk) release(h *Hold, to HoldStatus, e EventType) {
	after := *h
	after.Version++
	after.Status, after.Remaining = to, 0
	d.emit(Event{Type: e, Legs: []Leg{leg(d.s.accounts[h.Account], 0, -h.Remaining)}, Hold: &after})
}

// ownHold finds the hold that the command is about. For a customer, only their own exist.
func (d *desk) ownHold(id HoldID, by CustomerID) (*Hold, error) {
	h, ok := d.s.holds.rows[id]
	if !ok || !by.IsZero() && h.Customer != by {
		return nil, Refuse(NotFound, "", "There is no such hold.")
	}
	return h, nil
}

// active refuses ended holds, and those that are due although their expiry is not yet in the log.
func (d *desk) active(h *Hold) error {
	if h.Status != HoldActive || h.ExpiresAt <= d.now {
		return Refuse(HoldNotActive, "", "The hold has ended.")
	}
	return nil
}

func (h *Hold) leaves(amount int64) error {
	if amount > h.Remaining {
		return Refuse(AmountExceedsRemaining, "amount", "The amount is more than what remains of the hold.")
	}
	return nil
}
