package app

import (
	"context"
	"iter"

	"bankforge/app/bank"
)

// Transaction returns a transaction. For a customer there are only those that move money of an own account.
func (a *App) Transaction(
	ctx context.Context, p Principal, id bank.TransactionID,
) (bank.Transaction, Freshness, error) {
	if _, err := p.scope(); err != nil {
		return bank.Transaction{}, Freshness{}, err
	}
	fresh := a.fresh(ctx, p, TransactionsHandler, id.String())
	t, found, err := a.parts.History.Transaction(ctx, id)
	if err != nil {
		return bank.Transaction{}, Freshness{}, refusal(err)
	}
	if !found {
		return bank.Transaction{}, Freshness{}, a.missing(ctx, "transaction", id.String(), touches(p))
	}
	visible, err := a.mayReadTransaction(ctx, p, &t)
	if err == nil && !visible {
		err = notFound("transaction", id.String())
	}
	if err != nil {
		return bank.Transaction{}, Freshness{}, err
	}
	return t, fresh, nil
}

// mayReadTransaction looks at the entries, and while there are none at whose account the money is held.
func (a *App) mayReadTransaction(ctx context.Context, p Principal, t *bank.Transaction) (bool, error) {
	for i := range t.Entries {
		if p.MayRead(t.Entries[i].Customer) {
			return true, nil
		}
	}
	if len(t.Entries) > 0 {
		return false, nil
	}
	payer, found, err := a.latest(ctx, t.From.String())
	if err != nil || !found {
		return false, err
	}
	return touchesAccount(p, t.From)(&payer), nil
}

// Transactions returns a page of transactions.
func (a *App) Transactions(
	ctx context.Context, p Principal, f TransactionFilter,
) ([]bank.Transaction, Freshness, error) {
	possible, err := narrow(p, &f.Customer)
	if err != nil || !possible {
		return nil, Freshness{}, err
	}
	fresh := a.fresh(ctx, p, TransactionsHandler, "")
	out, err := a.parts.History.Transactions(ctx, f)
	if err != nil {
		return nil, Freshness{}, refusal(err)
	}
	return out, fresh, nil
}

// Hold returns a hold.
func (a *App) Hold(ctx context.Context, p Principal, id bank.HoldID) (bank.Hold, Freshness, error) {
	if _, err := p.scope(); err != nil {
		return bank.Hold{}, Freshness{}, err
	}
	fresh := a.fresh(ctx, p, HistoryHandler, "")
	h, found, err := a.parts.History.Hold(ctx, id)
	switch {
	case err != nil:
		return bank.Hold{}, Freshness{}, refusal(err)
	case !found:
		return bank.Hold{}, Freshness{}, a.missing(ctx, "hold", id.String(), func(e *bank.Event) bool {
			return e.Hold != nil && p.MayRead(e.Hold.Customer)
		})
	case !p.MayRead(h.Customer):
		return bank.Hold{}, Freshness{}, notFound("hold", id.String())
	}
	fresh.Stale = fresh.Stale || a.parked(ctx, HistoryHandler, h.Account.String())
	return h, fresh, nil
}

// Holds returns a page of holds.
func (a *App) Holds(ctx context.Context, p Principal, f HoldFilter) ([]bank.Hold, Freshness, error) {
	possible, err := narrow(p, &f.Customer)
	if err != nil || !possible {
		return nil, Freshness{}, err
	}
	fresh := a.fresh(ctx, p, HistoryHandler, f.Account.String())
	out, err := a.parts.History.Holds(ctx, f)
	if err != nil {
		return nil, Freshness{}, refusal(err)
	}
	return out, fresh, nil
}

// Entries returns a page of the entries of one account.
func (a *App) Entries(ctx context.Context, p Principal, f EntryFilter) ([]EntryRow, Freshness, error) {
	if err := a.mayReadAccount(ctx, p, f.Account); err != nil {
		return nil, Freshness{}, err
	}
	fresh := a.fresh(ctx, p, HistoryHandler, f.Account.String())
	out, err := a.parts.History.Entries(ctx, f)
	if err != nil {
		return nil, Freshness{}, refusal(err)
	}
	return out, fresh, nil
}

// mayReadAccount asks the log, which is never behind.
func (a *App) mayReadAccount(ctx context.Context, p Principal, id bank.AccountID) error {
	if _, err := p.scope(); err != nil {
		return err
	}
	e, found, err := a.latest(ctx, id.String())
	if err == nil && !(found && touchesAccount(p, id)(&e)) {
		err = notFound("account", id.String())
	}
	return err
}

// Statement is what happened on an account from ≤ time < to, in the order of the account's versions.
type Statement struct {
	Account  bank.Account // as it is at the end, or as it was opened when that came later
	From, To bank.Time    // as asked for; zero: the whole life
	Opening  int64        // balance before the first entry, in minor units
	Closing  int64        // balance after the last one
	// Entries reads page by page, so that a long statement needs no more memory than a short one.
	// It ends after an error.
	Entries iter.Seq2[EntryRow, error]
}

// statementPage is how many entries are in memory at once.
const statementPage = 500

// Statement makes a statement; of a time before the account's opening, an empty one. What is its beginning and its end
// is taken from the log once, so that it stays consistent while the account moves on.
func (a *App) Statement(
	ctx context.Context, p Principal, id bank.AccountID, from, to bank.Time,
) (Statement, Freshness, error) {
	first, last, err := a.versionsBetween(ctx, p, id, from, to)
	if err != nil {
		return Statement{}, Freshness{}, err
	}
	first = min(first, last+1) // a time that ends before it begins has nothing in it
	s := Statement{From: from, To: to}
	if s.Account, err = a.accountAt(ctx, id, max(last, 1)); err != nil {
		return Statement{}, Freshness{}, err
	}
	s.Closing = s.Account.Balance
	if first > 1 {
		before, err := a.version(ctx, id, first-1)
		if err != nil {
			return Statement{}, Freshness{}, err
		}
		s.Opening = legOf(&before, id).After.Balance
	}
	end, err := a.version(ctx, id, max(last, 1))
	if err != nil {
		return Statement{}, Freshness{}, err
	}
	fresh := Freshness{Stale: a.parked(ctx, HistoryHandler, id.String()) || !a.caughtUp(ctx, HistoryHandler, end.Seq)}
	s.Entries = a.entriesBetween(ctx, id, first, last)
	return s, fresh, nil
}

// entriesBetween walks over the entries of the versions from first to last.
func (a *App) entriesBetween(
	ctx context.Context, id bank.AccountID, first, last bank.Version,
) iter.Seq2[EntryRow, error] {
	return func(yield func(EntryRow, error) bool) {
		for after := first - 1; ; {
			page, err := a.parts.History.Entries(ctx, EntryFilter{
				Account: id, AfterVersion: after, Limit: statementPage, Ascending: true,
			})
			if err != nil {
				yield(EntryRow{}, refusal(err))
				return
			}
			for _, e := range page {
				if e.Version > last || !yield(e, nil) {
					return
				}
				after = e.Version
			}
			if len(page) < statementPage {
				return
			}
		}
	}
}
