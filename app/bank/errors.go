package bank

import "strconv"

// Code names a refusal for machines. Codes are permanent: clients branch on them.
type Code string

// What the ledger refuses. Layers above add codes of their own for what is not business.
const (
	NotFound               Code = "not_found" // the command's own subject does not exist, or not for this caller
	AccountNotFound        Code = "account_not_found"
	CurrencyMismatch       Code = "currency_mismatch"
	SameAccount            Code = "same_account"
	VersionMismatch        Code = "version_mismatch"    // ExpectedVersion
	PreconditionFailed     Code = "precondition_failed" // IfVersion
	AccountIsFrozen        Code = "account_frozen"
	AccountIsClosed        Code = "account_closed"
	AccountNotEmpty        Code = "account_not_empty"
	ExternalIDTaken        Code = "external_id_taken"
	HoldNotActive          Code = "hold_not_active"
	NotReversible          Code = "not_reversible"
	NotPending             Code = "not_pending"
	LimitExceeded          Code = "limit_exceeded"
	InsufficientFunds      Code = "insufficient_funds"
	AmountExceedsRemaining Code = "amount_exceeds_remaining"
	AmountOutOfRange       Code = "amount_out_of_range"
	InvalidRequest         Code = "invalid_request" // what the doors let through only by a mistake, or by their clock
)

// Error is the one error type of BankForge: a code for machines, a message for people, a cause for operators.
type Error struct {
	Code   Code
	Field  string // the field of the command that is refused ("to_account_id"), or ""
	Detail string // one sentence for people; no personal data
	Item   int    // which item of a bulk, from 0; -1 when it is about the whole command
	Cause  error  // for operators; never shown to callers
	// CorrelationID is of the command that was refused, once that is remembered: a replay is told the same.
	CorrelationID string
}

// Refuse makes an error about the whole command.
func Refuse(c Code, field, detail string) *Error {
	return &Error{Code: c, Field: field, Detail: detail, Item: -1}
}

// Error is for logs.
func (e *Error) Error() string {
	s := string(e.Code)
	if e.Field != "" {
		s += " (" + e.Field + ")"
	}
	if e.Item >= 0 {
		s += " in item " + strconv.Itoa(e.Item)
	}
	s += ": " + e.Detail
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }
