// Package failover reads a view from where it is fast, and from the store while it is away there or being built.
package failover

import (
	"context"
	"errors"
	"sync"
	"time"

	"bankforge/app"
)

// Errors that the fast place gives about itself.
var (
	// ErrMissing means that it lacks what it should have.
	ErrMissing = errors.New("failover: it lacks what the store has")
	// ErrIncomplete means that it is being built.
	ErrIncomplete = errors.New("failover: it is being built")
	// ErrResting means that it has failed a moment ago, and is not asked.
	ErrResting = errors.New("failover: it is left alone for a while after a failure")
)

// Config says what a View reads. Fields without a default are required.
type Config struct {
	// Fast and Slow are the handlers that keep the view in the fast place and in the store.
	Fast, Slow string
	// Progress knows how far both are; nil: it does not matter, or there is no store to fall back to.
	Progress app.Progress
	// Timeout bounds one read in the fast place; default 100 ms.
	Timeout time.Duration
	// Rest is how long the fast place is left alone after a failure; default 500 ms.
	Rest time.Duration
	// FellBack is called for each read that the fast place did not answer, with the reason: missing, building, resting
	// or unavailable. nil: nobody counts.
	FellBack func(reason string)
}

// View is which place is read now. After a failure all reads go to the store; then one read tries whether the fast
// place is back, and all others follow it only once it has what the store has. So nobody waits for a timeout twice,
// and nobody sees less than before. It is safe for concurrent use.
type View struct {
	c Config

	mu      sync.Mutex
	serving bool
	probing bool
	until   time.Time // when a read may try again
}

// New makes a View. The first read tries the fast place.
func New(c Config) *View {
	if c.Timeout == 0 {
		c.Timeout = 100 * time.Millisecond
	}
	if c.Rest == 0 {
		c.Rest = 500 * time.Millisecond
	}
	if c.FellBack == nil {
		c.FellBack = func(string) {}
	}
	return &View{c: c}
}

// Handler is the handler that keeps what is read now: who waits until the view has something, waits for that one.
func (v *View) Handler() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.serving {
		return v.c.Fast
	}
	return v.c.Slow
}

// Read answers with fast, or else with slow; slow is nil where there is no store to fall back to.
func Read[T any](ctx context.Context, v *View, fast, slow func(context.Context) (T, error)) (none T, _ error) {
	ask, probe := v.ask()
	if !ask {
		return fallBack(ctx, v, ErrResting, slow)
	}
	abreast := v.abreast()
	short, cancel := context.WithTimeout(ctx, v.c.Timeout)
	out, err := fast(short)
	cancel()
	switch {
	case ctx.Err() != nil:
		v.again(probe)
		return none, ctx.Err()
	case err != nil:
		v.rest()
		if !probe {
			v.await(ctx, v.c.Slow, v.c.Fast)
		}
		return fallBack(ctx, v, err, slow)
	case probe && !v.await(ctx, v.c.Fast, v.c.Slow):
		v.rest()
		if slow != nil {
			return fallBack(ctx, v, ErrIncomplete, slow)
		}
	case probe:
		v.serve()
		if !abreast { // what was read is older than what the store had, perhaps
			return Read(ctx, v, fast, slow)
		}
	}
	return out, nil
}

func fallBack[T any](
	ctx context.Context, v *View, why error, slow func(context.Context) (T, error),
) (none T, _ error) {
	v.c.FellBack(reason(why))
	if slow == nil {
		return none, why
	}
	return slow(ctx)
}

func reason(err error) string {
	switch {
	case errors.Is(err, ErrMissing):
		return "missing"
	case errors.Is(err, ErrIncomplete):
		return "building"
	case errors.Is(err, ErrResting):
		return "resting"
	default:
		return "unavailable"
	}
}

// patience is how long a read waits for one place to have what the other one had.
const patience = time.Second

// await waits until one handler has what another one has now, and reports whether it does.
func (v *View) await(ctx context.Context, handler, other string) bool {
	if v.c.Progress == nil {
		return true
	}
	seq := v.c.Progress.At(other)
	if v.c.Progress.At(handler) >= seq {
		return true
	}
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return v.c.Progress.Await(wait, handler, seq)
}

// abreast reports whether the fast place has what the store has now.
func (v *View) abreast() bool {
	return v.c.Progress == nil || v.c.Progress.At(v.c.Fast) >= v.c.Progress.At(v.c.Slow)
}

// ask reports whether the fast place is to be read, and whether that is to find out if it is back.
func (v *View) ask() (ask, probe bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.serving:
		return true, false
	case v.probing || time.Now().Before(v.until):
		return false, false
	}
	v.probing = true
	return true, true
}

func (v *View) rest() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.serving, v.probing, v.until = false, false, time.Now().Add(v.c.Rest)
}

func (v *View) serve() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.serving, v.probing = true, false
}

// again lets another read try, because the one that did was called off.
func (v *View) again(probe bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if probe {
		v.probing = false
	}
}
