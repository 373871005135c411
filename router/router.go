// Package router moves messages: from the log to every handler, through the middleware, and, when a
// handler fails for good, into its parking lot. Watermill's types end here: handlers see facts.
//
// The way of a fact: Source (the log) → Tail (a message.Subscriber for each handler) → the steps of
// middleware.go in their order → the handler's function. routes.go lists who handles what.
package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/handlers"
)

// Config is what the handlers of one module share. Fields without a default are required.
type Config struct {
	Source   Source
	Hints    *Hints        // wakes handlers when something was appended; nil: only Poll does
	Progress *Progress     // told how far handlers have come
	Poll     time.Duration // how often the log is looked at without a hint; default 1 s
	Batch    int           // events that are delivered together at most, each one to a few messages; default 8192
	Grace    time.Duration // how long what is being handled may take at the end; default 10 s
	Policy   Policy        // zero: DefaultPolicy
	Classify []Classifier  // know the errors of the adapters in use
	Metrics  Metrics       // default: NoMetrics
	Broker   *Broker       // what brings the messages; nil: the log itself, tailed
	Log      *slog.Logger  // default: discarded
	Controls Controls      // what operators want, looked at while handlers run; nil: nobody wants anything
	Process  string        // this process, as operators see it
	Versions Versions      // of keys whose views are to be written anew; nil: none can be
	// From is the event behind which newest routes start: the last one when the process opened its doors. nil: the
	// last one when their router starts, which may be later.
	From *bank.Seq
}

// resend is the pause before a refused message comes again. Failures are waited out inside the steps, so
// this only paces what went past them.
const resend = 100 * time.Millisecond

// Router runs the handlers of one module.
type Router struct {
	c        Config
	workers  []*worker
	draining chan struct{}
}

// New makes the router of a module: of routes it takes those of the module, all when module is "".
func New(module string, routes []Route, c Config) (*Router, error) {
	if c.Source == nil || c.Progress == nil {
		return nil, errors.New("a router needs a source and a progress")
	}
	r := &Router{c: c.withDefaults(), draining: make(chan struct{})}
	for _, route := range routes {
		if module != "" && route.Module != module {
			continue
		}
		switch {
		case route.Name == "" || route.Topic == "" || route.Handler == nil || route.Kind == Kept && route.Store == nil:
			return nil, fmt.Errorf("route %q lacks its name, topic, handler or store", route.Name)
		case r.worker(route.Name) != nil:
			return nil, fmt.Errorf("two routes are named %q", route.Name)
		}
		w, err := r.newWorker(route)
		if err != nil {
			return nil, err
		}
		r.workers = append(r.workers, w)
	}
	if len(r.workers) == 0 {
		return nil, fmt.Errorf("module %q has no routes", module)
	}
	return r, nil
}

