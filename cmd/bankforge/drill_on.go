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

// disturbed has handlers fail at random, if that was ordered, and write down in their transactions what they have done.
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
		if r.Kind == router.Kept && r.Outside == nil && r.Name != router.OperationsHandler {
			r.Handler = (&saboteur{r.Name, seed, every, at, r.Handler}).handle
		}
	}
	return routes, nil
}

// saboteur is a handler that fails at some messages, again and again until it does not.
type saboteur struct {
	name        string
	seed, every uint64
	at          effects
	next        handlers.Func
}

func (s *saboteur) handle(ctx context.Context, facts []handlers.Fact) error {
	var failure func() error
	for i := range facts {
		if failure = s.failure(&facts[i]); failure != nil {
			break
		}
	}
	late := rand.IntN(2) == 0 //nolint:gosec // what was written must be undone
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
	return nil
}

// failure is how the handler fails at a fact this time; nil: it does not. At which ones it may is in the seed, and at
// these it does three times of four.
func (s *saboteur) failure(f *handlers.Fact) func() error {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, s.seed, s.name, f.Key(), f.Version()) // never fails, it says
	sum := h.Sum64()
	if sum%s.every != 0 || rand.IntN(4) == 0 { //nolint:gosec // no secret
		return nil
	}
	classes := []handlers.Class{handlers.Unknown, handlers.Transient, handlers.Poison, handlers.Unavailable}
	kind := sum / s.every % uint64(len(classes)+1)
	err := fmt.Errorf("the drill: %s does not take version %d of %s", s.name, f.Version(), f.Key())
	if kind == uint64(len(classes)) {
		return func() error { panic(err) }
	}
	return func() error { return handlers.As(classes[kind], err) }
}
