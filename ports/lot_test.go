package ports

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/app/ops"
)

// lot is a parking lot that holds what a test puts there. It executes each act when it is first asked for it, as the
// log has it.
type lot struct {
	log       *apptest.MemoryLog
	mu        sync.Mutex
	failures  []ops.Detail
	groups    []ops.Group
	sequences []ops.Sequence
	diverged  []ops.DivergedKey
	handlers  []ops.Handler
	replays   []ops.Replay
	executed  []ops.Executed
	demo      bool
	broken    bool                                    // nothing can be read
	behind    bool                                    // acts are not executed
	become    func(*bank.Act) ops.Executed            // what becomes of an act; nil: it is done
	asked     []ops.FailureFilter                     // how it was asked
	effects   func(l *lot, a *bank.Act, seq bank.Seq) // what an act does; nil: nothing
}

var errBroken = errors.New("the lot is broken")

var _ ops.Lot = (*lot)(nil)

// with runs do while nobody else looks.
func (l *lot) with(do func(*lot)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do(l)
}

func (l *lot) lock() (func(), error) {
	l.mu.Lock()
	if l.broken {
		l.mu.Unlock()
		return func() {}, errBroken
	}
	return l.mu.Unlock, nil
}

// fits reports whether a wanted text is absent, or the one that is there.
func fits(want, have string) bool { return want == "" || want == have }

// paged is the page of what is kept.
func paged[E any](all []E, p ops.Page, keep func(*E) bool, at func(*E) (time.Time, string)) []E {
	var out []E
	compare := func(a, b *E) int {
		at1, id1 := at(a)
		at2, id2 := at(b)
		return cmp.Or(at1.Compare(at2), cmp.Compare(id1, id2))
	}
	for i := range all {
		t, id := at(&all[i])
		behind := cmp.Or(cmp.Compare(bank.TimeOf(t), p.AfterTime), cmp.Compare(id, p.AfterID))
		began := p.AfterTime == 0 && p.AfterID == ""
		within := bank.TimeOf(t) >= p.From && (p.To == 0 || bank.TimeOf(t) < p.To)
		if keep(&all[i]) && within && (began || p.Ascending && behind > 0 || !p.Ascending && behind < 0) {
			out = append(out, all[i])
		}
	}
	slices.SortFunc(out, func(a, b E) int {
		if p.Ascending {
			return compare(&a, &b)
		}
		return compare(&b, &a)
	})
	return out[:min(len(out), p.Limit)]
}

func (l *lot) Failures(_ context.Context, f ops.FailureFilter) ([]ops.Failure, error) {
	unlock, err := l.lock()
	defer unlock()
	l.asked = append(l.asked, f)
	var all []ops.Failure
	for i := range l.failures {
		all = append(all, l.failures[i].Failure)
	}
	return paged(all, f.Page, func(x *ops.Failure) bool {
		return fits(f.Handler, x.Handler) && fits(f.Key, x.Key) && fits(f.Class, x.Class) &&
			fits(f.Fingerprint, x.Fingerprint) && fits(f.Correlation, x.Correlation) &&
			fits(string(f.Status), string(x.Status)) && (!f.Waiting || x.Status.Waits()) &&
			(f.Account == "" || slices.Contains(x.Accounts, f.Account))
	}, func(x *ops.Failure) (time.Time, string) { return x.ParkedAt, x.ID }), err
}

func (l *lot) Failure(_ context.Context, id string) (ops.Detail, bool, error) {
	unlock, err := l.lock()
	defer unlock()
	i := slices.IndexFunc(l.failures, func(d ops.Detail) bool { return d.ID == id })
	if i < 0 || err != nil {
		return ops.Detail{}, false, err
	}
	return l.failures[i], true, nil
}

func (l *lot) Groups(_ context.Context, f ops.GroupFilter) ([]ops.Group, error) {
	unlock, err := l.lock()
	defer unlock()
	return paged(l.groups, f.Page, func(g *ops.Group) bool {
		return fits(f.Handler, g.Handler) && fits(f.Class, g.Class) && fits(f.Fingerprint, g.Fingerprint)
	}, func(g *ops.Group) (time.Time, string) { return g.Last, g.Fingerprint }), err
}

func (l *lot) Sequences(_ context.Context, f ops.SequenceFilter) ([]ops.Sequence, error) {
	unlock, err := l.lock()
	defer unlock()
	return paged(l.sequences, f.Page, func(s *ops.Sequence) bool {
		return fits(f.Handler, s.Handler) && fits(f.Class, s.Class) && fits(f.Fingerprint, s.Fingerprint) &&
			(!f.Paused || s.Paused)
	}, func(s *ops.Sequence) (time.Time, string) { return s.Since, s.ID }), err
}

