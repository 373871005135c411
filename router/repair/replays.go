package repair

import (
	"context"
	"slices"
	"time"

	"bankforge/router"
)

// takeAtOnce is how many sequences of a replay a worker claims together: many have only one message.
const takeAtOnce = 32

// share is how much of a second's messages a worker may begin at once.
const share = 20

// replays works on replays that run, one worker at one sequence at a time.
func (w *worker) replays(ctx context.Context, running <-chan Running) {
	for r := range running {
		for ctx.Err() == nil && w.replay(ctx, r) {
			continue
		}
	}
}

// replay tries some sequences of a replay, and reports whether there were any.
func (w *worker) replay(ctx context.Context, r Running) bool {
	now := time.Now()
	n := takeAtOnce
	if r.Rate > 0 {
		n = min(n, max(1, r.Rate/share))
	}
	all, err := w.r.c.Store.Take(ctx, r, w.r.upright(now), w.owner, n, now, now.Add(w.r.c.Claim))
	if err != nil {
		if ctx.Err() == nil {
			w.r.c.Log.WarnContext(ctx, "cannot take from a replay", "replay", r.ID, "error", err)
		}
		return false
	}
	if len(all) == 0 {
		return false
	}
	w.kept = now
	pace := pace{w: w, r: r, ctx: ctx}
	settled, all := w.together(ctx, all, &pace)
	for i := range all {
		w.mine = all[i:]
		became := w.until(ctx, &all[i], pace.next)
		switch became {
		case emptied, failing:
			settled = append(settled, Settled{all[i], became == failing})
		case held:
			w.r.hold(all[i].Handler)
		case unsettled:
		}
		stops := became == failing && r.StopAfter > 0 // it may be over: that shows once this one is settled
		if ctx.Err() != nil || pace.over || became == held || stops || !w.keep(ctx) {
			break
		}
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
	defer cancel()
	if err := w.r.c.Store.Settle(end, r.ID, settled, w.owner, time.Now()); err != nil {
		w.r.c.Log.WarnContext(ctx, "cannot settle sequences of a replay", "replay", r.ID, "error", err)
	}
	return true
}

// hold has the replays of a handler wait for what is down.
func (r *Replayer) hold(handler string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[handler] = time.Now().Add(r.c.Hold)
}

// upright are the handlers whose replays do not wait for what is down.
func (r *Replayer) upright(now time.Time) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.c.Router.Handlers()), func(handler string) bool {
		return now.Before(r.held[handler])
	})
}

// together tries many messages in one transaction, as long as all of them succeed and no rate has to be kept to. It
// returns the sequences that are empty by that, and those that are left to be tried one by one.
func (w *worker) together(ctx context.Context, all []Due, p *pace) (settled []Settled, left []Due) {
	for len(all) > 0 && p.r.Rate == 0 && ctx.Err() == nil && p.next() {
		if w.mine = all; !w.keep(ctx) {
			break
		}
		first := all[0]
		var keys []string
		for _, d := range all {
			if d.Handler == first.Handler {
				keys = append(keys, d.Key)
			}
		}
		n, drained, err := w.r.c.Router.ReplayFront(ctx, first.Handler, keys, router.By{Cause: first.Cause})
		if err != nil || n == 0 {
			break
		}
		for range n {
			w.count(first.Handler, true)
		}
		all = slices.DeleteFunc(all, func(d Due) bool {
			gone := d.Handler == first.Handler && slices.Contains(drained, d.Key)
			if gone {
				settled = append(settled, Settled{Due: d})
			}
			return gone
		})
	}
	return settled, all
}

// pace keeps to the rate of a replay, and looks from time to time whether it still runs.
type pace struct {
	ctx    context.Context //nolint:containedctx // of one turn of a worker
	w      *worker
	r      Running
	tokens int
	looked time.Time
	over   bool // it does not run any more, or cannot be seen to
}

// lookEvery is how long a replay may go on after it was cancelled.
const lookEvery = 200 * time.Millisecond

// next reports whether one more message may be tried, once it may.
func (p *pace) next() bool {
	if !p.runs() {
		return false
	}
	if p.r.Rate == 0 {
		return true
	}
	if p.tokens == 0 {
		n := max(1, p.r.Rate/share)
		from, err := p.w.r.c.Store.Allow(p.ctx, p.r, n, time.Now())
		if p.over = err != nil || !p.wait(time.Until(from)); p.over || !p.runs() { // it may have been cancelled meanwhile
			return false
		}
		p.tokens = n
	}
	p.tokens--
	return true
}

// runs reports whether the replay did, the last time that this was looked at.
func (p *pace) runs() bool {
	if time.Since(p.looked) < lookEvery {
		return true
	}
	runs, err := p.w.r.c.Store.Runs(p.ctx, p.r.ID)
	p.over, p.looked = err != nil || !runs, time.Now()
	return !p.over
}

func (p *pace) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
