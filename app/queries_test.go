package app_test

import (
	"testing"
	"testing/synctest"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
)

func TestReadsSeeTheirOwnWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		defer shut(t, h.ledger)
		h.views.catchUp(t)
		done, err := h.Transfer(t.Context(), call(h.ann, "t"), bank.Transfer{From: h.anns, To: h.bobs, Amount: euros(10)})
		if err != nil {
			t.Fatal(err)
		}
		// Bob has written nothing: he gets what there is, at once.
		begin := time.Now()
		a, fresh, err := h.Account(t.Context(), h.bob, h.bobs, 0)
		if err != nil || a.Balance != 1000 || fresh.Stale || time.Since(begin) != 0 {
			t.Fatalf("%+v %+v %v after %v", a, fresh, err, time.Since(begin))
		}
		go func() {
			pass(time.Second)
			h.views.catchUp(t)
		}()
		a, fresh, err = h.Account(t.Context(), h.ann, h.anns, 0)
		if err != nil || a.Balance != 990 || fresh.Stale || time.Since(begin) != time.Second {
			t.Fatalf("%+v %+v %v after %v", a, fresh, err, time.Since(begin))
		}
		// The next write counts as well, and repeating the first one does not make it forget.
		next := bank.Withdraw{Account: h.anns, Amount: euros(5)}
		if _, err := h.Withdraw(t.Context(), call(h.ann, "w"), next); err != nil {
			t.Fatal(err)
		}
		again := bank.Transfer{From: h.anns, To: h.bobs, Amount: euros(10)}
		if _, err := h.Transfer(t.Context(), call(h.ann, "t"), again); err != nil {
			t.Fatal(err)
		}
		go func() {
			pass(time.Second)
			h.views.catchUp(t)
		}()
		a, _, err = h.Account(t.Context(), h.ann, h.anns, 0)
		if err != nil || a.Balance != 985 || time.Since(begin) != 2*time.Second {
			t.Fatalf("%+v %v after %v", a, err, time.Since(begin))
		}
		tx, fresh, err := h.Transaction(t.Context(), h.ann, done.Transaction.ID)
		if err != nil || tx.ID != done.Transaction.ID || fresh.Stale {
			t.Fatalf("%+v %+v %v", tx, fresh, err)
		}
	})
}

func TestReadsDoNotWaitForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		defer shut(t, h.ledger)
		h.views.catchUp(t)
		hold, err := h.PlaceHold(t.Context(), call(h.ann, "h"), bank.PlaceHold{Account: h.anns, Amount: euros(10)})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		a, fresh, err := h.Account(t.Context(), h.ann, h.anns, 0)
		if err != nil || a.Held != 0 || !fresh.Stale || time.Since(begin) != 2*time.Second {
			t.Fatalf("%+v %+v %v after %v", a, fresh, err, time.Since(begin))
		}
		// What is not in the view, but in the log, is behind; but only for those who may know.
		if _, _, err := h.Hold(t.Context(), h.ann, hold.Hold.ID); codeOf(err) != app.CodeViewBehind {
			t.Fatalf("own: %v", err)
		}
		if _, _, err := h.Hold(t.Context(), h.bob, hold.Hold.ID); codeOf(err) != bank.NotFound {
			t.Fatalf("another's: %v", err)
		}
		if _, _, err := h.Hold(t.Context(), teller, holdID(1)); codeOf(err) != bank.NotFound {
			t.Fatalf("none: %v", err)
		}
		// By now the view lags for everybody.
		if _, fresh, err := h.Account(t.Context(), h.bob, h.bobs, 0); err != nil || !fresh.Stale {
			t.Fatalf("%+v %v", fresh, err)
		}
		h.views.catchUp(t)
		if _, fresh, err := h.Account(t.Context(), h.bob, h.bobs, 0); err != nil || fresh.Stale {
			t.Fatalf("%+v %v", fresh, err)
		}
		if got, fresh, err := h.Hold(t.Context(), h.ann, hold.Hold.ID); err != nil || got != hold.Hold || fresh.Stale {
			t.Fatalf("%+v %+v %v", got, fresh, err)
		}
		// A parked key will not come by waiting.
		h.views.parked[h.anns.String()] = true
		begin = time.Now()
		if _, fresh, err := h.Account(t.Context(), h.ann, h.anns, 0); err != nil || !fresh.Stale || time.Since(begin) != 0 {
			t.Fatalf("%+v %v after %v", fresh, err, time.Since(begin))
		}
	})
}