func (l *lot) Sequence(_ context.Context, handler, key string) (ops.Sequence, bool, error) {
	unlock, err := l.lock()
	defer unlock()
	i := slices.IndexFunc(l.sequences, func(s ops.Sequence) bool { return s.Handler == handler && s.Key == key })
	j := slices.IndexFunc(l.diverged, func(d ops.DivergedKey) bool { return d.Handler == handler && d.Key == key })
	if i < 0 && j >= 0 && err == nil {
		d := &l.diverged[j]
		return ops.Sequence{
			ID: ops.SequenceID(handler, key), Handler: handler, Key: key, Diverged: true, Why: d.Why, Since: d.Since,
		}, true, nil
	}
	if i < 0 || err != nil {
		return ops.Sequence{}, false, err
	}
	return l.sequences[i], true, nil
}

func (l *lot) Diverged(_ context.Context, limit int) ([]ops.DivergedKey, error) {
	unlock, err := l.lock()
	defer unlock()
	return l.diverged[:min(len(l.diverged), limit)], err
}

func (l *lot) Handlers(context.Context) ([]ops.Handler, error) {
	unlock, err := l.lock()
	defer unlock()
	return slices.Clone(l.handlers), err
}

func (l *lot) Handler(_ context.Context, name string) (ops.Handler, bool, error) {
	unlock, err := l.lock()
	defer unlock()
	i := slices.IndexFunc(l.handlers, func(h ops.Handler) bool { return h.Name == name })
	if i < 0 || err != nil {
		return ops.Handler{}, false, err
	}
	return l.handlers[i], true, nil
}

func (l *lot) Demo(context.Context) (bool, error) {
	unlock, err := l.lock()
	defer unlock()
	return l.demo, err
}

func (l *lot) Replays(_ context.Context, f ops.ReplayFilter) ([]ops.Replay, error) {
	unlock, err := l.lock()
	defer unlock()
	return paged(l.replays, f.Page, func(r *ops.Replay) bool { return fits(string(f.Status), string(r.Status)) },
		func(r *ops.Replay) (time.Time, string) { return r.PlannedAt, r.ID }), err
}

func (l *lot) Replay(_ context.Context, id string) (ops.Replay, bool, error) {
	unlock, err := l.lock()
	defer unlock()
	i := slices.IndexFunc(l.replays, func(r ops.Replay) bool { return r.ID == id })
	if i < 0 || err != nil {
		return ops.Replay{}, false, err
	}
	return l.replays[i], true, nil
}

func (l *lot) Act(ctx context.Context, id string) (ops.Executed, bool, error) {
	unlock, err := l.lock()
	defer unlock()
	if err != nil {
		return ops.Executed{}, false, err
	}
	find := func() int { return slices.IndexFunc(l.executed, func(a ops.Executed) bool { return a.ID == id }) }
	if i := find(); i >= 0 {
		return l.executed[i], true, nil
	}
	rows, err := l.log.Latest(ctx, []string{id})
	row, found := rows[id]
	if l.behind || err != nil || !found {
		return ops.Executed{}, false, err
	}
	r, err := app.Decode(row)
	if err != nil {
		return ops.Executed{}, false, err
	}
	l.execute(&r)
	return l.executed[find()], true, nil
}

func (l *lot) execute(r *app.Recorded) {
	a := r.Act
	out := ops.Executed{Status: ops.ActDone, EndedAt: r.Time.Std()}
	if l.become != nil {
		out = l.become(a)
	}
	out.ID, out.Seq, out.Kind, out.Handler, out.Key, out.Target = a.ID.String(), r.Seq, string(a.Kind), a.Handler, a.Key,
		a.Target
	out.Reason, out.Actor, out.At = a.Reason, r.Meta.Actor, r.Time.Std()
	l.executed = append(l.executed, out)
	if l.effects != nil && out.Status == ops.ActDone {
		l.effects(l, a, r.Seq)
	}
}

func (l *lot) Acts(_ context.Context, f ops.ActFilter) ([]ops.Executed, error) {
	unlock, err := l.lock()
	defer unlock()
	return paged(l.executed, f.Page, func(a *ops.Executed) bool {
		return fits(f.Handler, a.Handler) && fits(f.Key, a.Key) && fits(f.Target, a.Target) &&
			fits(string(f.Status), string(a.Status))
	}, func(a *ops.Executed) (time.Time, string) { return a.At, a.ID }), err
}
