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

// standingAt is a store with a checkpoint, and nothing else.
type standingAt struct {
	router.Store
	seq bank.Seq
}

func (s standingAt) Checkpoint(context.Context, router.Stream) (router.Checkpoint, error) {
	return router.Checkpoint{Incarnation: "inc1", Position: handlers.End(s.seq)}, nil
}

func sideBySide(t *testing.T, l *ledger, batch int, at bank.Seq) *router.Router {
	t.Helper()
	nothing := func(context.Context, []handlers.Fact) error { return nil }
	r, err := router.New("", []router.Route{
		{Name: "one", Topic: bank.AccountsTopic, Store: standingAt{seq: at}, Handler: nothing},
		{Name: "other", Topic: bank.AccountsTopic, Store: standingAt{seq: at}, Handler: nothing},
	}, router.Config{Source: l, Hints: l.hints, Progress: router.NewProgress(), Batch: batch, Poll: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestHandlersGoOnSideBySide: one that is far behind waits for others that are behind it, but not for long, and not for
// those that do not move.
func TestHandlersGoOnSideBySide(t *testing.T) {
	t.Parallel()
	const batch = 10
	for name, c := range map[string]struct {
		idle  time.Duration // how long the other one has not moved
		moves time.Duration // when it does
		to    bank.Seq
		want  time.Duration
	}{
		"it comes near":           {moves: 30 * time.Millisecond, to: batch, want: 30 * time.Millisecond},
		"it does not come":        {want: 100 * time.Millisecond},
		"it has not moved lately": {idle: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLedger()
				for range 5 * batch {
					l.credit(1)
				}
				r := sideBySide(t, l, batch, 0)
				one, other := r.TailOf("one"), r.TailOf("other")
				defer one.Close()
				defer other.Close()
				if _, err := other.Subscribe(t.Context(), string(bank.AccountsTopic)); err != nil {
					t.Fatal(err)
				}
				msgs, err := one.Subscribe(t.Context(), string(bank.AccountsTopic))
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				first := <-msgs
				r.Took("one", batch)
				first.Ack()
				second := <-msgs
				if waited := time.Since(began); waited != 0 {
					t.Errorf("it waits for %s although nobody is far behind it", waited)
				}
				<-time.After(c.idle)
				began = time.Now()
				if c.moves > 0 {
					time.AfterFunc(c.moves, func() { r.Took("other", c.to) })
				}
				r.Took("one", 2*batch)
				second.Ack()
				if (<-msgs).Ack(); time.Since(began) != c.want {
					t.Errorf("it goes on after %s instead of %s", time.Since(began), c.want)
				}
			})
		})
	}
}

// TestDeliveriesEndTogether: wherever handlers begin, what they get ends at the same events.
func TestDeliveriesEndTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		for range 35 {
			l.credit(1)
		}
		tail := sideBySide(t, l, 10, 7).TailOf("one")
		defer tail.Close()
		msgs, err := tail.Subscribe(t.Context(), string(bank.AccountsTopic))
		if err != nil {
			t.Fatal(err)
		}
		at := bank.Seq(7)
		for _, end := range []bank.Seq{10, 20, 30, 35} {
			msg := <-msgs
			facts, err := router.Facts(msg)
			if err != nil || facts[0].Seq != at+1 || facts[len(facts)-1].Seq != end {
				t.Fatalf("behind %d came %d facts, %v, instead of all up to %d", at, len(facts), err, end)
			}
			at = end
			msg.Ack()
		}
	})
}
