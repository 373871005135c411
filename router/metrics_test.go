package router_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// counts is router.Metrics as a list of what it was told.
type counts struct {
	mu   sync.Mutex
	told []string
}

func (c *counts) add(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, fmt.Sprintf(format, args...))
}

func (c *counts) Delivered(_ string, facts int, _ time.Duration, ok bool) {
	c.add("delivered %d %v", facts, ok)
}
func (c *counts) Tried(_ string, class handlers.Class, _ time.Duration) { c.add("tried %s", class) }
func (c *counts) Parked(_ string, as router.Status)                     { c.add("parked %s", as) }
func (c *counts) Became(_ string, state router.State)                   { c.add("became %s", state) }

func TestMetricsAreTold(t *testing.T) {
	t.Parallel()
	l, metrics := newLedger(), &counts{}
	b := newBench(t, l, openStore(t), quick())
	b.book.fail = failing(1, 1, handlers.As(handlers.Poison, errBoom))
	r, err := router.New("", []router.Route{
		{Name: handlerName, Topic: bank.AccountsTopic, Handler: b.book.handle, Store: b.store},
	}, router.Config{Source: l, Progress: b.progress, Policy: quick(), Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	b.Router = r
	l.credit(1, 2)
	l.credit(1)
	stop := b.start(t)
	b.await(t)
	stop()
	want := []string{
		"became running", "tried poison", "tried poison",
		"parked " + string(router.Failed), "parked " + string(router.Waiting), "delivered 3 true",
		"became stopped",
	}
	if !slices.Equal(metrics.told, want) {
		t.Errorf("told\n%q\nwant\n%q", metrics.told, want)
	}
}
