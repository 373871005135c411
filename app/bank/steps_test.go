package bank

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"pgregory.net/rapid"
)

// step is one command of a random life of the bank, and how much time passes before it.
type step struct {
	wait    Time
	command Command
}

// the people and accounts that steps are about; the last account is never opened.
var (
	people = []CustomerID{{}, {}, {}, anna, ben}
	pool   = []AccountID{
		alice, bob, carol, dollars, named16[Account]("savings"), named16[Account]("late"), nowhere, CashAccount(eur),
	}
	money = []Currency{eur, eur, eur, usd}
)

// lives draws lives: some accounts with money, then whatever comes, wrong and extreme things included.
func lives() *rapid.Generator[[]step] {
	return rapid.Custom(func(t *rapid.T) []step {
		steps := []step{
			{0, open(alice, anna, eur)}, {0, open(bob, ben, eur)}, {0, open(carol, ben, eur)},
			{0, open(dollars, anna, usd)}, {0, open(pool[4], ben, usd)},
			{0, deposit("first", alice, 500)},
			{0, Deposit{Terms: terms("second"), Account: dollars, Amount: must(NewAmount(500, usd))}},
		}
		if rapid.Bool().Draw(t, "watched") {
			steps = append(steps, step{0, review(alice, 20)}, step{0, overdraft(bob, 1000)}, step{0, review(bob, 50)})
		}
		for i := range 1 + (drawing{t, 0}).even(80, "steps") {
			d := drawing{t, i}
			steps = append(steps, step{d.wait(), d.command()})
		}
		return steps
	})
}

// drawing draws the nth command. Ids of transactions and holds are the numbers of the commands that made them.
type drawing struct {
	t *rapid.T
	n int
}

// even draws from 0 to n−1, all about as often: what rapid itself draws is mostly small.
func (d drawing) even(n int, label string) int {
	return rapid.Custom(func(t *rapid.T) int {
		v := 0
		for range 8 {
			v *= 2
			if rapid.Bool().Draw(t, "bit") {
				v++
			}
		}
		return v % n
	}).Draw(d.t, label)
}

func one[E any](d drawing, of []E, label string) E { return of[d.even(len(of), label)] }

func (d drawing) wait() Time {
	return one(d, []Time{0, 0, 0, 1, hour / 2, hour, 13 * hour, -hour}, "wait")
}

func (d drawing) account() AccountID {
	if d.even(8, "unusual") == 0 {
		return one(d, pool, "account")
	}
	return one(d, pool[:5], "account")
}

func (d drawing) minor() int64 {
	if d.even(8, "extreme") == 0 {
		return one(d, []int64{1, MaxAmount, MaxAmount - 1, MaxAmount / 2}, "minor")
	}
	return rapid.Int64Range(1, 300).Draw(d.t, "minor")
}

func (d drawing) amount() Amount {
	return must(NewAmount(d.minor(), one(d, money, "currency")))
}

// amountOrAll is the zero Amount one time in three.
func (d drawing) amountOrAll() Amount {
	if d.even(3, "all") == 0 {
		return Amount{}
	}
	return d.amount()
}

func (d drawing) limit() Limit {
	if d.even(4, "extreme") == 0 {
		return one(d, []Limit{-2, NoLimit, 0, MaxAmount, MaxAmount + 1}, "limit")
	}
	return Limit(rapid.Int64Range(0, 400).Draw(d.t, "limit"))
}

func (d drawing) who() CustomerID { return one(d, people, "who") }

func (d drawing) earlier() string {
	switch d.even(6, "how early") {
	case 0:
		return "first"
	case 1:
		return strconv.Itoa(d.even(d.n+1, "earlier"))
	default:
		return strconv.Itoa(max(0, d.n-1-d.even(6, "earlier")))
	}
}

func (d drawing) version() Version {
	return one(d, []Version{0, 0, 0, 0, 1, 2, 3}, "version")
}

func (d drawing) terms() Terms { return terms(strconv.Itoa(d.n)) }

func (d drawing) transfer() Transfer {
	return Transfer{
		Terms: d.terms(), By: d.who(), From: d.account(), To: d.account(), Amount: d.amount(), ExpectedVersion: d.version(),
	}
}

func (d drawing) bulk() Bulk {
	b := Bulk{Atomic: rapid.Bool().Draw(d.t, "atomic")}
	for i := range 1 + d.even(5, "items") {
		item := d.transfer()
		item.ID = txn(fmt.Sprintf("%d.%d", d.n, i))
		b.Items = append(b.Items, item)
	}
	return b
}

