package app

import (
	"bytes"
	"context"
	"math"
	"slices"

	"bankforge/app/bank"
)

// Head returns the head of the ledger, and the time of its last event (0: there is none).
func (a *App) Head(ctx context.Context) (Head, bank.Time, error) {
	h, err := a.parts.Log.Head(ctx)
	if err != nil || h.Seq == 0 {
		return h, 0, wrapped(err)
	}
	rows, err := a.parts.Log.Read(ctx, h.Seq-1, 1)
	if err != nil || len(rows) == 0 {
		return Head{}, 0, wrapped(err)
	}
	last, err := record(rows[0])
	return h, last.Time, err
}

func wrapped(err error) error {
	if err == nil {
		return nil
	}
	return refusal(err)
}

// Events returns recorded events behind after, ascending. Callers are staff: ports see to it.
func (a *App) Events(ctx context.Context, after bank.Seq, limit int) ([]Recorded, error) {
	rows, err := a.parts.Log.Read(ctx, after, limit)
	if err != nil {
		return nil, refusal(err)
	}
	return records(rows)
}

// Limits of Traced.
const (
	tracedBack  = 50_000 // events from the end of the log that are looked at
	tracedPage  = 1_000  // of them at once
	tracedMost  = 500    // events that are returned at most: the first ones
	tracedMoney = 200    // transactions that are asked for
)

// Traced returns events of a correlation id, ascending: those of also, those of transactions that it made, and all from
// the event from on. Older events that made no transaction are found only through also. Callers are staff: ports see
// to it.
func (a *App) Traced(
	ctx context.Context, correlation string, also []bank.Seq,
) (found []Recorded, from bank.Seq, err error) {
	head, err := a.parts.Log.Head(ctx)
	if err != nil {
		return nil, 0, refusal(err)
	}
	from = 1
	if head.Seq > a.back {
		from = head.Seq - a.back + 1
	}
	made, err := a.parts.History.Transactions(ctx, TransactionFilter{
		Page: Page{Limit: tracedMoney, Ascending: true}, CorrelationID: correlation,
	})
	if err != nil {
		return nil, 0, refusal(err)
	}
	also = slices.Clone(also)
	for i := range made {
		also = append(also, made[i].Seq)
	}
	slices.Sort(also)
	for _, seq := range slices.Compact(also) {
		if seq == 0 || seq >= from || len(found) == tracedMost {
			continue
		}
		if found, err = a.tracedIn(ctx, found, correlation, seq-1, 1); err != nil {
			return nil, 0, err
		}
	}
	for after := from - 1; after < head.Seq && len(found) < tracedMost; after += tracedPage {
		if found, err = a.tracedIn(ctx, found, correlation, after, tracedPage); err != nil {
			return nil, 0, err
		}
	}
	return found[:min(len(found), tracedMost)], from, nil
}

// tracedIn adds those of the events behind after that are of the correlation id. Rows that do not have its text
// anywhere need not be decoded.
func (a *App) tracedIn(
	ctx context.Context, found []Recorded, correlation string, after bank.Seq, limit int,
) ([]Recorded, error) {
	rows, err := a.parts.Log.Read(ctx, after, limit)
	if err != nil {
		return nil, refusal(err)
	}
	for _, row := range rows {
		if !bytes.Contains(row.Data, []byte(correlation)) {
			continue
		}
		r, err := record(row)
		if err != nil {
			return nil, err
		}
		if r.Meta.CorrelationID == correlation {
			found = append(found, r)
		}
	}
	return found, nil
}

// EventFilter selects the events of one account; each made one version of it.
type EventFilter struct {
	Account      bank.AccountID
	AfterVersion bank.Version // behind this version in the order asked for; 0: from the start
	Limit        int
	Ascending    bool
	From, To     bank.Time // From ≤ time < To; zero: open
}

// AccountEvents returns a page of what happened to an account, straight from the log. Legs of others are in it: ports
// leave out what the caller may not read.
func (a *App) AccountEvents(ctx context.Context, p Principal, f EventFilter) ([]Recorded, error) {
	first, last, err := a.versionsBetween(ctx, p, f.Account, f.From, f.To)
	if err != nil {
		return nil, err
	}
	var rows []Row
	if f.Ascending {
		after := max(f.AfterVersion, first-1)
		rows, err = a.parts.Lookup.Versions(ctx, f.Account.String(), after, atMost(f.Limit, last, after))
	} else {
		before := last + 1
		if f.AfterVersion > 0 {
			before = min(before, f.AfterVersion)
		}
		rows, err = a.parts.Lookup.VersionsBefore(ctx, f.Account.String(), before, atMost(f.Limit, before, first))
	}
	if err != nil {
		return nil, refusal(err)
	}
	return records(rows)
}

