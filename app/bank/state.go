package bank

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// State is all that deciding needs to know: every account, every open hold and pending transfer.
// It grows with those, never with history. It is not safe for concurrent use: one decider owns it.
type State struct {
	seq      Seq
	time     Time
	accounts map[AccountID]*Account
	opened   []*Account // the same, in the order of their opening
	before   []undone   // what the accounts were, for Rollback
	// external finds accounts by their external id. Holds are the active ones, transactions those that are
	// pending; and both have what was brought in or has ended since the last Settle.
	external     table[string, AccountID]
	holds        table[HoldID, *Hold]
	transactions table[TransactionID, *Transaction]
	due          deadlines // of the active holds
	room         room
	found        []*Account // by Replay
	settled      uint64     // how many times
}

// NewState is the state before the first event.
func NewState() *State {
	return &State{
		accounts:     make(map[AccountID]*Account),
		external:     newTable[string, AccountID](),
		holds:        newTable[HoldID, *Hold](),
		transactions: newTable[TransactionID, *Transaction](),
		due:          newDeadlines(),
	}
}

// Seq is the last event that the state has seen.
func (s *State) Seq() Seq { return s.seq }

// Time is the time of that event. Event time never goes back.
func (s *State) Time() Time { return s.time }

// Account returns the account as it stands.
func (s *State) Account(id AccountID) (Account, bool) {
	if a, ok := s.accounts[id]; ok {
		return *a, true
	}
	return Account{}, false
}

// AccountByExternalID returns the account that has the external id.
func (s *State) AccountByExternalID(id string) (Account, bool) {
	if id == "" {
		return Account{}, false
	}
	return s.Account(s.external.rows[id])
}

// Transaction returns a transaction that is pending, or was brought in, or was made since the last Settle.
// It shares its entries and metadata with the state.
func (s *State) Transaction(id TransactionID) (Transaction, bool) {
	if t, ok := s.transactions.rows[id]; ok {
		return *t, true
	}
	return Transaction{}, false
}

// Hold returns a hold that is active, or was brought in, or ended since the last Settle.
func (s *State) Hold(id HoldID) (Hold, bool) {
	if h, ok := s.holds.rows[id]; ok {
		return *h, true
	}
	return Hold{}, false
}

// Bring puts in a transaction that was looked up in the log, until the next Settle or Rollback to a Mark before.
// What the state has already is at least as new, so it stays. So does the absence of a pending one: the
// state has all of those, and what was looked up is out of date.
func (s *State) Bring(t Transaction) {
	if _, have := s.transactions.rows[t.ID]; !have && t.Status != PendingReview {
		s.transactions.set(t.ID, &t)
	}
}

// BringHold does so with an ended hold.
func (s *State) BringHold(h Hold) {
	if _, have := s.holds.rows[h.ID]; !have && h.Status != HoldActive {
		s.holds.set(h.ID, &h)
	}
}

// Evolve takes one event in. It never fails; events come from Decide or from the log.
// The state keeps parts of the event: nobody may write to it afterwards.
func (s *State) Evolve(e Event) {
	for i := range e.Legs {
		s.evolveAccount(&e, &e.Legs[i])
	}
	for i := range e.Transactions {
		s.transactions.set(e.Transactions[i].ID, &e.Transactions[i])
	}
	if e.Hold != nil {
		s.holds.set(e.Hold.ID, e.Hold)
		s.due.follow(e.Hold)
	}
	s.seq, s.time = e.Seq, e.Time
}

func (s *State) evolveAccount(e *Event, leg *Leg) {
	a, ok := s.accounts[leg.Account]
	if !ok {
		a = &Account{
			ID:       leg.Account,
			Opening:  Opening{Customer: leg.Customer, Currency: leg.Currency},
			OpenedAt: e.Time,
		}
		s.add(a)
	} else {
		s.before = append(s.before, undone{a, *a})
	}
	if e.Opening != nil {
		a.Opening = *e.Opening
	}
	if e.Details != nil {
		s.describe(a, e.Details)
	}
	a.AccountState = leg.After
	a.UpdatedAt = e.Time
}

// add puts in a new account. Its version is 0 before, which is how Rollback knows that it was not there.
func (s *State) add(a *Account) {
	s.before = append(s.before, undone{a, Account{ID: a.ID}})
	s.accounts[a.ID] = a
	s.opened = append(s.opened, a)
}

func (s *State) describe(a *Account, d *Details) {
	if id := a.externalID(); id != "" {
		s.external.drop(id)
	}
	a.Details = d
	if d.isEmpty() {
		a.Details = nil
	}
	if id := a.externalID(); id != "" {
		s.external.set(id, a.ID)
	}
}

// Replay takes events in that have been committed: as Evolve does and then Settle, but it keeps nothing of them, so
// that their slices and texts may be used for others. The state must have been settled before.
func (s *State) Replay(events []Event) {
	s.found = s.found[:0]
	for i := range events { // all at once: most of this is waiting for memory
		for l := range events[i].Legs {
			s.found = append(s.found, s.accounts[events[i].Legs[l].Account])
		}
	}
	at := 0
	for i := range events {
		e := &events[i]
		for l := range e.Legs {
			s.replayAccount(s.found[at], e, &e.Legs[l])
			at++
		}
		s.replayRest(e)
	}
	clear(s.found)
	s.settled++
}

