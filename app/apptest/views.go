package apptest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"

	"bankforge/app"
	"bankforge/app/bank"
)

// Told is one message: a change, and what its event says of its origin.
type Told struct {
	bank.Change
	Meta app.Meta
}

// Tell expands events into what is told on a topic, in order.
func Tell(topic bank.Topic, events []app.Recorded) (told []Told) {
	for i := range events {
		for _, c := range events[i].Changes() {
			if c.Topic() == topic {
				told = append(told, Told{c, events[i].Meta})
			}
		}
	}
	return told
}

// Take gives messages of one topic, in order, to the handlers that keep a view, each call in one
// transaction: when a handler fails, nothing of the call stays. A gap is an error.
type Take func(ctx context.Context, told []Told) error

// BalancesUnderTest is what TestBalances judges: a new view of accounts, without any.
type BalancesUnderTest struct {
	app.Balances
	Take Take // of AccountsTopic
}

// HistoryUnderTest is what TestHistory judges: new views of entries, holds and transactions, without any.
type HistoryUnderTest struct {
	app.History
	TakeAccounts     Take // of AccountsTopic
	TakeTransactions Take // of TransactionsTopic
}

// SameViews compares views with what the events make, from the first one on.
func SameViews(ctx context.Context, b app.Balances, h app.History, events []app.Recorded) error {
	model := &MemoryViews{}
	for _, e := range events {
		model.Evolve(e)
	}
	return errors.Join(sameAccounts(ctx, b, model), sameHistory(ctx, h, model))
}

// viewCheck is one promise of a view.
type viewCheck[V any] struct {
	promise string
	run     func(context.Context, V) error
}

func runChecks[V any](ctx context.Context, checks []viewCheck[V], open func() (V, error)) error {
	var broken []error
	for _, c := range checks {
		v, err := open()
		if err != nil {
			return fmt.Errorf("open a view: %w", err)
		}
		if err := c.run(ctx, v); err != nil {
			broken = append(broken, fmt.Errorf("%s: %w", c.promise, err))
		}
	}
	return errors.Join(broken...)
}

// someHistory is the same each time, and has some of everything.
func someHistory() ([]app.Recorded, *MemoryViews) {
	source := rand.New(rand.NewPCG(3, 6)) //nolint:gosec // the same each time
	events := RandomHistory(source.IntN, 300)
	model := &MemoryViews{}
	for _, e := range events {
		model.Evolve(e)
	}
	return events, model
}

// inBatches calls take with a few messages at a time.
func inBatches(ctx context.Context, take Take, told []Told) error {
	for n := 1; len(told) > 0; n = n%7 + 1 {
		n = min(n, len(told))
		if err := take(ctx, told[:n]); err != nil {
			return fmt.Errorf("take %d messages from (%d, %d) on: %w", n, told[0].Seq, told[0].N, err)
		}
		told = told[n:]
	}
	return nil
}

// without is told without the i-th.
func without(told []Told, i int) []Told { return append(told[:i:i], told[i+1:]...) }

// samePages walks over all pages of a list, in both directions and with several limits, and compares each with
// what it should show.
func samePages[T any](
	ctx context.Context, got, want func(context.Context, app.Page) ([]T, error), place func(*T) (bank.Time, string),
) error {
	for _, p := range []app.Page{{Limit: 3}, {Limit: 1000}} {
		for _, p.Ascending = range []bool{false, true} {
			if err := walk(ctx, p, got, want, place); err != nil {
				return fmt.Errorf("ascending %t, limit %d: %w", p.Ascending, p.Limit, err)
			}
		}
	}
	all, err := want(ctx, app.Page{Limit: 1000})
	if err != nil || len(all) == 0 {
		return err
	}
	middle, _ := place(&all[len(all)/2])
	for _, p := range []app.Page{
		{Limit: 4, From: middle}, {Limit: 4, To: middle}, {Limit: 4, From: middle, To: middle + 1},
		{Limit: 1000, From: middle, To: middle + 1}, {Limit: 4, From: middle - 2_000_000, To: middle + 2_000_000},
	} {
		for _, p.Ascending = range []bool{false, true} {
			if err := walk(ctx, p, got, want, place); err != nil {
				return fmt.Errorf("ascending %t, limit %d, from %d, to %d: %w", p.Ascending, p.Limit, p.From, p.To, err)
			}
		}
	}
	return nil
}

func walk[T any](
	ctx context.Context, p app.Page, got, want func(context.Context, app.Page) ([]T, error),
	place func(*T) (bank.Time, string),
) error {
	for {
		is, err := got(ctx, p)
		if err != nil {
			return err
		}
		should, err := want(ctx, p)
		if err != nil {
			return err
		}
		if err := same(is, should); err != nil {
			return fmt.Errorf("behind (%d, %q): %w", p.AfterTime, p.AfterID, err)
		}
		if len(is) < p.Limit {
			return nil
		}
		p.AfterTime, p.AfterID = place(&is[len(is)-1])
	}
}

// same compares rows; it does not mind whether nothing is nil or empty.
func same[T any](got, want []T) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d rows instead of %d", len(got), len(want))
	}
	for i := range got {
		if g, w := plain(got[i]), plain(want[i]); !reflect.DeepEqual(g, w) {
			return fmt.Errorf("row %d is\n%s, not\n%s", i, show(g), show(w))
		}
	}
	return nil
}

// plain has nil where nothing is.
func plain(v any) any {
	switch x := v.(type) {
	case bank.Account:
		if d := x.Details; d != nil {
			c := *d
			if len(c.Metadata) == 0 {
				c.Metadata = nil
			}
			x.Details = &c
		}
		return x
	case bank.Transaction:
		if len(x.Metadata) == 0 {
			x.Metadata = nil
		}
		if len(x.Entries) == 0 {
			x.Entries = nil
		}
		return x
	default:
		return v
	}
}

func show(v any) string {
	if a, ok := v.(bank.Account); ok && a.Details != nil {
		return fmt.Sprintf("%+v with %+v", a, *a.Details)
	}
	return fmt.Sprintf("%+v", v)
}

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
