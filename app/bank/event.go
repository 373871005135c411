package bank

// EventType names what happened. The names of the stored form are in app/codec, and are permanent.
type EventType uint8

// What can happen in a ledger.
const (
	AccountOpened    EventType = iota + 1 // Opening, and Details when any were given
	AccountChanged                        // label, external id, metadata or limits
	AccountFrozen                         //
	AccountUnfrozen                       //
	AccountClosed                         //
	ReviewSet                             // ReviewAbove was set or cleared
	TransactionMade                       // a deposit, withdrawal, transfer, capture or reversal was posted
	TransferPending                       // a transfer waits for review; its money is held
	TransferApproved                      // it was posted after all
	TransferRejected                      // its money was released
	HoldPlaced                            //
	HoldVoidedEvent                       //
	HoldExpiredEvent                      //
	OperatorActed                         // Act, and nothing else
)

// Event is one fact, and one row of the log. A movement of money is one event with all its legs.
type Event struct {
	Seq  Seq
	Type EventType
	Time Time
	// Legs has one leg for each account that the event touches; there may be none. Amounts sum to zero.
	Legs []Leg
	// Opening and Details are set when the event sets them. They belong to the only leg.
	Opening *Opening
	Details *Details
	// Transactions are as they stand after the event: the event's own first, then the one it reverses.
	Transactions []Transaction
	// Hold is as it stands after the event.
	Hold   *Hold
	Reason string // of those who froze, closed, reviewed, reversed
	Act    *Act   // what an operator wants; such an event touches no account
}

// Leg is what an event does to one account.
type Leg struct {
	Account  AccountID
	Customer CustomerID
	Currency Currency
	Amount   int64        // signed change of the balance in minor units: credit > 0, debit < 0, 0: none
	After    AccountState // everything that the account has become
}
