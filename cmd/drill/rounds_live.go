package main

import (
	"context"
	"errors"
	"time"

	"bankforge/cmd/drill/live"
)

// liveRounds are what clients of the live channel do, and what is done to them.
func liveRounds() []round {
	return []round{{"live", "live clients, some slow, some rude, all cut off at once, and the bank killed", watched}}
}

// audience lets n clients watch, until Close.
func (s *stage) audience(ctx context.Context, n int) (*live.Audience, error) {
	return live.Watch(ctx, s.Client, s.Client.URL, s.Office.Accounts(), n)
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
	defer a.Close()
	for _, attack := range []func() error{
		func() error { return nil },
		func() error { a.Cut(); return nil },
		func() error { s.kill(); return s.start(ctx) },
	} {
		s.workSlowly(ctx, liveWork)
		if err := attack(); err != nil {
			return err
		}
		s.workSlowly(ctx, liveWork)
	}
	if err := errors.Join(s.Judge(ctx), a.Satisfied(ctx, s.Log)); err != nil {
		return err
	}
	seen, connects, reloads := a.Counts()
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
	s.Office.Work(ctx, 1)
}
