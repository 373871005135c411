package apptest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/relay"
)

// RelayStore checks the contract of relay.Store on an empty store, and says what is wrong with it.
func RelayStore(ctx context.Context, s relay.Store) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	checks := []struct {
		name  string
		check func(context.Context, relay.Store) error
	}{
		{"the cursor", checkRelayCursor},
		{"the lease", checkRelayLease},
		{"the fence", checkRelayFence},
		{"a lease that runs out", checkRelayExpiry},
		{"many at once", checkRelayRace},
	}
	for _, c := range checks {
		if err := c.check(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func cursorAt(seq bank.Seq) router.Cursor {
	return router.Cursor{Incarnation: "inc", Seq: seq, Last: map[bank.Topic][]handlers.Position{
		bank.AccountsTopic:     {{}, {Seq: seq, N: 1}, handlers.End(seq)},
		bank.TransactionsTopic: {{Seq: seq, N: 2}},
		bank.OpsTopic:          {{}, {}},
	}}
}

func sameCursor(ctx context.Context, s relay.Store, want router.Cursor) error {
	got, err := s.Cursor(ctx)
	if err != nil || !reflect.DeepEqual(got, want) {
		return fmt.Errorf("the cursor is %+v, %v; want %+v", got, err, want)
	}
	return nil
}

// checkRelayCursor leaves the store without a lease, at event 7.
func checkRelayCursor(ctx context.Context, s relay.Store) error {
	if err := sameCursor(ctx, s, router.Cursor{}); err != nil {
		return fmt.Errorf("before the first message, %w", err)
	}
	term, c, err := s.Acquire(ctx, "first", time.Minute)
	if err != nil || term == 0 || !reflect.DeepEqual(c, router.Cursor{}) {
		return fmt.Errorf("the first one gets term %d, %+v, %v", term, c, err)
	}
	for _, seq := range []bank.Seq{3, 9, 7} {
		if err := s.Save(ctx, term, cursorAt(seq), time.Minute); err != nil {
			return err
		}
		if err := sameCursor(ctx, s, cursorAt(seq)); err != nil {
			return err
		}
	}
	return s.Save(ctx, term, cursorAt(7), 0)
}

func checkRelayLease(ctx context.Context, s relay.Store) error {
	before, c, err := s.Acquire(ctx, "a", time.Minute)
	if err != nil || !reflect.DeepEqual(c, cursorAt(7)) {
		return fmt.Errorf("behind a lease that was given up: %+v, %v", c, err)
	}
	if _, _, err := s.Acquire(ctx, "b", time.Minute); !errors.Is(err, relay.ErrHeld) {
		return fmt.Errorf("while it is held: %w; want ErrHeld", err)
	}
	if err := s.Save(ctx, before, cursorAt(8), time.Minute); err != nil {
		return fmt.Errorf("after somebody asked for it in vain: %w", err)
	}
	if _, _, err := s.Acquire(ctx, "b", time.Minute); !errors.Is(err, relay.ErrHeld) {
		return fmt.Errorf("after a save: %w; want ErrHeld", err)
	}
	again, _, err := s.Acquire(ctx, "a", time.Minute)
	if err != nil || again <= before {
		return fmt.Errorf("the same owner gets term %d behind %d, %w", again, before, err)
	}
	if err := s.Save(ctx, again, cursorAt(8), 0); err != nil {
		return err
	}
	after, _, err := s.Acquire(ctx, "b", time.Minute)
	if err != nil || after <= again {
		return fmt.Errorf("the next owner gets term %d behind %d, %w", after, again, err)
	}
	return s.Save(ctx, after, cursorAt(8), 0)
}

func checkRelayFence(ctx context.Context, s relay.Store) error {
	before, _, err := s.Acquire(ctx, "a", time.Minute)
	if err != nil {
		return err
	}
	after, _, err := s.Acquire(ctx, "a", time.Minute)
	if err != nil {
		return err
	}
	for _, lease := range []time.Duration{time.Minute, 0} {
		if err := s.Save(ctx, before, cursorAt(99), lease); !errors.Is(err, relay.ErrFenced) {
			return fmt.Errorf("a save of a term that has passed: %w; want ErrFenced", err)
		}
	}
	if err := sameCursor(ctx, s, cursorAt(8)); err != nil {
		return err
	}
	if _, _, err := s.Acquire(ctx, "b", time.Minute); !errors.Is(err, relay.ErrHeld) {
		return fmt.Errorf("a term that has passed gave up the lease: %w", err)
	}
	return s.Save(ctx, after, cursorAt(9), 0)
}

func checkRelayExpiry(ctx context.Context, s relay.Store) error {
	const short = 50 * time.Millisecond
	before, _, err := s.Acquire(ctx, "a", short)
	if err != nil {
		return err
	}
	if err := pass(ctx, 2*short); err != nil {
		return err
	}
	if err := s.Save(ctx, before, cursorAt(10), short); err != nil {
		return fmt.Errorf("a lease that ran out, and nobody asked for it: %w", err)
	}
	after, c, err := s.Acquire(ctx, "b", time.Minute)
	for ; errors.Is(err, relay.ErrHeld); after, c, err = s.Acquire(ctx, "b", time.Minute) {
		if err := pass(ctx, short/10); err != nil {
			return fmt.Errorf("the lease does not run out: %w", err)
		}
	}
	if err != nil || !reflect.DeepEqual(c, cursorAt(10)) {
		return fmt.Errorf("taken over at %+v, %w", c, err)
	}
	if err := s.Save(ctx, before, cursorAt(11), short); !errors.Is(err, relay.ErrFenced) {
		return fmt.Errorf("a save after another one took over: %w; want ErrFenced", err)
	}
	if err := s.Save(ctx, after, cursorAt(12), 0); err != nil {
		return err
	}
	return sameCursor(ctx, s, cursorAt(12))
}

func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// checkRelayRace lets many ask for the lease at once: one gets it.
func checkRelayRace(ctx context.Context, s relay.Store) error {
	const many = 8
	errs := make([]error, many)
	terms := make([]uint64, many)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() { terms[i], _, errs[i] = s.Acquire(ctx, fmt.Sprint("racer-", i), time.Minute) })
	}
	all.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case errors.Is(err, relay.ErrHeld):
		case err != nil || winner >= 0:
			return fmt.Errorf("racers %d and %d: %w", winner, i, err)
		default:
			winner = i
		}
	}
	if winner < 0 {
		return errors.New("nobody gets the lease")
	}
	return s.Save(ctx, terms[winner], cursorAt(13), 0)
}

