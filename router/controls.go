package router

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"bankforge/handlers"
)

// How often a process looks what operators want, and says where its handlers stand: when that has changed, or to show
// that it is alive.
const (
	obeyEvery   = 250 * time.Millisecond
	reportEvery = 2 * time.Second
	aliveEvery  = 20 * time.Second
	lookFor     = 5 * time.Second // a question may take
)

// Handlers are the names of the handlers with a parking lot, in the order of the routes.
func (r *Router) Handlers() (names []string) {
	for _, w := range r.workers {
		if w.Kind == Kept {
			names = append(names, w.Name)
		}
	}
	return names
}

// obey has the handlers do what operators want until end is called. Until it is known what that is, they are paused.
func (r *Router) obey(ctx context.Context) (end func()) {
	if r.c.Controls == nil || len(r.Handlers()) == 0 {
		return func() {}
	}
	for _, w := range r.workers {
		w.standing.order(w.Kind == Kept, "what operators want is not known yet", false)
	}
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	o := obeying{r: r, resumed: map[string]int64{}, said: map[string]Report{}}
	done.Go(func() {
		every := time.NewTicker(obeyEvery)
		defer every.Stop()
		for {
			o.look(ctx)
			select {
			case <-ctx.Done():
				return
			case <-every.C:
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
		o.farewell(context.WithoutCancel(ctx))
	}
}

// obeying is what a process knows of what operators want.
type obeying struct {
	r        *Router
	known    int64
	resumed  map[string]int64
	said     map[string]Report
	reported time.Time
	alive    time.Time
}

func (o *obeying) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	known := o.known
	if slices.ContainsFunc(o.r.workers, func(w *worker) bool { return w.astray.Load() }) {
		known = 0 // all is told once more
	}
	c, err := o.r.c.Controls.Controls(ctx, known)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil: // what was wanted last stays in force
		o.r.c.Log.WarnContext(ctx, "cannot see what operators want", "error", err)
		return
	case c.Version != known:
		for _, w := range o.r.workers {
			if w.Kind == Kept {
				o.tell(w, &c)
			}
		}
		o.known = c.Version
	}
	for _, w := range o.r.workers {
		if w.Kind == Kept && w.parked.Swap(false) {
			w.cap(ctx)
		}
	}
	if time.Since(o.reported) >= reportEvery || o.moved() {
		o.report(ctx)
	}
}

// tell has one handler do what is wanted.
func (o *obeying) tell(w *worker, c *Control) {
	policy := &o.r.c.Policy
	if set, ok := c.Policies[w.Name]; ok {
		p := PolicyOf(set)
		policy = &p
	}
	w.rules.Store(policy)
	why, paused := c.Paused[w.Name]
	paused = paused && w.Name != OperationsHandler // nothing could resume it
	resumed := o.known != 0 && c.Resumed[w.Name] != o.resumed[w.Name]
	o.resumed[w.Name] = c.Resumed[w.Name]
	w.astray.Store(false)
	w.standing.order(paused, why, resumed)
}

// moved reports whether a handler is doing something else than was said of it.
func (o *obeying) moved() bool {
	for _, w := range o.r.workers {
		if said, ok := o.said[w.Name]; ok && said.State != w.standing.is() {
			return true
		}
	}
	return false
}

// report says where the handlers stand.
func (o *obeying) report(ctx context.Context) {
	all, err := o.r.Status(ctx)
	if err != nil {
		return
	}
	now := time.Now()
	since := now.Sub(o.reported)
	alive := now.Sub(o.alive) >= aliveEvery
	var news []Report
	for i, w := range o.r.workers {
		if w.Kind != Kept {
			continue
		}
		one := Report{HandlerStatus: all[i], Controls: o.known}
		if n := w.standing.tookSince(); !o.reported.IsZero() {
			one.Rate = float64(n) / since.Seconds()
		}
		// It is for people: where the handler is exactly, its checkpoint says.
		one.Position = handlers.Position{}
		if alive || o.said[w.Name] != one {
			news = append(news, one)
			o.said[w.Name] = one
		}
	}
	o.reported = now
	if len(news) == 0 {
		return
	}
	if err := o.r.c.Controls.Report(ctx, o.r.c.Process, news, now); err != nil && ctx.Err() == nil {
		o.r.c.Log.WarnContext(ctx, "cannot say where handlers stand", "error", err)
		return
	}
	if alive {
		o.alive = now
	}
}

// farewell says that the handlers run here no more: what was said before would count for a while.
func (o *obeying) farewell(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	var last []Report
	for _, w := range o.r.workers {
		if w.Kind == Kept {
			said := o.said[w.Name]
			last = append(last, Report{HandlerStatus: HandlerStatus{
				Handler: w.Name, Topic: w.Topic, State: Stopped, LastError: said.LastError, FailedAt: said.FailedAt,
			}, Controls: o.known})
		}
	}
	if err := o.r.c.Controls.Report(ctx, o.r.c.Process, last, time.Now()); err != nil {
		o.r.c.Log.WarnContext(ctx, "cannot say that the handlers have ended", "error", err)
	}
}

// cap pauses the handler when too much waits for it.
func (w *worker) cap(ctx context.Context) {
	n, err := w.controls.Waiting(ctx, w.Name)
	if most := w.policy().PerHandler; err == nil && n > most {
		w.halt(ctx, fmt.Errorf("%w: more than %d messages of handler %s", ErrLotFull, most, w.Name))
	}
	if err != nil {
		w.parked.Store(true)
	}
}

// halt pauses the handler in all processes until an operator resumes it. Where there are no operators, it only waits.
func (w *worker) halt(ctx context.Context, why error) {
	if w.controls == nil || w.Name == OperationsHandler { // nothing could resume that one: it only waits
		return
	}
	w.log.ErrorContext(ctx, "handler pauses", "handler", w.Name, "reason", why)
	w.standing.order(true, why.Error(), false) // before anybody can resume it, which is told later
	if err := w.controls.Halt(ctx, w.Name, why.Error(), time.Now()); err != nil {
		w.log.ErrorContext(ctx, "cannot pause the handler", "handler", w.Name, "error", err)
		w.astray.Store(true)
	}
}
