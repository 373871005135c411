package main

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"bankforge/app"
	"bankforge/app/succession"
	"bankforge/ports"
	"bankforge/router"
)

// readiness knows how the modules of this process are.
type readiness struct {
	decider interface{ Ready() error }
	owners  *succession.Succession // nil: this process is the only one
	log     func() error           // why commands cannot be decided upon the log
	runs    func(module string) bool

	published *router.Published // nil: what is committed is published
	tide      *app.Tide

	mu      sync.Mutex
	routers map[string]*router.Router
}

// statusPatience is how long reading the log's head may take before a module counts as not ready.
const statusPatience = 2 * time.Second

func (r *readiness) add(module string, of *router.Router) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.routers == nil {
		r.routers = map[string]*router.Router{}
	}
	r.routers[module] = of
}

// Ready implements ports.Readiness.
func (r *readiness) Ready() []ports.ModuleState {
	ctx, cancel := context.WithTimeout(context.Background(), statusPatience)
	defer cancel()
	var out []ports.ModuleState
	for _, m := range modules {
		if r.runs(m.name) {
			out = append(out, r.state(ctx, m))
		}
	}
	return out
}

// standing says who owns the ledger.
func standing(what succession.Standing, owner app.Holder) string {
	if what == succession.Owning {
		return "it owns the ledger"
	}
	return fmt.Sprintf("%s: %s at %s owns the ledger", what, owner.Owner, owner.Address)
}

func (r *readiness) state(ctx context.Context, m module) ports.ModuleState {
	out := ports.ModuleState{Module: m.name, Ready: true}
	if m.decides {
		if err := cmp.Or(r.decider.Ready(), r.log()); err != nil {
			out.Ready, out.Detail = false, err.Error()
		} else if r.owners != nil {
			out.Detail = standing(r.owners.State())
		}
	}
	if m.name == "event-store" && r.published != nil {
		at, head := r.published.Seq(), r.tide.Committed()
		out.Lag = uint64(max(head, at) - at)
		if !r.published.Begun() {
			out.Ready, out.Detail = false, "nothing has been brought to the broker yet"
		}
	}
	if !m.handles {
		return out
	}
	r.mu.Lock()
	of := r.routers[m.name]
	r.mu.Unlock()
	if of == nil {
		out.Ready, out.Detail = false, "it is starting"
		return out
	}
	handlers, err := of.Status(ctx)
	if err != nil {
		out.Ready, out.Detail = false, "the log cannot be read: "+err.Error()
	}
	for _, h := range handlers {
		out.Lag = max(out.Lag, uint64(h.Lag))
		if h.State != router.Running {
			out.Ready, out.Detail = false, "handler "+h.Handler+" is "+string(h.State)
		}
	}
	return out
}
