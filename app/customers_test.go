package app_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
)

var ada = app.CustomerDetails{
	Name: "Ada Lovelace", Email: "Ada@Example.org", Phone: "+44 (20) 7946-0000", Locale: "en-GB", ExternalID: "crm-1815",
}

func TestCustomersComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	t.Cleanup(func() { shut(t, w.ledger) })
	made, err := w.CreateCustomer(t.Context(), call(teller, "ada"), ada)
	if err != nil || made.Replayed || made.Customer.CustomerDetails != ada || made.Customer.Version != 1 {
		t.Fatalf("%+v, %v", made, err)
	}
	got, err := w.Customer(t.Context(), teller, made.Customer.ID)
	if err != nil || got != made.Customer {
		t.Fatalf("%+v, %v", got, err)
	}
	got, err = w.Customer(t.Context(), customer(made.Customer.ID), made.Customer.ID)
	if err != nil || got != made.Customer {
		t.Fatalf("for herself: %+v, %v", got, err)
	}
	other := customer(bank.MakeID[bank.Customer](id(1)))
	if _, err := w.Customer(t.Context(), other, made.Customer.ID); codeOf(err) != bank.NotFound {
		t.Fatalf("for another: %v", err)
	}
	if _, err := w.Customer(t.Context(), teller, other.Customer); codeOf(err) != bank.NotFound {
		t.Fatalf("one who is not there: %v", err)
	}
	for name, c := range map[string]struct {
		who    app.Principal
		filter app.CustomerFilter
		want   int
	}{
		"all":                 {teller, app.CustomerFilter{}, 1},
		"e-mail":              {teller, app.CustomerFilter{Email: " ada@EXAMPLE.org"}, 1},
		"other e-mail":        {teller, app.CustomerFilter{Email: "bob@example.org"}, 0},
		"phone":               {teller, app.CustomerFilter{Phone: "442079460000"}, 1},
		"no phone at all":     {teller, app.CustomerFilter{Phone: "call me"}, 0},
		"external id":         {teller, app.CustomerFilter{ExternalID: "crm-1815"}, 1},
		"external id's case":  {teller, app.CustomerFilter{ExternalID: "CRM-1815"}, 0},
		"e-mail as a phone":   {teller, app.CustomerFilter{Phone: "ada@example.org"}, 0},
		"another's":           {other, app.CustomerFilter{}, 0},
		"another's by e-mail": {other, app.CustomerFilter{Email: "ada@example.org"}, 0},
		"her own":             {customer(made.Customer.ID), app.CustomerFilter{}, 1},
	} {
		if got, err := w.Customers(t.Context(), c.who, c.filter); err != nil || len(got) != c.want {
			t.Errorf("%s: %d, %v", name, len(got), err)
		}
	}
}

func TestKeysOfCustomersAreRememberedForADay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer shut(t, w.ledger)
		made, err := w.CreateCustomer(t.Context(), call(teller, "ada"), ada)
		if err != nil {
			t.Fatal(err)
		}
		again, err := w.CreateCustomer(t.Context(), call(teller, "ada"), ada)
		if err != nil || !again.Replayed || again.Customer != made.Customer {
			t.Fatalf("%+v, %v", again, err)
		}
		reused := call(teller, "ada")
		reused.Fingerprint[0]++
		if _, err := w.CreateCustomer(t.Context(), reused, ada); codeOf(err) != app.CodeKeyReused {
			t.Fatalf("got %v", err)
		}
		for i := range 2 {
			twin := call(teller, "twin")
			twin.CorrelationID = []string{"first", "second"}[i]
			got, err := w.CreateCustomer(t.Context(), twin, ada)
			refusal, _ := errors.AsType[*bank.Error](err)
			if codeOf(err) != bank.ExternalIDTaken || got.Replayed != (i == 1) || refusal.CorrelationID != "first" {
				t.Fatalf("%+v, %v", got, err)
			}
		}
		pass(25 * time.Hour)
		fresh := ada
		fresh.ExternalID = ""
		got, err := w.CreateCustomer(t.Context(), call(teller, "ada"), fresh)
		if err != nil || got.Replayed || got.Customer.ID == made.Customer.ID {
			t.Fatalf("after a day: %+v, %v", got, err)
		}
	})
}

func TestNothingPersonalIsReadable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	t.Cleanup(func() { shut(t, w.ledger) })
	done, err := w.CreateCustomer(t.Context(), call(teller, "ada"), ada)
	if err != nil {
		t.Fatal(err)
	}
	sealed := w.people.all[done.Customer.ID]
	for _, secret := range []string{"Ada", "Lovelace", "example", "7946", "2079460000", "crm"} {
		for _, field := range [][]byte{sealed.Key, sealed.Sealed, sealed.Email[:], sealed.Phone[:], sealed.ExternalID[:]} {
			if bytes.Contains(bytes.ToLower(field), []byte(strings.ToLower(secret))) {
				t.Errorf("%q is readable", secret)
			}
		}
	}
	// Records cannot be swapped, and another master key opens nothing.
	swapped := sealed
	swapped.ID = bank.MakeID[bank.Customer](id(2))
	w.people.all[swapped.ID] = swapped
	if _, err := w.Customer(t.Context(), teller, swapped.ID); codeOf(err) != app.CodeUnavailable {
		t.Errorf("swapped: %v", err)
	}
	other, err := app.New(app.Parts{Customers: w.people, MasterKey: bytes.Repeat([]byte{1}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Customer(t.Context(), teller, sealed.ID); codeOf(err) != app.CodeUnavailable {
		t.Errorf("another master key: %v", err)
	}
	if _, err := app.New(app.Parts{MasterKey: []byte("short")}); err == nil {
		t.Error("a short master key was taken")
	}
}
