package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
)

func customerID(n int) bank.CustomerID {
	var b [16]byte
	copy(b[:], fmt.Sprintf("%016d", n))
	return bank.MakeID[bank.Customer](b)
}

func sealed(n int, externalID byte) app.SealedCustomer {
	c := app.SealedCustomer{
		ID: customerID(n), Version: 1, CreatedAt: bank.Time(n / 2), UpdatedAt: bank.Time(n),
		Key: []byte("key"), Sealed: []byte{0, 1, 2}, Email: app.Blind{byte(n % 3), 1},
	}
	if externalID != 0 {
		c.ExternalID = app.Blind{externalID}
	}
	return c
}

func memoryOf(c app.SealedCustomer, key byte, at bank.Time) app.Memory {
	return app.Memory{
		Key: app.Key{key}, Fingerprint: app.Hash{key, 1}, Customer: c.ID, At: at, CorrelationID: fmt.Sprint("corr-", at),
	}
}

func TestCustomersAreCreatedOncePerKey(t *testing.T) {
	t.Parallel()
	s := NewCustomers(open(t, StateFile))
	create := func(c app.SealedCustomer, m app.Memory, after bank.Time, want app.Memory, wantKnown bool) {
		t.Helper()
		got, known, err := s.Create(t.Context(), c, m, after)
		if err != nil || known != wantKnown || got != want {
			t.Fatalf("got %+v, %v, %v", got, known, err)
		}
	}
	first := sealed(1, 'x')
	m := memoryOf(first, 1, 100)
	create(first, m, 0, m, false)
	if got, found, err := s.Customer(t.Context(), first.ID); err != nil || !found || !reflect.DeepEqual(got, first) {
		t.Fatalf("%+v, %v, %v", got, found, err)
	}
	create(sealed(2, 0), memoryOf(sealed(2, 0), 1, 150), 99, m, true) // the key is known
	if _, found, err := s.Customer(t.Context(), customerID(2)); err != nil || found {
		t.Fatalf("%v, %v", found, err)
	}
	taken := memoryOf(sealed(3, 'x'), 3, 160)
	refused := taken
	refused.Customer, refused.Code = bank.CustomerID{}, bank.ExternalIDTaken
	create(sealed(3, 'x'), taken, 99, refused, false)
	create(sealed(3, 0), taken, 99, refused, true) // and that is remembered
	later := memoryOf(sealed(4, 0), 1, 300)
	create(sealed(4, 0), later, 100, later, false) // the first memory is too old by now
	if _, found, err := s.Customer(t.Context(), customerID(9)); err != nil || found {
		t.Fatalf("%v, %v", found, err)
	}
}

func TestCustomersComeInPages(t *testing.T) {
	t.Parallel()
	s := NewCustomers(open(t, StateFile))
	const n = 10 // two at each time
	for i := range n {
		c := sealed(i, byte(i))
		if _, _, err := s.Create(t.Context(), c, memoryOf(c, byte(i), 1), 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, ascending := range []bool{true, false} {
		var got []bank.CustomerID
		page := app.Page{Limit: 3, Ascending: ascending}
		for {
			found, err := s.Customers(t.Context(), app.SealedFilter{Page: page})
			if err != nil {
				t.Fatal(err)
			}
			if len(found) == 0 {
				break
			}
			for _, c := range found {
				got = append(got, c.ID)
			}
			page.AfterTime, page.AfterID = found[len(found)-1].CreatedAt, found[len(found)-1].ID.String()
		}
		for i, id := range got {
			want := i
			if !ascending {
				want = n - 1 - i
			}
			if len(got) != n || id != customerID(want) {
				t.Fatalf("ascending %v: %d customers, %d is %v", ascending, len(got), i, id)
			}
		}
	}
	for name, c := range map[string]struct {
		filter app.SealedFilter
		want   int
	}{
		"e-mail":      {app.SealedFilter{Email: app.Blind{1, 1}}, 3},
		"external id": {app.SealedFilter{ExternalID: app.Blind{4}}, 1},
		"phone":       {app.SealedFilter{Phone: app.Blind{4}}, 0},
		"id":          {app.SealedFilter{ID: customerID(4)}, 1},
		"both":        {app.SealedFilter{ID: customerID(4), Email: app.Blind{2, 1}}, 0},
		"time":        {app.SealedFilter{Page: app.Page{From: 1, To: 3}}, 4},
	} {
		c.filter.Limit = 99
		if found, err := s.Customers(t.Context(), c.filter); err != nil || len(found) != c.want {
			t.Errorf("%s: %d, %v", name, len(found), err)
		}
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

func TestCreatingACustomerIsAllOrNothing(t *testing.T) {
	t.Parallel()
	s := NewCustomers(open(t, StateFile))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := sealed(1, 'x')
	if _, _, err := s.Create(ctx, c, memoryOf(c, 1, 1), 0); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if _, found, err := s.Customer(t.Context(), c.ID); err != nil || found {
		t.Fatalf("%v, %v", found, err)
	}
	m := memoryOf(c, 1, 1)
	if got, known, err := s.Create(t.Context(), c, m, 0); err != nil || known || got != m {
		t.Fatalf("%+v, %v, %v", got, known, err)
	}
}