// replayAccount is given the account, or nil where it was not there before these events.
func (s *State) replayAccount(a *Account, e *Event, leg *Leg) {
	if a == nil {
		a = s.accounts[leg.Account]
	}
	if a == nil {
		a = s.room.next()
		a.ID, a.OpenedAt = leg.Account.clone(), e.Time
		a.Opening = Opening{Customer: leg.Customer.clone(), Currency: leg.Currency}
		s.accounts[a.ID] = a
		s.opened = append(s.opened, a)
	}
	if e.Opening != nil {
		a.Opening = *e.Opening
		a.Opening.Customer = a.Opening.Customer.clone()
	}
	if e.Details != nil {
		s.describe(a, e.Details.clone())
		s.external.settle(nil)
	}
	a.AccountState = leg.After
	a.UpdatedAt = e.Time
}

func (s *State) replayRest(e *Event) {
	for i := range e.Transactions {
		if t := &e.Transactions[i]; t.Status == PendingReview {
			own := t.clone()
			s.transactions.rows[own.ID] = &own
		} else {
			delete(s.transactions.rows, t.ID)
		}
	}
	if e.Hold != nil {
		s.replayHold(e.Hold)
	}
	s.seq, s.time = e.Seq, e.Time
}

func (s *State) replayHold(h *Hold) {
	if h.Status != HoldActive {
		delete(s.holds.rows, h.ID)
		s.due.remove(h.ID)
		return
	}
	own := h.clone()
	s.holds.rows[own.ID] = &own
	s.due.follow(&own)
}

// room is memory for new accounts: there are many at once while a log is replayed or a snapshot read.
type room struct{ free []Account }

const roomFor = 128 // accounts

func (r *room) next() *Account {
	if len(r.free) == 0 {
		r.free = make([]Account, roomFor)
	}
	a := &r.free[0]
	r.free = r.free[1:]
	return a
}

// Accounts are all accounts in the order of their opening, as they stand. The state must not change meanwhile.
func (s *State) Accounts() iter.Seq[Account] {
	return func(yield func(Account) bool) {
		for _, a := range s.opened {
			if !yield(*a) {
				return
			}
		}
	}
}

// Holds are the active holds by id. The state must not change meanwhile.
func (s *State) Holds() iter.Seq[Hold] {
	return sorted(s.holds.rows, func(h *Hold) bool { return h.Status == HoldActive })
}

// Pending are the transfers that wait for review by id. The state must not change meanwhile.
func (s *State) Pending() iter.Seq[Transaction] {
	return sorted(s.transactions.rows, func(t *Transaction) bool { return t.Status == PendingReview })
}

// Len is the number of accounts.
func (s *State) Len() int { return len(s.opened) }

// RestoreState makes the state again from its seq, its time and what Accounts, Holds and Pending gave. It takes
// from the three one after the other, each once, so they may read from one stream. It refuses what is no state.
// Accounts share no text with what they were taken from.
func RestoreState(
	seq Seq, t Time, accounts iter.Seq[Account], holds iter.Seq[Hold], pending iter.Seq[Transaction],
) (*State, error) {
	s := NewState()
	for a := range accounts {
		if _, twice := s.accounts[a.ID]; twice {
			return nil, fmt.Errorf("account %s is there twice", a.ID)
		}
		own := s.room.next()
		*own = a
		own.ID, own.Customer = a.ID.clone(), a.Customer.clone()
		s.add(own)
		if a.Details != nil {
			if _, twice := s.external.rows[a.Details.ExternalID]; twice {
				return nil, fmt.Errorf("account %s has the external id of another", a.ID)
			}
			s.describe(own, a.Details.clone())
		}
		s.Settle()
	}
	for h := range holds {
		s.holds.set(h.ID, &h)
		s.due.follow(&h)
	}
	for t := range pending {
		s.transactions.set(t.ID, &t)
	}
	s.seq, s.time = seq, t
	s.Settle()
	if err := s.Audit(); err != nil {
		return nil, err
	}
	return s, nil
}

func sorted[K kind](rows map[ID[K]]*K, which func(*K) bool) iter.Seq[K] {
	return func(yield func(K) bool) {
		ids := slices.SortedFunc(maps.Keys(rows), ID[K].compare)
		for _, id := range ids {
			if row := rows[id]; which(row) && !yield(*row) {
				return
			}
		}
	}
}

// The clones share no text with what they are made of.

func (id ID[K]) clone() ID[K] { return ID[K]{strings.Clone(id.text)} }

func (d *Details) clone() *Details {
	return &Details{strings.Clone(d.Label), strings.Clone(d.ExternalID), d.Metadata.clone()}
}

func (m Metadata) clone() Metadata {
	if m == nil {
		return nil
	}
	own := make(Metadata, len(m))
	for k, v := range m {
		own[strings.Clone(k)] = strings.Clone(v)
	}
	return own
}

func (h *Hold) clone() Hold {
	own := *h
	own.ID, own.Account, own.Customer = h.ID.clone(), h.Account.clone(), h.Customer.clone()
	own.Reference = strings.Clone(h.Reference)
	return own
}

func (t *Transaction) clone() Transaction {
	own := *t
	own.ID, own.From, own.To = t.ID.clone(), t.From.clone(), t.To.clone()
	own.Reference, own.Description = strings.Clone(t.Reference), strings.Clone(t.Description)
	own.Metadata = t.Metadata.clone()
	own.Reverses, own.Hold = t.Reverses.clone(), t.Hold.clone()
	own.CorrelationID = strings.Clone(t.CorrelationID)
	own.Entries = nil
	for _, e := range t.Entries {
		e.Account, e.Customer = e.Account.clone(), e.Customer.clone()
		own.Entries = append(own.Entries, e)
	}
	return own
}