func (d drawing) command() Command {
	switch d.even(19, "kind") {
	case 0, 1, 2:
		return d.transfer()
	case 3, 4:
		return Deposit{Terms: d.terms(), Account: d.account(), Amount: d.amount()}
	case 5:
		return Withdraw{
			Terms: d.terms(), By: d.who(), Account: d.account(), Amount: d.amount(), ExpectedVersion: d.version(),
		}
	case 6, 7:
		return PlaceHold{
			ID: held(strconv.Itoa(d.n)), By: d.who(), Account: d.account(), Amount: d.amount(),
			ExpiresAt: noon + Time(d.even(100, "expires"))*hour, ExpectedVersion: d.version(),
		}
	case 8, 9:
		c := Capture{
			Terms: d.terms(), By: d.who(), Hold: held(d.earlier()), Amount: d.amountOrAll(),
			Final: rapid.Bool().Draw(d.t, "final"), ExpectedVersion: d.version(),
		}
		if rapid.Bool().Draw(d.t, "to") {
			c.To = d.account()
		}
		return c
	case 10:
		return VoidHold{By: d.who(), ID: held(d.earlier())}
	case 11, 12:
		return Reverse{Terms: d.terms(), Of: txn(d.earlier()), Amount: d.amountOrAll(), Reason: "wrong"}
	case 13, 14:
		return DecidePending{ID: txn(d.earlier()), Approve: rapid.Bool().Draw(d.t, "approve"), Reason: "seen"}
	case 15:
		return d.bulk()
	case 16:
		return d.act()
	default:
		return d.operation()
	}
}

// act draws one that may be malformed.
func (d drawing) act() Act {
	a := act(strconv.Itoa(d.n), one(d, ActKinds(), "act"))
	switch d.even(6, "malformed") {
	case 0:
		a.Kind = one(d, []ActKind{"", "failure", "x"}, "no kind")
	case 1:
		a.Reason = one(d, []string{"", "\x00", "\xff"}, "no reason")
	case 2:
		a.Handler, a.Body = one(d, []string{"", "history"}, "handler"), []byte(one(d, []string{"", "{}", "x"}, "body"))
	}
	return a
}

// operation draws what is done to accounts.
func (d drawing) operation() Command {
	id, version := d.account(), d.version()
	switch d.even(8, "operation") {
	case 0:
		c := open(id, d.who(), one(d, money, "currency"))
		c.Details.ExternalID = one(d, []string{"", "x", "y"}, "external")
		return c
	case 1:
		return ChangeAccount{ID: id, IfVersion: version, OverdraftLimit: new(d.limit())}
	case 2:
		return ChangeAccount{ID: id, IfVersion: version, DailyDebitLimit: new(d.limit())}
	case 3:
		return ChangeAccount{
			ID: id, ExternalID: new(one(d, []string{"", "x", "y"}, "external")),
			Label: new(one(d, []string{"", "l"}, "label")),
		}
	case 4:
		return SetReview{ID: id, IfVersion: version}
	case 5:
		a := d.amount()
		return SetReview{ID: id, Above: &Review{a.Minor(), a.Currency()}}
	default:
		to := one(d, []AccountStatus{Active, Active, Frozen, Frozen, Closed}, "status")
		return SetStatus{ID: id, IfVersion: version, To: to}
	}
}

// live runs a life with the given evolve, and tells the first thing that is wrong.
func live(steps []step, evolve func(*State, Event)) (*ledger, []Code, error) {
	l := newLedger()
	l.evolve = evolve
	var refusals []Code
	for i, st := range steps {
		code, err := l.step(st)
		if err != nil {
			return l, refusals, fmt.Errorf("step %d, %T: %w", i, st.command, err)
		}
		refusals = append(refusals, code)
	}
	return l, refusals, l.replay()
}

func (l *ledger) step(st step) (Code, error) {
	l.now += st.wait
	if err := l.take(Expire(l.State, l.now, 2)); err != nil {
		return "", err
	}
	l.bring(st.command)
	before := everything(l.State)
	events, err := Decide(l.State, st.command, l.now)
	again, errAgain := Decide(l.State, st.command, l.now)
	if !reflect.DeepEqual(events, again) || fmt.Sprint(err) != fmt.Sprint(errAgain) {
		return "", fmt.Errorf("decided twice: %v and %v, refused with %w and %w", events, again, err, errAgain)
	}
	mark := l.Mark()
	for _, e := range events {
		l.evolve(l.State, e)
	}
	l.Rollback(mark)
	if err := same("decided and rolled back", everything(l.State), before); err != nil {
		return "", err
	}
	if err != nil {
		return codeOf(err), nil
	}
	return "", l.take(events)
}

