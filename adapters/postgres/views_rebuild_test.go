package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"bankforge/app"
	"bankforge/app/bank"
)

// spoil changes a row of a table, so that a check tells.
func spoil(t *testing.T, db *DB, table, column string) {
	t.Helper()
	sql := `UPDATE ` + table + ` SET ` + column + ` = ` + column + ` + 1
		WHERE ctid = (SELECT min(ctid) FROM ` + table + `)`
	if _, err := db.views.pool.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func TestRebuildMendsOnlyTheNamedView(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]Partitions{"one partition": nil, "four": inFour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, l := openOnly(t, viewsSchema), someLog(200)
			park, until := l.events[len(l.events)/3].Legs[0].Account.String(), bank.Seq(len(l.events)*2/3)
			if err := l.feed(t.Context(), db, of, until, park); err != nil {
				t.Fatal(err)
			}
			spoil(t, db, "account", "balance")
			spoil(t, db, "txn", "amount")
			r, err := RebuildViews(t.Context(), db, l, []string{app.BalancesHandler}, of)
			if err != nil || len(r.Differences) != 1 || r.Through != bank.Seq(len(l.events)) || r.Parked != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
			found := compared(t, db, l, of)
			if len(found) != 1 {
				t.Fatalf("one view was mended, and differences are %v", found)
			}
			parked, err := NewViewsCheck(db, l, of).Parked(t.Context())
			if want := []app.ParkedKeys{{View: "history", Keys: 1}}; err != nil || !slices.Equal(parked, want) {
				t.Errorf("parked are %v, %v", parked, err)
			}
			r, err = RebuildViews(t.Context(), db, l, ViewNames(), of)
			if err != nil || len(r.Differences) != 1 || r.Parked != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
			if found := compared(t, db, l, of); len(found) > 0 {
				t.Fatalf("%v", found)
			}
			// What came before comes again, and changes nothing; the views are written as before.
			if err := l.feed(t.Context(), db, of, bank.Seq(len(l.events)), ""); err != nil {
				t.Fatal(err)
			}
			if found := compared(t, db, l, of); len(found) > 0 {
				t.Fatalf("afterwards: %v", found)
			}
		})
	}
}

// A bank goes on while its views are built anew: handlers wait for a moment, and readers find one of both.
func TestRebuildBesideARunningBank(t *testing.T) {
	t.Parallel()
	db, l := openOnly(t, viewsSchema), someLog(300)
	half := bank.Seq(len(l.events) / 2)
	if err := l.feed(t.Context(), db, nil, half, ""); err != nil {
		t.Fatal(err)
	}
	fed, read := make(chan error, 1), make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		for until := half; until <= bank.Seq(len(l.events)); until++ {
			if err := l.feed(t.Context(), db, nil, until, ""); err != nil {
				fed <- err
				return
			}
		}
		fed <- nil
	}()
	go func() {
		id := l.events[0].Legs[0].Account
		for ctx.Err() == nil {
			if _, found, err := db.Views().Account(t.Context(), id); err != nil || !found {
				read <- errors.Join(err, errors.New("an account was not there"))
				return
			}
		}
		read <- nil
	}()
	for range 3 {
		if r, err := RebuildViews(t.Context(), db, l, ViewNames(), nil); err != nil || len(r.Differences) > 0 {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if err := <-fed; err != nil {
		t.Error(err)
	}
	stop()
	if err := <-read; err != nil {
		t.Error(err)
	}
	if found := compared(t, db, l, nil); len(found) > 0 {
		t.Errorf("%v", found)
	}
}

func TestRebuildAfterTheLogWasRestored(t *testing.T) {
	t.Parallel()
	db, l := openOnly(t, viewsSchema), someLog(100)
	if err := l.feed(t.Context(), db, nil, bank.Seq(len(l.events)), ""); err != nil {
		t.Fatal(err)
	}
	restored := &memory{l.events[:len(l.events)/2], "second"}
	r, err := RebuildViews(t.Context(), db, restored, ViewNames(), nil)
	if err != nil || len(r.Differences) != len(allViews) {
		t.Fatalf("%+v, %v", r, err)
	}
	if found := compared(t, db, restored, nil); len(found) > 0 {
		t.Fatalf("%v", found)
	}
}

// broken is a log that fails at some event.
type broken struct {
	*memory
	at bank.Seq
}

func (b broken) Read(ctx context.Context, after bank.Seq, limit int) ([]app.Recorded, error) {
	if after+bank.Seq(limit) >= b.at {
		return nil, errors.New("the log is away")
	}
	return b.memory.Read(ctx, after, limit)
}

func TestRebuildThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	db, l := openOnly(t, viewsSchema), someLog(100)
	until := bank.Seq(len(l.events) / 2)
	if err := l.feed(t.Context(), db, nil, until, ""); err != nil {
		t.Fatal(err)
	}
	spoil(t, db, "account", "balance")
	if _, err := RebuildViews(t.Context(), db, broken{l, bank.Seq(len(l.events))}, ViewNames(), nil); err == nil {
		t.Error("it says that it was done")
	}
	if found := compared(t, db, l, nil); len(found) != 1 {
		t.Errorf("differences are %v", found)
	}
	if _, err := RebuildViews(t.Context(), db, l, []string{"nothing"}, nil); err == nil {
		t.Error("there is no such view")
	}
}

// What one key has in views goes, all of it, and nothing else does.
func TestForgettingTakesOneKeyAway(t *testing.T) {
	t.Parallel()
	db, l := openOnly(t, viewsSchema), someLog(300)
	if err := l.feed(t.Context(), db, nil, bank.Seq(len(l.events)), ""); err != nil {
		t.Fatal(err)
	}
	var account bank.AccountID
	var transaction bank.TransactionID
	of := map[string]bool{}
	for i := range l.events {
		if h := l.events[i].Hold; h != nil && (account.IsZero() || account == h.Account) {
			account, of[h.ID.String()] = h.Account, true
		}
		if all := l.events[i].Transactions; len(all) > 0 {
			transaction = all[0].ID
		}
	}
	of[account.String()], of[transaction.String()] = true, true
	forget := db.Views().Forgets()
	for key, f := range map[string]func(context.Context, string) (bool, error){
		account.String(): func(ctx context.Context, key string) (bool, error) {
			_, err := forget.Balances(ctx, key)
			known, worse := forget.Entries(ctx, key)
			return known, errors.Join(err, worse)
		},
		transaction.String(): forget.Transactions,
	} {
		err := db.views.InTx(t.Context(), func(ctx context.Context) error {
			known, err := f(ctx, key)
			if poison, _ := f(ctx, "no id\xff"); poison || !known {
				t.Errorf("%s: known %t, and what is no id: %t", key, known, poison)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	gone := map[string]int{}
	for _, d := range compared(t, db, l, nil) {
		table, missing := strings.CutSuffix(d.What, " is missing")
		table, _, _ = strings.Cut(table, ",")
		if gone[table]++; !missing || !of[d.Subject] {
			t.Errorf("%+v", d)
		}
	}
	if gone["account"] != 1 || gone["txn"] != 1 || gone["hold"] != len(of)-2 || gone["entry"] < 2 {
		t.Errorf("missing are %v", gone)
	}
}
