package sqlite_test

import (
	"context"
	"path/filepath"
	"testing"

	"bankforge/adapters/sqlite"
	"bankforge/app/apptest"
	"bankforge/handlers"
	"bankforge/handlers/history"
	"bankforge/handlers/projection"
)

// openViews opens a file of its own for a test.
func openViews(t *testing.T) (*sqlite.DB, *sqlite.Views) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "views.db"), sqlite.ViewsFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	v, err := sqlite.NewViews(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return db, v
}

// openNoting opens a file in which rows are noted first.
func openNoting(t *testing.T) (*sqlite.DB, *sqlite.Views) {
	t.Helper()
	db, v := openViews(t)
	v.NoteUntil(8)
	return db, v
}

// through gives messages to a handler as the router does.
func through(db *sqlite.DB, handle handlers.Func) apptest.Take {
	return func(ctx context.Context, told []apptest.Told) error {
		facts := make([]handlers.Fact, len(told))
		for i, m := range told {
			facts[i] = handlers.Fact{Change: m.Change, IdempotencyKey: m.Meta.IdempotencyKey}
		}
		return db.InTx(ctx, func(ctx context.Context) error { return handle(ctx, facts) })
	}
}

func TestViewsKeepTheirPromises(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) (*sqlite.DB, *sqlite.Views){
		"": openViews, ", noted": openNoting,
	} {
		t.Run("balances"+name, func(t *testing.T) {
			t.Parallel()
			err := apptest.TestBalances(t.Context(), func() (apptest.BalancesUnderTest, error) {
				db, v := open(t)
				return apptest.BalancesUnderTest{Balances: v, Take: through(db, projection.Balances(v))}, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		t.Run("history"+name, func(t *testing.T) {
			t.Parallel()
			err := apptest.TestHistory(t.Context(), func() (apptest.HistoryUnderTest, error) {
				db, v := open(t)
				return apptest.HistoryUnderTest{
					History:          v,
					TakeAccounts:     through(db, history.Entries(v)),
					TakeTransactions: through(db, history.Transactions(v)),
				}, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
