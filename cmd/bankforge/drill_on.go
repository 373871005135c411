//go:build drill

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"bankforge/app"
	"bankforge/app/fault"
	"bankforge/cmd/bankforge/stores"
	"bankforge/handlers"
	"bankforge/router"
)

// takeOrders hands what a drill wants of this process to those who do it.
func takeOrders() error { return fault.Obey(os.Getenv("BANKFORGE_FAULT")) }

// drillCommands are commands that only drills call.
type drillCommands struct {
	Effects EffectsCmd `cmd:"" hidden:"" help:"Print what handlers have done, in order."`
}

// effects are where handlers write down what they have done.
type effects interface {
	MakeEffects(ctx context.Context) error
	Effected(ctx context.Context, handler string, versions map[string][]uint64) error
	Unaffected(ctx context.Context, handler, key string) error
	Effects(ctx context.Context, tell func(handler, key string, version uint64) error) error
}

// EffectsCmd prints what handlers have done.
type EffectsCmd struct{}

// effectsLine is what a handler has done of one key.
type effectsLine struct {
	Handler  string   `json:"handler"`
	Key      string   `json:"key"`
	Versions []uint64 `json:"versions"` // in the order in which they were committed
}

// Run prints a line of JSON for each handler and key.
func (EffectsCmd) Run(ctx context.Context, cli *CLI, stdout io.Writer) error {
	out := bufio.NewWriter(stdout)
	lines := json.NewEncoder(out)
	return cli.keeper().WithHandlers(ctx, func(ctx context.Context, h stores.Handlers) error {
		at, ok := h.Store.(effects)
		if !ok {
			return errors.ErrUnsupported
		}
		var line effectsLine
		flush := func() error {
			if len(line.Versions) == 0 {
				return nil
			}
			return lines.Encode(&line)
		}
		err := at.Effects(ctx, func(handler, key string, version uint64) error {
			if handler != line.Handler || key != line.Key {
				if err := flush(); err != nil {
					return err
				}
				line = effectsLine{Handler: handler, Key: key}
			}
			line.Versions = append(line.Versions, version)
			return nil
		})
		return errors.Join(err, flush(), out.Flush())
	})
}

// disturbed has handlers fail at some messages for a while, if that was ordered, and write down in their transactions
// what they have done.
func disturbed(ctx context.Context, routes []router.Route, store stores.Operations) ([]router.Route, error) {
	seed, every := fault.Failing()
	at, ok := store.(effects)
	if every == 0 || !ok {
		return routes, nil
	}
	if err := at.MakeEffects(ctx); err != nil {
		return nil, err
	}
	for i := range routes {
		r := &routes[i]
		if r.Name == app.BalancesHandler {
			routes = append(routes, witness(*r))
			break
		}
	}
	for i := range routes {
		r := &routes[i]
		if r.Kind == router.Kept && r.Outside == nil && r.Name != router.OperationsHandler {
			s := &saboteur{name: r.Name, seed: seed, every: every, at: at, next: r.Handler, before: r.Forget}
			r.Handler, r.Forget = s.handle, s.forget
		}
	}
	return routes, nil
}

// witness is a handler beside another one that takes in whatever comes: views would refuse what does not follow.
func witness(r router.Route) router.Route {
	r.Name = "witness"
	r.Handler = func(context.Context, []handlers.Fact) error { return nil }
	r.Forget = func(context.Context, string) (bool, error) { return true, nil }
	return r
}

// saboteur is a handler that fails at some messages, again and again until it does not.
type saboteur struct {
	name        string
	seed, every uint64
	at          effects
	next        handlers.Func
	before      router.Forget
	anew        sync.Map // keys whose views are written anew → the version that comes next
	first       sync.Map // the hash of a fact → when it failed first in this process
}

