package app_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
)

// house is a world with two customers, an account of each with 1,000, and one of nobody's.
type house struct {
	world
	ann, bob         app.Principal
	anns, bobs, none bank.AccountID
}

func newHouse(t *testing.T, change ...func(*app.Parts)) house {
	t.Helper()
	h := house{world: newWorld(t, change...)}
	for i, who := range []*app.Principal{&h.ann, &h.bob} {
		name := []string{"Ann", "Bob"}[i]
		done, err := h.CreateCustomer(t.Context(), call(teller, name), app.CustomerDetails{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		*who = customer(done.Customer.ID)
	}
	for i, a := range []*bank.AccountID{&h.anns, &h.bobs, &h.none} {
		owner := []bank.CustomerID{h.ann.Customer, h.bob.Customer, {}}[i]
		key := []string{"a", "b", "c"}[i]
		done, err := h.OpenAccount(t.Context(), call(teller, "open"+key), bank.OpenAccount{
			Opening:         bank.Opening{Customer: owner, Currency: euros(1).Currency(), Type: bank.Current},
			DailyDebitLimit: bank.NoLimit,
		})
		if err != nil {
			t.Fatal(err)
		}
		*a = done.Account.ID
		cmd := bank.Deposit{Account: *a, Amount: euros(1000)}
		if _, err := h.Deposit(t.Context(), call(teller, "deposit"+key), cmd); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func TestCommandsOfCustomers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		defer shut(t, h.ledger)
		done, err := h.Transfer(t.Context(), call(h.ann, "t"), bank.Transfer{From: h.anns, To: h.bobs, Amount: euros(10)})
		if err != nil {
			t.Fatal(err)
		}
		got := done.Transaction
		if got.CorrelationID != "corr-t" || got.ValueDate != bank.TimeOf(time.Now()).Date() || got.ID.IsZero() ||
			done.Seq != h.ledger.Committed() {
			t.Fatalf("got %+v", done)
		}
		_, err = h.Transfer(t.Context(), call(h.ann, "u"), bank.Transfer{From: h.bobs, To: h.anns, Amount: euros(10)})
		if codeOf(err) != bank.AccountNotFound {
			t.Fatalf("another's account: %v", err)
		}
		for name, who := range map[string]app.Principal{
			"no customer":  {Subject: "x", Roles: []app.Role{app.RoleCustomer}},
			"other role":   {Subject: "y", Roles: []app.Role{app.RoleAuditor}},
			"no roles":     {Subject: "z"},
			"no such role": {Subject: "z", Roles: []app.Role{"king"}, Customer: h.ann.Customer},
		} {
			_, err := h.Withdraw(t.Context(), call(who, name), bank.Withdraw{Account: h.anns, Amount: euros(1)})
			if codeOf(err) != app.CodeForbidden {
				t.Errorf("%s: %v", name, err)
			}
		}
		// An auditor who is a customer, too, still only has the own accounts.
		both := h.ann
		both.Roles = []app.Role{app.RoleAuditor, app.RoleCustomer}
		_, err = h.Withdraw(t.Context(), call(both, "w"), bank.Withdraw{Account: h.bobs, Amount: euros(1)})
		if codeOf(err) != bank.AccountNotFound {
			t.Errorf("an auditor with another's account: %v", err)
		}
	})
}

func TestHoldsHaveAnEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		defer shut(t, h.ledger)
		day := 24 * time.Hour
		place := func(key string, in time.Duration) (app.HoldDone, error) {
			cmd := bank.PlaceHold{Account: h.anns, Amount: euros(1)}
			if in != 0 {
				cmd.ExpiresAt = bank.TimeOf(time.Now().Add(in))
			}
			return h.PlaceHold(t.Context(), call(h.ann, key), cmd)
		}
		done, err := place("default", 0)
		if err != nil || done.Hold.ExpiresAt != bank.TimeOf(time.Now().Add(7*day)) {
			t.Fatalf("%+v, %v", done, err)
		}
		if _, err := place("longest", 31*day); err != nil {
			t.Fatal(err)
		}
		for _, in := range []time.Duration{-time.Second, 32 * day} {
			if _, err := place(in.String(), in); codeOf(err) != app.CodeInvalidRequest {
				t.Errorf("in %v: %v", in, err)
			}
		}
		pass(8 * day)
		again, err := place("default", 0) // by now it would end later
		if err != nil || !again.Replayed || again.Hold != done.Hold {
			t.Fatalf("%+v, %v", again, err)
		}
	})
}

