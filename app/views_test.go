package app_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/app/codec"
)

// views are all views in memory. They take events in only when a test says so.
type views struct {
	mu           sync.Mutex
	log          *apptest.MemoryLog
	at           bank.Seq
	moved        chan struct{} // closed when at has moved
	parked       map[string]bool
	accounts     map[bank.AccountID]bank.Account
	transactions map[bank.TransactionID]bank.Transaction
	holds        map[bank.HoldID]bank.Hold
	entries      []app.EntryRow
}

func newViews(log *apptest.MemoryLog) *views {
	return &views{
		log: log, moved: make(chan struct{}), parked: map[string]bool{},
		accounts: map[bank.AccountID]bank.Account{}, transactions: map[bank.TransactionID]bank.Transaction{},
		holds: map[bank.HoldID]bank.Hold{},
	}
}

// catchUp takes in everything that is in the log.
func (v *views) catchUp(t *testing.T) {
	t.Helper()
	rows, err := v.log.Read(t.Context(), v.at, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range rows {
		e, _, err := codec.Decode(r.Data)
		if err != nil {
			t.Fatal(err)
		}
		v.take(&e)
	}
	close(v.moved)
	v.moved = make(chan struct{})
}

func (v *views) take(e *bank.Event) {
	for _, l := range e.Legs {
		a, ok := v.accounts[l.Account]
		if !ok {
			a = bank.Account{ID: l.Account, OpenedAt: e.Time, Opening: *e.Opening}
		}
		if e.Details != nil {
			a.Details = e.Details
		}
		a.AccountState, a.UpdatedAt = l.After, e.Time
		v.accounts[l.Account] = a
		if l.Amount != 0 {
			v.entries = append(v.entries, app.EntryRow{
				Account: l.Account, Currency: l.Currency, Version: l.After.Version, Amount: l.Amount,
				BalanceAfter: l.After.Balance, PostedAt: e.Time, Transaction: e.Transactions[0].ID,
			})
		}
	}
	for _, t := range e.Transactions {
		v.transactions[t.ID] = t
	}
	if e.Hold != nil {
		v.holds[e.Hold.ID] = *e.Hold
	}
	v.at = e.Seq
}

func (v *views) Account(_ context.Context, id bank.AccountID) (bank.Account, bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	a, ok := v.accounts[id]
	return a, ok, nil
}

func (v *views) Accounts(_ context.Context, f app.AccountFilter) (out []bank.Account, _ error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, a := range v.accounts {
		if f.Customer.IsZero() || f.Customer == a.Customer {
			out = append(out, a)
		}
	}
	return out, nil
}

func (v *views) Transaction(_ context.Context, id bank.TransactionID) (bank.Transaction, bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	t, ok := v.transactions[id]
	return t, ok, nil
}

func (v *views) Transactions(_ context.Context, f app.TransactionFilter) (out []bank.Transaction, _ error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, t := range v.transactions {
		own := func(e bank.Entry) bool { return e.Customer == f.Customer }
		if f.Customer.IsZero() || slices.ContainsFunc(t.Entries, own) {
			out = append(out, t)
		}
	}
	return out, nil
}

func (v *views) Entries(_ context.Context, f app.EntryFilter) (out []app.EntryRow, _ error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range v.entries {
		if e.Account == f.Account && e.Version > f.AfterVersion && len(out) < f.Limit {
			out = append(out, e)
		}
	}
	return out, nil
}

func (v *views) Hold(_ context.Context, id bank.HoldID) (bank.Hold, bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	h, ok := v.holds[id]
	return h, ok, nil
}

func (v *views) Holds(_ context.Context, f app.HoldFilter) (out []bank.Hold, _ error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, h := range v.holds {
		if f.Customer.IsZero() || f.Customer == h.Customer {
			out = append(out, h)
		}
	}
	return out, nil
}

func (v *views) Await(ctx context.Context, _ string, seq bank.Seq) bool {
	for {
		v.mu.Lock()
		at, moved := v.at, v.moved
		v.mu.Unlock()
		if at >= seq {
			return true
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return false
		}
	}
}

func (v *views) At(string) bank.Seq {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.at
}

func (v *views) Parked(_ context.Context, _, key string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.parked[key], nil
}

// people are customers in memory.
type people struct {
	mu       sync.Mutex
	all      map[bank.CustomerID]app.SealedCustomer
	memories map[app.Key]app.Memory
}

func newPeople() *people {
	return &people{all: map[bank.CustomerID]app.SealedCustomer{}, memories: map[app.Key]app.Memory{}}
}

func (p *people) Create(
	_ context.Context, c app.SealedCustomer, m app.Memory, after bank.Time,
) (app.Memory, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if was, ok := p.memories[m.Key]; ok && was.At > after {
		return was, true, nil
	}
	for _, other := range p.all {
		if c.ExternalID != (app.Blind{}) && other.ExternalID == c.ExternalID {
			m.Customer, m.Code = bank.CustomerID{}, bank.ExternalIDTaken
		}
	}
	if m.Code == "" {
		p.all[c.ID] = c
	}
	p.memories[m.Key] = m
	return m, false, nil
}

func (p *people) Customer(_ context.Context, id bank.CustomerID) (app.SealedCustomer, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.all[id]
	return c, ok, nil
}

func (p *people) Customers(_ context.Context, f app.SealedFilter) (out []app.SealedCustomer, _ error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fits := func(want, have app.Blind) bool { return want == (app.Blind{}) || want == have }
	for _, c := range p.all {
		if (f.ID.IsZero() || f.ID == c.ID) && fits(f.Email, c.Email) && fits(f.Phone, c.Phone) &&
			fits(f.ExternalID, c.ExternalID) {
			out = append(out, c)
		}
	}
	return out, nil
}

// world is a whole App on fakes.
type world struct {
	*app.App
	log    *apptest.MemoryLog
	views  *views
	people *people
	ledger *app.Ledger
}

func newWorld(t *testing.T, change ...func(*app.Parts)) world {
	t.Helper()
	log := &apptest.MemoryLog{}
	l, err := app.StartLedger(t.Context(), config(log))
	if err != nil {
		t.Fatal(err)
	}
	v, p := newViews(log), newPeople()
	parts := app.Parts{
		Decider: l, Tide: l.Tide(), Log: log, Lookup: log, Balances: v, History: v, Progress: v, Customers: p,
		MasterKey: make([]byte, 32), Publisher: app.LogIsBroker{},
	}
	for _, f := range change {
		f(&parts)
	}
	a, err := app.New(parts)
	if err != nil {
		t.Fatal(err)
	}
	return world{a, log, v, p, l}
}

// call is a call of who, under a key of its own.
func call(who app.Principal, key string) app.Call {
	a := ask(key, nil)
	a.Call.Principal = who
	return a.Call
}

// customer is a person who signs in.
func customer(id bank.CustomerID) app.Principal {
	return app.Principal{Subject: id.String(), Roles: []app.Role{app.RoleCustomer}, Customer: id}
}
