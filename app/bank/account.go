package bank

import "fmt"

// Version counts the changes of one account, transaction or hold: dense from 1.
type Version uint64

// Seq is the place of an event in the log: dense from 1; 0 is before the first.
type Seq uint64

// AccountType is what an account is for.
type AccountType uint8

// The types of accounts. Internal accounts belong to the bank and may go below zero.
const (
	Current AccountType = iota + 1
	Savings
	Internal
)

var accountTypes = []string{Current: "current", Savings: "savings", Internal: "internal"}

// String is the name that users see.
func (t AccountType) String() string { return nameOf(accountTypes, t) }

// ParseAccountType reads what String writes.
func ParseAccountType(name string) (AccountType, error) {
	return named[AccountType](accountTypes, name, "type of account")
}

// AccountStatus is what an account allows.
type AccountStatus uint8

// The states of an account. Frozen refuses debits, new holds and reversals out of it, and takes credits
// and captures of earlier holds. Closed refuses everything.
const (
	Active AccountStatus = iota + 1
	Frozen
	Closed
)

var accountStatuses = []string{Active: "active", Frozen: "frozen", Closed: "closed"}

// String is the name that users see.
func (s AccountStatus) String() string { return nameOf(accountStatuses, s) }

// ParseAccountStatus reads what String writes.
func ParseAccountStatus(name string) (AccountStatus, error) {
	return named[AccountStatus](accountStatuses, name, "status of an account")
}

// Account is one account as it stands at its version.
type Account struct {
	ID       AccountID
	Opening  // never changes
	OpenedAt Time
	Details  *Details // as last set; nil: all empty. Shared: replaced as a whole, never written to
	AccountState
	UpdatedAt Time // when the version came to be
}

// Opening is what is said once, when an account is opened.
type Opening struct {
	Customer CustomerID // zero: nobody's, as internal accounts
	Currency Currency
	Type     AccountType
}

// AccountState is what legs carry: everything of an account that money and operators change.
type AccountState struct {
	Version         Version
	Status          AccountStatus
	Balance         int64   // minor units; below zero when overdrawn
	Held            int64   // minor units kept for active holds and pending transfers, at least 0
	OverdraftLimit  Limit   // how far below zero the balance may go; 0 or more, never NoLimit
	DailyDebitLimit Limit   // how much may be debited a UTC day, or NoLimit
	ReviewAbove     Limit   // transfers of this amount or more wait for a decision, or NoLimit
	Day             Date    // the day that DebitedToday counts
	DebitedToday    int64   // minor units that counted against the daily limit on Day
	DetailsVersion  Version // the account's version at which Details were last set; 0: never
}

// Available is what may be debited or held now: balance − held + overdraft limit.
func (a AccountState) Available() int64 { return a.Balance - a.Held + int64(a.OverdraftLimit) }

// Details are what users write about an account. They are business records, not personal data.
type Details struct {
	Label      string
	ExternalID string // unique among all accounts; "": none
	Metadata   Metadata
}

// Metadata is a user's own notes: at most 50 keys of at most 40 characters, values of at most 500.
type Metadata map[string]string

func (d *Details) isEmpty() bool { return d.Label == "" && d.ExternalID == "" && len(d.Metadata) == 0 }

// externalID is "" when the account has none.
func (a *Account) externalID() string {
	if a.Details == nil {
		return ""
	}
	return a.Details.ExternalID
}

// nameOf is the name of an enumerated value; "" for one that does not exist.
func nameOf[E ~uint8](names []string, e E) string {
	if int(e) < len(names) {
		return names[e]
	}
	return ""
}

// named is the inverse of nameOf.
func named[E ~uint8](names []string, name, what string) (E, error) {
	for i, n := range names {
		if n == name && n != "" {
			return E(i), nil
		}
	}
	return 0, fmt.Errorf("%q is not a %s", clip(name), what)
}
