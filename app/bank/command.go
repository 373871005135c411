package bank

// Command is something that a person or a handler wants of the ledger. Decide says what becomes of it.
// The events share the command's maps: nobody may write to them afterwards.
type Command interface {
	// decide adds to the desk the events that it makes, or refuses with an *Error.
	decide(d *desk) error
}

// Common terms: By is the customer who asks, zero for staff; accounts of others do not exist for them.
// IfVersion and ExpectedVersion are 0 when the caller does not mind.

// OpenAccount opens ID. That the customer exists has been checked.
type OpenAccount struct {
	ID AccountID
	Opening
	Details         Details
	OverdraftLimit  Limit
	DailyDebitLimit Limit
}

// ChangeAccount changes what is not nil.
type ChangeAccount struct {
	ID              AccountID
	IfVersion       Version
	Label           *string
	ExternalID      *string
	Metadata        *Metadata
	OverdraftLimit  *Limit
	DailyDebitLimit *Limit
}

// SetStatus freezes (Frozen), unfreezes (Active) or closes (Closed).
type SetStatus struct {
	ID        AccountID
	IfVersion Version
	To        AccountStatus
	Reason    string
}

// SetReview makes later transfers of Above or more wait for a decision; nil ends that.
type SetReview struct {
	ID        AccountID
	IfVersion Version
	Above     *Review
	Reason    string
}

// Review is the bound of SetReview: at least 0, in Currency.
type Review struct {
	Minor    int64
	Currency Currency
}

// Terms are what every movement of money carries.
type Terms struct {
	ID            TransactionID
	Reference     string
	Description   string
	Metadata      Metadata
	ValueDate     Date
	CorrelationID string
}

// Deposit brings money in from outside.
type Deposit struct {
	Terms
	Account AccountID
	Amount  Amount
}

// Withdraw takes money out.
type Withdraw struct {
	Terms
	By              CustomerID
	Account         AccountID
	Amount          Amount
	ExpectedVersion Version
}

// Transfer moves money between two accounts.
type Transfer struct {
	Terms
	By              CustomerID
	From, To        AccountID
	Amount          Amount
	ExpectedVersion Version
}

// Bulk is many transfers in one append. Atomic: one refusal refuses all.
type Bulk struct {
	Items   []Transfer
	Atomic  bool
	Refused []*Error // what was found wrong with each item before, nil where nothing was; nil: with none
}

// Reverse gives back Amount of transaction Of, or all that remains when Amount is zero.
type Reverse struct {
	Terms
	Of     TransactionID
	Amount Amount
	Reason string
}

// DecidePending approves or rejects a transfer that waits for review.
type DecidePending struct {
	ID      TransactionID
	Approve bool
	Reason  string
}

// PlaceHold keeps Amount back until ExpiresAt; zero means for 7 days.
type PlaceHold struct {
	ID              HoldID
	By              CustomerID
	Account         AccountID
	Amount          Amount
	ExpiresAt       Time
	Reference       string
	ExpectedVersion Version
}

// Capture moves held money: to To, or out when To is zero. Amount zero: all that remains. Final releases the rest.
type Capture struct {
	Terms
	By              CustomerID
	Hold            HoldID
	To              AccountID
	Amount          Amount
	Final           bool
	ExpectedVersion Version
}

// VoidHold releases all that remains.
type VoidHold struct {
	By CustomerID
	ID HoldID
}