func (c Config) withDefaults() Config {
	if c.Poll == 0 {
		c.Poll = time.Second
	}
	if c.Batch == 0 {
		c.Batch = 8192
	}
	if c.Grace == 0 {
		c.Grace = 10 * time.Second
	}
	if c.Policy.Tries == nil {
		c.Policy = DefaultPolicy()
	}
	if c.Metrics == nil {
		c.Metrics = NoMetrics{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func (r *Router) newWorker(route Route) (*worker, error) {
	w := &worker{
		Route: route, feed: facts{r.c.Source, r.c.Batch, route.Kind == Newest}, from: r.c.From,
		standing: newStanding(route.Name, r.c.Metrics), progress: r.c.Progress, metrics: r.c.Metrics,
		classify: r.c.Classify, log: r.c.Log, draining: r.draining, controls: r.c.Controls,
	}
	w.rules.Store(&r.c.Policy)
	r.c.Progress.register(route.Name, route.Store)
	tail := TailConfig{
		Start: w.start, Gather: w.gather,
		Hints: r.c.Hints, Poll: r.c.Poll, Again: resend, Log: r.c.Log.With("handler", route.Name),
	}
	if route.Kind == Newest {
		tail.Start, tail.Gather = w.newest, nil
		tail.Silent = func(through bank.Seq) { w.took(0, Checkpoint{Position: handlers.End(through)}) }
	}
	if r.c.Broker.brings(&route) {
		return w, w.subscribe(r.c.Broker, tail)
	}
	tail.Feed = w.feed
	if route.Outside != nil {
		tail.Feed = pulsing{w.feed, r.c.Poll, w.whole, &time.Time{}}
	}
	w.reads = NewTail(tail)
	return w, nil
}

func (r *Router) worker(name string) *worker {
	for _, w := range r.workers {
		if w.Name == name {
			return w
		}
	}
	return nil
}

// Run delivers until ctx ends. Then it hands out nothing more, lets what is being handled come to its
// end, for Config.Grace at most, and returns nil. A Router runs once.
func (r *Router) Run(ctx context.Context) error {
	// Watermill cancels the contexts of messages as soon as its own ends; ours ends only once they are handled.
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	wm, err := message.NewRouter(message.RouterConfig{CloseTimeout: r.c.Grace}, quiet(r.c.Log))
	if err != nil {
		return err
	}
	for _, w := range r.workers {
		steps := w.steps()
		if w.Kind == Newest {
			steps = w.newestSteps()
		}
		h := wm.AddConsumerHandler(w.Name, string(w.Topic), w.reads, w.handle)
		for _, s := range steps {
			h.AddMiddleware(s.wrap)
		}
		w.standing.change(func() { w.standing.running = true })
		defer w.standing.change(func() { w.standing.running = false })
	}
	defer r.follow(inner)()
	defer r.obey(inner)()
	done := make(chan error, 1)
	go func() { done <- wm.Run(inner) }()
	select {
	case err := <-done:
		return err
	case <-wm.Running():
	}
	select {
	case err := <-done:
		return errors.Join(errors.New("the handlers ended by themselves"), err)
	case <-ctx.Done():
	}
	r.drain(inner)
	return errors.Join(wm.Close(), <-done)
}

// drain waits until nothing is being handled.
func (r *Router) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.c.Grace)
	defer cancel()
	close(r.draining)
	var all sync.WaitGroup
	for _, w := range r.workers {
		if d, ok := w.reads.(drainer); ok {
			all.Go(func() { d.Drain(ctx) })
		}
	}
	all.Wait()
}

// quiet is Watermill's log: what it tells at level info is only of use in debugging.
func quiet(log *slog.Logger) watermill.LoggerAdapter {
	return watermill.NewSlogLoggerWithLevelMapping(log, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})
}

// Pause makes a handler wait before its next message; what it is doing comes to its end.
func (r *Router) Pause(handler string) error {
	return r.with(handler, func(w *worker) { w.standing.pause() })
}

// Resume ends a pause. A handler that holds tries again at once, and what looked like an outage to it is forgotten.
func (r *Router) Resume(handler string) error {
	return r.with(handler, func(w *worker) { w.standing.resume() })
}

func (r *Router) with(handler string, do func(*worker)) error {
	w := r.worker(handler)
	if w == nil {
		return fmt.Errorf("there is no handler %q", clip(handler))
	}
	do(w)
	return nil
}

// Status says where each handler stands, in the order of the routes.
func (r *Router) Status(ctx context.Context) ([]HandlerStatus, error) {
	head, err := r.c.Source.Head(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]HandlerStatus, len(r.workers))
	for i, w := range r.workers {
		out[i] = w.status(head.Seq)
	}
	return out, nil
}

func (w *worker) status(head bank.Seq) HandlerStatus {
	s, whole := w.standing, handlers.End(w.progress.At(w.Name))
	s.mu.Lock()
	defer s.mu.Unlock()
	out := HandlerStatus{
		Handler: w.Name, Topic: w.Topic, State: s.state(), Position: s.position, LastError: s.lastErr, FailedAt: s.failedAt,
		Why: s.why,
	}
	if w.partitions > 0 {
		out.Position = whole
	}
	if at := out.Position.Whole(); head > at {
		out.Lag = head - at
	}
	return out
}