// MemoryRelayStore is a relay.Store that ends with the process.
type MemoryRelayStore struct {
	mu     sync.Mutex
	cursor router.Cursor
	term   uint64
	owner  string
	until  time.Time
}

// Cursor returns the cursor.
func (m *MemoryRelayStore) Cursor(context.Context) (router.Cursor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return cloneCursor(m.cursor), nil
}

// Acquire gives the lease to owner.
func (m *MemoryRelayStore) Acquire(
	_ context.Context, owner string, lease time.Duration,
) (uint64, router.Cursor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owner != owner && time.Now().Before(m.until) {
		return 0, router.Cursor{}, relay.ErrHeld
	}
	m.term++
	m.owner, m.until = owner, time.Now().Add(lease)
	return m.term, cloneCursor(m.cursor), nil
}

// Save replaces the cursor.
func (m *MemoryRelayStore) Save(_ context.Context, term uint64, c router.Cursor, lease time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if term != m.term {
		return relay.ErrFenced
	}
	m.cursor, m.until = cloneCursor(c), time.Now().Add(lease)
	return nil
}

func cloneCursor(c router.Cursor) router.Cursor {
	c.Last = maps.Clone(c.Last)
	for topic, positions := range c.Last {
		c.Last[topic] = slices.Clone(positions)
	}
	return c
}
