package router_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// begun is a store of which only the beginning is asked.
type begun struct{ router.Store }

func (begun) Checkpoint(context.Context, router.Stream) (router.Checkpoint, error) {
	return router.Checkpoint{}, nil
}

// TestAHandlerGathersUntilSomebodyWaits: with much to do it takes its time, but for nobody who waits for it.
func TestAHandlerGathersUntilSomebodyWaits(t *testing.T) {
	t.Parallel()
	const most = 100 // events in a delivery
	for name, c := range map[string]struct {
		events int
		before bool // somebody waits already when the delivery is done
		asks   time.Duration
		want   time.Duration
	}{
		"nobody waits":            {events: 70, want: 400 * time.Millisecond},
		"little to do":            {events: 63, want: 20 * time.Millisecond},
		"more than it can take":   {events: most},
		"somebody waits":          {events: 70, before: true},
		"somebody begins to wait": {events: 70, asks: 30 * time.Millisecond, want: 30 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, progress := newLedger(), router.NewProgress()
				r, err := router.New("", []router.Route{{
					Name: handlerName, Topic: bank.AccountsTopic, Store: begun{},
					Handler: func(context.Context, []handlers.Fact) error { return nil },
				}}, router.Config{Source: l, Hints: l.hints, Progress: progress, Batch: most, Poll: time.Hour})
				if err != nil {
					t.Fatal(err)
				}
				tail := r.TailOf(handlerName)
				defer tail.Close()
				for range c.events {
					l.credit(1)
				}
				msgs, err := tail.Subscribe(t.Context(), string(bank.AccountsTopic))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				wait := func() { progress.Await(ctx, handlerName, bank.Seq(c.events)+1) }
				msg := <-msgs
				l.credit(1) // meanwhile
				if c.before {
					go wait()
				} else if c.asks > 0 {
					time.AfterFunc(c.asks, wait)
				}
				synctest.Wait()
				began := time.Now()
				msg.Ack()
				if (<-msgs).Ack(); time.Since(began) != c.want {
					t.Errorf("it reads on after %s instead of %s", time.Since(began), c.want)
				}
			})
		})
	}
}
