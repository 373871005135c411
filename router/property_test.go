package router_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// Whatever fails, is parked, replayed and restarted: each account's versions have their effect
// exactly once and in order, and accounts that do not fail flow.

const accounts = 4

// act is one step of a story.
type act struct {
	What    string
	Account int
	Class   handlers.Class
}

var acts = rapid.Custom(func(t *rapid.T) act {
	return act{
		What: rapid.SampledFrom([]string{
			"credit", "credit", "credit", "burst", "fail", "heal", "stumble", "replay", "await", "restart", "crash",
		}).Draw(t, "what"),
		Account: rapid.IntRange(0, accounts-1).Draw(t, "account"),
		Class:   rapid.SampledFrom([]handlers.Class{handlers.Unknown, handlers.Poison, handlers.Transient}).Draw(t, "class"),
	}
})

var stories = rapid.SliceOfN(acts, 5, 60)

// mortal is a store whose process can die: from then on nothing is committed any more.
type mortal struct {
	router.Store
	dead atomic.Bool
}

var errDead = handlers.As(handlers.Unavailable, errors.New("the process is dead"))

func (m *mortal) InTx(ctx context.Context, fn func(context.Context) error) error {
	return m.Store.InTx(ctx, func(ctx context.Context) error {
		err := fn(ctx)
		if m.dead.Load() {
			return errDead
		}
		return err
	})
}

// stage is a file in which many stories are told, each with a handler and accounts of its own.
type stage struct {
	*testing.T
	store router.Store
	plant func(router.Store) router.Store
	end   time.Duration // the handler has for all that is left in the end
	told  int
}

// play tells a story, mends everything, and says what is wrong in the end.
func (t *stage) play(story []act) error {
	t.told++
	name, first := fmt.Sprint("story-", t.told), 2*accounts*t.told
	l := newLedger()
	fails := map[int]error{}
	var b *bench
	var life *mortal
	var stop func()
	begin := func() {
		life = &mortal{Store: t.plant(t.store)}
		b = newBenchNamed(t, name, l, life, quick())
		b.book.setFail(refuse(maps.Clone(fails)))
		stop = b.start(t)
	}
	begin()
	for _, a := range story {
		a.Account += first
		switch a.What {
		case "credit":
			l.credit(a.Account, accounts+a.Account)
		case "burst":
			for i := range 3 * accounts {
				l.credit(first+i%accounts, accounts+a.Account)
			}
		case "fail":
			fails[a.Account] = handlers.As(a.Class, errBoom)
			b.book.setFail(refuse(maps.Clone(fails)))
		case "heal":
			delete(fails, a.Account)
			b.book.setFail(refuse(maps.Clone(fails)))
		case "stumble":
			b.book.setFail(once(refuse(maps.Clone(fails))))
		case "replay":
			_, _ = b.ReplaySequence(t.Context(), b.name, account(a.Account).String()) // may well fail
		case "await":
			await(b, l, amid)
		case "crash", "restart":
			life.dead.Store(a.What == "crash")
			stop()
			if err := verdict(b); err != nil {
				return err
			}
			begin()
		}
	}
	return t.mend(b, l, stop, first)
}

func refuse(fails map[int]error) func(*handlers.Fact) error {
	byID := map[bank.AccountID]error{}
	for i, err := range fails {
		byID[account(i)] = err
	}
	return func(f *handlers.Fact) error { return byID[f.Leg.Account] }
}

// once fails one time before then is asked.
func once(then func(*handlers.Fact) error) func(*handlers.Fact) error {
	stumbled := false
	return func(f *handlers.Fact) error {
		if !stumbled {
			stumbled = true
			return errBoom
		}
		return then(f)
	}
}

// In the middle of a story nobody waits for long. In the end a busy machine is given its time, unless something is
// expected to be missing.
const (
	amid   = 2 * time.Second
	finale = 10 * time.Second
)

func await(b *bench, l *ledger, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return b.progress.Await(ctx, b.name, l.head())
}

