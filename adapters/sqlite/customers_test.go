package sqlite

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bankforge/app"
	"bankforge/app/apptest"
)

func TestCustomersKeepTheirPromises(t *testing.T) {
	t.Parallel()
	err := apptest.TestCustomers(t.Context(), func() (app.CustomerStore, error) {
		return NewCustomers(open(t, StateFile)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A customer through the whole use case; then nothing of the files shows a name, an address or a number.
func TestTheFileTellsNothingPersonal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db, err := Open(t.Context(), filepath.Join(dir, "state.db"), StateFile)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(app.Parts{
		Customers: NewCustomers(db), MasterKey: bytes.Repeat([]byte{7}, 32), Clock: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	teller := app.Principal{Subject: "tina", Roles: []app.Role{app.RoleTeller}}
	d := app.CustomerDetails{
		Name: "Ada Lovelace", Email: "ada@example.org", Phone: "+442079460000", Locale: "en-GB", ExternalID: "crm-1815",
	}
	done, err := a.CreateCustomer(t.Context(), app.Call{Principal: teller, Key: app.Key{1}, IdempotencyKey: "k"}, d)
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Customer(t.Context(), teller, done.Customer.ID)
	if err != nil || got.CustomerDetails != d {
		t.Fatalf("%+v, %v", got, err)
	}
	look := func(when string) {
		files, err := os.ReadDir(dir)
		if err != nil || len(files) == 0 {
			t.Fatal(err)
		}
		seen := false
		for _, f := range files {
			raw, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			seen = seen || bytes.Contains(raw, []byte(done.Customer.ID.String()))
			for _, secret := range []string{"ada@", "lovelace", "example.org", "2079460000", "crm-1815"} {
				if bytes.Contains(bytes.ToLower(raw), []byte(strings.ToLower(secret))) {
					t.Errorf("%s: %q is readable in %s", when, secret, f.Name())
				}
			}
		}
		if !seen {
			t.Errorf("%s: the customer is in none of the files", when)
		}
	}
	look("open")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	look("closed")
}
