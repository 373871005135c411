package sqlite_test

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// forgetting is how a key is taken out of the view that a handler keeps.
func forgetting(v *sqlite.Views, h handled) router.Forget {
	f := v.Forgets()
	return map[string]router.Forget{
		app.BalancesHandler: f.Balances, app.HistoryHandler: f.Entries, app.TransactionsHandler: f.Transactions,
	}[h.Handler]
}

func forgetKey(t *testing.T, db *sqlite.DB, v *sqlite.Views, h handled, key string) {
	t.Helper()
	err := db.InTx(t.Context(), func(ctx context.Context) error { return forgetIn(ctx, t, v, h, key) })
	if err != nil {
		t.Fatal(err)
	}
}

func forgetIn(ctx context.Context, t *testing.T, v *sqlite.Views, h handled, key string) error {
	t.Helper()
	known, err := forgetting(v, h)(ctx, key)
	if !known {
		t.Errorf("%s says that there can be no %s", h.Handler, key)
	}
	return err
}

// takeAgain hands a handler what the log has of a key, some of it at a time.
func takeAgain(ctx context.Context, l *log, h handled, key string, until bank.Seq) error {
	var facts []handlers.Fact
	for _, told := range apptest.Tell(h.Topic, l.events[:until]) {
		if told.Key() == key {
			facts = append(facts, handlers.Fact{Change: told.Change, IdempotencyKey: told.Meta.IdempotencyKey})
		}
	}
	for part := range slices.Chunk(facts, 3) {
		if err := h.handle(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// someKey is one that was told of on the topic of late.
func someKey(l *log, h handled, at bank.Seq, random *rand.Rand) string {
	told := apptest.Tell(h.Topic, l.events[:at])
	if len(told) == 0 {
		return ""
	}
	return told[len(told)-1-random.IntN(min(20, len(told)))].Key()
}

// TestForgottenKeysComeAgain takes keys out of views while rows are noted, and written down bit by bit, and has their
// handlers write them anew, at once or after the process has ended. Nobody sees a difference.
func TestForgottenKeysComeAgain(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			l, random := newLog(seed, 250), rand.New(rand.NewPCG(seed, 4))
			path, n := filepath.Join(t.TempDir(), "views.db"), bank.Seq(len(l.events))
			db, v := reopened(t, path, seed%3 > 0)
			reopen := func() {
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				db, v = reopened(t, path, seed%3 > 0)
			}
			for at := bank.Seq(0); at < n; {
				at = min(n, at+1+bank.Seq(random.IntN(16)))
				for i := range all(v) {
					h := all(v)[i]
					if random.IntN(2) == 0 {
						h = behind(h)
					}
					deliver(t, db, l, h, handlers.End(at))
					key := someKey(l, h, at, random)
					if key == "" {
						continue
					}
					if random.IntN(4) == 0 {
						forgetKey(t, db, v, h, key)
						reopen()
						h = all(v)[i]
					}
					err := db.InTx(t.Context(), func(ctx context.Context) error {
						if err := forgetIn(ctx, t, v, h, key); err != nil {
							return err
						}
						return takeAgain(ctx, l, h, key, at)
					})
					if err != nil {
						t.Fatal(err)
					}
				}
				sameAccounts(t, v, l, at)
				if found := check(t, db, l); len(found) > 0 {
					t.Fatalf("at event %d: %v", at, found)
				}
			}
			reopen()
			sameAccounts(t, v, l, n)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestAForgottenAccountIsNotThere: neither to who remembers it, nor to who has read its notes.
func TestAForgottenAccountIsNotThere(t *testing.T) {
	t.Parallel()
	l := newLog(3, 100)
	path, n := filepath.Join(t.TempDir(), "views.db"), bank.Seq(len(l.events))
	db, v := reopened(t, path, false)
	v.NoteFrom(1, 1000) // all is noted, and stays so
	for at := bank.Seq(0); at < n; at = min(n, at+4) {
		deliver(t, db, l, behind(all(v)[0]), handlers.End(at))
	}
	deliver(t, db, l, all(v)[0], handlers.End(n))
	id := l.events[n-1].Legs[0].Account
	for i := n - 1; bank.IsInternal(id); i-- {
		id = l.events[i-1].Legs[0].Account
	}
	there := func() bool {
		_, ok, err := v.Account(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !there() || noted(t, db, "account_note") == 0 {
		t.Fatalf("%s is not there, or nothing is noted", id)
	}
	forgetKey(t, db, v, all(v)[0], id.String())
	if there() {
		t.Error("it is remembered")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, v = reopened(t, path, true)
	if there() {
		t.Error("it is noted")
	}
	// Once all notes are written down, it still is not.
	err := db.InTx(t.Context(), func(ctx context.Context) error { return v.Settle(ctx) })
	if err != nil || there() || noted(t, db, "account_note") > 0 {
		t.Errorf("it was written down, or %d notes were not: %v", noted(t, db, "account_note"), err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestNoSuchKeyIsForgotten: what is no id, is in no view.
func TestNoSuchKeyIsForgotten(t *testing.T) {
	t.Parallel()
	db, v := openViews(t)
	for _, h := range all(v) {
		for _, key := range []string{"", "acc_", "no account\xff", "TXN_06h09h3q657ss5pr9u4kq9irho"} {
			err := db.InTx(t.Context(), func(ctx context.Context) error {
				known, err := forgetting(v, h)(ctx, key)
				if known {
					t.Errorf("%s knows %q", h.Handler, key)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
}