func TestProjectionsShowWhatWouldHappen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		defer shut(t, h.ledger)
		before := h.ledger.Committed()
		c := call(h.ann, "")
		c.DryRun = true
		done, err := h.Transfer(t.Context(), c, bank.Transfer{From: h.anns, To: h.bobs, Amount: euros(10)})
		got := done.Transaction
		if err != nil || !done.Projected || !got.ID.IsZero() || got.Seq != 0 || got.PostedAt != 0 ||
			got.Entries[0].BalanceAfter != 990 {
			t.Fatalf("%+v, %v", done, err)
		}
		bulk, err := h.BulkTransfer(t.Context(), c, bank.Bulk{Items: []bank.Transfer{
			{From: h.anns, To: h.bobs, Amount: euros(600)}, {From: h.anns, To: h.bobs, Amount: euros(600)},
		}})
		if err != nil || !bulk.Projected || bulk.Items[0].Transaction == nil ||
			codeOf(bulk.Items[1].Refused) != bank.InsufficientFunds {
			t.Fatalf("%+v, %v", bulk, err)
		}
		if h.ledger.Committed() != before {
			t.Fatal("a dry run was written")
		}
	})
}

func TestBulksAnswerItemByItem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		defer shut(t, h.ledger)
		items := []bank.Transfer{
			{From: h.anns, To: h.bobs, Amount: euros(1)},
			{From: h.bobs, To: h.anns, Amount: euros(2)}, // not Ann's
			{From: h.anns, To: h.bobs, Amount: euros(3)},
		}
		for range 2 { // the second is a replay
			got, err := h.BulkTransfer(t.Context(), call(h.ann, "loose"), bank.Bulk{Items: items})
			if err != nil || len(got.Items) != 3 {
				t.Fatalf("%+v, %v", got, err)
			}
			if got.Items[0].Transaction.Amount != euros(1) || got.Items[2].Transaction.Amount != euros(3) ||
				codeOf(got.Items[1].Refused) != bank.AccountNotFound || got.Items[1].Refused.Item != 1 {
				t.Fatalf("%+v", got.Items)
			}
		}
		before := h.ledger.Committed()
		for i := range 2 {
			got, err := h.BulkTransfer(t.Context(), call(h.ann, "atomic"), bank.Bulk{Items: items, Atomic: true})
			refusal, ok := errors.AsType[*bank.Error](err)
			if !ok || refusal.Code != bank.AccountNotFound || refusal.Item != 1 || got.Replayed != (i == 1) {
				t.Fatalf("%+v, %v", got, err)
			}
		}
		if h.ledger.Committed() != before {
			t.Fatal("an atomic bulk was written in part")
		}
	})
}

func TestAnAccountNeedsAnExistingCustomer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		defer shut(t, h.ledger)
		cmd := bank.OpenAccount{Opening: bank.Opening{
			Customer: bank.MakeID[bank.Customer](id(7)), Currency: euros(1).Currency(), Type: bank.Savings,
		}, DailyDebitLimit: bank.NoLimit}
		for i := range 2 {
			got, err := h.OpenAccount(t.Context(), call(teller, "nobody"), cmd)
			if codeOf(err) != app.CodeCustomerNotFound || got.Replayed != (i == 1) {
				t.Fatalf("%+v, %v", got, err)
			}
		}
		// A replay does not ask whether the customer is still there.
		cmd.Customer = h.ann.Customer
		first, err := h.OpenAccount(t.Context(), call(teller, "ann"), cmd)
		if err != nil {
			t.Fatal(err)
		}
		delete(h.people.all, h.ann.Customer)
		again, err := h.OpenAccount(t.Context(), call(teller, "ann"), cmd)
		if err != nil || !again.Replayed || again.Account.ID != first.Account.ID {
			t.Fatalf("%+v, %v", again, err)
		}
	})
}

