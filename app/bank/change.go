package bank

// Topic is a stream of messages.
type Topic string

// The topics that events of the ledger are told on. Their names are permanent.
const (
	AccountsTopic     Topic = "bankforge.accounts.v1"
	TransactionsTopic Topic = "bankforge.transactions.v1"
	OpsTopic          Topic = "bankforge.ops.v1"
)

// Topics are all of them.
func Topics() []Topic { return []Topic{AccountsTopic, TransactionsTopic, OpsTopic} }

// Change is what one event did to one account (on AccountsTopic, keyed by the account) or to one
// transaction (on TransactionsTopic, keyed by the transaction), or what an operator wants (on OpsTopic, keyed by the
// handler that it is about, if there is one, else by the act): the content of one message.
// (Seq, N) is its position: N counts the changes of one event from 0.
type Change struct {
	Seq  Seq
	N    int
	Time Time
	Name string // "account.credited"; the message's type is "bankforge." + Name + ".v1"
	// Leg is set on AccountsTopic only. Opening, Details and Hold are set where the event sets them.
	Leg     *Leg
	Opening *Opening
	Details *Details
	Hold    *Hold
	// Transaction is on TransactionsTopic the one that changed, on AccountsTopic the one that moved the money, if any.
	Transaction *Transaction
	// Payer is on TransactionsTopic whose account the transaction's From is: while it is pending, no entry says so.
	Payer  CustomerID
	Reason string
	Act    *Act // on OpsTopic, and nothing else there
}

// Changes expands the event in the order of its messages: its legs, then its transactions; or the act that it is.
// What they point to is shared with the event.
func (e *Event) Changes() []Change {
	if e.Act != nil {
		return []Change{{Seq: e.Seq, Time: e.Time, Name: e.Act.Kind.ActName(), Act: e.Act}}
	}
	out := make([]Change, 0, len(e.Legs)+len(e.Transactions))
	for i := range e.Legs {
		c := Change{
			Seq: e.Seq, N: len(out), Time: e.Time, Name: e.legName(i),
			Leg: &e.Legs[i], Opening: e.Opening, Details: e.Details, Hold: e.Hold, Reason: e.Reason,
		}
		if len(e.Transactions) > 0 {
			c.Transaction = &e.Transactions[0]
		}
		out = append(out, c)
	}
	for i := range e.Transactions {
		t := &e.Transactions[i]
		out = append(out, Change{
			Seq: e.Seq, N: len(out), Time: e.Time, Name: transactionNames[t.Status], Transaction: t,
			Payer: e.payer(t), Reason: e.Reason,
		})
	}
	return out
}

// payer is whose account t takes from: every change of a transaction has a leg on that account.
func (e *Event) payer(t *Transaction) CustomerID {
	for i := range e.Legs {
		if e.Legs[i].Account == t.From {
			return e.Legs[i].Customer
		}
	}
	return CustomerID{}
}

// Topic is where the change is told.
func (c *Change) Topic() Topic {
	switch {
	case c.Leg != nil:
		return AccountsTopic
	case c.Act != nil:
		return OpsTopic
	default:
		return TransactionsTopic
	}
}

// Key is what the change's topic is ordered by: the account's or the transaction's id, or the handler that an act is
// about.
func (c *Change) Key() string {
	switch {
	case c.Leg != nil:
		return c.Leg.Account.String()
	case c.Act == nil:
		return c.Transaction.ID.String()
	case c.Act.Handler != "":
		return c.Act.Handler
	default:
		return c.Act.ID.String()
	}
}

// Version is the account's or the transaction's version that the change made. An act has one only.
func (c *Change) Version() Version {
	switch {
	case c.Leg != nil:
		return c.Leg.After.Version
	case c.Act != nil:
		return 1
	default:
		return c.Transaction.Version
	}
}

func (e *Event) legName(i int) string {
	switch {
	case e.Legs[i].Amount > 0:
		return "account.credited"
	case e.Legs[i].Amount < 0:
		return "account.debited"
	default:
		return legNames[e.Type]
	}
}

var legNames = map[EventType]string{
	AccountOpened:    "account.opened",
	AccountChanged:   "account.updated",
	AccountFrozen:    "account.frozen",
	AccountUnfrozen:  "account.unfrozen",
	AccountClosed:    "account.closed",
	ReviewSet:        "account.review_set",
	TransferPending:  "account.held",
	HoldPlaced:       "account.held",
	TransferRejected: "account.released",
	HoldVoidedEvent:  "account.released",
	HoldExpiredEvent: "account.released",
}

var transactionNames = map[TransactionStatus]string{
	Posted:            "transaction.posted",
	PendingReview:     "transaction.pending_review",
	Rejected:          "transaction.rejected",
	PartiallyReversed: "transaction.partially_reversed",
	Reversed:          "transaction.reversed",
}