// atMost is limit, or high − low where that is less, but not below 0.
func atMost(limit int, high, low bank.Version) int {
	if high <= low {
		return 0
	}
	return int(min(uint64(max(limit, 0)), uint64(high-low)))
}

// versionsBetween are the first and the last version of the account from ≤ time < to; none: last < first.
func (a *App) versionsBetween(
	ctx context.Context, p Principal, id bank.AccountID, from, to bank.Time,
) (first, last bank.Version, err error) {
	if err := a.mayReadAccount(ctx, p, id); err != nil {
		return 0, 0, err
	}
	first = 1
	if from != 0 {
		if first, err = a.versionAt(ctx, id, from-1); err != nil {
			return 0, 0, err
		}
		first++
	}
	if to == 0 {
		to = math.MaxInt64
	}
	last, err = a.versionAt(ctx, id, to-1)
	return first, last, err
}

// AccountAt returns the account as it was at a time, changes at that very time included.
func (a *App) AccountAt(ctx context.Context, p Principal, id bank.AccountID, at bank.Time) (bank.Account, error) {
	if err := a.mayReadAccount(ctx, p, id); err != nil {
		return bank.Account{}, err
	}
	v, err := a.versionAt(ctx, id, at)
	if err != nil {
		return bank.Account{}, err
	}
	return a.accountAt(ctx, id, v)
}

// AccountAtVersion returns the account as it was at a version.
func (a *App) AccountAtVersion(
	ctx context.Context, p Principal, id bank.AccountID, v bank.Version,
) (bank.Account, error) {
	if err := a.mayReadAccount(ctx, p, id); err != nil {
		return bank.Account{}, err
	}
	return a.accountAt(ctx, id, v)
}

// versionAt is the account's last version at or before a time, 0 when it did not exist. It halves the versions:
// their times never go back.
func (a *App) versionAt(ctx context.Context, id bank.AccountID, at bank.Time) (bank.Version, error) {
	newest, found, err := a.latest(ctx, id.String())
	if err != nil || !found {
		return 0, err
	}
	if newest.Time <= at {
		return legOf(&newest, id).After.Version, nil
	}
	low, high := bank.Version(0), legOf(&newest, id).After.Version // low's time ≤ at < high's time
	for high-low > 1 {
		mid := low + (high-low)/2
		e, err := a.version(ctx, id, mid)
		if err != nil {
			return 0, err
		}
		if e.Time <= at {
			low = mid
		} else {
			high = mid
		}
	}
	return low, nil
}

// version is the event that made version v of an account.
func (a *App) version(ctx context.Context, id bank.AccountID, v bank.Version) (bank.Event, error) {
	if v == 0 {
		return bank.Event{}, notFound("account", id.String())
	}
	rows, err := a.parts.Lookup.Versions(ctx, id.String(), v-1, 1)
	if err != nil {
		return bank.Event{}, refusal(err)
	}
	if len(rows) == 0 {
		return bank.Event{}, bank.Refuse(bank.NotFound, "", "The account has no such version.")
	}
	r, err := record(rows[0])
	return r.Event, err
}

// accountAt puts an account together from the events that hold its parts.
func (a *App) accountAt(ctx context.Context, id bank.AccountID, v bank.Version) (bank.Account, error) {
	now, err := a.version(ctx, id, v)
	if err != nil {
		return bank.Account{}, err
	}
	opened, err := a.version(ctx, id, 1)
	if err != nil {
		return bank.Account{}, err
	}
	leg := legOf(&now, id)
	acc := bank.Account{ID: id, OpenedAt: opened.Time, UpdatedAt: now.Time, AccountState: leg.After}
	if opened.Opening != nil {
		acc.Opening = *opened.Opening
	} else { // internal accounts open with their first movement
		acc.Opening = bank.Opening{Currency: leg.Currency, Type: bank.Internal}
	}
	if leg.After.DetailsVersion > 0 {
		set, err := a.version(ctx, id, leg.After.DetailsVersion)
		if err != nil {
			return bank.Account{}, err
		}
		acc.Details = set.Details
	}
	return acc, nil
}
