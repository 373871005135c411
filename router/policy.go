package router

import (
	"math/rand/v2"
	"time"

	"bankforge/handlers"
)

// Policy is how a handler treats failures.
type Policy struct {
	// Tries is how often a message is tried in place before it is parked, by class. Classes that are not
	// named are tried once.
	Tries map[handlers.Class]int
	// Backoff is the pause between tries in place.
	Backoff Backoff
	// Hold is the pause between tries while something that the handler needs is down.
	Hold Backoff
	// Timeout is how long one try may take.
	Timeout time.Duration
	// Outage is how many different keys must fail one after another, without one success between, to be
	// taken for an outage: then the handler holds instead of parking more.
	Outage int
	// PerKey is how many messages may wait in one sequence.
	PerKey int
}

// DefaultPolicy is what handlers have that say nothing else.
func DefaultPolicy() Policy {
	return Policy{
		Tries:   map[handlers.Class]int{handlers.Transient: 8, handlers.Unknown: 3},
		Backoff: Backoff{First: 10 * time.Millisecond, Most: 2 * time.Second, Jitter: HalfJitter},
		Hold:    Backoff{First: 100 * time.Millisecond, Most: 15 * time.Second, Jitter: HalfJitter},
		Timeout: 30 * time.Second,
		Outage:  10,
		PerKey:  10_000,
	}
}

// Backoff doubles a pause with each failure.
type Backoff struct {
	First, Most time.Duration
	// Jitter changes each pause; nil leaves it exact.
	Jitter func(time.Duration) time.Duration
}

// After is the pause after the n-th failure, from 1.
func (b Backoff) After(n int) time.Duration {
	d := b.First
	for ; n > 1 && d < b.Most; n-- {
		d *= 2
	}
	d = min(d, b.Most)
	if b.Jitter != nil {
		d = b.Jitter(d)
	}
	return d
}

// HalfJitter takes a random part of up to half of the pause away, so that what failed together does not
// come back together.
func HalfJitter(d time.Duration) time.Duration { return d - rand.N(d/2+1) }
