package apptest_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"bankforge/app/apptest"
	"bankforge/router"
)

// memory is a router.Store that is correct: one transaction at a time works on a copy. It is here so that
// each way of breaking it differs by that alone.
type memory struct {
	mu  sync.Mutex
	now state
}

type state struct {
	checkpoints map[router.Stream]router.Checkpoint
	parked      []router.Parked
}

func (s state) clone() *state {
	c := &state{checkpoints: map[router.Stream]router.Checkpoint{}, parked: slices.Clone(s.parked)}
	maps.Copy(c.checkpoints, s.checkpoints)
	return c
}

type stateKey struct{}

func (m *memory) InTx(ctx context.Context, fn func(context.Context) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.now.clone()
	err := fn(context.WithValue(ctx, stateKey{}, next))
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		m.now = *next
	}
	return err
}

func (m *memory) state(ctx context.Context) *state {
	if s, ok := ctx.Value(stateKey{}).(*state); ok {
		return s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now.clone()
}

func (m *memory) Checkpoint(ctx context.Context, s router.Stream) (router.Checkpoint, error) {
	return m.state(ctx).checkpoints[s], nil
}

func (m *memory) Advance(ctx context.Context, s router.Stream, c router.Checkpoint) error {
	m.state(ctx).checkpoints[s] = c
	return nil
}

func (m *memory) Rewind(ctx context.Context, of router.Stream, c router.Checkpoint) error {
	s := m.state(ctx)
	s.parked = slices.DeleteFunc(s.parked, func(p router.Parked) bool {
		return p.Stream == of && (p.Incarnation != c.Incarnation || c.Position.Before(p.Position))
	})
	s.checkpoints[of] = c
	return nil
}

func waits(p router.Parked) bool { return p.Status == router.Failed || p.Status == router.Waiting }

func (m *memory) Blocked(ctx context.Context, handler string, keys []string) (blocked []string, _ error) {
	for _, p := range m.state(ctx).parked {
		if p.Handler == handler && waits(p) && slices.Contains(keys, p.Key) && !slices.Contains(blocked, p.Key) {
			blocked = append(blocked, p.Key)
		}
	}
	return blocked, nil
}

func (m *memory) Park(ctx context.Context, p router.Parked, attempts []router.Attempt) (waiting int, _ error) {
	s := m.state(ctx)
	for _, other := range s.parked {
		if other.Handler == p.Handler && other.Incarnation == p.Incarnation && other.Position == p.Position {
			return 0, errors.New("parked already")
		}
		if other.Handler == p.Handler && other.Key == p.Key && waits(other) {
			waiting++
		}
	}
	p.Attempts = slices.Clone(attempts)
	s.parked = append(s.parked, p)
	return waiting + 1, nil
}

func (s *state) head(handler, key string) *router.Parked {
	for i := range s.parked {
		if p := &s.parked[i]; p.Handler == handler && p.Key == key && waits(*p) {
			return p
		}
	}
	return nil
}

func (m *memory) Head(ctx context.Context, handler, key string) (router.Parked, bool, error) {
	if p := m.state(ctx).head(handler, key); p != nil {
		return *p, true, nil
	}
	return router.Parked{}, false, nil
}

func (m *memory) Attempted(ctx context.Context, p router.Parked, a router.Attempt, _ time.Time) error {
	head := m.state(ctx).head(p.Handler, p.Key)
	head.Status, head.Attempts = router.Failed, append(slices.Clone(head.Attempts), a)
	head.Tries++
	return nil
}

func (m *memory) Resolve(ctx context.Context, p router.Parked, e router.Ending) error {
	m.state(ctx).head(p.Handler, p.Key).Status = e.As
	return nil
}

func TestTheSuiteTakesACorrectStore(t *testing.T) {
	t.Parallel()
	if err := apptest.HandlerStore(t.Context(), &memory{}); err != nil {
		t.Fatal(err)
	}
}

// The broken ones. Each overrides one method.
type (
	unlocked    struct{ *memory } // the last commit wins
	outside     struct{ *memory } // the checkpoint is written outside the transaction
	keepsErrors struct{ *memory } // commits what failed
	ignoresEnd  struct{ *memory } // commits although the context has ended
	forgetful   struct{ *memory } // does not block later messages
	amnesiac    struct{ *memory } // loses attempts
	reversed    struct{ *memory } // takes the newest message first
	doubling    struct{ *memory } // parks a position twice
	purging     struct{ *memory } // forgets what was resolved
	tooMuch     struct{ *memory } // one parked key blocks all
	clinging    struct{ *memory } // going back, it keeps what was parked
	sweeping    struct{ *memory } // going back, it forgets all that was parked
)

func (b unlocked) InTx(ctx context.Context, fn func(context.Context) error) error {
	next := b.state(ctx)
	if err := errors.Join(fn(context.WithValue(ctx, stateKey{}, next)), ctx.Err()); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = *next
	return nil
}

func (b outside) Advance(_ context.Context, s router.Stream, c router.Checkpoint) error {
	b.now = *b.now.clone()
	b.now.checkpoints[s] = c
	return nil
}

func (b outside) InTx(ctx context.Context, fn func(context.Context) error) error {
	return b.memory.InTx(ctx, func(ctx context.Context) error {
		s := b.state(ctx)
		err := fn(ctx)
		s.checkpoints = b.now.checkpoints
		return err
	})
}

func (b outside) Checkpoint(_ context.Context, s router.Stream) (router.Checkpoint, error) {
	return b.now.checkpoints[s], nil
}

func (b keepsErrors) InTx(ctx context.Context, fn func(context.Context) error) error {
	var failed error
	return errors.Join(b.memory.InTx(context.WithoutCancel(ctx), func(ctx context.Context) error {
		failed = fn(ctx)
		return nil
	}), failed)
}

func (b ignoresEnd) InTx(ctx context.Context, fn func(context.Context) error) error {
	return b.memory.InTx(context.WithoutCancel(ctx), fn)
}

func (b forgetful) Blocked(context.Context, string, []string) ([]string, error) { return nil, nil }

func (b amnesiac) Attempted(context.Context, router.Parked, router.Attempt, time.Time) error {
	return nil
}

func (b reversed) Head(ctx context.Context, handler, key string) (p router.Parked, ok bool, _ error) {
	for _, other := range b.state(ctx).parked {
		if other.Handler == handler && other.Key == key && waits(other) {
			p, ok = other, true
		}
	}
	return p, ok, nil
}

func (b doubling) Park(ctx context.Context, p router.Parked, attempts []router.Attempt) (int, error) {
	other := p
	other.Incarnation = time.Now().String()
	n, err := b.memory.Park(ctx, other, attempts)
	s := b.state(ctx)
	s.parked[len(s.parked)-1].Incarnation = p.Incarnation
	return n, err
}

func (b purging) Resolve(ctx context.Context, p router.Parked, _ router.Ending) error {
	s := b.state(ctx)
	s.parked = slices.DeleteFunc(s.parked, func(other router.Parked) bool {
		return other.Handler == p.Handler && other.Position == p.Position
	})
	return nil
}

func (b tooMuch) Blocked(ctx context.Context, handler string, keys []string) ([]string, error) {
	for _, p := range b.state(ctx).parked {
		if p.Handler == handler && waits(p) {
			return keys, nil
		}
	}
	return nil, nil
}

func (b clinging) Rewind(ctx context.Context, s router.Stream, c router.Checkpoint) error {
	return b.Advance(ctx, s, c)
}

func (b sweeping) Rewind(ctx context.Context, s router.Stream, c router.Checkpoint) error {
	b.state(ctx).parked = nil
	return b.Advance(ctx, s, c)
}

func TestTheSuiteRejectsBrokenStores(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(*memory) router.Store{
		"does not lock":       func(m *memory) router.Store { return unlocked{m} },
		"checkpoint outside":  func(m *memory) router.Store { return outside{m} },
		"commits errors":      func(m *memory) router.Store { return keepsErrors{m} },
		"commits after end":   func(m *memory) router.Store { return ignoresEnd{m} },
		"does not block":      func(m *memory) router.Store { return forgetful{m} },
		"loses attempts":      func(m *memory) router.Store { return amnesiac{m} },
		"newest first":        func(m *memory) router.Store { return reversed{m} },
		"parks twice":         func(m *memory) router.Store { return doubling{m} },
		"forgets the past":    func(m *memory) router.Store { return purging{m} },
		"blocks all the keys": func(m *memory) router.Store { return tooMuch{m} },
		"goes back half":      func(m *memory) router.Store { return clinging{m} },
		"goes back too far":   func(m *memory) router.Store { return sweeping{m} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := apptest.HandlerStore(t.Context(), broken(&memory{}))
			if err == nil {
				t.Fatal("the suite did not notice")
			}
			t.Log(err)
		})
	}
}
