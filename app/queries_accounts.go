package app

import (
	"context"
	"time"

	"bankforge/app/bank"
)

// Account returns an account as the view has it, with what the caller did last, and at least at minVersion
// unless it is Stale. Accounts of others do not exist for a customer.
func (a *App) Account(
	ctx context.Context, p Principal, id bank.AccountID, minVersion bank.Version,
) (bank.Account, Freshness, error) {
	if _, err := p.scope(); err != nil {
		return bank.Account{}, Freshness{}, err
	}
	fresh := a.fresh(ctx, p, BalancesHandler, id.String())
	acc, found, err := a.parts.Balances.Account(ctx, id)
	if err == nil && found && acc.Version < minVersion && p.MayRead(acc.Customer) {
		if !fresh.Stale {
			acc, err = a.atLeast(ctx, acc, minVersion)
		}
		fresh.Stale = fresh.Stale || acc.Version < minVersion
	}
	switch {
	case err != nil:
		return bank.Account{}, Freshness{}, refusal(err)
	case !found:
		return bank.Account{}, Freshness{}, a.missing(ctx, "account", id.String(), touchesAccount(p, id))
	case !p.MayRead(acc.Customer):
		return bank.Account{}, Freshness{}, notFound("account", id.String())
	}
	return acc, fresh, nil
}

func touchesAccount(p Principal, id bank.AccountID) func(*bank.Event) bool {
	return func(e *bank.Event) bool {
		leg := legOf(e, id)
		return leg != nil && p.MayRead(leg.Customer)
	}
}

func legOf(e *bank.Event, id bank.AccountID) *bank.Leg {
	for i := range e.Legs {
		if e.Legs[i].Account == id {
			return &e.Legs[i]
		}
	}
	return nil
}

// atLeast reads the account again and again until it has the version, at most for the reader's patience.
func (a *App) atLeast(ctx context.Context, acc bank.Account, version bank.Version) (bank.Account, error) {
	wait, cancel := context.WithTimeout(ctx, a.patience)
	defer cancel()
	// Most often another process has just been told of the version, and the view gets it with what is in the log by now.
	a.parts.Progress.Await(wait, BalancesHandler, a.parts.Tide.Committed())
	again := time.NewTicker(rereadEvery)
	defer again.Stop()
	for {
		now, found, err := a.parts.Balances.Account(ctx, acc.ID)
		if err != nil || !found {
			return acc, err
		}
		if acc = now; acc.Version >= version {
			return acc, nil
		}
		select {
		case <-wait.Done():
			return acc, nil
		case <-again.C:
		}
	}
}

// Accounts returns a page of accounts. A customer gets his own.
func (a *App) Accounts(ctx context.Context, p Principal, f AccountFilter) ([]bank.Account, Freshness, error) {
	possible, err := narrow(p, &f.Customer)
	if err != nil || !possible {
		return nil, Freshness{}, err
	}
	fresh := a.fresh(ctx, p, BalancesHandler, "")
	out, err := a.parts.Balances.Accounts(ctx, f)
	if err != nil {
		return nil, Freshness{}, refusal(err)
	}
	return out, fresh, nil
}

// narrow makes a filter for customers select no more than what the caller may read; possible is
// false when that is nothing.
func narrow(p Principal, filter *bank.CustomerID) (possible bool, err error) {
	mine, err := p.scope()
	if err != nil || mine.IsZero() {
		return err == nil, err
	}
	possible = filter.IsZero() || *filter == mine
	*filter = mine
	return possible, nil
}
