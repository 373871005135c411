package bank

import (
	"slices"
	"strings"
	"testing"
)

// spoiling is an event that is right until it is spoilt, and what Check says then.
type spoiling struct {
	name  string
	given []Command
	when  Command
	spoil func(*Event)
	says  string
}

func (c spoiling) test(t *testing.T) {
	t.Parallel()
	l := newBank(t, c.given)
	l.bring(c.when)
	e := must(Decide(l.State, c.when, noon))[0]
	if err := l.Check(&e); err != nil {
		t.Fatal(err)
	}
	c.spoil(&e)
	if err := l.Check(&e); err == nil || !strings.Contains(err.Error(), c.says) {
		t.Errorf("found %v, want %q", err, c.says)
	}
}

func TestCheckFindsSpoiltLegs(t *testing.T) {
	t.Parallel()
	over := transfer("t", alice, bob, 10)
	for _, c := range []spoiling{
		{"a gap", nil, over, func(e *Event) { e.Seq++ }, "follows event"},
		{"time goes back", nil, over, func(e *Event) { e.Time-- }, "earlier"},
		{"a leg is lost", nil, over, func(e *Event) { e.Legs = e.Legs[:1] }, "come to -10"},
		{"a leg twice", nil, over, func(e *Event) { e.Legs[1] = e.Legs[0] }, "two legs"},
		{"another owner", nil, over, func(e *Event) { e.Legs[0].Customer = ben }, "owner"},
		{"another currency", nil, over, func(e *Event) { e.Legs[0].Currency = usd }, "currency"},
		{"unopened account", nil, over, func(e *Event) { e.Legs[0].Account = nowhere }, "never opened"},
		{"opened twice", nil, over, func(e *Event) { e.Opening = &Opening{anna, eur, Current} }, "opened twice"},
		{"version repeated", nil, over, func(e *Event) { e.Legs[0].After.Version-- }, "version 2 follows"},
		{"balance not moved", nil, over, func(e *Event) { e.Legs[1].After.Balance-- }, "are not 9"},
		{"money made", nil, over, func(e *Event) { e.Legs[1].Amount++; e.Legs[1].After.Balance++ }, "come to 1"},
		{"held without a hold", nil, over, func(e *Event) {
			e.Legs[0].After.Held = 1
			e.Legs[0].After.DebitedToday++
		}, "holds 1 more"},
		{"status changed", nil, over, func(e *Event) { e.Legs[0].After.Status = Frozen }, "becomes frozen"},
		{"limit changed", nil, over, func(e *Event) { e.Legs[0].After.OverdraftLimit = 9 }, "limits change"},
		{"review changed", nil, over, func(e *Event) { e.Legs[0].After.ReviewAbove = 9 }, "review changes"},
		{"details claimed", nil, over, func(e *Event) { e.Legs[0].After.DetailsVersion = 1 }, "details"},
		{"day not counted", nil, over, func(e *Event) { e.Legs[0].After.DebitedToday = 0 }, "debited"},
		{"day of another", nil, over, func(e *Event) { e.Legs[0].After.Day-- }, "debited"},
		{"closed with money", nil, freeze(alice), func(e *Event) {
			e.Type = AccountClosed
			e.Legs[0].After.Status = Closed
		}, "closed with"},
		{"limits of no kind", nil, daily(bob, 1), func(e *Event) { e.Legs[0].After.DailyDebitLimit = -2 }, "daily limit"},
	} {
		t.Run(c.name, c.test)
	}
}

func TestCheckFindsSpoiltTransactionsAndHolds(t *testing.T) {
	t.Parallel()
	over := transfer("t", alice, bob, 10)
	placed := []Command{place("h", alice, 300)}
	void := VoidHold{ID: held("h")}
	waiting := []Command{review(alice, 0), over}
	approve := DecidePending{ID: over.ID, Approve: true}
	back := reverse("r", "first", 1)
	for _, c := range []spoiling{
		{"entry of another", nil, over, func(e *Event) { e.Transactions[0].Entries[0].Version++ }, "not the leg"},
		{"entries turned", nil, over, func(e *Event) { slices.Reverse(e.Transactions[0].Entries) }, "not the leg"},
		{"amount of another", nil, over, func(e *Event) { e.Transactions[0].Amount = euros(11) }, "are moved"},
		{"posted elsewhere", nil, over, func(e *Event) { e.Transactions[0].Seq-- }, "not posted"},
		{"transaction's version", nil, over, func(e *Event) { e.Transactions[0].Version++ }, "follows on nothing"},
		{"reversed at once", nil, over, func(e *Event) { e.Transactions[0].Reversed = 1 }, "are reversed"},
		{"approved again", waiting, approve, func(e *Event) { e.Transactions[0].Version = 1 }, "follows version"},
		{"approved for more", waiting, approve, func(e *Event) { e.Transactions[0].Amount = euros(11) }, "changes"},
		{"approved, still held", waiting, approve, func(e *Event) {
			e.Legs[0].After.Held = 10
			e.Legs[0].After.DebitedToday = 20
		}, "keeps back"},
		{"another is reversed", nil, back, func(e *Event) { e.Transactions[0].Reverses = txn("x") }, "given back"},
		{"reversed twice", nil, back, func(e *Event) { e.Transactions[1].Reversed++ }, "given back"},
		{"reversed unnoticed", nil, back, func(e *Event) { e.Transactions[1].Status = Posted }, "is posted"},
		{"hold's version", placed, void, func(e *Event) { e.Hold.Version = 1 }, "version 1 follows"},
		{"hold of nothing", nil, place("h", alice, 1), func(e *Event) { e.Hold.Version = 2 }, "on nothing"},
		{"hold not released", placed, void, func(e *Event) { e.Hold.Remaining = 300 }, "remain"},
		{"hold of another", placed, void, func(e *Event) { e.Hold.Account = bob }, "account changes"},
		{"hold released, account not", placed, void, func(e *Event) { e.Legs[0].After.Held = 300 }, "keeps back"},
		{"hold captured for more", placed, capture("c", 0), func(e *Event) { e.Hold.Captured = 301 }, "captured"},
		{"hold forgotten", placed, capture("c", 0), func(e *Event) { e.Hold = nil }, "holds -300 more"},
		{"hold without its account", placed, void, func(e *Event) { e.Legs = nil }, "has no leg"},
	} {
		t.Run(c.name, c.test)
	}
}

