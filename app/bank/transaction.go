package bank

// TransactionKind is what a transaction is.
type TransactionKind uint8

// The kinds of transactions.
const (
	DepositKind TransactionKind = iota + 1
	WithdrawalKind
	TransferKind
	CaptureKind
	ReversalKind
)

var transactionKinds = []string{
	DepositKind: "deposit", WithdrawalKind: "withdrawal", TransferKind: "transfer",
	CaptureKind: "capture", ReversalKind: "reversal",
}

// String is the name that users see.
func (k TransactionKind) String() string { return nameOf(transactionKinds, k) }

// ParseTransactionKind reads what String writes.
func ParseTransactionKind(name string) (TransactionKind, error) {
	return named[TransactionKind](transactionKinds, name, "kind of transaction")
}

// TransactionStatus is how far a transaction is.
type TransactionStatus uint8

// The states of a transaction. PendingReview keeps the money held on the payer's account.
const (
	Posted TransactionStatus = iota + 1
	PendingReview
	Rejected
	PartiallyReversed
	Reversed
)

var transactionStatuses = []string{
	Posted: "posted", PendingReview: "pending_review", Rejected: "rejected",
	PartiallyReversed: "partially_reversed", Reversed: "reversed",
}

// String is the name that users see.
func (s TransactionStatus) String() string { return nameOf(transactionStatuses, s) }

// ParseTransactionStatus reads what String writes.
func ParseTransactionStatus(name string) (TransactionStatus, error) {
	return named[TransactionStatus](transactionStatuses, name, "status of a transaction")
}

// Transaction is one movement of money as it stands at its version.
type Transaction struct {
	ID            TransactionID
	Kind          TransactionKind
	Status        TransactionStatus
	Version       Version
	Amount        Amount
	Reversed      int64     // minor units given back so far
	From, To      AccountID // From is zero for deposits, To for withdrawals (and captures that go out)
	Reference     string
	Description   string
	Metadata      Metadata
	Reverses      TransactionID // the original, for reversals
	Hold          HoldID        // for captures
	ValueDate     Date
	CorrelationID string  // of the command that made it
	CreatedAt     Time    // when it was asked for
	PostedAt      Time    // 0 while pending or when rejected
	Seq           Seq     // of the event that posted it; while pending, of the one that made it
	Entries       []Entry // debit first; empty while pending or when rejected
}

// Entry is one side of a posted transaction.
type Entry struct {
	Account      AccountID
	Customer     CustomerID // whose account it is; zero for internal accounts
	Amount       int64      // minor units: credit > 0, debit < 0
	BalanceAfter int64
	Version      Version // the account's
}

// HoldStatus is how far a hold is.
type HoldStatus uint8

// The states of a hold. All but HoldActive are final.
const (
	HoldActive HoldStatus = iota + 1
	HoldCaptured
	HoldVoided
	HoldExpired
)

var holdStatuses = []string{
	HoldActive: "active", HoldCaptured: "captured", HoldVoided: "voided", HoldExpired: "expired",
}

// String is the name that users see.
func (s HoldStatus) String() string { return nameOf(holdStatuses, s) }

// ParseHoldStatus reads what String writes.
func ParseHoldStatus(name string) (HoldStatus, error) {
	return named[HoldStatus](holdStatuses, name, "status of a hold")
}

// Hold is money kept back on an account for a later capture.
type Hold struct {
	ID        HoldID
	Account   AccountID
	Customer  CustomerID // the account's
	Amount    Amount     // as placed
	Captured  int64      // minor units captured so far
	Remaining int64      // minor units still held; 0 once ended
	Status    HoldStatus
	Reference string
	CreatedAt Time
	ExpiresAt Time
	Version   Version
}
