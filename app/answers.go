package app

import (
	"context"
	"fmt"
	"time"

	"bankforge/app/bank"
	"bankforge/app/codec"
)

// Role is what a caller may do; the table of roles and routes is in ports/routes.go.
type Role string

// The roles.
const (
	RoleCustomer Role = "customer"
	RoleTeller   Role = "teller"
	RoleService  Role = "service"
	RoleFraud    Role = "fraud"
	RoleOperator Role = "operator"
	RoleAuditor  Role = "auditor"
	RoleAdmin    Role = "admin"
)

// Principal is who asks, as a verified token says.
type Principal struct {
	Subject  string
	Roles    []Role
	Customer bank.CustomerID // whose accounts a customer may use; zero for staff
	Expires  time.Time
}

// Call is what travels with each command beside its content.
type Call struct {
	Principal      Principal
	Key            Key    // zero for dry runs
	IdempotencyKey string // as sent
	Fingerprint    Hash
	CorrelationID  string
	TraceParent    string
	DryRun         bool // decide, answer, store nothing
	AckPublished   bool // answer only after the broker's acknowledgement
	// Refusal is what the port has found wrong with a well-formed command. It is the outcome, unless the key is known.
	Refusal *bank.Error
}

// Done is what every answer to a command says beside its result.
type Done struct {
	Replayed  bool     // the command was known, and this is what it was answered then
	Seq       bank.Seq // of its last event: what the caller's later reads must have seen
	Published bool     // the broker has acknowledged all messages, if there are any (only with Call.AckPublished)
	Timing    Timing
}

// Timing is where a command's time went.
type Timing struct{ Queue, Decide, Commit, Publish time.Duration }

// AccountDone answers commands on accounts.
type AccountDone struct {
	Done
	Account bank.Account
}

// TransactionDone answers movements of money. Projected ones (dry runs) have no id, seq, nor time.
type TransactionDone struct {
	Done
	Transaction bank.Transaction
	Projected   bool
}

// HoldDone answers commands on holds.
type HoldDone struct {
	Done
	Hold      bank.Hold
	Projected bool
}

// BulkDone answers a bulk: for each item in order a transaction or a refusal.
type BulkDone struct {
	Done
	Items     []BulkItem
	Projected bool
}

// BulkItem has exactly one of its fields set.
type BulkItem struct {
	Transaction *bank.Transaction
	Refused     *bank.Error
}

// ActDone answers acts of operators: they are recorded. Whether they could be done is told elsewhere.
type ActDone struct {
	Done
	Act bank.Act  // its ID is zero where nothing was stored
	At  bank.Time // the event's
}

// Codes of refusals that are not business; bank has the others.
const (
	CodeCustomerNotFound bank.Code = "customer_not_found"
	CodeKeyReused        bank.Code = "idempotency_key_reused"
	CodeOverloaded       bank.Code = "overloaded"
	CodeUnavailable      bank.Code = "unavailable"
	CodeOutcomeUnknown   bank.Code = "outcome_unknown"
	CodeViewBehind       bank.Code = "view_behind"
	CodeInvalidCursor    bank.Code = "invalid_cursor"
)

// Codes of refusals that ports mostly find themselves.
const (
	CodeForbidden      bank.Code = "forbidden"
	CodeInvalidRequest bank.Code = bank.InvalidRequest
)

// replay gives the answer that the command was given when it was decided: what was stored with its outcome, and its
// events. It runs on the caller's side, so that it holds nobody up.
func (l *Ledger) replay(ctx context.Context, r *request) (Answer, *bank.Error) {
	a, err := l.recall(ctx, r)
	if err != nil {
		return Answer{Done: a.Done}, refusal(err)
	}
	return a, nil
}

func (l *Ledger) recall(ctx context.Context, r *request) (Answer, error) {
	o := r.known
	a := Answer{Done: Done{Replayed: true, Seq: o.Seq}}
	if o.Events > 0 {
		a.Seq += bank.Seq(o.Events) - 1
	}
	if o.Code != "" {
		refused, err := codec.DecodeRefusal(o.Reply)
		if err == nil {
			err = refused
		}
		return a, err
	}
	if o.Events > 0 {
		rows, err := l.conf.Log.Read(ctx, o.Seq-1, o.Events)
		if err == nil && len(rows) != o.Events {
			err = fmt.Errorf("the log has %d of %d events from %d on", len(rows), o.Events, o.Seq)
		}
		if err != nil {
			return a, err
		}
		for _, row := range rows {
			e, _, err := codec.Decode(row.Data)
			if err != nil {
				return a, err
			}
			a.Events = append(a.Events, e)
		}
	}
	var err error
	switch r.Command.(type) {
	case bank.OpenAccount, bank.ChangeAccount, bank.SetStatus, bank.SetReview:
		var acc bank.Account
		acc, err = codec.DecodeAccount(o.Reply)
		a.Account = &acc
	case bank.Bulk:
		a.Items, err = codec.DecodeBulk(o.Reply)
	}
	return a, err
}
