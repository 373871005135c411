package bank

// State is all that deciding needs to know: every account, every open hold and pending transfer.
// It grows with those, never with history. It is not safe for concurrent use: one decider owns it.
type State struct{}

// NewState is the state before the first event.
func NewState() *State { return &State{} }

// Seq is the last event that the state has seen.
func (s *State) Seq() Seq { return 0 }

// Time is the time of that event. Event time never goes back.
func (s *State) Time() Time { return 0 }

// Account returns the account as it stands.
func (s *State) Account(AccountID) (Account, bool) { return Account{}, false }

// Transaction returns a transaction that is pending, or was brought in, or was made since the last Settle.
func (s *State) Transaction(TransactionID) (Transaction, bool) { return Transaction{}, false }

// Hold returns a hold that is active, or was brought in, or ended since the last Settle.
func (s *State) Hold(HoldID) (Hold, bool) { return Hold{}, false }

// Bring puts in a transaction that was looked up in the log, until the next Settle or Rollback to a Mark before.
func (s *State) Bring(Transaction) {}

// BringHold does so with an ended hold.
func (s *State) BringHold(Hold) {}

// Evolve takes one event in. It never fails; events come from Decide or from the log.
func (s *State) Evolve(Event) {}

// Mark is a point to roll back to.
type Mark struct{}

// Mark remembers where the state stands.
func (s *State) Mark() Mark { return Mark{} }

// Rollback undoes everything since m.
func (s *State) Rollback(Mark) {}

// Settle forgets how to undo, and what was brought in: everything up to here has been committed.
func (s *State) Settle() {}

// NextExpiry is when the next hold expires.
func (s *State) NextExpiry() (Time, bool) { return 0, false }

// Decide says what becomes of a command at the time now (raised to the state's own time): events to append,
// none when there is nothing to do, or an *Error that refuses it. It leaves the state as it was.
func Decide(*State, Command, Time) ([]Event, error) { return nil, nil }

// DecideBulk decides the items one upon the other. refused has an entry for each item, nil where it is
// accepted; events are the accepted ones' in order. Atomic and one refused: no events, and err is that refusal.
func DecideBulk(*State, Bulk, Time) (events []Event, refused []*Error, err error) {
	return nil, nil, nil
}

// Expire returns the events that end the holds that are due at now, earliest first, at most limit of them.
func Expire(_ *State, _ Time, limit int) []Event { return nil }
