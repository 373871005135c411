// Package history keeps what happened: the entries of accounts, the holds, the transactions.
package history

import (
	"context"
	"fmt"

	"bankforge/app/bank"
	"bankforge/handlers"
)

// EntryStore is where entries and holds stand. It writes within the transaction that the context carries.
type EntryStore interface {
	// LastEntries returns the newest entry of each of the accounts that have one.
	LastEntries(ctx context.Context, accounts []bank.AccountID) (map[bank.AccountID]Last, error)
	// AddEntries writes new entries.
	AddEntries(ctx context.Context, entries []Entry) error
	// HoldVersions returns the versions of those of the holds that the view has.
	HoldVersions(ctx context.Context, ids []bank.HoldID) (map[bank.HoldID]bank.Version, error)
	// SaveHolds writes new holds, and replaces those that the view has.
	SaveHolds(ctx context.Context, holds []bank.Hold) error
}

// Last is where the entries of an account end. The zero Last is before the first.
type Last struct {
	Version bank.Version
	Balance int64
}

// Entry is one entry of an account, with what a statement says of its transaction.
type Entry struct {
	Account      bank.AccountID
	Version      bank.Version
	At           handlers.Position // of the fact that made it
	Currency     bank.Currency
	Amount       int64
	BalanceAfter int64
	PostedAt     bank.Time
	Transaction  bank.TransactionID
	Kind         bank.TransactionKind
	Reference    string
	Description  string
	ValueDate    bank.Date
}

// Entries is the handler that keeps entries and holds. What the view has already is left out. Not every version of
// an account makes an entry; so that none is missing shows in the balances: each entry goes on where the last
// one ended, or else it is a *handlers.GapError.
func Entries(store EntryStore) handlers.Func {
	return func(ctx context.Context, facts []handlers.Fact) error {
		if err := addEntries(ctx, store, facts); err != nil {
			return err
		}
		return saveHolds(ctx, store, facts)
	}
}

func addEntries(ctx context.Context, store EntryStore, facts []handlers.Fact) error {
	accounts := make([]bank.AccountID, 0, len(facts))
	seen := make(map[bank.AccountID]struct{}, len(facts))
	for i := range facts {
		if !moves(&facts[i]) {
			continue
		}
		id := facts[i].Leg.Account
		if _, twice := seen[id]; !twice {
			seen[id] = struct{}{}
			accounts = append(accounts, id)
		}
	}
	if len(accounts) == 0 {
		return nil
	}
	last, err := store.LastEntries(ctx, accounts)
	if err != nil {
		return err
	}
	entries, err := newEntries(facts, last)
	if err != nil || len(entries) == 0 {
		return err
	}
	return store.AddEntries(ctx, entries)
}

func moves(f *handlers.Fact) bool { return f.Leg != nil && f.Leg.Amount != 0 }

// newEntries moves last along.
func newEntries(facts []handlers.Fact, last map[bank.AccountID]Last) ([]Entry, error) {
	out := make([]Entry, 0, len(facts))
	for i := range facts {
		f := &facts[i]
		if !moves(f) {
			continue
		}
		l, t := f.Leg, f.Transaction
		was := last[l.Account]
		if l.After.Version <= was.Version {
			continue
		}
		if was.Balance != l.After.Balance-l.Amount {
			return nil, handlers.As(handlers.Poison,
				&handlers.GapError{Key: l.Account.String(), Have: was.Version, Got: l.After.Version})
		}
		if t == nil {
			return nil, handlers.As(handlers.Poison, fmt.Errorf("%s on %s without a transaction", f.Name, l.Account))
		}
		last[l.Account] = Last{l.After.Version, l.After.Balance}
		out = append(out, Entry{
			Account: l.Account, Version: l.After.Version, At: f.Position(), Currency: l.Currency,
			Amount: l.Amount, BalanceAfter: l.After.Balance, PostedAt: f.Time,
			Transaction: t.ID, Kind: t.Kind, Reference: t.Reference, Description: t.Description, ValueDate: t.ValueDate,
		})
	}
	return out, nil
}

func saveHolds(ctx context.Context, store EntryStore, facts []handlers.Fact) error {
	var ids []bank.HoldID
	for i := range facts {
		if h := holdOf(&facts[i]); h != nil {
			ids = append(ids, h.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	have, err := store.HoldVersions(ctx, ids)
	if err != nil {
		return err
	}
	var holds []bank.Hold
	place := map[bank.HoldID]int{} // in holds
	for i := range facts {
		h := holdOf(&facts[i])
		if h == nil {
			continue
		}
		take, err := handlers.Next(h.ID, have[h.ID], h.Version)
		if err != nil {
			return err
		}
		if !take {
			continue
		}
		have[h.ID] = h.Version
		if at, known := place[h.ID]; known {
			holds[at] = *h
			continue
		}
		place[h.ID] = len(holds)
		holds = append(holds, *h)
	}
	if len(holds) == 0 {
		return nil
	}
	return store.SaveHolds(ctx, holds)
}

// holdOf is the hold that the fact changes. An event with a hold may have legs on several accounts; only the one on
// the hold's own account counts, so that a hold is ordered by one key.
func holdOf(f *handlers.Fact) *bank.Hold {
	if f.Hold == nil || f.Leg == nil || f.Hold.Account != f.Leg.Account {
		return nil
	}
	return f.Hold
}
