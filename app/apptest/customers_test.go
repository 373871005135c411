package apptest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"bankforge/app"
	"bankforge/app/bank"
)

// customersInMemory are an app.CustomerStore, without the promises that are taken out.
type customersInMemory struct {
	breach
	mu       sync.Mutex
	all      []app.SealedCustomer
	memories map[app.Key]app.Memory
}

type breach struct{ forgets, doubles, unlocked, sloppy, unsorted, blind bool }

func (s *customersInMemory) Create(
	ctx context.Context, c app.SealedCustomer, m app.Memory, after bank.Time,
) (app.Memory, bool, error) {
	if err := ctx.Err(); err != nil && !s.sloppy {
		return app.Memory{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if was, ok := s.memories[m.Key]; ok && was.At > after && !s.forgets {
		return was, true, nil
	}
	if s.unlocked {
		s.mu.Unlock()
		pause()
		s.mu.Lock()
	}
	taken := func(other app.SealedCustomer) bool {
		return c.ExternalID != app.Blind{} && other.ExternalID == c.ExternalID
	}
	if slices.ContainsFunc(s.all, taken) && !s.doubles {
		m.Customer, m.Code = bank.CustomerID{}, bank.ExternalIDTaken
	} else {
		s.all = append(s.all, c)
	}
	s.memories[m.Key] = m
	return m, false, ctx.Err()
}

func (s *customersInMemory) Customer(_ context.Context, id bank.CustomerID) (app.SealedCustomer, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := find(s.all, func(c *app.SealedCustomer) bool { return c.ID == id })
	return c, ok, nil
}

func (s *customersInMemory) Customers(_ context.Context, f app.SealedFilter) ([]app.SealedCustomer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	place := func(c *app.SealedCustomer) (bank.Time, string) { return c.CreatedAt, c.ID.String() }
	out := page(s.all, f.Page, place, func(c *app.SealedCustomer) bool {
		return wants(f.ID, c.ID) && wants(f.ExternalID, c.ExternalID) && wants(f.Phone, c.Phone) &&
			(s.blind || wants(f.Email, c.Email))
	})
	if s.unsorted {
		slices.SortFunc(out, func(a, b app.SealedCustomer) int {
			return cmp.Or(cmp.Compare(a.CreatedAt, b.CreatedAt), strings.Compare(b.ID.String(), a.ID.String()))
		})
	}
	return out, nil
}

func TestCustomersSuite(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		broken breach
		want   string
	}{
		"none":                     {},
		"keys are forgotten":       {breach{forgets: true}, "once for a key"},
		"external ids are doubled": {breach{doubles: true}, "same external id"},
		"two at once":              {breach{unlocked: true}, "of many with the same key"},
		"cancelled all the same":   {breach{sloppy: true}, "leaves no trace"},
		"out of order":             {breach{unsorted: true}, "in pages"},
		"a filter that is ignored": {breach{blind: true}, "what hides them"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // so that all have looked before one goes on
				err := TestCustomers(t.Context(), func() (app.CustomerStore, error) {
					return &customersInMemory{breach: c.broken, memories: map[app.Key]app.Memory{}}, nil
				})
				if c.want == "" {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("the suite says %v, and nothing about %q", err, c.want)
				}
			})
		})
	}
}
