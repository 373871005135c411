package postgres

import (
	"context"
	"testing"

	"bankforge/app/apptest"
	"bankforge/handlers"
	"bankforge/handlers/history"
	"bankforge/handlers/projection"
)

// through gives messages to a handler as the router does.
func through(s *Schema, handle handlers.Func) apptest.Take {
	return func(ctx context.Context, told []apptest.Told) error {
		facts := make([]handlers.Fact, len(told))
		for i, m := range told {
			facts[i] = handlers.Fact{Change: m.Change, IdempotencyKey: m.Meta.IdempotencyKey}
		}
		return s.InTx(ctx, func(ctx context.Context) error { return handle(ctx, facts) })
	}
}

func TestViewsKeepTheirPromises(t *testing.T) {
	t.Parallel()
	t.Run("balances", func(t *testing.T) {
		t.Parallel()
		err := apptest.TestBalances(t.Context(), func() (apptest.BalancesUnderTest, error) {
			db := openOnly(t, viewsSchema)
			v := db.Views()
			return apptest.BalancesUnderTest{Balances: v, Take: through(db.Derived(), projection.Balances(v))}, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("history", func(t *testing.T) {
		t.Parallel()
		err := apptest.TestHistory(t.Context(), func() (apptest.HistoryUnderTest, error) {
			db := openOnly(t, viewsSchema)
			v := db.Views()
			return apptest.HistoryUnderTest{
				History:          v,
				TakeAccounts:     through(db.Derived(), history.Entries(v)),
				TakeTransactions: through(db.Derived(), history.Transactions(v)),
			}, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
