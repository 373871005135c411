package app

import (
	"context"
	"time"

	"bankforge/app/bank"
)

// Page is one page of a list. Adapters order by (time, id): the newest first, or the oldest when Ascending.
type Page struct {
	Limit     int // at least 1
	Ascending bool
	AfterTime bank.Time // continue behind this place; both zero: from the start
	AfterID   string
	From, To  bank.Time // From ≤ time < To; zero: open
}

// AccountFilter selects accounts; zero fields select all. Their time is OpenedAt.
type AccountFilter struct {
	Page
	Customer   bank.CustomerID
	Status     bank.AccountStatus
	Currency   bank.Currency
	ExternalID string
}

// TransactionFilter selects transactions; zero fields select all. Their time is PostedAt, or CreatedAt while pending.
type TransactionFilter struct {
	Page
	Account        bank.AccountID
	Customer       bank.CustomerID // has an entry, or a pending transfer, on an account of this customer
	Kind           bank.TransactionKind
	Status         bank.TransactionStatus
	Reference      string
	Hold           bank.HoldID
	CorrelationID  string
	IdempotencyKey string
}

// HoldFilter selects holds; zero fields select all. Their time is CreatedAt.
type HoldFilter struct {
	Page
	Account  bank.AccountID
	Customer bank.CustomerID
	Status   bank.HoldStatus
}

// EntryFilter selects the entries of one account. They are ordered by the account's version.
type EntryFilter struct {
	Account      bank.AccountID
	AfterVersion bank.Version // entries behind this version in the order asked for; 0: from the start
	Limit        int
	Ascending    bool
	From, To     bank.Time
}

// EntryRow is one entry of an account's history, with what a statement says of its transaction.
type EntryRow struct {
	Account      bank.AccountID
	Currency     bank.Currency
	Version      bank.Version
	Amount       int64 // minor units: credit > 0, debit < 0
	BalanceAfter int64
	PostedAt     bank.Time
	Transaction  bank.TransactionID
	Kind         bank.TransactionKind
	Reference    string
	Description  string
	ValueDate    bank.Date
}

// The handlers that keep the views. Names are permanent: they are consumer groups.
const (
	BalancesHandler     = "balances"     // accounts, from bankforge.accounts.v1
	HistoryHandler      = "history"      // entries and holds, from bankforge.accounts.v1
	TransactionsHandler = "transactions" // transactions, from bankforge.transactions.v1
)

// Balances answers from the accounts' view (BalancesHandler). Not found: ok is false.
type Balances interface {
	Account(ctx context.Context, id bank.AccountID) (a bank.Account, ok bool, err error)
	Accounts(ctx context.Context, f AccountFilter) ([]bank.Account, error)
}

// History answers from the views of TransactionsHandler, and for entries and holds of HistoryHandler.
type History interface {
	Transaction(ctx context.Context, id bank.TransactionID) (t bank.Transaction, ok bool, err error)
	Transactions(ctx context.Context, f TransactionFilter) ([]bank.Transaction, error)
	Entries(ctx context.Context, f EntryFilter) ([]EntryRow, error)
	Hold(ctx context.Context, id bank.HoldID) (h bank.Hold, ok bool, err error)
	Holds(ctx context.Context, f HoldFilter) ([]bank.Hold, error)
}

// Progress says how far a view's handler has come.
type Progress interface {
	// Await returns once the handler has taken in everything up to seq, or when ctx ends, and reports whether it has.
	Await(ctx context.Context, handler string, seq bank.Seq) bool
	// At is the last seq that the handler has taken in.
	At(handler string) bank.Seq
	// Parked reports whether what happened to the key waits in the handler's parking lot.
	Parked(ctx context.Context, handler, key string) (bool, error)
}

// Freshness is what a reader is told about what it reads.
type Freshness struct {
	Stale bool // the view is behind what the caller must see, or its key is parked
}

// readPatience is how long a read waits for its view.
const readPatience = 2 * time.Second
