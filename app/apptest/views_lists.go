package apptest

import (
	"context"
	"fmt"

	"bankforge/app"
	"bankforge/app/bank"
)

func checkTransactionLists(ctx context.Context, v HistoryUnderTest) error {
	events, model := someHistory()
	if err := fill(ctx, v, events); err != nil {
		return err
	}
	for _, f := range transactionFilters(model) {
		list := func(h app.History) func(context.Context, app.Page) ([]bank.Transaction, error) {
			return func(ctx context.Context, p app.Page) ([]bank.Transaction, error) {
				f.Page = p
				return h.Transactions(ctx, f)
			}
		}
		if err := samePages(ctx, list(v), list(model), transactionPlace); err != nil {
			f.Page = app.Page{}
			return fmt.Errorf("%+v: %w", f, err)
		}
	}
	return nil
}

// transactionFilters are every field alone, with values that there are and one that there is not, and some together.
func transactionFilters(m *MemoryViews) []app.TransactionFilter {
	out := []app.TransactionFilter{
		{}, {Reference: "nobody's"}, {CorrelationID: "nobody's"}, {IdempotencyKey: "nobody's"},
		{Hold: bank.MakeID[bank.Hold]([16]byte{9})}, {Account: bank.CashAccount(currency("JPY"))},
		{Account: bank.CashAccount(currency("EUR"))}, {Customer: bank.MakeID[bank.Customer]([16]byte{9})},
	}
	for k := bank.DepositKind; k <= bank.ReversalKind; k++ {
		out = append(out, app.TransactionFilter{Kind: k}, app.TransactionFilter{Kind: k, Reference: "reference 1"})
	}
	for s := bank.Posted; s <= bank.Reversed; s++ {
		out = append(out, app.TransactionFilter{Status: s})
	}
	customers := map[bank.CustomerID]bool{}
	for _, a := range m.accounts {
		out = append(out, app.TransactionFilter{Account: a.ID})
		if !a.Customer.IsZero() {
			out = append(out, app.TransactionFilter{Account: a.ID, Customer: a.Customer, Status: bank.Reversed})
			customers[a.Customer] = true
		}
	}
	for c := range customers {
		out = append(out, app.TransactionFilter{Customer: c}, app.TransactionFilter{Customer: c, Kind: bank.TransferKind},
			app.TransactionFilter{Customer: c, Status: bank.PendingReview})
		for _, a := range m.accounts { // of others too
			out = append(out, app.TransactionFilter{Account: a.ID, Customer: c})
		}
	}
	for i, t := range m.transactions {
		if i%8 != 0 {
			continue
		}
		out = append(out, app.TransactionFilter{Reference: t.Reference}, app.TransactionFilter{Hold: t.Transaction.Hold},
			app.TransactionFilter{CorrelationID: t.CorrelationID}, app.TransactionFilter{IdempotencyKey: t.key},
			app.TransactionFilter{IdempotencyKey: t.key, CorrelationID: t.CorrelationID, Kind: t.Kind})
	}
	return distinct(out)
}

func distinct[T comparable](all []T) (out []T) {
	seen := map[T]bool{}
	for _, v := range all {
		if !seen[v] {
			out = append(out, v)
		}
		seen[v] = true
	}
	return out
}

func checkHoldLists(ctx context.Context, v HistoryUnderTest) error {
	events, model := someHistory()
	if err := fill(ctx, v, events); err != nil {
		return err
	}
	filters := []app.HoldFilter{{}, {Account: bank.CashAccount(currency("EUR"))}}
	for s := bank.HoldActive; s <= bank.HoldExpired; s++ {
		filters = append(filters, app.HoldFilter{Status: s})
	}
	for _, a := range model.accounts {
		filters = append(filters, app.HoldFilter{Account: a.ID}, app.HoldFilter{Customer: a.Customer},
			app.HoldFilter{Account: a.ID, Status: bank.HoldActive},
			app.HoldFilter{Account: a.ID, Customer: a.Customer, Status: bank.HoldExpired})
	}
	for _, f := range distinct(filters) {
		list := func(h app.History) func(context.Context, app.Page) ([]bank.Hold, error) {
			return func(ctx context.Context, p app.Page) ([]bank.Hold, error) {
				f.Page = p
				return h.Holds(ctx, f)
			}
		}
		if err := samePages(ctx, list(v), list(model), holdPlace); err != nil {
			f.Page = app.Page{}
			return fmt.Errorf("%+v: %w", f, err)
		}
	}
	return nil
}

func checkEntryLists(ctx context.Context, v HistoryUnderTest) error {
	events, model := someHistory()
	if err := fill(ctx, v, events); err != nil {
		return err
	}
	middle := events[len(events)/2].Time
	times := [][2]bank.Time{
		{}, {middle, 0}, {0, middle}, {middle, middle + 1}, {middle - 5000, middle + 1_000_000},
		{events[len(events)-1].Time + 1, 0}, {0, events[0].Time},
	}
	for _, a := range model.accounts {
		for _, t := range times {
			for _, limit := range []int{3, 1000} {
				f := app.EntryFilter{Account: a.ID, Limit: limit, From: t[0], To: t[1]}
				for _, f.Ascending = range []bool{false, true} {
					if err := walkEntries(ctx, f, v, model); err != nil {
						return fmt.Errorf("%+v: %w", f, err)
					}
				}
			}
		}
	}
	return nil
}

func walkEntries(ctx context.Context, f app.EntryFilter, v, model app.History) error {
	for {
		got, err := v.Entries(ctx, f)
		if err != nil {
			return err
		}
		want, err := model.Entries(ctx, f)
		if err != nil {
			return err
		}
		if err := same(got, want); err != nil {
			return fmt.Errorf("behind version %d: %w", f.AfterVersion, err)
		}
		if len(got) < f.Limit {
			return nil
		}
		f.AfterVersion = got[len(got)-1].Version
	}
}