// forget takes away what was noted with what the view has.
func (s *saboteur) forget(ctx context.Context, key string) (known bool, err error) {
	if known, err = s.before(ctx, key); err == nil && known {
		s.anew.Store(key, uint64(1))
		err = s.at.Unaffected(ctx, s.name, key)
	}
	return known, err
}

// failing finds a fact at which the handler fails now. Of a view that is written anew, there are too many facts for
// each of them to have its turn.
func (s *saboteur) failing(facts []handlers.Fact) func() error {
	const most = 1000 // that are handed to who writes anew at once
	if next, ok := s.anew.LoadAndDelete(facts[0].Key()); ok && next == uint64(facts[0].Version()) {
		if len(facts) == most {
			s.anew.Store(facts[0].Key(), uint64(facts[0].Version())+most)
		}
		f := &facts[rand.IntN(len(facts))]                                  //nolint:gosec // no secret
		if rand.IntN(6) == 0 && s.kind(s.hash(f)) != handlers.Unavailable { //nolint:gosec // no secret
			return s.failed(f)
		}
		return nil
	}
	for i := range facts {
		if h := s.hash(&facts[i]); h%s.every == 0 && s.ill(h) {
			return s.failed(&facts[i])
		}
	}
	return nil
}

// ill is true in every other second, and rarely in between: what has failed can be handled by then, with all that waits
// behind it, while more comes. What holds a handler is gone sooner.
func (s *saboteur) ill(hash uint64) bool {
	first, _ := s.first.LoadOrStore(hash, time.Now())
	since, _ := first.(time.Time)
	if s.kind(hash) == handlers.Unavailable && time.Since(since) > 50*time.Millisecond {
		return false
	}
	phase := int64(len(s.name))                                   // not all handlers at once
	return (time.Now().Unix()+phase)%2 == 0 || rand.IntN(50) == 0 //nolint:gosec // no secret
}

func (s *saboteur) handle(ctx context.Context, facts []handlers.Fact) error {
	failure := s.failing(facts)
	const few = 32
	late := len(facts) <= few && rand.IntN(2) == 0 //nolint:gosec // what was written must be undone
	if failure != nil && !late {
		return failure()
	}
	if err := s.next(ctx, facts); err != nil {
		return err
	}
	versions := map[string][]uint64{}
	for i := range facts {
		key := facts[i].Key()
		versions[key] = append(versions[key], uint64(facts[i].Version()))
	}
	if err := s.at.Effected(ctx, s.name, versions); err != nil {
		return err
	}
	if failure != nil {
		return failure()
	}
	return s.dawdle(ctx, len(facts))
}

// dawdle has the handler take its time now and then, in its transaction: others come in between, if they may. Few facts
// are mostly those of who replays, who is given time where nothing else keeps others out.
func (s *saboteur) dawdle(ctx context.Context, facts int) error {
	some := 3
	if fault.Planted(fault.NoRowLock) {
		some = 1
	}
	if facts < some || rand.IntN(2) == 0 { //nolint:gosec // no secret
		return nil
	}
	timer := time.NewTimer(rand.N(100 * time.Millisecond)) //nolint:gosec // no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *saboteur) hash(f *handlers.Fact) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, s.seed, s.name, f.Key(), f.Version()) // never fails, it says
	return h.Sum64()
}

// failed is how the handler fails at a fact.
func (s *saboteur) failed(f *handlers.Fact) func() error {
	class := s.kind(s.hash(f))
	err := fmt.Errorf("the drill: %s does not take version %d of %s", s.name, f.Version(), f.Key())
	if class == handlers.Rejected { // it would be done with; so this stands for a panic
		return func() error { panic(err) }
	}
	return func() error { return handlers.As(class, err) }
}

func (s *saboteur) kind(hash uint64) handlers.Class {
	classes := []handlers.Class{
		handlers.Unknown, handlers.Transient, handlers.Poison, handlers.Unavailable, handlers.Rejected,
	}
	return classes[hash/s.every%uint64(len(classes))]
}