// Check refuses what Decide would have refused.
func TestCheckFindsWhatIsNotAllowed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		since Command // is left out when deciding, and happens before the event
		when  Command
		says  string
	}{
		"overdraw":      {withdraw("w", alice, 600), transfer("t", alice, bob, 600), "overdrawn"},
		"held twice":    {place("h1", alice, 600), place("h2", alice, 600), "overdrawn"},
		"frozen gives":  {freeze(alice), transfer("t", alice, bob, 1), "it is frozen"},
		"closed takes":  {closing(bob), transfer("t", alice, bob, 1), "it is closed"},
		"beyond a day":  {daily(alice, 5), transfer("t", alice, bob, 6), "daily limit"},
		"id used twice": {open(nowhere, ben, eur), open(nowhere, ben, eur), "opened twice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newBank(t, nil)
			e := must(Decide(l.State, c.when, noon))[0]
			for _, since := range must(Decide(l.State, c.since, noon)) {
				l.Evolve(since)
			}
			e.Seq = l.Seq() + 1
			for i := range e.Legs { // so that only the rule is broken, and no number
				a, _ := l.Account(e.Legs[i].Account)
				after := a.AccountState
				after.Version++
				after.Balance += e.Legs[i].Amount
				if e.Hold != nil {
					after.Held += e.Hold.Remaining
				}
				after.Day, after.DebitedToday = noon.Date(), a.DebitedToday+max(0, -e.Legs[i].Amount)
				e.Legs[i].After = after
			}
			if err := l.Check(&e); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("found %v, want %q", err, c.says)
			}
		})
	}
}

func TestAuditFindsSpoiltStates(t *testing.T) {
	t.Parallel()
	given := []Command{
		place("h", alice, 300), review(alice, 0), transfer("t", alice, bob, 10),
		ChangeAccount{ID: bob, ExternalID: new("b")},
	}
	for name, c := range map[string]struct {
		spoil func(*State)
		says  string
	}{
		"money made":         {func(s *State) { s.accounts[bob].Balance++ }, "come to 1"},
		"held too much":      {func(s *State) { s.accounts[alice].Held++ }, "holds 311"},
		"hold lost":          {func(s *State) { delete(s.holds.rows, held("h")) }, "holds 310"},
		"transfer lost":      {func(s *State) { delete(s.transactions.rows, txn("t")) }, "holds 310"},
		"hold grown":         {func(s *State) { s.holds.rows[held("h")].Remaining++ }, "remain"},
		"hold on nothing":    {func(s *State) { s.holds.rows[held("h")].Account = nowhere }, "holds 310"},
		"no version":         {func(s *State) { s.accounts[bob].Version = 0 }, "no version"},
		"no status":          {func(s *State) { s.accounts[bob].Status = 0 }, "no status"},
		"out of range":       {func(s *State) { s.accounts[bob].Balance = MaxAmount + 1 }, "out of range"},
		"cash holds":         {func(s *State) { s.accounts[CashAccount(eur)].Held = 1 }, "holds 1"},
		"overdraft":          {func(s *State) { s.accounts[bob].OverdraftLimit = -1 }, "overdraft"},
		"review":             {func(s *State) { s.accounts[bob].ReviewAbove = -2 }, "review"},
		"details to come":    {func(s *State) { s.accounts[bob].DetailsVersion = 99 }, "details"},
		"external id lost":   {func(s *State) { delete(s.external.rows, "b") }, "not found"},
		"external id left":   {func(s *State) { s.external.rows["c"] = alice }, "2 external ids"},
		"external id astray": {func(s *State) { s.external.rows["b"] = alice }, "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newBank(t, given)
			c.spoil(l.State)
			if err := l.Audit(); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("found %v, want %q", err, c.says)
			}
			if _, err := RestoreState(l.Seq(), l.Time(), l.Accounts(), l.Holds(), l.Pending()); err == nil &&
				!strings.HasPrefix(name, "external") {
				t.Error("it was restored")
			}
		})
	}
}
