package check

import (
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"bankforge/cmd/drill/journal"
	"bankforge/cmd/drill/teller"
)

// Past is what all accounts have when a history begins.
type Past map[string]Account

// Now is what all accounts have after the events so far.
func (l *Log) Now() Past {
	p := Past{}
	for id, a := range l.accounts {
		p[id] = *a
	}
	return p
}

// operation is what somebody did to one account.
type operation struct {
	what   verb
	amount int64 // added to the balance; or that was asked for
	free   int64 // taken off what is held
}

type verb uint8

const (
	moves   verb = iota // answers with the balance after it
	holds               // keeps amount back
	frees               // ends holds
	refused             // amount was not there
	looks               // sees balance and held
)

// register is an account between operations.
type register struct{ balance, held, overdraft int64 }

type result struct{ balance, held int64 }

// step says whether the account could have answered so, and what it is then.
func (r register) step(op operation, out result) (bool, register) {
	switch op.what {
	case moves:
		r.balance += op.amount
		r.held -= op.free
		return r.balance == out.balance, r
	case holds:
		r.held += op.amount
		return r.balance-r.held+r.overdraft >= 0, r
	case frees:
		r.held -= op.free
		return true, r
	case refused:
		return r.balance-r.held+r.overdraft < op.amount, r
	default:
		return r.balance == out.balance && r.held == out.held, r
	}
}

// linearWithin bounds the search of one history.
const linearWithin = 2 * time.Minute

// Linear says of which accounts no order of the operations, each between its call and its return, explains all
// answers. What was unknown must have been settled by then. Through is what the log says in the end.
func Linear(past, through Past, commands []*teller.Command, reads []teller.Read) (findings []string, checked int) {
	history := map[string][]porcupine.Operation{}
	end := int64(0)
	add := func(account string, op operation, out result, call, ret int64) {
		if _, ours := past[account]; ours {
			history[account] = append(history[account], porcupine.Operation{
				Input: op, Output: out, Call: call, Return: ret,
			})
			end = max(end, ret)
		}
	}
	for _, c := range commands {
		commandOps(c, add)
	}
	for _, r := range reads {
		add(r.Account, operation{what: looks}, result{r.Balance, r.Held}, r.Call, r.Return)
	}
	for id, ops := range history {
		if past[id].internal {
			continue
		}
		a := through[id]
		ops = append(ops, porcupine.Operation{
			Input: operation{what: looks}, Output: result{a.Balance, a.Held}, Call: end + 1, Return: math.MaxInt64,
		})
		before := past[id]
		begin := register{before.Balance, before.Held, before.Overdraft}
		checked += len(ops)
		switch porcupine.CheckOperationsTimeout(model(begin), ops, linearWithin) {
		case porcupine.Ok:
		case porcupine.Illegal:
			findings = append(findings, fmt.Sprintf("no order explains the %d answers about %s", len(ops), id))
		case porcupine.Unknown:
			findings = append(findings, fmt.Sprintf("whether an order explains the %d answers about %s was not found out in %s",
				len(ops), id, linearWithin))
		}
	}
	return findings, checked
}

func commandOps(c *teller.Command, add func(string, operation, result, int64, int64)) {
	switch {
	case c.Code() == "insufficient_funds" && c.Account != "" && c.Amount > 0:
		add(c.Account, operation{what: refused, amount: c.Amount}, result{}, c.Call, c.Return)
	case c.Fate != journal.Acked:
	case c.Kind == teller.Hold:
		add(c.Account, operation{what: holds, amount: c.Amount}, result{}, c.Call, c.Return)
	case c.Kind == teller.Void:
		add(c.Account, operation{what: frees, free: c.Release}, result{}, c.Call, c.Return)
	default:
		moved, err := c.Movements()
		if err != nil {
			return // Commands has told
		}
		for i := range moved {
			for _, e := range moved[i].Entries {
				op := operation{what: moves, amount: e.Signed()}
				if e.Account == c.Account {
					op.free = c.Release
				}
				add(e.Account, op, result{balance: int64(e.After.Minor)}, c.Call, c.Return)
			}
		}
	}
}

func model(begin register) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return begin },
		Step: func(state, input, output any) (bool, any) {
			r, ok1 := state.(register)
			op, ok2 := input.(operation)
			out, ok3 := output.(result)
			if !ok1 || !ok2 || !ok3 {
				return false, state
			}
			return r.step(op, out)
		},
	}
}