// replay takes the log into new states, and restores one from what the live one exports. All are the same.
func (l *ledger) replay() error {
	l.Settle()
	want := everything(l.State)
	s := NewState()
	for _, e := range l.log {
		s.Evolve(e)
	}
	s.Settle()
	if err := same("replayed", everything(s), want); err != nil {
		return err
	}
	s = NewState()
	for page := range slices.Chunk(l.log, 7) {
		lent := make([]Event, len(page))
		for i := range page {
			lent[i] = *lend(&page[i])
		}
		s.Replay(lent)
		for i := range lent {
			spoil(&lent[i])
		}
	}
	if err := same("replayed from what was only lent", everything(s), want); err != nil {
		return err
	}
	s, err := RestoreState(l.Seq(), l.Time(), l.Accounts(), l.Holds(), l.Pending())
	if err != nil {
		return err
	}
	return same("restored", everything(s), want)
}

// lend copies an event, but for its texts.
func lend(e *Event) *Event {
	lent := *e
	lent.Legs, lent.Transactions = slices.Clone(e.Legs), slices.Clone(e.Transactions)
	for i := range lent.Transactions {
		t := &lent.Transactions[i]
		t.Entries, t.Metadata = slices.Clone(t.Entries), maps.Clone(t.Metadata)
	}
	if e.Opening != nil {
		lent.Opening = new(*e.Opening)
	}
	if e.Details != nil {
		lent.Details = &Details{e.Details.Label, e.Details.ExternalID, maps.Clone(e.Details.Metadata)}
	}
	if e.Hold != nil {
		lent.Hold = new(*e.Hold)
	}
	if e.Act != nil {
		lent.Act = new(*e.Act)
	}
	return &lent
}

// spoil overwrites what was lent.
func spoil(e *Event) {
	for i := range e.Transactions {
		clear(e.Transactions[i].Entries)
		clear(e.Transactions[i].Metadata)
	}
	clear(e.Legs)
	clear(e.Transactions)
	if e.Opening != nil {
		*e.Opening = Opening{}
	}
	if e.Details != nil {
		clear(e.Details.Metadata)
		*e.Details = Details{}
	}
	if e.Hold != nil {
		*e.Hold = Hold{}
	}
	if e.Act != nil {
		*e.Act = Act{}
	}
}

// whole is everything that a state says and keeps, to be compared.
type whole struct {
	seq          Seq
	time         Time
	accounts     []Account
	details      []Details
	external     map[string]AccountID
	holds        map[HoldID]Hold
	transactions map[TransactionID]Transaction
	due          map[deadline]bool
	next         Time
}

func everything(s *State) whole {
	w := whole{
		seq: s.seq, time: s.time, external: map[string]AccountID{}, holds: map[HoldID]Hold{},
		transactions: map[TransactionID]Transaction{}, due: map[deadline]bool{},
	}
	for a := range s.Accounts() {
		if found, ok := s.Account(a.ID); !ok || found != a {
			panic("the list of accounts is not what is found")
		}
		if a.Details != nil {
			w.details = append(w.details, *a.Details)
			a.Details = nil
		}
		w.accounts = append(w.accounts, a)
	}
	maps.Copy(w.external, s.external.rows)
	for k, v := range s.holds.rows {
		w.holds[k] = *v
	}
	for k, v := range s.transactions.rows {
		w.transactions[k] = *v
	}
	for _, d := range s.due.queue {
		w.due[d] = true
	}
	w.next, _ = s.NextExpiry()
	return w
}

// same compares two of them part by part, and tells the first that differs.
func same(what string, got, want whole) error {
	if reflect.DeepEqual(got, want) {
		return nil
	}
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		if a, b := fmt.Sprintf("%+v", g.Field(i)), fmt.Sprintf("%+v", w.Field(i)); a != b {
			return fmt.Errorf("%s, %s are %s, and were %s", what, g.Type().Field(i).Name, a, b)
		}
	}
	return fmt.Errorf("%s, it is %+v, and was %+v", what, got, want)
}
