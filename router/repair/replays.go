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
	all, err := w.r.c.Store.Take(ctx, r, w.r.c.Router.Handlers(), w.owner, n, now, now.Add(w.r.c.Claim))
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
		empty, failed := w.until(ctx, &all[i], pace.next)
		if empty || failed {
			settled = append(settled, Settled{all[i], failed})
		}
		if ctx.Err() != nil || pace.over || !w.keepAll(ctx, all[i:]) {
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

// together tries many messages in one transaction, as long as all of them succeed and no rate has to be kept to. It
// returns the sequences that are empty by that, and those that are left to be tried one by one.
func (w *worker) together(ctx context.Context, all []Due, p *pace) (settled []Settled, left []Due) {
	for len(all) > 0 && p.r.Rate == 0 && ctx.Err() == nil && p.next() && w.keepAll(ctx, all) {
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

// keepAll prolongs the claims in time.
func (w *worker) keepAll(ctx context.Context, rest []Due) bool {
	if time.Since(w.kept) < w.r.c.Claim/3 {
		return true
	}
	now := time.Now()
	for _, d := range rest {
		ok, err := w.r.c.Store.Claim(ctx, d.Handler, d.Key, w.owner, now, now.Add(w.r.c.Claim))
		if err != nil || !ok {
			return false
		}
	}
	w.kept = now
	return true
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
	if time.Since(p.looked) >= lookEvery {
		runs, err := p.w.r.c.Store.Runs(p.ctx, p.r.ID)
		if p.over = err != nil || !runs; p.over {
			return false
		}
		p.looked = time.Now()
	}
	if p.r.Rate == 0 {
		return true
	}
	if p.tokens == 0 {
		n := max(1, p.r.Rate/share)
		from, err := p.w.r.c.Store.Allow(p.ctx, p.r, n, time.Now())
		if p.over = err != nil || !p.wait(time.Until(from)); p.over {
			return false
		}
		p.tokens = n
	}
	p.tokens--
	return true
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
