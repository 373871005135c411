package router_test

import (
	"context"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"bankforge/handlers"
	"bankforge/router"
)

func TestBackoffDoublesExactly(t *testing.T) {
	t.Parallel()
	b := router.Backoff{First: 10 * time.Millisecond, Most: 100 * time.Millisecond}
	var got []time.Duration
	for n := 1; n <= 6; n++ {
		got = append(got, b.After(n)/time.Millisecond)
	}
	if want := []time.Duration{10, 20, 40, 80, 100, 100}; !reflect.DeepEqual(got, want) {
		t.Errorf("pauses of %v ms; want %v", got, want)
	}
	b.Jitter = router.HalfJitter
	for range 100 {
		if d := b.After(3); d < 20*time.Millisecond || d > 40*time.Millisecond {
			t.Fatalf("a pause of %s", d)
		}
	}
}

// Tries in place come after exact pauses, each with a context of its own.
func TestTriesComeWhenTheyShould(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := router.DefaultPolicy()
		p.Backoff.Jitter = nil
		p.Timeout = time.Second
		b := newBench(t, newLedger(), openStore(t), p)
		began := time.Now()
		var tries []time.Duration
		r, err := router.New("", []router.Route{{
			Name: handlerName, Topic: "bankforge.accounts.v1", Store: b.store,
			Handler: func(ctx context.Context, _ []handlers.Fact) error {
				tries = append(tries, time.Since(began))
				if len(tries) < 4 {
					return handlers.As(handlers.Transient, errBoom)
				}
				if len(tries) == 4 {
					<-ctx.Done() // this try takes too long; the next one must not suffer from it
				}
				return ctx.Err()
			},
		}}, router.Config{Source: b.ledger, Hints: b.ledger.hints, Progress: b.progress, Policy: p})
		if err != nil {
			t.Fatal(err)
		}
		b.Router = r
		b.ledger.credit(1)
		stop := b.start(t)
		b.await(t)
		stop()
		for i := range tries {
			tries[i] /= time.Millisecond
		}
		if want := []time.Duration{0, 10, 30, 70, 1150}; !reflect.DeepEqual(tries, want) {
			t.Errorf("tries after %v ms; want %v", tries, want)
		}
	})
}
