// Package projection keeps the view of accounts and balances: each account as it stands at its newest version.
package projection

import (
	"context"
	"fmt"

	"bankforge/app/bank"
	"bankforge/handlers"
)

// Store is where the view stands. It writes within the transaction that the context carries.
type Store interface {
	// AccountVersions returns the versions of those of the accounts that the view has.
	AccountVersions(ctx context.Context, ids []bank.AccountID) (map[bank.AccountID]bank.Version, error)
	// SaveAccounts writes all updates, each of another account. It keeps nothing of them.
	SaveAccounts(ctx context.Context, updates []Update) error
}

// Update is what facts made of one account.
type Update struct {
	Account   bank.AccountID
	State     bank.AccountState
	UpdatedAt bank.Time
	Opening   *bank.Opening // set when the account is new to the view
	OpenedAt  bank.Time     // with Opening
	Details   *bank.Details // replace the earlier ones when set
}

// Balances is the handler that keeps the view. A version that the view has already is left out, and one
// that does not follow is a *handlers.GapError.
func Balances(store Store) handlers.Func {
	return func(ctx context.Context, facts []handlers.Fact) error {
		have, err := store.AccountVersions(ctx, accountsOf(facts))
		if err != nil {
			return err
		}
		updates, err := fold(facts, have)
		if err != nil || len(updates) == 0 {
			return err
		}
		return store.SaveAccounts(ctx, updates)
	}
}

func accountsOf(facts []handlers.Fact) []bank.AccountID {
	ids := make([]bank.AccountID, 0, len(facts))
	seen := make(map[bank.AccountID]struct{}, len(facts))
	for i := range facts {
		l := facts[i].Leg
		if l == nil {
			continue
		}
		if _, twice := seen[l.Account]; !twice {
			seen[l.Account] = struct{}{}
			ids = append(ids, l.Account)
		}
	}
	return ids
}

// fold makes one update of all facts of an account, so that a busy account is written once a batch.
func fold(facts []handlers.Fact, have map[bank.AccountID]bank.Version) ([]Update, error) {
	updates := make([]Update, 0, len(facts))
	place := make(map[bank.AccountID]int, len(facts)) // in updates
	for i := range facts {
		f := &facts[i]
		if f.Leg == nil {
			continue
		}
		id := f.Leg.Account
		at, known := place[id]
		version := have[id]
		if known {
			version = updates[at].State.Version
		}
		take, err := handlers.Next(id, version, f.Leg.After.Version)
		if err != nil {
			return nil, err
		}
		if !take {
			continue
		}
		if !known {
			at = len(updates)
			place[id] = at
			updates = append(updates, Update{Account: id})
		}
		if err := updates[at].take(f); err != nil {
			return nil, err
		}
	}
	return updates, nil
}

func (u *Update) take(f *handlers.Fact) error {
	u.State, u.UpdatedAt = f.Leg.After, f.Time
	if u.State.Version == 1 {
		if f.Opening == nil {
			return handlers.As(handlers.Poison, fmt.Errorf("account %s begins with %s", u.Account, f.Name))
		}
		u.Opening, u.OpenedAt = f.Opening, f.Time
	}
	if f.Details != nil {
		u.Details = f.Details
	}
	return nil
}
