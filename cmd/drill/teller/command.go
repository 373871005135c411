package teller

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"bankforge/cmd/drill/journal"
)

// Kind says what a command is.
type Kind string

// The kinds of commands.
const (
	Open       Kind = "open"
	Deposit    Kind = "deposit"
	Withdrawal Kind = "withdrawal"
	Transfer   Kind = "transfer"
	Hold       Kind = "hold"
	Capture    Kind = "capture"
	Void       Kind = "void"
	Reversal   Kind = "reversal"
	Bulk       Kind = "bulk"
)

// Command is one thing that was asked of the bank, and all that its client knows of it. Only the worker that sent it
// changes it, until the workers have ended.
type Command struct {
	N               int
	Kind            Kind
	Key, Path, Body string
	Prefer          string // what is said in the header of that name; "": nothing

	Account string // that pays, or whose hold it is
	Amount  int64  // that it pays or holds; for a bulk, nothing
	Release int64  // what it takes off the held money, if it is done

	Fate         journal.Fate
	Reply        Reply // when it is acked or rejected
	Call, Return int64 // nanoseconds since the drill began
	Again        bool  // it was sent again after its outcome had been unknown
}

// Read is one look at an account.
type Read struct {
	Account       string
	Balance, Held int64
	Call, Return  int64
}

// Movement is what one transaction did, as its answer says.
type Movement struct {
	ID      string  `json:"id"`
	HoldID  string  `json:"hold_id"`
	Entries []Entry `json:"entries"`
}

// Entry is one side of it.
type Entry struct {
	Account   string `json:"account_id"`
	Direction string `json:"direction"`
	Amount    Money  `json:"amount"`
	After     Money  `json:"balance_after"`
	Version   uint64 `json:"version"`
}

// Signed is the amount, below zero for a debit.
func (e *Entry) Signed() int64 {
	if e.Direction == "debit" {
		return -int64(e.Amount.Minor)
	}
	return int64(e.Amount.Minor)
}

// Money is an amount in minor units.
type Money struct {
	Minor    Minor  `json:"amount"`
	Currency string `json:"currency"`
}

// Minor is a number that JSON has as text.
type Minor int64

// UnmarshalJSON reads it.
func (m *Minor) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	*m = Minor(n)
	return err
}

// Item is the answer to one transfer of a bulk.
type Item struct {
	Status      int       `json:"status"`
	Transaction *Movement `json:"transaction"`
}

// Movements are what an acked command has moved, as its answer says; holds move nothing.
func (c *Command) Movements() ([]Movement, error) {
	if c.Fate != journal.Acked {
		return nil, nil
	}
	return c.moved()
}

// moved reads the answer.
func (c *Command) moved() ([]Movement, error) {
	switch c.Kind {
	case Open, Hold, Void:
		return nil, nil
	case Bulk:
		var all struct {
			Results []Item `json:"results"`
		}
		if err := json.Unmarshal(c.Reply.Body, &all); err != nil {
			return nil, fmt.Errorf("%s %s: %w", c.Kind, c.Key, err)
		}
		var out []Movement
		for _, item := range all.Results {
			if item.Transaction != nil {
				out = append(out, *item.Transaction)
			}
		}
		return out, nil
	default:
		var m Movement
		if err := json.Unmarshal(c.Reply.Body, &m); err != nil {
			return nil, fmt.Errorf("%s %s: %w", c.Kind, c.Key, err)
		}
		return []Movement{m}, nil
	}
}

// Code is that of a refusal, or "".
func (c *Command) Code() string {
	if c.Fate != journal.Rejected {
		return ""
	}
	var p Problem
	_ = json.Unmarshal(c.Reply.Body, &p) // fate has read it before
	return p.Code
}

func money(minor int64) string { return fmt.Sprintf(`{"amount":"%d","currency":"EUR"}`, minor) }

// Most is how many events the command can make.
func (c *Command) Most() int {
	if c.Kind == Bulk {
		return strings.Count(c.Body, "from_account_id")
	}
	return 1
}
