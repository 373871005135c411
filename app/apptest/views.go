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
