// Package check judges a bank by what it says of itself and by what its clients know, with arithmetic of its own: it
// shares no code with the bank.
package check

import (
	"fmt"
	"sort"
	"strings"

	"bankforge/cmd/drill/teller"
)

// Event is one line of the log, as the bank shows it.
type Event struct {
	Seq           uint64 `json:"seq"`
	Type          string `json:"type"`
	Time          string `json:"time"`
	CorrelationID string `json:"correlation_id"`
	Data          struct {
		Legs    []Leg `json:"legs"`
		Opening *struct {
			Type string `json:"type"`
		} `json:"opening"`
		Transactions []struct {
			ID      string `json:"id"`
			Version uint64 `json:"version"`
		} `json:"transactions"`
		Hold *struct {
			ID        string       `json:"id"`
			Account   string       `json:"account_id"`
			Remaining teller.Money `json:"remaining"`
		} `json:"hold"`
		Act *struct {
			ID string `json:"id"`
		} `json:"act"`
	} `json:"data"`
}

// Leg is what an event did to one account.
type Leg struct {
	Account   string       `json:"account_id"`
	Direction *string      `json:"direction"`
	Amount    teller.Money `json:"amount"`
	After     struct {
		Version   uint64       `json:"version"`
		Balance   teller.Money `json:"balance"`
		Held      teller.Money `json:"held"`
		Overdraft teller.Money `json:"overdraft_limit"`
	} `json:"after"`
}

// Account is one as the log says that it is.
type Account struct {
	Version                  uint64
	Balance, Held, Overdraft int64
	internal                 bool
}

// Log is what the events so far add up to.
type Log struct {
	Seq      uint64
	time     string
	accounts map[string]*Account
	holds    map[string]int64    // what remains of them
	held     map[string]int64    // by account, as its holds say
	by       map[string][]string // what was done under a correlation id: one footprint for each event
	ids      map[string]uint64   // the versions of transactions
	acts     map[string]uint64   // where the acts of operators are
	order    []string            // the correlation ids, by seq
	entries  map[string][]Entry  // by account
	findings []string
}

// Entry is one movement on an account.
type Entry struct {
	Version         uint64
	Amount, Balance int64
}

// NewLog is before the first event.
func NewLog() *Log {
	return &Log{
		accounts: map[string]*Account{}, holds: map[string]int64{}, held: map[string]int64{},
		by: map[string][]string{}, ids: map[string]uint64{}, acts: map[string]uint64{},
		entries: map[string][]Entry{},
	}
}

func (l *Log) found(format string, args ...any) {
	l.findings = append(l.findings, fmt.Sprintf(format, args...))
}

// Findings are what is wrong, so far; they are given once.
func (l *Log) Findings() []string {
	out := l.findings
	l.findings = nil
	return out
}

// Found adds what somebody else has found.
func (l *Log) Found(what string) { l.found("%s", what) }

// By is the correlation id of an event; "": there is none.
func (l *Log) By(seq uint64) string {
	if seq == 0 || seq > uint64(len(l.order)) {
		return ""
	}
	return l.order[seq-1]
}

// Account is one as the events so far make it; nil: there is none.
func (l *Log) Account(id string) *Account { return l.accounts[id] }

