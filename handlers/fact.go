// Package handlers defines what every reaction to the ledger gets to see. Its sub-packages are the reactions.
package handlers

import (
	"context"

	"bankforge/app/bank"
)

// Position is the place of a message: the event's seq, and which of its messages it is, from 0.
// The zero Position is before the first message.
type Position struct {
	Seq bank.Seq
	N   int
}

// lastN is above the n of every message: no event has so many.
const lastN = 1<<12 - 1

// End is the position behind all messages of the event, and of all before it.
func End(seq bank.Seq) Position {
	if seq == 0 {
		return Position{}
	}
	return Position{seq, lastN}
}

// Whole is the last event of which p leaves nothing out.
func (p Position) Whole() bank.Seq {
	if p.N == lastN || p.Seq == 0 {
		return p.Seq
	}
	return p.Seq - 1
}

// Before reports whether p comes before q.
func (p Position) Before(q Position) bool { return p.Offset() < q.Offset() }

// Offset orders positions as one number: seq·4096 + n.
func (p Position) Offset() int64 { return int64(p.Seq)<<12 | int64(p.N) }

// PositionAt is the inverse of Offset.
func PositionAt(offset int64) Position {
	return Position{Seq: bank.Seq(offset >> 12), N: int(offset & lastN)}
}

// Fact is one message, decoded: a change of one account or transaction, and where it comes from.
type Fact struct {
	bank.Change
	Incarnation    string
	CorrelationID  string
	CausationID    string
	Actor          string
	IdempotencyKey string
	TraceParent    string
}

// Position is the fact's place in its topic.
func (f *Fact) Position() Position { return Position{f.Seq, f.N} }

// Func reacts to facts: one or more of one partition, in order, within one transaction that ctx carries.
// It is called again with the same facts when that transaction failed, and must not keep them.
type Func func(ctx context.Context, facts []Fact) error