func verdict(b *bench) error {
	b.book.mu.Lock()
	defer b.book.mu.Unlock()
	if len(b.book.wrong) > 0 {
		return errors.New(b.book.wrong[0])
	}
	return nil
}

// mend heals and replays everything.
func (t *stage) mend(b *bench, l *ledger, stop func(), first int) error {
	b.book.setFail(nil)
	if !await(b, l, t.end) {
		return fmt.Errorf("the handler stands at %d of %d: %+v", b.progress.At(b.name), l.head(), b.status(t))
	}
	for i := first; i < first+2*accounts; i++ {
		_, err := b.ReplaySequence(t.Context(), b.name, account(i).String())
		none := errors.Is(err, router.ErrNoSequence)
		if err != nil && !none {
			return fmt.Errorf("replay of account %d: %w", i, err)
		}
		if i >= first+accounts && !none {
			return fmt.Errorf("account %d was parked, and never failed", i)
		}
	}
	stop()
	if err := verdict(b); err != nil {
		return err
	}
	for i := first; i < first+2*accounts; i++ {
		if got, want := b.book.at(t, i), l.versions[account(i)]; got != want {
			return fmt.Errorf("account %d has taken in %d of %d versions", i, got, want)
		}
	}
	return nil
}

func TestEffectsAreExactlyOnceAndInOrder(t *testing.T) {
	t.Parallel()
	on := &stage{T: t, store: openStore(t), plant: func(s router.Store) router.Store { return s }, end: finale}
	rapid.Check(t, func(rt *rapid.T) {
		if err := on.play(append(stories.Draw(rt, "story"), reveals...)); err != nil {
			rt.Fatal(err)
		}
	})
}

// Planted bugs: what the property is there to find.
type (
	skipsCheckpoint struct{ router.Store } // the checkpoint is not advanced
	acksBeforehand  struct{ router.Store } // reports a commit that does not come
	doesNotBlock    struct{ router.Store } // later messages overtake what is parked
	losesWaiting    struct{ router.Store } // what belongs behind a parked message is not kept
)

func (s skipsCheckpoint) Advance(ctx context.Context, of router.Stream, c router.Checkpoint) error {
	if of.Handler != "book" {
		return nil
	}
	return s.Store.Advance(ctx, of, c)
}

func (s acksBeforehand) InTx(ctx context.Context, fn func(context.Context) error) error {
	lost := errors.New("lost")
	err := s.Store.InTx(ctx, func(ctx context.Context) error {
		if err := fn(ctx); err != nil {
			return err
		}
		return lost
	})
	if errors.Is(err, lost) {
		return nil
	}
	return err
}

func (s doesNotBlock) Blocked(context.Context, string, []string) ([]string, error) { return nil, nil }

func (s losesWaiting) Park(ctx context.Context, p router.Parked, tries []router.Attempt) (int, error) {
	if p.Status == router.Waiting {
		return 1, nil
	}
	return s.Store.Park(ctx, p, tries)
}

// reveals is the end of a story that shows each planted bug, however fast the handler is.
var reveals = []act{
	{What: "fail", Account: 1, Class: handlers.Poison}, {What: "burst"}, {What: "await"}, {What: "heal", Account: 1},
	{What: "burst"}, {What: "await"},
}

func TestThePropertyFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(router.Store) router.Store{
		"the checkpoint is not advanced": func(s router.Store) router.Store { return skipsCheckpoint{s} },
		"acknowledged before the commit": func(s router.Store) router.Store { return acksBeforehand{s} },
		"parked keys do not block":       func(s router.Store) router.Store { return doesNotBlock{s} },
		"what waits is lost":             func(s router.Store) router.Store { return losesWaiting{s} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on := &stage{T: t, store: openStore(t), plant: plant, end: amid}
			for seed := range 30 {
				if err := on.play(append(stories.Example(seed), reveals...)); err != nil {
					t.Logf("story %d: %v", seed, err)
					return
				}
			}
			t.Fatal("thirty stories did not show it")
		})
	}
}
