package bank

import "maps"

func (c OpenAccount) decide(d *desk) error {
	err := firstOf(
		d.openable(c),
		limitInRange(c.OverdraftLimit, 0, "overdraft_limit"),
		limitInRange(c.DailyDebitLimit, NoLimit, "daily_debit_limit"),
		d.externalIDFree(c.Details.ExternalID),
	)
	if err != nil {
		return err
	}
	after := AccountState{
		Version: 1, Status: Active,
		OverdraftLimit: c.OverdraftLimit, DailyDebitLimit: c.DailyDebitLimit, ReviewAbove: NoLimit,
	}
	e := Event{Type: AccountOpened, Opening: &c.Opening}
	if !c.Details.isEmpty() {
		e.Details = &c.Details
		after.DetailsVersion = 1
	}
	e.Legs = []Leg{{Account: c.ID, Customer: c.Customer, Currency: c.Currency, After: after}}
	d.emit(e)
	return nil
}

func (d *desk) openable(c OpenAccount) error {
	_, taken := d.s.accounts[c.ID]
	switch {
	case taken || c.ID.IsZero() || IsInternal(c.ID):
		return Refuse(InvalidRequest, "id", "An account needs an id of its own.")
	case c.Type != Current && c.Type != Savings:
		return Refuse(InvalidRequest, "type", "An account is opened as a current or a savings account.")
	case c.Currency.IsZero():
		return Refuse(InvalidRequest, "currency", "An account needs a currency.")
	}
	return nil
}

func (c ChangeAccount) decide(d *desk) error {
	a, err := d.subject(c.ID)
	if err != nil {
		return err
	}
	l := leg(a, 0, 0)
	if c.OverdraftLimit != nil {
		l.After.OverdraftLimit = *c.OverdraftLimit
	}
	if c.DailyDebitLimit != nil {
		l.After.DailyDebitLimit = *c.DailyDebitLimit
	}
	details, redescribed := c.details(a)
	err = firstOf(
		ifVersion(a, c.IfVersion),
		mayTake(a, ""),
		limitInRange(l.After.OverdraftLimit, 0, "overdraft_limit"),
		limitInRange(l.After.DailyDebitLimit, NoLimit, "daily_debit_limit"),
	)
	if err == nil && details.ExternalID != a.externalID() {
		err = d.externalIDFree(details.ExternalID)
	}
	if err != nil {
		return err
	}
	limited := l.After.OverdraftLimit != a.OverdraftLimit || l.After.DailyDebitLimit != a.DailyDebitLimit
	if !redescribed && !limited {
		return nil
	}
	e := Event{Type: AccountChanged}
	if redescribed {
		e.Details = details
		l.After.DetailsVersion = l.After.Version
	}
	e.Legs = []Leg{l}
	d.emit(e)
	return nil
}

// details are the account's after the change, and whether that differs from before.
func (c ChangeAccount) details(a *Account) (after *Details, changed bool) {
	var before Details
	if a.Details != nil {
		before = *a.Details
	}
	after = new(before)
	if c.Label != nil {
		after.Label = *c.Label
	}
	if c.ExternalID != nil {
		after.ExternalID = *c.ExternalID
	}
	if c.Metadata != nil {
		after.Metadata = *c.Metadata
	}
	same := after.Label == before.Label && after.ExternalID == before.ExternalID &&
		maps.Equal(after.Metadata, before.Metadata)
	return after, !same
}

func (c SetStatus) decide(d *desk) error {
	a, err := d.subject(c.ID)
	if err != nil {
		return err
	}
	if err := ifVersion(a, c.IfVersion); err != nil {
		return err
	}
	if a.Status == c.To {
		return nil
	}
	if err := mayTake(a, ""); err != nil {
		return err
	}
	e := Event{Reason: c.Reason}
	switch c.To {
	case Active:
		e.Type = AccountUnfrozen
	case Frozen:
		e.Type = AccountFrozen
	case Closed:
		e.Type = AccountClosed
		if a.Balance != 0 || a.Held != 0 {
			return Refuse(AccountNotEmpty, "", "The account has money or holds on it.")
		}
	default:
		return Refuse(InvalidRequest, "status", "An account is active, frozen or closed.")
	}
	l := leg(a, 0, 0)
	l.After.Status = c.To
	e.Legs = []Leg{l}
	d.emit(e)
	return nil
}

func (c SetReview) decide(d *desk) error {
	a, err := d.subject(c.ID)
	if err != nil {
		return err
	}
	above := NoLimit
	if c.Above != nil {
		above = Limit(c.Above.Minor)
		err = firstOf(inCurrency(a, c.Above.Currency, "above"), limitInRange(above, 0, "above"))
	}
	err = firstOf(err, ifVersion(a, c.IfVersion), mayTake(a, ""))
	if err != nil || above == a.ReviewAbove {
		return err
	}
	l := leg(a, 0, 0)
	l.After.ReviewAbove = above
	d.emit(Event{Type: ReviewSet, Legs: []Leg{l}, Reason: c.Reason})
	return nil
}

func limitInRange(l, least Limit, field string) error {
	if l < least || l > MaxAmount {
		return Refuse(AmountOutOfRange, field, "The limit is out of the range of amounts.")
	}
	return nil
}

func (d *desk) externalIDFree(id string) error {
	if _, taken := d.s.external.rows[id]; taken {
		return Refuse(ExternalIDTaken, "external_id", "Another account has this external id.")
	}
	return nil
}
