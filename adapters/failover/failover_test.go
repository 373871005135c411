package failover_test

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bankforge/adapters/failover"
	"bankforge/app/bank"
)

// handlers are how far two handlers have come.
type handlers struct {
	mu sync.Mutex
	at map[string]bank.Seq
}

func at(fast, slow bank.Seq) *handlers {
	return &handlers{at: map[string]bank.Seq{"fast": fast, "slow": slow}}
}

func (h *handlers) set(handler string, seq bank.Seq) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at[handler] = seq
}

func (h *handlers) At(handler string) bank.Seq {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at[handler]
}

func (h *handlers) Await(ctx context.Context, handler string, seq bank.Seq) bool {
	for h.At(handler) < seq {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Millisecond):
		}
	}
	return true
}

func (*handlers) Parked(context.Context, string, string) (bool, error) { return false, nil }

var errAway = errors.New("away")

// table is a view whose fast place can fail.
type table struct {
	*failover.View
	fail error
	hang bool

	mu      sync.Mutex
	asked   int
	reasons []string
}

func newTable(progress *handlers) *table {
	v := &table{}
	v.View = failover.New(failover.Config{
		Fast: "fast", Slow: "slow", Progress: progress,
		FellBack: func(reason string) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.reasons = append(v.reasons, reason)
		},
	})
	return v
}

func (v *table) read(ctx context.Context) (string, error) {
	return failover.Read(ctx, v.View, func(ctx context.Context) (string, error) {
		v.mu.Lock()
		v.asked++
		v.mu.Unlock()
		if v.hang {
			<-ctx.Done()
			return "", ctx.Err()
		}
		return "fast", v.fail
	}, func(context.Context) (string, error) { return "slow", nil })
}

func (v *table) expect(t *testing.T, want string) {
	t.Helper()
	if got, err := v.read(t.Context()); err != nil || got != want {
		t.Errorf("read from %q, %v; want %q", got, err, want)
	}
}

// pass lets time go by, in a bubble.
func pass(d time.Duration) { <-time.After(d) }

func TestADeadPlaceCostsOneTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newTable(at(5, 5))
		v.expect(t, "fast")
		if v.Handler() != "fast" {
			t.Errorf("%s keeps what is read", v.Handler())
		}
		v.hang = true
		began := time.Now()
		for range 100 {
			v.expect(t, "slow")
		}
		if took := time.Since(began); took != 100*time.Millisecond || v.asked != 2 || v.Handler() != "slow" {
			t.Errorf("it took %s, and asked %d times", took, v.asked)
		}
		v.hang = false
		pass(time.Second)
		v.expect(t, "fast")
		if n := len(v.reasons); n != 100 || v.reasons[0] != "unavailable" || v.reasons[99] != "resting" {
			t.Errorf("fell back %d times: %v", n, v.reasons)
		}
	})
}

// What comes back is read only once it has what the store has; until then one read after the other tries.
func TestWhatComesBackIsReadOnceItHasCaughtUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		progress := at(1, 5)
		v := newTable(progress)
		v.expect(t, "slow")
		v.expect(t, "slow")
		pass(time.Second)
		go func() {
			pass(10 * time.Millisecond)
			progress.set("fast", 5)
		}()
		v.expect(t, "fast")
		progress.set("fast", 9)
		v.fail = failover.ErrMissing
		go func() {
			pass(10 * time.Millisecond)
			progress.set("slow", 9)
		}()
		began := time.Now()
		v.expect(t, "slow") // and not before it has what was seen in the fast place
		if took := time.Since(began); took < 9*time.Millisecond {
			t.Errorf("the store was read after %s", took)
		}
		v.fail = failover.ErrIncomplete
		pass(time.Second)
		v.expect(t, "slow")
		if want := []string{"building", "resting", "missing", "building"}; !reflect.DeepEqual(v.reasons, want) {
			t.Errorf("fell back: %v; want %v", v.reasons, want)
		}
	})
}

func TestOneReadTriesAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newTable(at(0, 0))
		v.hang = true
		done := make(chan struct{})
		go func() {
			defer close(done)
			v.expect(t, "slow")
		}()
		synctest.Wait()
		began := time.Now()
		v.expect(t, "slow")
		if took := time.Since(began); took != 0 || v.asked != 1 {
			t.Errorf("the second one waited %s, and asked %d", took, v.asked)
		}
		<-done
		// A caller that goes away has found out nothing.
		pass(time.Second)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := v.read(gone); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		v.hang = false
		v.expect(t, "fast")
	})
}

func TestWithoutAStoreErrorsAreTold(t *testing.T) {
	t.Parallel()
	v := failover.New(failover.Config{Fast: "fast", Slow: "slow", Rest: time.Hour})
	fail := func(context.Context) (int, error) { return 0, errAway }
	if _, err := failover.Read(t.Context(), v, fail, nil); !errors.Is(err, errAway) {
		t.Error(err)
	}
	if _, err := failover.Read(t.Context(), v, fail, nil); !errors.Is(err, failover.ErrResting) {
		t.Error(err)
	}
}
