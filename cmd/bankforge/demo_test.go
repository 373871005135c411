package main

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"bankforge/app/bank"
	"bankforge/handlers"
)

// accountsNumbered are accounts as good as any.
func accountsNumbered(n int) (out []bank.AccountID) {
	for i := range n {
		var id [16]byte
		binary.BigEndian.PutUint32(id[12:], uint32(i)+1)
		out = append(out, bank.MakeID[bank.Account](id))
	}
	return out
}

func TestEveryTenthAccountIsOneInTen(t *testing.T) {
	t.Parallel()
	n := 0
	for _, id := range accountsNumbered(10_000) {
		if everyTenth(id) {
			n++
		}
	}
	if n < 900 || n > 1100 {
		t.Errorf("%d of 10,000 are", n)
	}
	for _, code := range []string{"EUR", "USD", "JPY", "CHF", "GBP", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "CAD"} {
		currency, err := bank.ParseCurrency(code)
		if err != nil {
			t.Fatal(err)
		}
		if everyTenth(bank.CashAccount(currency)) {
			t.Errorf("the bank's own account of %s is", code)
		}
	}
}

func TestFailuresAreInjectedWhileTheyAreWanted(t *testing.T) {
	t.Parallel()
	var good, bad bank.AccountID
	for _, id := range accountsNumbered(1000) {
		if everyTenth(id) {
			bad = id
		} else {
			good = id
		}
	}
	asked, handled, wanted := 0, 0, true
	away := errors.New("the store is away")
	var store error
	h := failing(func(_ context.Context, facts []handlers.Fact) error { handled += len(facts); return nil },
		func(context.Context) (bool, error) { asked++; return wanted, store })
	of := func(ids ...bank.AccountID) (facts []handlers.Fact) {
		for _, id := range ids {
			facts = append(facts, handlers.Fact{Change: bank.Change{Leg: &bank.Leg{Account: id}}})
		}
		return facts
	}
	if err := h(t.Context(), append(of(good, good), handlers.Fact{})); err != nil || handled != 3 || asked != 0 {
		t.Errorf("healthy accounts: %v, %d handled, asked %d times", err, handled, asked)
	}
	if err := h(t.Context(), of(good, bad)); err == nil || handled != 3 {
		t.Errorf("a failing account: %v, %d handled", err, handled)
	}
	if class, known := handlers.ClassOf(h(t.Context(), of(bad))); known {
		t.Errorf("it says that it is %v, and should be a surprise", class)
	}
	store = away
	if err := h(t.Context(), of(bad)); !errors.Is(err, away) {
		t.Errorf("while it cannot be known: %v", err)
	}
	store, wanted = nil, false
	if err := h(t.Context(), of(good, bad)); err != nil || handled != 5 {
		t.Errorf("repaired: %v, %d handled", err, handled)
	}
	if failing(nil, nil) != nil {
		t.Error("a handler that is not there is there")
	}
}