func TestMinVersionWaitsForTheRow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		defer shut(t, h.ledger)
		h.views.catchUp(t)
		if _, err := h.Deposit(t.Context(), call(teller, "x"), bank.Deposit{Account: h.bobs, Amount: euros(1)}); err != nil {
			t.Fatal(err)
		}
		go func() {
			pass(time.Second)
			h.views.catchUp(t)
		}()
		begin := time.Now()
		a, fresh, err := h.Account(t.Context(), h.bob, h.bobs, 3)
		if err != nil || a.Version != 3 || fresh.Stale || time.Since(begin) != time.Second {
			t.Fatalf("%+v %+v %v after %v", a, fresh, err, time.Since(begin))
		}
		a, fresh, err = h.Account(t.Context(), h.bob, h.bobs, 4) // which does not exist
		if err != nil || a.Version != 3 || !fresh.Stale || time.Since(begin) != 3*time.Second {
			t.Fatalf("%+v %+v %v after %v", a, fresh, err, time.Since(begin))
		}
	})
}

func TestCustomersSeeOnlyTheirOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		defer shut(t, h.ledger)
		mine, err := h.Transfer(t.Context(), call(h.ann, "t"), bank.Transfer{From: h.anns, To: h.none, Amount: euros(10)})
		if err != nil {
			t.Fatal(err)
		}
		review := bank.SetReview{ID: h.anns, Above: &bank.Review{Minor: 1, Currency: euros(1).Currency()}, Reason: "r"}
		if _, err := h.SetReview(t.Context(), call(teller, "review"), review); err != nil {
			t.Fatal(err)
		}
		waits, err := h.Transfer(t.Context(), call(h.ann, "p"), bank.Transfer{From: h.anns, To: h.bobs, Amount: euros(10)})
		if err != nil || waits.Transaction.Status != bank.PendingReview {
			t.Fatalf("%+v, %v", waits, err)
		}
		h.views.catchUp(t)
		code := func(_ any, _ app.Freshness, err error) bank.Code { return codeOf(err) }
		get := func(who app.Principal) []bank.Code {
			acc, f, err := h.Account(t.Context(), who, h.anns, 0)
			tx, g, err2 := h.Transaction(t.Context(), who, mine.Transaction.ID)
			pending, k, err3 := h.Transaction(t.Context(), who, waits.Transaction.ID)
			entries, m, err4 := h.Entries(t.Context(), who, app.EntryFilter{Account: h.anns, Limit: 9, Ascending: true})
			_, err5 := h.AccountAtVersion(t.Context(), who, h.anns, 1)
			_, err6 := h.AccountEvents(t.Context(), who, app.EventFilter{Account: h.anns, Limit: 9})
			return []bank.Code{
				code(acc, f, err), code(tx, g, err2), code(pending, k, err3), code(entries, m, err4), codeOf(err5), codeOf(err6),
			}
		}
		for i := range 6 {
			if got := get(h.ann)[i]; got != "" {
				t.Errorf("%d: Ann gets %s", i, got)
			}
			if got := get(h.bob)[i]; got != bank.NotFound {
				t.Errorf("%d: Bob gets %q", i, got)
			}
			if got := get(app.Principal{Subject: "x", Roles: []app.Role{app.RoleOperator}})[i]; got != app.CodeForbidden {
				t.Errorf("%d: an operator gets %q", i, got)
			}
		}
		accounts, _, err := h.Accounts(t.Context(), h.bob, app.AccountFilter{Page: app.Page{Limit: 9}})
		if err != nil || len(accounts) != 1 || accounts[0].ID != h.bobs {
			t.Errorf("Bob's accounts: %+v, %v", accounts, err)
		}
		accounts, _, err = h.Accounts(t.Context(), h.bob, app.AccountFilter{Customer: h.ann.Customer})
		if err != nil || len(accounts) != 0 {
			t.Errorf("Ann's accounts for Bob: %+v, %v", accounts, err)
		}
		list, _, err := h.Transactions(t.Context(), h.bob, app.TransactionFilter{})
		if err != nil || len(list) != 1 { // his deposit
			t.Errorf("Bob's transactions: %d, %v", len(list), err)
		}
	})
}
