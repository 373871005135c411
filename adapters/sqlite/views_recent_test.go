package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/projection"
)

var errGivenUp = errors.New("given up")

func accountNo(run, n int) bank.AccountID {
	return bank.MakeID[bank.Account]([16]byte{byte(run >> 8), byte(run), byte(n)})
}

// version makes version n of an account; the first one opens it.
func version(id bank.AccountID, n bank.Version, balance int64) projection.Update {
	u := projection.Update{
		Account: id, UpdatedAt: bank.Time(n) * 1000,
		State: bank.AccountState{
			Version: n, Status: bank.Active, Balance: balance, DailyDebitLimit: bank.NoLimit, ReviewAbove: bank.NoLimit,
		},
	}
	if n == 1 {
		u.Opening = &bank.Opening{Currency: euro, Type: bank.Current}
	}
	return u
}

var euro = func() bank.Currency {
	c, err := bank.ParseCurrency("EUR")
	if err != nil {
		panic(err)
	}
	return c
}()

// TestWhatIsRememberedIsWhatIsCommitted writes, gives up and reads at random. Another process, which remembers nothing,
// always reads the same.
func TestWhatIsRememberedIsWhatIsCommitted(t *testing.T) {
	t.Parallel()
	t.Run("written at once", func(t *testing.T) {
		t.Parallel()
		db, v := openViews(t)
		remembered(t, db, v)
	})
	t.Run("noted", func(t *testing.T) {
		t.Parallel()
		db, v := openNoting(t)
		remembered(t, db, v)
	})
}

func remembered(t *testing.T, db *sqlite.DB, v *sqlite.Views) {
	t.Helper()
	plain, err := sqlite.OpenReadOnly(db.Path(), sqlite.ViewsFile)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := plain.Close(); err != nil {
			t.Error(err)
		}
	}()
	beside, err := sqlite.NewViews(t.Context(), plain)
	if err != nil {
		t.Fatal(err)
	}
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		at := map[int]projection.Update{} // as committed; the accounts are this run's own
		for range rapid.IntRange(1, 20).Draw(t, "transactions") {
			next, commit := drawChanges(t, runs, at), rapid.Bool().Draw(t, "commit")
			ctx := t.Context()
			if rapid.Bool().Draw(t, "more") {
				ctx = handlers.WithMore(ctx)
			}
			err := db.InTx(ctx, func(ctx context.Context) error { return write(ctx, v, next, commit) })
			if commit != (err == nil) || err != nil && !errors.Is(err, errGivenUp) {
				t.Fatal(err)
			}
			if commit {
				maps.Copy(at, next)
			}
			for range rapid.IntRange(0, 4).Draw(t, "reads") {
				same(t, v, beside, accountNo(runs, rapid.IntRange(0, 3).Draw(t, "read")))
			}
		}
	})
}

// write saves the updates, and sees them.
func write(ctx context.Context, v *sqlite.Views, updates map[int]projection.Update, commit bool) error {
	if err := v.SaveAccounts(ctx, slices.Collect(maps.Values(updates))); err != nil {
		return err
	}
	for _, u := range updates {
		if a, _, err := v.Account(ctx, u.Account); err != nil || a.Version != u.State.Version {
			return fmt.Errorf("the transaction reads version %d, %w", a.Version, err)
		}
	}
	if !commit {
		return errGivenUp
	}
	return nil
}

// drawChanges are next versions of some accounts.
func drawChanges(t *rapid.T, run int, at map[int]projection.Update) map[int]projection.Update {
	next := map[int]projection.Update{}
	for range rapid.IntRange(1, 3).Draw(t, "changes") {
		n := rapid.IntRange(0, 3).Draw(t, "account")
		u := version(accountNo(run, n), at[n].State.Version+1, rapid.Int64Range(0, 1000).Draw(t, "balance"))
		u.State.DetailsVersion = at[n].State.DetailsVersion
		if rapid.Bool().Draw(t, "describe") {
			u.Details = &bank.Details{Label: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "label")}
			u.State.DetailsVersion = u.State.Version
		}
		next[n] = u
	}
	return next
}

func same(t *rapid.T, a, b *sqlite.Views, id bank.AccountID) {
	got, found, err := a.Account(t.Context(), id)
	want, there, err2 := b.Account(t.Context(), id)
	if err != nil || err2 != nil || found != there || !reflect.DeepEqual(got, want) {
		t.Fatalf("remembered %+v %v %v, in the file %+v %v %v", got, found, err, want, there, err2)
	}
	last := app.AccountFilter{Page: app.Page{Limit: 4}}
	listed, err := a.Accounts(t.Context(), last)
	filed, err2 := b.Accounts(t.Context(), last)
	if err != nil || err2 != nil || !reflect.DeepEqual(listed, filed) {
		t.Fatalf("listed %+v %v, in the file %+v %v", listed, err, filed, err2)
	}
}

// TestReadersGoForward reads while versions are committed: a reader never sees less than what was announced when it
// began, and never goes back.
func TestReadersGoForward(t *testing.T) {
	t.Parallel()
	t.Run("written at once", func(t *testing.T) {
		t.Parallel()
		db, v := openViews(t)
		goForward(t, db, v)
	})
	t.Run("noted", func(t *testing.T) {
		t.Parallel()
		db, v := openNoting(t)
		goForward(t, db, v)
	})
}

func goForward(t *testing.T, db *sqlite.DB, v *sqlite.Views) {
	t.Helper()
	id := accountNo(0, 1)
	save := func(n bank.Version) error {
		return db.InTx(t.Context(), func(ctx context.Context) error {
			updates := []projection.Update{version(id, n, int64(n))}
			for other := range 12 { // so that there is more to remember than is kept
				if bank.Version(other) == n%12 {
					updates = append(updates, version(accountNo(1, other), n/12+1, int64(n)))
				}
			}
			return v.SaveAccounts(ctx, updates)
		})
	}
	if err := save(1); err != nil {
		t.Fatal(err)
	}
	var announced atomic.Uint64
	var readers sync.WaitGroup
	const last = 300
	for range 3 {
		readers.Go(func() {
			for seen := bank.Version(0); seen < last; {
				least := max(seen, bank.Version(announced.Load()))
				a, ok, err := read(v, id, seen%2 == 0)
				if err != nil || !ok || a.Version < least || a.Balance != int64(a.Version) {
					t.Errorf("read version %d with balance %d after %d: %v, %v", a.Version, a.Balance, least, ok, err)
					return
				}
				seen = a.Version
			}
		})
	}
	for n := bank.Version(2); n <= last; n++ {
		if err := save(n); err != nil {
			t.Fatal(err)
		}
		announced.Store(uint64(n))
	}
	readers.Wait()
}

// read reads the account by itself or in a list; it is the one that was opened first.
func read(v *sqlite.Views, id bank.AccountID, listed bool) (bank.Account, bool, error) {
	if !listed {
		return v.Account(context.Background(), id)
	}
	all, err := v.Accounts(context.Background(), app.AccountFilter{Page: app.Page{Limit: 1, Ascending: true}})
	if err != nil || len(all) == 0 {
		return bank.Account{}, false, err
	}
	return all[0], all[0].ID == id, nil
}
