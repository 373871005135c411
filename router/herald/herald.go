// Package herald tells live clients what becomes of what is parked, of what operators want, and of handlers. It looks
// into the store where all processes write that, so that each process tells its own clients, whoever did it. What it
// tells are hints: nothing of them is kept, and who was not there loads.
package herald

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers/push"
)

// The channels.
const (
	Failures     = "failures"
	Operations   = "ops"
	ReplayPrefix = "replay:" // and the replay's id
)

// Store is where it looks.
type Store interface {
	ops.Changes
	ops.Acts
	ops.Replays
}

// Hub is where clients watch.
type Hub interface {
	push.Hub
	// Watching returns the channels that somebody here watches and whose names begin so.
	Watching(prefix string) []string
}

// Config is what a herald is made of. Fields without a default are required.
type Config struct {
	Store Store
	Hub   Hub
	Every time.Duration // between looks; default 250 ms
	Log   *slog.Logger  // default: discarded
}

// Limits of one look. What nobody watches is not looked for.
const (
	lookFor = 5 * time.Second // it may take
	// overlap is how far back is looked each time: so long may it take from the time that a change bears until it is
	// seen, clocks that differ included.
	overlap = 5 * time.Second
	most    = 200         // changes of one kind; if there are more, clients are told to load again
	atOnce  = 64          // replays; of more than that nothing is told
	manyGap = time.Second // between two times that clients are told to load again
)

// Herald tells. Run it once.
type Herald struct {
	c      Config
	silent bool // the last look has failed, and that was logged

	failures memory
	many     time.Time // when clients were told last to load again

	acts     memory
	after    bank.Seq // the last act that was told of
	standing map[string]string

	replays map[string]string // as they were told
}

// New makes a herald.
func New(c Config) *Herald {
	if c.Every == 0 {
		c.Every = 250 * time.Millisecond
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Herald{c: c}
}

// Run tells until ctx ends.
func (h *Herald) Run(ctx context.Context) {
	every := time.NewTicker(h.c.Every)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			h.look(ctx)
		}
	}
}

func (h *Herald) look(ctx context.Context) {
	look, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	now := time.Now()
	err := errors.Join(h.lookAtFailures(look, now), h.lookAtActs(look, now), h.lookAtHandlers(look, now),
		h.lookAtReplays(look, now))
	if ctx.Err() != nil {
		return
	}
	if err != nil && !h.silent {
		h.c.Log.WarnContext(ctx, "cannot tell live clients what fails and what operators do", "error", err)
	}
	h.silent = err != nil
}

func (h *Herald) lookAtFailures(ctx context.Context, now time.Time) error {
	if !h.c.Hub.Watched(Failures) {
		h.failures.end()
		return nil
	}
	since := h.failures.since(now)
	all, err := h.c.Store.ChangedFailures(ctx, since, most)
	if err != nil {
		return err
	}
	for i := range all {
		if h.failures.isNew(failureState(&all[i]), now) {
			h.tell(Failures, failureFrame(&all[i], now))
		}
	}
	h.failures.looked(now)
	if len(all) >= most && now.Sub(h.many) >= manyGap {
		h.many = now
		h.tell(Failures, manyFrame(now))
	}
	return nil
}

func (h *Herald) lookAtActs(ctx context.Context, now time.Time) error {
	if !h.c.Hub.Watched(Operations) {
		h.acts.end()
		return nil
	}
	since := h.acts.since(now)
	if h.acts.last.IsZero() {
		before, err := h.c.Store.Acts(ctx, ops.ActFilter{Page: ops.Page{Limit: 1, To: bank.TimeOf(since)}})
		if err != nil {
			return err
		}
		if h.after = 0; len(before) > 0 {
			h.after = before[0].Seq
		}
	}
	all, err := h.c.Store.ChangedActs(ctx, h.after, since, most)
	if err != nil {
		return err
	}
	for i := range all {
		if h.acts.isNew(all[i].ID+" "+string(all[i].Status), now) {
			h.tell(Operations, actFrame(&all[i], now))
		}
		h.after = max(h.after, all[i].Seq)
	}
	h.acts.looked(now)
	return nil
}

// lookAtHandlers tells what handlers do: at first, and when they do something else.
func (h *Herald) lookAtHandlers(ctx context.Context, now time.Time) error {
	if !h.c.Hub.Watched(Operations) {
		h.standing = nil
		return nil
	}
	all, err := h.c.Store.Standings(ctx)
	if err != nil {
		return err
	}
	before := h.standing
	h.standing = map[string]string{}
	for _, s := range all {
		h.standing[s.Handler] = s.State
		if before[s.Handler] != s.State {
			h.tell(Operations, handlerFrame(s, now))
		}
	}
	return nil
}

// lookAtReplays tells how replays go that somebody watches: at first, and when they have gone on.
func (h *Herald) lookAtReplays(ctx context.Context, now time.Time) error {
	watched := h.c.Hub.Watching(ReplayPrefix)
	slices.Sort(watched)
	told := map[string]string{}
	for _, channel := range watched[:min(len(watched), atOnce)] {
		r, ok, err := h.c.Store.Replay(ctx, strings.TrimPrefix(channel, ReplayPrefix))
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		f := replayFrame(&r, now)
		if told[channel] = f.says(); told[channel] != h.replays[channel] {
			h.tell(channel, f)
		}
	}
	h.replays = told
	return nil
}

func (h *Herald) tell(channel string, f frame) {
	h.c.Hub.Publish(push.Publication{Channel: channel, Data: f.encode()})
}

// memory is what of the latest changes was told. What it holds is bounded by how many changes a look gives, and by the
// time that they are looked for.
type memory struct {
	last time.Time            // a look; zero: nobody listened before
	told map[string]time.Time // when it was seen last
}

// since is from when on changes are looked for: what could not be told is told later.
func (m *memory) since(now time.Time) time.Time {
	if m.last.IsZero() || m.last.After(now) {
		return now.Add(-overlap)
	}
	return m.last.Add(-overlap)
}

// isNew reports whether it was not told.
func (m *memory) isNew(what string, now time.Time) bool {
	_, known := m.told[what]
	if m.told == nil {
		m.told = map[string]time.Time{}
	}
	m.told[what] = now
	return !known
}

// looked ends a look, and forgets what has become old: it is not seen any more.
func (m *memory) looked(now time.Time) {
	m.last = now
	for what, seen := range m.told {
		if now.Sub(seen) > overlap {
			delete(m.told, what)
		}
	}
}

func (m *memory) end() { *m = memory{} }
