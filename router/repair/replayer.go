package repair

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/router"
)

// Router is what a replayer needs of the handlers of a module.
type Router interface {
	// Handlers are those with a parking lot.
	Handlers() []string
	// ReplayHead is router.Router's.
	ReplayHead(ctx context.Context, handler, key string, by router.By) error
	// ReplayFront is router.Router's.
	ReplayFront(ctx context.Context, handler string, keys []string, by router.By) (n int, drained []string, err error)
	// Rebuild is router.Router's.
	Rebuild(ctx context.Context, handler, key string, lock func(context.Context) (bool, error),
		done func(context.Context) error) error
}

// Config is what a replayer is made of. Fields without a default are required.
type Config struct {
	Router  Router
	Store   Store
	Owner   string        // of claims: this process
	Poll    time.Duration // how often is looked; default 250 ms
	Claim   time.Duration // how long a claim holds; default 30 s
	Workers int           // sequences beside one another, and as many of replays; default 4
	Hold    time.Duration // a sequence waits for what is down; default 15 s
	Log     *slog.Logger  // default: discarded
	Metrics Metrics       // default: none
}

// Metrics counts what replayers do. It is safe for concurrent use.
type Metrics interface {
	// Replayed is called for each message that was tried again.
	Replayed(handler string, ok bool)
}

// Replayer tries again what waits for the handlers of one module. Many may share a store.
type Replayer struct {
	c Config

	mu   sync.Mutex
	held map[string]time.Time // handlers whose replays wait for what is down, until when
}

