package apptest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"bankforge/app"
	"bankforge/app/bank"
)

// TestCustomers checks all that app.CustomerStore promises. open makes a new store each time. The error names each promise
// that is broken.
func TestCustomers(ctx context.Context, open func() (app.CustomerStore, error)) error {
	return runChecks(ctx, customerChecks, open)
}

var customerChecks = []viewCheck[app.CustomerStore]{
	{"a customer is created once for a key", checkCreatedOnce},
	{"of many with the same key one is created", checkCreateRace},
	{"of many with the same external id one is created", checkExternalRace},
	{"what is cancelled leaves no trace", checkCreateCancelled},
	{"customers come in pages", checkCustomerPages},
	{"customers are found by what hides them", checkCustomerFilters},
}

func customerID(n int) bank.CustomerID {
	var b [16]byte
	copy(b[:], fmt.Sprintf("%016d", n))
	return bank.MakeID[bank.Customer](b)
}

func sealedCustomer(n int, externalID byte) app.SealedCustomer {
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

// create puts in a customer, and says what else came of it than was expected.
func create(
	ctx context.Context, s app.CustomerStore, c app.SealedCustomer, m app.Memory, after bank.Time,
	want app.Memory, wantKnown bool,
) error {
	got, known, err := s.Create(ctx, c, m, after)
	if err == nil && (known != wantKnown || got != want) {
		err = fmt.Errorf("the answer is %+v, known %t; want %+v, %t", got, known, want, wantKnown)
	}
	if err != nil {
		return fmt.Errorf("customer %s, key %d: %w", c.ID, m.Key[0], err)
	}
	return nil
}

func expectCustomer(ctx context.Context, s app.CustomerStore, c app.SealedCustomer, want bool) error {
	got, found, err := s.Customer(ctx, c.ID)
	if err != nil || found != want || want && !reflect.DeepEqual(got, c) {
		return fmt.Errorf("customer %s is %+v, found %t, %w; want %+v, %t", c.ID, got, found, err, c, want)
	}
	return nil
}

func checkCreatedOnce(ctx context.Context, s app.CustomerStore) error {
	first := sealedCustomer(1, 'x')
	m := memoryOf(first, 1, 100)
	second, third, fourth := sealedCustomer(2, 0), sealedCustomer(3, 'x'), sealedCustomer(4, 0)
	taken := memoryOf(third, 3, 160)
	refused := taken
	refused.Customer, refused.Code = bank.CustomerID{}, bank.ExternalIDTaken
	later := memoryOf(fourth, 1, 300)
	return errors.Join(
		create(ctx, s, first, m, 0, m, false),
		expectCustomer(ctx, s, first, true),
		create(ctx, s, second, memoryOf(second, 1, 150), 99, m, true), // the key is known
		expectCustomer(ctx, s, second, false),
		create(ctx, s, third, taken, 99, refused, false),
		expectCustomer(ctx, s, third, false),
		create(ctx, s, sealedCustomer(3, 0), taken, 99, refused, true), // and that is remembered
		expectCustomer(ctx, s, third, false),
		create(ctx, s, fourth, later, 100, later, false), // the first memory is too old by now
		expectCustomer(ctx, s, fourth, true),
		create(ctx, s, sealedCustomer(5, 0), later, 100, later, true),
		expectCustomer(ctx, s, customerOf(9), false),
	)
}

func customerOf(n int) app.SealedCustomer { return app.SealedCustomer{ID: customerID(n)} }

// racing calls do for each of some customers at once, and returns how many were not known, and all the answers.
func racing(ctx context.Context, s app.CustomerStore, each func(n int) (app.SealedCustomer, app.Memory)) (
	fresh int, got []app.Memory, err error,
) {
	const racers = 8
	got, errs, known := make([]app.Memory, racers), make([]error, racers), make([]bool, racers)
	var wg sync.WaitGroup
	for n := range racers {
		c, m := each(n)
		wg.Go(func() { got[n], known[n], errs[n] = s.Create(ctx, c, m, 0) })
	}
	wg.Wait()
	for _, k := range known {
		if !k {
			fresh++
		}
	}
	return fresh, got, errors.Join(errs...)
}

func checkCreateRace(ctx context.Context, s app.CustomerStore) error {
	fresh, got, err := racing(ctx, s, func(n int) (app.SealedCustomer, app.Memory) {
		c := sealedCustomer(n+1, 0)
		return c, memoryOf(c, 7, 100)
	})
	if err != nil {
		return err
	}
	for _, m := range got {
		if m != got[0] {
			return fmt.Errorf("one is told %+v, another %+v", got[0], m)
		}
	}
	all, err := s.Customers(ctx, app.SealedFilter{Page: app.Page{Limit: 99}})
	if err != nil || fresh != 1 || len(all) != 1 || all[0].ID != got[0].Customer {
		return fmt.Errorf("%d were new, %d customers are there, %w", fresh, len(all), err)
	}
	return nil
}

func checkExternalRace(ctx context.Context, s app.CustomerStore) error {
	_, got, err := racing(ctx, s, func(n int) (app.SealedCustomer, app.Memory) {
		c := sealedCustomer(n+1, 'x')
		return c, memoryOf(c, byte(n+1), 100)
	})
	if err != nil {
		return err
	}
	made := 0
	for _, m := range got {
		if m.Code == "" {
			made++
		} else if m.Code != bank.ExternalIDTaken || !m.Customer.IsZero() {
			return fmt.Errorf("a refusal is %+v", m)
		}
	}
	all, err := s.Customers(ctx, app.SealedFilter{Page: app.Page{Limit: 99}})
	if err != nil || made != 1 || len(all) != 1 {
		return fmt.Errorf("%d were told to be created, %d are there, %w", made, len(all), err)
	}
	return nil
}

func checkCreateCancelled(ctx context.Context, s app.CustomerStore) error {
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	c := sealedCustomer(1, 'x')
	m := memoryOf(c, 1, 1)
	if _, _, err := s.Create(cancelled, c, m, 0); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("the error is %w, not that of the context", err)
	}
	return errors.Join(expectCustomer(ctx, s, c, false), create(ctx, s, c, m, 0, m, false))
}