// late is a broker that acknowledges nothing.
type late struct{}

func (late) AwaitPublished(ctx context.Context, _ bank.Seq) bool {
	<-ctx.Done()
	return false
}

// TestNothingToPublishIsNotWaitedFor asks a broker that acknowledges nothing.
func TestNothingToPublishIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(p *app.Parts) { p.Publisher = late{} })
		published := func(key string) app.Call {
			c := call(teller, key)
			c.AckPublished = true
			return c
		}
		begin := time.Now()
		expect := func(what string, done app.Done, err error, code bank.Code, want bool) {
			t.Helper()
			if codeOf(err) != code || done.Published != want || time.Since(begin) != 0 {
				t.Errorf("%s: %+v, %v after %v", what, done, err, time.Since(begin))
			}
		}
		person, err := h.CreateCustomer(t.Context(), published("ada"), ada)
		expect("a customer", person.Done, err, "", true)
		person, err = h.CreateCustomer(t.Context(), published("twin"), ada)
		expect("a refused customer", person.Done, err, bank.ExternalIDTaken, true)
		for range 2 { // the second is a replay
			active, err := h.SetStatus(t.Context(), published("active"), bank.SetStatus{ID: h.anns, To: bank.Active})
			expect("no event", active.Done, err, "", true)
			much, err := h.Withdraw(t.Context(), published("much"), bank.Withdraw{Account: h.anns, Amount: euros(9999)})
			expect("a refusal", much.Done, err, bank.InsufficientFunds, true)
		}
		dry := published("")
		dry.DryRun = true
		projected, err := h.Deposit(t.Context(), dry, bank.Deposit{Account: h.anns, Amount: euros(1)})
		expect("a dry run", projected.Done, err, "", true)
		shut(t, h.ledger)
		late, err := h.Deposit(t.Context(), published("late"), bank.Deposit{Account: h.anns, Amount: euros(1)})
		expect("not decided", late.Done, err, app.CodeUnavailable, false)
	})
}

func TestWaitingForTheBrokerHasAnEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		broker app.Publisher
		want   bool
		took   time.Duration
	}{
		"late":           {late{}, false, 5 * time.Second},
		"the log itself": {app.LogIsBroker{}, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, func(p *app.Parts) { p.Publisher = c.broker })
				defer shut(t, h.ledger)
				ask := call(teller, "published")
				ask.AckPublished = true
				begin := time.Now()
				done, err := h.Deposit(t.Context(), ask, bank.Deposit{Account: h.anns, Amount: euros(1)})
				if err != nil || done.Published != c.want || done.Timing.Publish != c.took || time.Since(begin) != c.took {
					t.Fatalf("%+v, %v after %v", done, err, time.Since(begin))
				}
			})
		})
	}
}

// Transfers above the amount of their currency wait without being asked to; everything else does not.
func TestLargeTransfersWaitForTheBroker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		above, err := app.NewPublishAbove(euros(500))
		if err != nil {
			t.Fatal(err)
		}
		h := newHouse(t, func(p *app.Parts) { p.Publisher, p.Above = late{}, above })
		defer shut(t, h.ledger)
		in := bank.Deposit{Account: h.anns, Amount: euros(5000)}
		if _, err := h.Deposit(t.Context(), call(teller, "in"), in); err != nil {
			t.Fatal(err)
		}
		for key, c := range map[string]struct {
			amount int64
			waits  bool
			dry    bool
		}{"a": {500, false, false}, "b": {501, true, false}, "": {501, false, true}} {
			ask := call(teller, key)
			ask.DryRun = c.dry
			begin := time.Now()
			done, err := h.Transfer(t.Context(), ask, bank.Transfer{From: h.anns, To: h.bobs, Amount: euros(c.amount)})
			if waited := time.Since(begin) > 0; err != nil || waited != c.waits {
				t.Errorf("%d: %+v, %v after %v", c.amount, done, err, time.Since(begin))
			}
		}
	})
	if _, err := app.NewPublishAbove(euros(1), euros(2)); err == nil {
		t.Error("two amounts for one currency")
	}
}