// New makes a replayer.
func New(c Config) *Replayer {
	if c.Poll == 0 {
		c.Poll = 250 * time.Millisecond
	}
	if c.Claim == 0 {
		c.Claim = 30 * time.Second
	}
	if c.Workers == 0 {
		c.Workers = 4
	}
	if c.Hold == 0 {
		c.Hold = 15 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Owner += "/" + rand.Text()[:8]
	return &Replayer{c: c, held: map[string]time.Time{}}
}

// Run works until ctx ends; what is being tried comes to its end.
func (r *Replayer) Run(ctx context.Context) error {
	if len(r.c.Router.Handlers()) == 0 {
		<-ctx.Done()
		return nil
	}
	work, running := make(chan Due), make(chan Running)
	var all sync.WaitGroup
	for i := range r.c.Workers {
		w := &worker{r: r, owner: r.c.Owner + "/" + string(rune('a'+i))}
		all.Go(func() { w.sequences(ctx, work) })
		all.Go(func() { w.forReplays().replays(ctx, running) })
	}
	r.look(ctx, work, running)
	close(work)
	close(running)
	all.Wait()
	return nil
}

// look hands out what is due.
func (r *Replayer) look(ctx context.Context, work chan<- Due, running chan<- Running) {
	every := time.NewTicker(r.c.Poll)
	defer every.Stop()
	for {
		r.lookAtReplays(ctx, running)
		all, err := r.c.Store.Due(ctx, r.c.Router.Handlers(), time.Now(), dueAtOnce)
		if err != nil && ctx.Err() == nil {
			r.c.Log.WarnContext(ctx, "cannot see what is due", "error", err)
		}
		for _, d := range all {
			if !r.handOut(ctx, d, work, running, every.C) {
				return
			}
		}
		if len(all) == dueAtOnce {
			continue // there is more
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// handOut hands a sequence to the next worker that has time for it; replays need not wait for that. false: ctx has
// ended.
func (r *Replayer) handOut(
	ctx context.Context, d Due, work chan<- Due, running chan<- Running, every <-chan time.Time,
) bool {
	for {
		select {
		case work <- d:
			return true
		case <-every:
			r.lookAtReplays(ctx, running)
		case <-ctx.Done():
			return false
		}
	}
}

// lookAtReplays tells workers that have nothing to do what runs.
func (r *Replayer) lookAtReplays(ctx context.Context, running chan<- Running) {
	all, err := r.c.Store.Running(ctx)
	if err != nil && ctx.Err() == nil {
		r.c.Log.WarnContext(ctx, "cannot see which replays run", "error", err)
	}
	for range r.c.Workers {
		for _, one := range all {
			select {
			case running <- one:
			default:
			}
		}
	}
}

// dueAtOnce is how many sequences are looked up at once.
const dueAtOnce = 100

// worker tries one sequence at a time.
type worker struct {
	r     *Replayer
	owner string
	mine  []Due     // what is claimed
	kept  time.Time // when the claims were prolonged last
}

// forReplays is another worker, whose claims are its own.
func (w *worker) forReplays() *worker { return &worker{r: w.r, owner: w.owner + "-replays"} }

// sequences works on what is due.
func (w *worker) sequences(ctx context.Context, work <-chan Due) {
	for d := range work {
		now := time.Now()
		ok, err := w.r.c.Store.Claim(ctx, d.Handler, d.Key, w.owner, now, now.Add(w.r.c.Claim))
		if err != nil || !ok {
			continue // somebody else has it, or it comes again
		}
		w.kept, w.mine = now, []Due{d}
		due := d.Rebuild || w.stillDue(ctx, &d)
		switch {
		case !due:
		case d.Rebuild: // maybe only by now
			w.rebuild(ctx, &d)
		default:
			w.until(ctx, &d, func() bool { return true })
		}
		// Also when ctx has ended: others need not wait for the claim to run out.
		free, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
		if err := w.r.c.Store.Release(free, d.Handler, d.Key, w.owner); err != nil {
			w.r.c.Log.WarnContext(ctx, "cannot release a sequence", "handler", d.Handler, "error", err)
		}
		cancel()
	}
}

const releaseWithin = 5 * time.Second

// stillDue is asked once the sequence is claimed: before, somebody else may have tried it.
func (w *worker) stillDue(ctx context.Context, d *Due) bool {
	now, ok, err := w.r.c.Store.DueNow(ctx, d.Handler, d.Key, time.Now())
	if err != nil || !ok {
		return false
	}
	*d = now
	return true
}

// outcome is how far a sequence was tried. unsettled: it goes on, now or later.
type outcome int

const (
	unsettled outcome = iota
	emptied
	failing // one of its messages has failed, or its key is paused
	held    // what it needs is down, which says nothing about its messages
)

// until tries the messages of a sequence in order, until it is empty, one fails, or more says no.
func (w *worker) until(ctx context.Context, d *Due, more func() bool) outcome {
	by := router.By{Cause: d.Cause, Alone: d.Alone}
	for ctx.Err() == nil && more() {
		err := w.r.c.Router.ReplayHead(ctx, d.Handler, d.Key, by)
		switch {
		case err == nil:
			w.count(d.Handler, true)
			if d.Alone || !w.keep(ctx) {
				return unsettled
			}
		case errors.Is(err, router.ErrNoSequence):
			return emptied
		case ctx.Err() != nil:
			return unsettled
		case errors.Is(err, router.ErrKeyPaused):
			return failing
		default:
			w.count(d.Handler, false)
			return w.failed(ctx, d, err)
		}
	}
	return unsettled
}

// failed has a sequence wait whose failure says nothing about it. The others have been given their time.
func (w *worker) failed(ctx context.Context, d *Due, err error) outcome {
	w.r.c.Log.WarnContext(ctx, "a message has failed again", "handler", d.Handler, "key", d.Key,
		"error", ops.Masked(says(err)))
	again, is := errors.AsType[*router.ReplayError](err)
	if is && again.Class != handlers.Unavailable {
		return failing
	}
	if err := w.r.c.Store.Postpone(ctx, d.Handler, d.Key, time.Now().Add(w.r.c.Hold)); err != nil && ctx.Err() == nil {
		w.r.c.Log.WarnContext(ctx, "cannot postpone a sequence", "handler", d.Handler, "error", err)
	}
	return held
}

// keep prolongs the claims in time, also of what waits for its turn; false: one has been lost.
func (w *worker) keep(ctx context.Context) bool {
	now := time.Now()
	if now.Sub(w.kept) < w.r.c.Claim/3 {
		return true
	}
	for _, d := range w.mine {
		ok, err := w.r.c.Store.Claim(ctx, d.Handler, d.Key, w.owner, now, now.Add(w.r.c.Claim))
		if err != nil || !ok {
			return false
		}
	}
	w.kept = now
	return true
}

func (w *worker) count(handler string, ok bool) {
	if w.r.c.Metrics != nil {
		w.r.c.Metrics.Replayed(handler, ok)
	}
}

// rebuild writes a key's view anew from the log.
func (w *worker) rebuild(ctx context.Context, d *Due) {
	s, tried := w.r.c.Store, ""
	err := w.r.c.Router.Rebuild(ctx, d.Handler, d.Key, func(ctx context.Context) (bool, error) {
		act, wanted, err := s.Lock(ctx, d.Handler, d.Key)
		tried = cmp.Or(tried, act) // later ones, it may not have done justice to
		return wanted, err
	}, func(ctx context.Context) error {
		_, err := s.Rebuilt(ctx, d.Handler, d.Key, time.Now().UTC().Truncate(time.Microsecond))
		return err
	})
	switch {
	case err == nil || ctx.Err() != nil:
		return
	case errors.Is(err, router.ErrNoRebuild):
		err = s.Refuse(ctx, d.Handler, d.Key, Refusal{tried, ops.RefusedNoRebuild, err.Error(), time.Now()})
	case unavailable(err):
		err = s.Postpone(ctx, d.Handler, d.Key, time.Now().Add(w.r.c.Hold))
	default:
		err = s.Refuse(ctx, d.Handler, d.Key, Refusal{tried, ops.FailedAgain, says(err), time.Now()})
	}
	if err != nil {
		w.r.c.Log.WarnContext(ctx, "cannot say what became of a rebuild", "handler", d.Handler, "error", err)
	}
}

// says is what operators are told of an error.
func says(err error) string {
	if again, ok := errors.AsType[*router.ReplayError](err); ok {
		return again.Text
	}
	return ops.Discreet(err.Error(), nil)
}

// unavailable reports whether what failed is likely to go by itself.
func unavailable(err error) bool {
	again, is := errors.AsType[*router.ReplayError](err)
	return is && (again.Class == handlers.Unavailable || again.Class == handlers.Transient)
}
