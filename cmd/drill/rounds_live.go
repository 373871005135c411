package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"bankforge/cmd/drill/live"
	"bankforge/cmd/drill/teller"
)

// liveRounds are what clients of the live channel do, and what is done to them.
func liveRounds() []round {
	return []round{{"live", "live clients, some slow, some rude, all cut off at once, and the bank killed", watched}}
}

// audience is the live clients of a bank.
type audience struct {
	watchers []*live.Watcher
	stop     context.CancelFunc
	all      sync.WaitGroup
}

// habits: of twenty clients, one is slow and two are rude.
func habit(i int) live.Habit {
	switch i % 20 {
	case 0:
		return live.Slow
	case 1, 2:
		return live.Rude
	default:
		return live.Good
	}
}

// audience lets n clients watch, until stop.
func (s *stage) audience(ctx context.Context, n int) (*audience, error) {
	ctx, stop := context.WithCancel(ctx)
	a := &audience{stop: stop}
	accounts := s.office.Accounts()
	for i := range n {
		var seen teller.Seen
		if i < len(accounts) {
			if err := s.client.GetInto(ctx, "/v1/accounts/"+accounts[i].ID, &seen); err != nil {
				stop()
				return nil, err
			}
			a.watchers = append(a.watchers, live.New(s.client.URL, s.client.Token, &seen, habit(i)))
			continue
		}
		a.watchers = append(a.watchers, a.watchers[i%len(accounts)].Again(habit(i)))
	}
	for _, w := range a.watchers {
		a.all.Go(func() { w.Watch(ctx) })
	}
	return a, nil
}

// cut breaks all connections at once.
func (a *audience) cut() {
	for _, w := range a.watchers {
		w.Cut()
	}
}

// satisfied waits until every client has seen every version, and holds what it saw in the end against the log.
func (a *audience) satisfied(ctx context.Context, s *stage) error {
	for _, w := range a.watchers {
		w.Behave(live.Good)
	}
	a.cut()
	missing := ""
	err := until(ctx, waitFor, func() bool {
		for _, w := range a.watchers {
			r := w.Report()
			if want := s.log.Account(r.Account); r.Offset < want.Version {
				missing = fmt.Sprintf("a client is at version %d of %s, and there are %d", r.Offset, r.Account, want.Version)
				return false
			}
		}
		return true
	})
	if err != nil {
		return found(fmt.Errorf("%s: %w", missing, err))
	}
	var findings []string
	for _, w := range a.watchers {
		r := w.Report()
		findings = append(findings, r.Findings...)
		if want := s.log.Account(r.Account); !r.Blank && (r.Balance != want.Balance || r.Held != want.Held) {
			findings = append(findings, fmt.Sprintf("a client of %s saw %d, held %d in the end, and there are %d, held %d",
				r.Account, r.Balance, r.Held, want.Balance, want.Held))
		}
	}
	return broken(findings)
}

// counts are for the table.
func (a *audience) counts() (seen, connects, reloads int) {
	for _, w := range a.watchers {
		r := w.Report()
		seen, connects, reloads = seen+r.Seen, connects+r.Connects, reloads+r.Reloads
	}
	return seen, connects, reloads
}

func (a *audience) close() {
	a.stop()
	a.all.Wait()
}

// watched has clients watch while money moves, while all are cut off at once, and while the bank is killed.
func watched(ctx context.Context, d *drill, at *visit) error {
	s, err := d.stage(ctx, at, "")
	if err != nil {
		return err
	}
	a, err := s.audience(ctx, d.Watchers)
	if err != nil {
		return err
	}
	defer a.close()
	for _, attack := range []func() error{
		func() error { return nil },
		func() error { a.cut(); return nil },
		func() error { s.kill(); return s.start(ctx) },
	} {
		s.workSlowly(ctx, liveWork)
		if err := attack(); err != nil {
			return err
		}
		s.workSlowly(ctx, liveWork)
	}
	if err := errors.Join(s.judge(ctx), a.satisfied(ctx, s)); err != nil {
		return err
	}
	seen, connects, reloads := a.counts()
	at.noted("%d clients, %d connections, %d versions seen, each once and in order, %d reloads",
		d.Watchers, connects, seen, reloads)
	return nil
}

// liveWork is how long money moves between attacks on live clients.
const liveWork = 3 * time.Second

// workSlowly has one client at work: what it does goes to many others.
func (s *stage) workSlowly(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	s.office.Work(ctx, 1)
}