// someCustomers puts ten in, two at each time.
func someCustomers(ctx context.Context, s app.CustomerStore) error {
	for i := range 10 {
		c := sealedCustomer(i, byte(i))
		m := memoryOf(c, byte(i), 1)
		if err := create(ctx, s, c, m, 0, m, false); err != nil {
			return err
		}
	}
	return nil
}

func checkCustomerPages(ctx context.Context, s app.CustomerStore) error {
	if err := someCustomers(ctx, s); err != nil {
		return err
	}
	for _, ascending := range []bool{true, false} {
		var got []bank.CustomerID
		page := app.Page{Limit: 3, Ascending: ascending}
		for len(got) < 20 {
			found, err := s.Customers(ctx, app.SealedFilter{Page: page})
			if err != nil {
				return err
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
				want = 9 - i
			}
			if len(got) != 10 || id != customerID(want) {
				return fmt.Errorf("ascending %t: %d customers, number %d is %s", ascending, len(got), i, id)
			}
		}
		if len(got) == 0 {
			return errors.New("there are no customers")
		}
	}
	return nil
}

func checkCustomerFilters(ctx context.Context, s app.CustomerStore) error {
	if err := someCustomers(ctx, s); err != nil {
		return err
	}
	for name, c := range map[string]struct {
		filter app.SealedFilter
		want   int
	}{
		"all":         {app.SealedFilter{}, 10},
		"e-mail":      {app.SealedFilter{Email: app.Blind{1, 1}}, 3},
		"external id": {app.SealedFilter{ExternalID: app.Blind{4}}, 1},
		"phone":       {app.SealedFilter{Phone: app.Blind{4}}, 0},
		"id":          {app.SealedFilter{ID: customerID(4)}, 1},
		"both":        {app.SealedFilter{ID: customerID(4), Email: app.Blind{2, 1}}, 0},
		"time":        {app.SealedFilter{Page: app.Page{From: 1, To: 3}}, 4},
	} {
		c.filter.Limit = 99
		if found, err := s.Customers(ctx, c.filter); err != nil || len(found) != c.want {
			return fmt.Errorf("by %s: %d instead of %d, %w", name, len(found), c.want, err)
		}
	}
	return nil
}
