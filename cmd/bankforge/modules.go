package main

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"bankforge/router"
	"bankforge/router/herald"
	"bankforge/router/relay"
	"bankforge/router/repair"
)

// module is one part of the bank that a process may run.
type module struct {
	name string
	// decides: it needs the ledger to take commands.
	decides bool
	// handles: it has handlers, in a Router of its own.
	handles bool
	// run works until ctx ends; nil: the module only answers requests.
	run func(ctx context.Context, b *bankProcess) error
}

// modules are what there is to run. A process that runs only some of them answers only their requests.
var modules = []module{
	{"account-command", true, false, nil},                                // accounts and customers
	{"transaction-command", true, false, nil},                            // money
	{"account-query", false, true, runHandlers("account-query")},         // accounts and balances
	{"transaction-query", false, true, runHandlers("transaction-query")}, // history
	{"event-store", false, false, runRelay},                              // reading the log, and bringing it to the broker
	{"monitoring", false, true, runHandlers("monitoring")},               // operators: what they see and want
	{"push", false, true, runPush},                                       // live updates to browsers
	{"console", false, false, nil},                                       // the web page
}

// runs reports whether --target names the module.
func (s *Serve) runs(name string) bool {
	return slices.Contains(s.Target, "all") || slices.Contains(s.Target, name)
}

// decides reports whether a module runs that needs the ledger to take commands.
func (s *Serve) decides() bool {
	return slices.ContainsFunc(modules, func(m module) bool { return m.decides && s.runs(m.name) })
}

// runRelay brings the log to the broker, if there is one: one process does at a time, others stand by. It also shows
// there what is parked.
func runRelay(ctx context.Context, b *bankProcess) error {
	if b.published == nil {
		return nil
	}
	r, publisher, err := b.stores.Broker.Relay(relay.Config{
		Source: b.routing.Source, Hints: b.routing.Hints, Owner: owner() + "/" + strings.ToLower(rand.Text()[:8]),
		Saw: b.published.Saw, Log: b.log,
	})
	if err != nil {
		return err
	}
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { return errors.Join(r.Run(ctx), publisher.Close()) })
	parts.Go(func() error { return b.stores.Broker.Mirror(ctx) })
	return parts.Wait()
}

// runPush tells clients here what happens: to accounts, as it comes from the log, and to what handlers fail at.
func runPush(ctx context.Context, b *bankProcess) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	told := make(chan struct{})
	h := herald.New(herald.Config{Store: b.stores.Writes.Operations, Hub: b.hub, Log: b.log})
	go func() {
		defer close(told)
		h.Run(ctx)
	}()
	err := runHandlers("push")(ctx, b)
	cancel()
	<-told
	return err
}

// runHandlers runs the handlers of a module in a Watermill Router of their own, so that a stuck one
// holds up nobody else, and tries again what waits for them.
func runHandlers(name string) func(context.Context, *bankProcess) error {
	return func(ctx context.Context, b *bankProcess) error {
		r, err := router.New(name, b.routes, b.routing)
		if err != nil {
			return err
		}
		b.ready.add(name, r)
		if len(r.Handlers()) == 0 {
			return r.Run(ctx)
		}
		again := repair.New(repair.Config{
			Router: r, Store: b.stores.Writes.Operations, Owner: owner(), Log: b.log, Metrics: b.metrics,
		})
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- again.Run(ctx) }()
		err = r.Run(ctx)
		cancel()
		return errors.Join(err, <-ended)
	}
}
