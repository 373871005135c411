package live

import (
	"context"
	"fmt"
	"sync"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/teller"
)

// patience is how long clients may take to see everything.
const patience = 30 * time.Second

// Audience is the live clients of a bank.
type Audience struct {
	watchers []*Watcher
	stop     context.CancelFunc
	all      sync.WaitGroup
}

// habits: of twenty clients, one is slow and two are rude.
func habit(i int) Habit {
	switch i % 20 {
	case 0:
		return Slow
	case 1, 2:
		return Rude
	default:
		return Good
	}
}

// Watch lets n clients watch accounts of the bank, until Close.
func Watch(ctx context.Context, c *teller.Client, url string, accounts []teller.Account, n int) (*Audience, error) {
	ctx, stop := context.WithCancel(ctx)
	a := &Audience{stop: stop}
	for i := range n {
		var seen teller.Seen
		if i < len(accounts) {
			var last error
			err := teller.Until(ctx, patience, func() bool { // the view may be behind
				last = c.GetInto(ctx, "/v1/accounts/"+accounts[i].ID, &seen)
				return last == nil
			})
			if err != nil {
				stop()
				return nil, last
			}
			a.watchers = append(a.watchers, New(url, c.Token, &seen, habit(i)))
			continue
		}
		a.watchers = append(a.watchers, a.watchers[i%len(accounts)].Again(habit(i)))
	}
	for _, w := range a.watchers {
		a.all.Go(func() { w.Watch(ctx) })
	}
	return a, nil
}

// Cut breaks all connections at once.
func (a *Audience) Cut() {
	for _, w := range a.watchers {
		w.Cut()
	}
}

// Satisfied waits until every client has seen every version, and holds what it saw in the end against the log.
func (a *Audience) Satisfied(ctx context.Context, log *check.Log) error {
	for _, w := range a.watchers {
		w.Behave(Good)
	}
	a.Cut()
	missing := ""
	err := teller.Until(ctx, patience, func() bool {
		for _, w := range a.watchers {
			r := w.Report()
			if want := log.Account(r.Account); r.Offset < want.Version {
				missing = fmt.Sprintf("a client is at version %d of %s, and there are %d", r.Offset, r.Account, want.Version)
				return false
			}
		}
		return true
	})
	if err != nil {
		return check.Wrong(fmt.Errorf("%s: %w", missing, err))
	}
	var findings []string
	for _, w := range a.watchers {
		r := w.Report()
		findings = append(findings, r.Findings...)
		if want := log.Account(r.Account); !r.Blank && (r.Balance != want.Balance || r.Held != want.Held) {
			findings = append(findings, fmt.Sprintf("a client of %s saw %d, held %d in the end, and there are %d, held %d",
				r.Account, r.Balance, r.Held, want.Balance, want.Held))
		}
	}
	return check.Broken(findings)
}

// Counts are for the table.
func (a *Audience) Counts() (seen, connects, reloads int) {
	for _, w := range a.watchers {
		r := w.Report()
		seen, connects, reloads = seen+r.Seen, connects+r.Connects, reloads+r.Reloads
	}
	return seen, connects, reloads
}

// Close ends them.
func (a *Audience) Close() {
	a.stop()
	a.all.Wait()
}

// Incarnations are those that the clients follow.
func (a *Audience) Incarnations() map[string]bool {
	all := map[string]bool{}
	for _, w := range a.watchers {
		all[w.Report().Epoch] = true
	}
	return all
}