// Take adds the next event.
func (l *Log) Take(e *Event) {
	if e.Seq != l.Seq+1 {
		l.found("event %d follows event %d", e.Seq, l.Seq)
	}
	if e.Time < l.time {
		l.found("event %d: its time is %s, after %s", e.Seq, e.Time, l.time)
	}
	l.Seq, l.time = e.Seq, e.Time
	l.order = append(l.order, e.CorrelationID)
	if e.Data.Act != nil || e.Type == "operator.acted" {
		l.act(e)
		return
	}
	sum := map[string]int64{}
	var prints []string
	for i := range e.Data.Legs {
		leg := &e.Data.Legs[i]
		amount := leg.signed()
		sum[leg.Amount.Currency] += amount
		l.leg(e, leg, amount)
		if amount != 0 {
			l.entries[leg.Account] = append(l.entries[leg.Account],
				Entry{leg.After.Version, amount, int64(leg.After.Balance.Minor)})
			prints = append(prints, footprint(leg.Account, amount, int64(leg.After.Balance.Minor), leg.After.Version))
		}
	}
	for currency, n := range sum {
		if n != 0 {
			l.found("event %d: its legs sum to %d %s", e.Seq, n, currency)
		}
	}
	if h := e.Data.Hold; h != nil {
		l.hold(e.Seq, h.ID, h.Account, int64(h.Remaining.Minor))
	}
	if len(e.Data.Transactions) > 0 && e.Type == "transaction.made" {
		if id := e.Data.Transactions[0].ID; l.ids[id] != 0 {
			l.found("event %d: transaction %s was there before", e.Seq, id)
		}
	}
	for _, t := range e.Data.Transactions {
		l.ids[t.ID] = max(t.Version, 1)
	}
	if o := e.Data.Opening; o == nil || o.Type != "internal" {
		l.by[e.CorrelationID] = append(l.by[e.CorrelationID], joined(prints))
	}
}

// act takes what an operator wants: it is there once, and nothing comes with it.
func (l *Log) act(e *Event) {
	a := e.Data.Act
	if a == nil || e.Type != "operator.acted" || len(e.Data.Legs)+len(e.Data.Transactions) > 0 ||
		e.Data.Hold != nil || e.Data.Opening != nil {
		l.found("event %d: it is not an act alone", e.Seq)
		return
	}
	if before := l.acts[a.ID]; before != 0 {
		l.found("event %d: act %s was there before, as event %d", e.Seq, a.ID, before)
	}
	l.acts[a.ID] = e.Seq
}

// Acts are the acts of operators, and where they are.
func (l *Log) Acts() map[string]uint64 { return l.acts }

func (l *Leg) signed() int64 {
	if l.Direction != nil && *l.Direction == "debit" {
		return -int64(l.Amount.Minor)
	}
	return int64(l.Amount.Minor)
}

func (l *Log) leg(e *Event, leg *Leg, amount int64) {
	a := l.accounts[leg.Account]
	if a == nil {
		a = &Account{internal: e.Data.Opening != nil && e.Data.Opening.Type == "internal"}
		l.accounts[leg.Account] = a
	}
	after := &leg.After
	if after.Version != a.Version+1 {
		l.found("event %d: version %d of %s follows version %d", e.Seq, after.Version, leg.Account, a.Version)
	}
	if want := a.Balance + amount; int64(after.Balance.Minor) != want {
		l.found("event %d: %s has %d, and should have %d", e.Seq, leg.Account, after.Balance.Minor, want)
	}
	*a = Account{
		after.Version, int64(after.Balance.Minor), int64(after.Held.Minor), int64(after.Overdraft.Minor), a.internal,
	}
	if !a.internal && a.Balance-a.Held+a.Overdraft < 0 {
		l.found("event %d: %s is below its limit: balance %d, held %d, overdraft %d",
			e.Seq, leg.Account, a.Balance, a.Held, a.Overdraft)
	}
}

// hold follows what is held by itself, and compares it with what the account says.
func (l *Log) hold(seq uint64, id, account string, remaining int64) {
	l.held[account] += remaining - l.holds[id]
	if l.holds[id] = remaining; remaining == 0 {
		delete(l.holds, id)
	}
	a := l.accounts[account]
	if a == nil {
		l.found("event %d: hold %s is of account %s, which is not there", seq, id, account)
		return
	}
	if a.Held != l.held[account] {
		l.found("event %d: %s holds %d, and its holds sum to %d", seq, account, a.Held, l.held[account])
	}
}

func footprint(account string, amount, balance int64, version uint64) string {
	return fmt.Sprintf("%s%+d=%d@%d", account, amount, balance, version)
}

func joined(prints []string) string {
	sort.Strings(prints)
	return strings.Join(prints, " ")
}
