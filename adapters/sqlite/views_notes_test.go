package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/projection"
)

// reopened opens the file as another process does once the one before has ended, however that was.
func reopened(t *testing.T, path string, noting bool) (*sqlite.DB, *sqlite.Views) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path, sqlite.ViewsFile)
	if err != nil {
		t.Fatal(err)
	}
	v, err := sqlite.NewViews(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	if noting {
		v.NoteUntil(8)
	}
	return db, v
}

// TestNotesOutliveTheProcess takes a log in with deliveries of many lengths, with processes that end in between, some
// of which note and some of which don't. What they leave, and what is read from it, is what the log says.
func TestNotesOutliveTheProcess(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			l := newLog(seed, 250)
			random := rand.New(rand.NewPCG(seed, 3))
			path, n := filepath.Join(t.TempDir(), "views.db"), bank.Seq(len(l.events))
			for at := bank.Seq(0); at < n; {
				db, v := reopened(t, path, random.IntN(2) > 0)
				for range random.IntN(4) {
					at = min(n, at+1+bank.Seq(random.IntN(16)))
					for _, h := range all(v) {
						if random.IntN(2) == 0 {
							h = behind(h)
						}
						deliver(t, db, l, h, handlers.End(at))
					}
				}
				if found := check(t, db, l); len(found) > 0 {
					t.Errorf("at event %d: %v", at, found)
				}
				sameAccounts(t, v, l, at)
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestNotesLeftBehindAreNotTheNewest: while notes are written down bit by bit, rows are written past them. A process
// that ends then leaves notes behind, and the next one must not take them for the newest.
func TestNotesLeftBehindAreNotTheNewest(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "views.db")
	save := func(db *sqlite.DB, v *sqlite.Views, to bank.Version, from, until int) {
		t.Helper()
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			var ids []bank.AccountID
			var updates []projection.Update
			for n := from; n < until; n++ {
				ids = append(ids, accountNo(0, n))
				updates = append(updates, version(accountNo(0, n), to, int64(to)))
			}
			have, err := v.AccountVersions(ctx, ids)
			for _, id := range ids {
				if have[id] != to-1 {
					t.Errorf("%s is at version %d, not %d", id, have[id], to-1)
				}
			}
			return errors.Join(err, v.SaveAccounts(ctx, updates))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	db, v := reopened(t, path, false)
	v.NoteFrom(4, 40)
	save(db, v, 1, 0, 40)
	save(db, v, 2, 0, 30)  // is noted
	save(db, v, 2, 38, 39) // and some of it written down
	save(db, v, 3, 0, 1)   // of which this is written at once
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, v = reopened(t, path, false)
	v.NoteFrom(4, 40)
	save(db, v, 4, 0, 1)
}

// behind has the handler hear that much more waits.
func behind(h handled) handled {
	handle := h.handle
	h.handle = func(ctx context.Context, facts []handlers.Fact) error { return handle(handlers.WithMore(ctx), facts) }
	return h
}

// sameAccounts reads what views say of all accounts, by themselves, in a list and by their entries.
func sameAccounts(t *testing.T, v *sqlite.Views, l *log, at bank.Seq) {
	t.Helper()
	want := map[bank.AccountID]bank.AccountState{}
	moved := map[bank.AccountID]bank.Version{}
	for i := range l.events[:at] {
		for _, leg := range l.events[i].Legs {
			want[leg.Account] = leg.After
			if leg.Amount != 0 {
				moved[leg.Account] = leg.After.Version
			}
		}
	}
	listed, err := v.Accounts(t.Context(), app.AccountFilter{Page: app.Page{Limit: len(want) + 1}})
	if err != nil || len(listed) != len(want) {
		t.Fatalf("%d of %d accounts are listed, %v", len(listed), len(want), err)
	}
	for _, status := range []bank.AccountStatus{bank.Active, bank.Frozen, bank.Closed} {
		f := app.AccountFilter{Status: status, Page: app.Page{Limit: len(want) + 1}}
		some, err := v.Accounts(t.Context(), f)
		others := slices.ContainsFunc(some, func(a bank.Account) bool { return a.Status != status })
		if err != nil || others || len(some) != count(want, status) {
			t.Errorf("%d accounts are listed as %s, not %d: %v", len(some), status, count(want, status), err)
		}
	}
	for _, a := range listed {
		if a.AccountState != want[a.ID] {
			t.Errorf("listed %s as %+v, not %+v", a.ID, a.AccountState, want[a.ID])
		}
		if one, ok, err := v.Account(t.Context(), a.ID); err != nil || !ok || one.AccountState != want[a.ID] {
			t.Errorf("read %s as %+v %v %v, not %+v", a.ID, one.AccountState, ok, err, want[a.ID])
		}
		newest, err := v.Entries(t.Context(), app.EntryFilter{Account: a.ID, Limit: 1})
		if err != nil || len(newest) != min(1, int(moved[a.ID])) || len(newest) > 0 && newest[0].Version != moved[a.ID] {
			t.Errorf("the newest entry of %s is %+v, %v, not version %d", a.ID, newest, err, moved[a.ID])
		}
	}
}

func count(all map[bank.AccountID]bank.AccountState, of bank.AccountStatus) (n int) {
	for _, s := range all {
		if s.Status == of {
			n++
		}
	}
	return n
}

// noted is how many notes there are.
func noted(t *testing.T, db *sqlite.DB, table string) int {
	t.Helper()
	n, err := db.Count(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestNotesGo: they are made while much changes, and go while little does, and also with a rebuild.
func TestNotesGo(t *testing.T) {
	t.Parallel()
	l := newLog(8, 600)
	n := bank.Seq(len(l.events))
	db, v := openNoting(t)
	most := map[string]int{}
	for at := bank.Seq(0); at < n; at = min(n, at+5) {
		for _, h := range all(v) {
			deliver(t, db, l, h, handlers.End(at))
		}
		for _, table := range []string{"account_note", "entry_end_note"} {
			most[table] = max(most[table], noted(t, db, table))
		}
	}
	for table, n := range most {
		if n == 0 || n > 60 {
			t.Errorf("%d notes stood in %s", n, table)
		}
	}
	if found := check(t, db, l); len(found) > 0 {
		t.Fatal(found)
	}
	for _, h := range all(v) {
		deliver(t, db, l, h, handlers.End(n))
	}
	if r := rebuild(t, db, l, sqlite.ViewNames()...); len(r.Differences) > 0 {
		t.Error(r.Differences)
	}
	if left := noted(t, db, "account_note") + noted(t, db, "entry_end_note"); left != 0 {
		t.Errorf("%d notes are left after a rebuild", left)
	}
	sameAccounts(t, v, l, n)
}

// TestWrongNotesAreFound: who checks views, looks at what is noted, too.
func TestWrongNotesAreFound(t *testing.T) {
	t.Parallel()
	for table, of := range map[string]string{"account_note": "account", "entry_end_note": "entry_end"} {
		l := newLog(8, 100)
		db, v := openNoting(t)
		for step := bank.Seq(5); step <= bank.Seq(len(l.events)); step += 5 {
			for _, h := range all(v) {
				deliver(t, db, l, behind(h), handlers.End(step))
			}
		}
		if found := check(t, db, l); len(found) > 0 || noted(t, db, table) < 2 {
			t.Fatal(found, noted(t, db, table))
		}
		exec(t, db, "DELETE FROM "+table+" WHERE n = (SELECT max(n) FROM "+table+")")
		found := fmt.Sprint(check(t, db, l))
		if !strings.Contains(found, of+": version is ") {
			t.Errorf("a note is missing in %s, found %s", table, found)
		}
		exec(t, db, "UPDATE "+table+" SET data = substr(data, 1, length(data) - 1)")
		if _, err := sqlite.NewViewsCheck(db, l, t.TempDir()).Compare(t.Context(), nil); err == nil {
			t.Errorf("notes are cut off in %s, and nobody says so", table)
		}
	}
}

var errFull = errors.New("no room")

// TestNotesOfWhatWasGivenUpAreForgotten: a transaction that fails leaves nothing of what it noted in memory.
func TestNotesOfWhatWasGivenUpAreForgotten(t *testing.T) {
	t.Parallel()
	l := newLog(9, 300)
	db, v := openNoting(t)
	for at, n := bank.Seq(0), bank.Seq(len(l.events)); at < n; {
		next := min(n, at+7)
		for _, h := range all(v) {
			failing := h
			failing.handle = func(ctx context.Context, facts []handlers.Fact) error {
				return errors.Join(h.handle(ctx, facts), errFull)
			}
			if err := feed(t.Context(), db, l, failing, handlers.End(next)); !errors.Is(err, errFull) {
				t.Fatal(err)
			}
			sameAccounts(t, v, l, at)
		}
		for _, h := range all(v) {
			deliver(t, db, l, h, handlers.End(next))
		}
		at = next
		sameAccounts(t, v, l, at)
	}
	if found := check(t, db, l); len(found) > 0 {
		t.Fatal(found)
	}
}
