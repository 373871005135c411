package apptest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"bankforge/app"
	"bankforge/app/bank"
)

// TestBalances checks all that app.Balances promises, and that its handler keeps it right whatever comes twice or is
// missing. open makes a new view each time. The error names each promise that is broken.
func TestBalances(ctx context.Context, open func() (BalancesUnderTest, error)) error {
	return runChecks(ctx, balancesChecks, open)
}

var balancesChecks = []viewCheck[BalancesUnderTest]{
	{"an account is as its newest version made it", checkAccounts},
	{"what comes all at once gives the same", checkAccountsAtOnce},
	{"what comes again changes nothing", checkAccountsAgain},
	{"a version that does not follow is refused", checkAccountsGap},
	{"an account begins with its opening", checkAccountsBeginning},
	{"what fails leaves no trace", checkAccountsFailure},
	{"lists show what their filter says, in order, each row once", checkAccountLists},
}

func checkAccounts(ctx context.Context, v BalancesUnderTest) error {
	events, model := someHistory()
	if err := inBatches(ctx, v.Take, Tell(bank.AccountsTopic, events)); err != nil {
		return err
	}
	return sameAccounts(ctx, v, model)
}

// sameAccounts compares all accounts, and one that does not exist.
func sameAccounts(ctx context.Context, v app.Balances, model *MemoryViews) error {
	ids := []bank.AccountID{bank.MakeID[bank.Account]([16]byte{1: 1})}
	for _, a := range model.accounts {
		ids = append(ids, a.ID)
	}
	for _, id := range ids {
		want, exists, err := model.Account(ctx, id)
		if err != nil {
			return err
		}
		got, found, err := v.Account(ctx, id)
		if err != nil {
			return err
		}
		if found != exists {
			return fmt.Errorf("account %s: found %t", id, found)
		}
		if err := same([]bank.Account{got}, []bank.Account{want}); err != nil {
			return fmt.Errorf("account %s: %w", id, err)
		}
	}
	return nil
}

func checkAccountsAtOnce(ctx context.Context, v BalancesUnderTest) error {
	events, model := someHistory()
	if err := v.Take(ctx, Tell(bank.AccountsTopic, events)); err != nil {
		return err
	}
	return sameAccounts(ctx, v, model)
}

func checkAccountsAgain(ctx context.Context, v BalancesUnderTest) error {
	events, model := someHistory()
	told := Tell(bank.AccountsTopic, events)
	if err := inBatches(ctx, v.Take, told[:len(told)-20]); err != nil {
		return err
	}
	for _, from := range []int{len(told) / 2, 0, len(told) - 40} {
		if err := inBatches(ctx, v.Take, told[from:]); err != nil {
			return err
		}
		if err := sameAccounts(ctx, v, model); err != nil {
			return fmt.Errorf("again from message %d: %w", from, err)
		}
		if err := v.Take(ctx, told[from:from+5]); err != nil {
			return err
		}
		if err := sameAccounts(ctx, v, model); err != nil {
			return fmt.Errorf("messages %d to %d again: %w", from, from+4, err)
		}
	}
	return nil
}

func checkAccountsGap(ctx context.Context, v BalancesUnderTest) error {
	events, model := someHistory()
	told := Tell(bank.AccountsTopic, events)
	missing, next := followed(told, subject, always)
	if err := inBatches(ctx, v.Take, without(told[:next], missing)); err != nil {
		return err
	}
	if v.Take(ctx, told[next:next+1]) == nil {
		return fmt.Errorf("version %d of %s was taken without the one before", told[next].Version(), told[next].Key())
	}
	if err := inBatches(ctx, v.Take, told[missing:]); err != nil {
		return fmt.Errorf("once the missing one has come: %w", err)
	}
	return sameAccounts(ctx, v, model)
}

func subject(t *Told) string { return t.Key() }
func always(*Told) bool      { return true }

// followed finds, in the second half, a message that starts, and the next one of the same thing.
func followed(all []Told, of func(*Told) string, starts func(*Told) bool) (first, next int) {
	for first = len(all) / 2; first < len(all); first++ {
		if of(&all[first]) == "" || !starts(&all[first]) {
			continue
		}
		for next = first + 1; next < len(all); next++ {
			if of(&all[next]) == of(&all[first]) {
				return first, next
			}
		}
	}
	panic("apptest: the history is too short")
}

func checkAccountsBeginning(ctx context.Context, v BalancesUnderTest) error {
	events, _ := someHistory()
	first := Tell(bank.AccountsTopic, events)[0]
	first.Opening = nil
	if v.Take(ctx, []Told{first}) == nil {
		return errors.New("a first version without an opening was taken")
	}
	return nil
}

func checkAccountsFailure(ctx context.Context, v BalancesUnderTest) error {
	events, model := someHistory()
	told := Tell(bank.AccountsTopic, events)
	missing, next := followed(told, subject, always)
	done := slices.IndexFunc(told, func(t Told) bool { return t.Seq == told[missing].Seq }) // whole events
	if err := v.Take(ctx, told[:done]); err != nil {
		return err
	}
	if v.Take(ctx, without(told[:next+1], missing)[done:]) == nil {
		return errors.New("a gap within a batch was taken")
	}
	before := &MemoryViews{}
	for _, e := range events[:told[missing].Seq-1] {
		before.Evolve(e)
	}
	if err := sameAccounts(ctx, v, before); err != nil {
		return err
	}
	if err := v.Take(ctx, told[done:]); err != nil {
		return err
	}
	return sameAccounts(ctx, v, model)
}

func checkAccountLists(ctx context.Context, v BalancesUnderTest) error {
	events, model := someHistory()
	if err := v.Take(ctx, Tell(bank.AccountsTopic, events)); err != nil {
		return err
	}
	for _, f := range accountFilters(model.accounts) {
		list := func(b app.Balances) func(context.Context, app.Page) ([]bank.Account, error) {
			return func(ctx context.Context, p app.Page) ([]bank.Account, error) {
				f.Page = p
				return b.Accounts(ctx, f)
			}
		}
		if err := samePages(ctx, list(v.Balances), list(model), accountPlace); err != nil {
			f.Page = app.Page{}
			return fmt.Errorf("%+v: %w", f, err)
		}
	}
	return nil
}

// accountFilters are every field alone, with each value that there is and one that there is not, and some together.
func accountFilters(all []bank.Account) []app.AccountFilter {
	eur := currency("EUR")
	out := []app.AccountFilter{
		{}, {ExternalID: "nobody's"}, {Currency: currency("JPY")}, {Customer: bank.MakeID[bank.Customer]([16]byte{9})},
		{Currency: eur, Status: bank.Active}, {Currency: eur, Status: bank.Frozen},
	}
	for _, s := range []bank.AccountStatus{bank.Active, bank.Frozen, bank.Closed} {
		out = append(out, app.AccountFilter{Status: s})
	}
	for _, a := range all {
		out = append(out, app.AccountFilter{Currency: a.Currency})
		if !a.Customer.IsZero() {
			out = append(out, app.AccountFilter{Customer: a.Customer},
				app.AccountFilter{Customer: a.Customer, Status: a.Status, Currency: a.Currency})
		}
		if a.Details != nil && a.Details.ExternalID != "" {
			out = append(out, app.AccountFilter{ExternalID: a.Details.ExternalID},
				app.AccountFilter{ExternalID: a.Details.ExternalID, Currency: currency("USD")})
		}
	}
	return distinct(out)
}
