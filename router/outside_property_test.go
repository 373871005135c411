package router_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bankforge/handlers"
	"bankforge/router"
)

// Whatever fails, is parked, replayed, restarted, lost or away: in the end all stands outside, once and in order.

var outsideActs = rapid.Custom(func(t *rapid.T) act {
	return act{
		What: rapid.SampledFrom([]string{
			"credit", "credit", "credit", "burst", "fail", "heal", "replay", "await", "restart", "crash",
			"flush", "copy", "older", "away", "back",
		}).Draw(t, "what"),
		Account: rapid.IntRange(0, accounts-1).Draw(t, "account"),
		Class:   rapid.SampledFrom([]handlers.Class{handlers.Unknown, handlers.Poison}).Draw(t, "class"),
	}
})

var outsideStories = rapid.SliceOfN(outsideActs, 5, 60)

// shore is where stories of a vault are told.
type shore struct {
	*testing.T
	store router.Store
	plant func(router.Store, *vault) router.Store
	end   time.Duration // as of stage
	told  int
}

func (t *shore) play(story []act) error {
	t.told++
	name, first := fmt.Sprint("story-", t.told), 2*accounts*t.told
	l, v, fails := newLedger(), newVault(), map[int]error{}
	store := t.plant(t.store, v)
	var b *bench
	var life *mortal
	var stop func()
	begin := func() {
		life = &mortal{Store: store}
		b = newOutside(t, name, l, life, v)
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
		case "fail", "heal":
			delete(fails, a.Account)
			if a.What == "fail" {
				fails[a.Account] = handlers.As(a.Class, errBoom)
			}
			v.set(func() { v.fail = refuse(maps.Clone(fails)) })
		case "replay":
			_, _ = b.ReplaySequence(t.Context(), b.name, account(a.Account).String()) // may well fail
			v.set(func() { v.copied = nil })                                          // see disturb
		case "await":
			if _, err := v.Mark(t.Context(), outsideStream(name)); err == nil {
				await(b, l, amid)
			}
		case "crash", "restart":
			life.dead.Store(a.What == "crash")
			stop()
			v.set(func() { v.waiting = nil })
			begin()
		default:
			v.disturb(a.What)
		}
	}
	return t.mend(b, l, v, stop, first)
}

// disturb does something to the vault. An older state comes back only if nothing was replayed since: what a
// replay wrote is behind the mark, and so nobody would miss it.
func (v *vault) disturb(what string) {
	switch what {
	case "flush":
		v.flush()
	case "copy":
		v.copy()
	case "older":
		v.older()
	case "away":
		v.set(func() { v.down = handlers.As(handlers.Unavailable, errBoom) })
	case "back":
		v.set(func() { v.down = nil })
	}
}

func (t *shore) mend(b *bench, l *ledger, v *vault, stop func(), first int) error {
	v.set(func() { v.down, v.fail = nil, nil })
	defer stop()
	if !await(b, l, t.end) || !becomesComplete(v, b, t.end) {
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
	var wrong []string
	v.set(func() { wrong = v.wrong })
	if len(wrong) > 0 {
		return errors.New(wrong[0])
	}
	for i := first; i < first+2*accounts; i++ {
		if got, want := v.at(i), l.versions[account(i)]; got != want {
			return fmt.Errorf("account %d has %d of %d versions", i, got, want)
		}
	}
	return nil
}

func sound(s router.Store, _ *vault) router.Store { return s }

func TestEffectsOutsideAreExactlyOnceAndInOrder(t *testing.T) {
	t.Parallel()
	on := &shore{T: t, store: openStore(t), plant: sound, end: finale}
	rapid.Check(t, func(rt *rapid.T) {
		story := append(outsideStories.Draw(rt, "story"), shows...)
		if rapid.Bool().Draw(rt, "flushed") {
			story = append(story, flushed...)
		}
		if err := on.play(story); err != nil {
			rt.Fatal(err)
		}
	})
}

// keepsParked is a store that does not forget what was parked behind the place it goes back to.
type keepsParked struct{ router.Store }

func (s keepsParked) Rewind(ctx context.Context, of router.Stream, c router.Checkpoint) error {
	return s.Store.Advance(ctx, of, c)
}

// shows is the end of a story that shows each planted bug, however fast the handler is: what comes while the vault is
// away is delivered together, and some of it fails. What is parked and kept, shows once all is flushed; what waits and
// is lost, only if it is not, because then it comes again.
var (
	shows = []act{
		{What: "back"}, {What: "await"}, {What: "away"}, {What: "credit"}, {What: "fail", Account: 1, Class: handlers.Poison},
		{What: "burst"}, {What: "back"}, {What: "await"}, {What: "heal", Account: 1}, {What: "burst"}, {What: "await"},
	}
	flushed = []act{{What: "flush"}, {What: "await"}}
)

func TestThePropertyFindsPlantedBugsOutside(t *testing.T) {
	t.Parallel()
	of := func(bug func(*vault)) func(router.Store, *vault) router.Store {
		return func(s router.Store, v *vault) router.Store {
			bug(v)
			return s
		}
	}
	for name, plant := range map[string]func(router.Store, *vault) router.Store{
		"advanced before the write":      of(func(v *vault) { v.late = true }),
		"what stands there is not asked": of(func(v *vault) { v.unmoved = true }),
		"versions are not compared":      of(func(v *vault) { v.blind = true }),
		"the checkpoint is not advanced": func(s router.Store, _ *vault) router.Store { return skipsCheckpoint{s} },
		"parked keys do not block":       func(s router.Store, _ *vault) router.Store { return doesNotBlock{s} },
		"what waits is lost":             func(s router.Store, _ *vault) router.Store { return losesWaiting{s} },
		"parked messages are kept":       func(s router.Store, _ *vault) router.Store { return keepsParked{s} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on := &shore{T: t, store: openStore(t), plant: plant, end: amid}
			for seed := range 60 {
				story := append(outsideStories.Example(seed), shows...)
				if seed%2 == 1 {
					story = append(story, flushed...)
				}
				if err := on.play(story); err != nil {
					t.Logf("story %d: %v", seed, err)
					return
				}
			}
			t.Fatal("sixty stories did not show it")
		})
	}
}
