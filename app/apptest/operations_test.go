package apptest_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"bankforge/adapters/sqlite"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/router"
	"bankforge/router/repair"
)

// sound is a store that is correct. It is here so that each way of breaking it differs by that alone.
type sound = *sqlite.HandlerStore

// The broken ones. Each overrides one method.
type (
	twice    struct{ sound } // executes an act each time that it comes
	generous struct{ sound } // gives a claim to everybody
	eternal  struct{ sound } // claims do not run out
	early    struct{ sound } // has sequences tried before their time
	leaky    struct{ sound } // lets paused keys flow
	blind    struct{ sound } // does not see that a key has diverged
	nameless struct{ sound } // does not say which sequence it is that has diverged and flows
	careless struct{ sound } // changes a policy whatever its version
	crowded  struct{ sound } // lets any number work on a replay
	hasty    struct{ sound } // knows no rate
	stubborn struct{ sound } // takes failures of a replay for successes
	wordless struct{ sound } // does not say what became of acts
	deaf     struct{ sound } // does not see that something else is wanted
	soft     struct{ sound } // does not pause a handler over its cap
	shuffled struct{ sound } // lists in another order
	lax      struct{ sound } // discards what is no head
	whole    struct{ sound } // tries all of a sequence where its head is wanted
	stuck    struct{ sound } // a rebuild leaves what waits
	backward struct{ sound } // has many at once in another order
	partial  struct{ sound } // ends one fewer than it says
	secret   struct{ sound } // does not tell that something was ended
	gossip   struct{ sound } // tells what was known before
	silent   struct{ sound } // does not tell that an act has come to its end
	sleepy   struct{ sound } // does not see that a handler is paused
	vague    struct{ sound } // settles one sequence of many
	fickle   struct{ sound } // a failure makes it forget that a rebuild is wanted
	hurried  struct{ sound } // tries at once what could not be rebuilt
	rash     struct{ sound } // refuses also a rebuild that was wanted after the one that failed
	patient  struct{ sound } // has acts wait that nobody will do any more
)

func (b twice) Execute(ctx context.Context, a repair.Act) error {
	if done, ok, err := b.Act(ctx, a.ID); err == nil && ok && done.Status == ops.ActDone {
		a.ID += "again"
	}
	return b.sound.Execute(ctx, a)
}

func (b generous) Claim(context.Context, string, string, string, time.Time, time.Time) (bool, error) {
	return true, nil
}

func (b eternal) Claim(ctx context.Context, handler, key, owner string, now, until time.Time) (bool, error) {
	return b.sound.Claim(ctx, handler, key, owner, now, until.Add(1000*time.Hour))
}

func (b early) Due(ctx context.Context, handlers []string, now time.Time, limit int) ([]repair.Due, error) {
	return b.sound.Due(ctx, handlers, now.Add(1000*time.Hour), limit)
}

func (b leaky) Blocked(ctx context.Context, handler string, keys []string) ([]string, error) {
	keys, err := b.sound.Blocked(ctx, handler, keys)
	return slices.DeleteFunc(keys, func(key string) bool {
		q, _, _ := b.Sequence(ctx, handler, key)
		return q.Waiting == 0
	}), err
}

func (b blind) Sequence(ctx context.Context, handler, key string) (ops.Sequence, bool, error) {
	q, ok, err := b.sound.Sequence(ctx, handler, key)
	q.Diverged = false
	return q, ok, err
}

func (b nameless) Sequence(ctx context.Context, handler, key string) (ops.Sequence, bool, error) {
	q, ok, err := b.sound.Sequence(ctx, handler, key)
	if q.Waiting == 0 {
		q.ID = ""
	}
	return q, ok, err
}

func (b careless) Execute(ctx context.Context, a repair.Act) error {
	if a.Kind == ops.HandlerPolicy {
		a.Target = ""
	}
	return b.sound.Execute(ctx, a)
}

func (b crowded) Take(
	ctx context.Context, r repair.Running, handlers []string, owner string, n int, now, until time.Time,
) ([]repair.Due, error) {
	r.Concurrency = 1000
	return b.sound.Take(ctx, r, handlers, owner, n, now, until)
}

func (b hasty) Allow(_ context.Context, _ repair.Running, _ int, now time.Time) (time.Time, error) {
	return now, nil
}

func (b stubborn) Settle(ctx context.Context, replay string, all []repair.Settled, owner string, at time.Time) error {
	all = slices.Clone(all)
	for i := range all {
		all[i].Failed = false
	}
	return b.sound.Settle(ctx, replay, all, owner, at)
}

func (b vague) Settle(ctx context.Context, replay string, all []repair.Settled, owner string, at time.Time) error {
	return b.sound.Settle(ctx, replay, all[:1], owner, at)
}

func (b wordless) Resolve(ctx context.Context, p router.Parked, e router.Ending) error {
	e.By = ops.ByBackoff
	return b.sound.Resolve(ctx, p, e)
}

func (b deaf) Controls(ctx context.Context, known int64) (router.Control, error) {
	c, err := b.sound.Controls(ctx, known)
	c.Version = 1
	return c, err
}

func (b soft) Halt(context.Context, string, string, time.Time) error { return nil }

func (b shuffled) Failures(ctx context.Context, f ops.FailureFilter) ([]ops.Failure, error) {
	all, err := b.sound.Failures(ctx, f)
	slices.Reverse(all)
	return all, err
}

func (b lax) Execute(ctx context.Context, a repair.Act) error {
	if a.Kind == ops.FailureDiscard || a.Kind == ops.FailureRetry {
		if f, ok, err := b.Failure(ctx, a.Target); err == nil && ok {
			if q, ok, err := b.Sequence(ctx, f.Handler, f.Key); err == nil && ok {
				a.Target = q.Head
			}
		}
	}
	return b.sound.Execute(ctx, a)
}

func (b whole) Due(ctx context.Context, handlers []string, now time.Time, limit int) ([]repair.Due, error) {
	all, err := b.sound.Due(ctx, handlers, now, limit)
	for i := range all {
		all[i].Alone = false
	}
	return all, err
}

func (b stuck) Rebuilt(context.Context, string, string, time.Time) (int, error) { return 1, nil }

func (b backward) Front(ctx context.Context, handler string, keys []string, limit int) ([]router.Fronted, error) {
	all, err := b.sound.Front(ctx, handler, keys, limit)
	slices.Reverse(all)
	return all, err
}

func (b partial) ResolveFront(
	ctx context.Context, handler string, all []router.Fronted, e router.Ending,
) ([]string, error) {
	drained, err := b.sound.ResolveFront(ctx, handler, all[:max(1, len(all)-1)], e)
	if last := all[len(all)-1]; len(all) > 1 && last.Waiting == 1 {
		drained = append(drained, last.Key)
	}
	return drained, err
}

func (b secret) ChangedFailures(ctx context.Context, since time.Time, limit int) ([]ops.Failure, error) {
	all, err := b.sound.ChangedFailures(ctx, since, limit)
	return slices.DeleteFunc(all, func(f ops.Failure) bool { return !f.Status.Waits() }), err
}

func (b gossip) ChangedFailures(ctx context.Context, _ time.Time, limit int) ([]ops.Failure, error) {
	return b.sound.ChangedFailures(ctx, time.UnixMicro(1), limit)
}

func (b silent) ChangedActs(
	ctx context.Context, after bank.Seq, since time.Time, limit int,
) ([]ops.Executed, error) {
	return b.sound.ChangedActs(ctx, after, since.Add(100_000*time.Hour), limit)
}

func (b sleepy) Standings(ctx context.Context) ([]ops.Standing, error) {
	all, err := b.sound.Standings(ctx)
	for i := range all {
		all[i].State = "running"
	}
	return all, err
}

func (b fickle) Attempted(ctx context.Context, p router.Parked, a router.Attempt, next time.Time) error {
	return errors.Join(b.sound.Attempted(ctx, p, a, next), b.Refuse(ctx, p.Handler, p.Key, repair.Refusal{At: a.At}))
}

func (b hurried) Refuse(ctx context.Context, handler, key string, r repair.Refusal) error {
	return errors.Join(b.sound.Refuse(ctx, handler, key, r), b.Postpone(ctx, handler, key, r.At))
}

func (b rash) Refuse(ctx context.Context, handler, key string, r repair.Refusal) error {
	r.Act = ""
	return b.sound.Refuse(ctx, handler, key, r)
}

func (b patient) Act(ctx context.Context, id string) (ops.Executed, bool, error) {
	a, ok, err := b.sound.Act(ctx, id)
	if a.Code == ops.Superseded {
		a.Status, a.Code, a.EndedAt = ops.ActPending, "", time.Time{}
	}
	return a, ok, err
}

func openSound(t *testing.T) sound {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "views.db"), sqlite.ViewsFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return sqlite.NewHandlerStore(db)
}

func TestOperationsTakesACorrectStore(t *testing.T) {
	t.Parallel()
	if err := apptest.Operations(t.Context(), openSound(t)); err != nil {
		t.Fatal(err)
	}
}

func TestOperationsRejectsBrokenStores(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(sound) apptest.OperationsStore{
		"acts twice":                func(s sound) apptest.OperationsStore { return twice{s} },
		"claims for all":            func(s sound) apptest.OperationsStore { return generous{s} },
		"claims for ever":           func(s sound) apptest.OperationsStore { return eternal{s} },
		"tries early":               func(s sound) apptest.OperationsStore { return early{s} },
		"paused keys flow":          func(s sound) apptest.OperationsStore { return leaky{s} },
		"does not see divergence":   func(s sound) apptest.OperationsStore { return blind{s} },
		"does not name a key":       func(s sound) apptest.OperationsStore { return nameless{s} },
		"takes any version":         func(s sound) apptest.OperationsStore { return careless{s} },
		"too many at once":          func(s sound) apptest.OperationsStore { return crowded{s} },
		"no rate":                   func(s sound) apptest.OperationsStore { return hasty{s} },
		"failures are successes":    func(s sound) apptest.OperationsStore { return stubborn{s} },
		"settles one of many":       func(s sound) apptest.OperationsStore { return vague{s} },
		"acts stay pending":         func(s sound) apptest.OperationsStore { return wordless{s} },
		"does not see controls":     func(s sound) apptest.OperationsStore { return deaf{s} },
		"does not halt":             func(s sound) apptest.OperationsStore { return soft{s} },
		"lists in disorder":         func(s sound) apptest.OperationsStore { return shuffled{s} },
		"takes any for the head":    func(s sound) apptest.OperationsStore { return lax{s} },
		"more than the head":        func(s sound) apptest.OperationsStore { return whole{s} },
		"rebuilds nothing":          func(s sound) apptest.OperationsStore { return stuck{s} },
		"many in disorder":          func(s sound) apptest.OperationsStore { return backward{s} },
		"leaves some of many":       func(s sound) apptest.OperationsStore { return partial{s} },
		"hides what was ended":      func(s sound) apptest.OperationsStore { return secret{s} },
		"tells old changes":         func(s sound) apptest.OperationsStore { return gossip{s} },
		"hides what acts became":    func(s sound) apptest.OperationsStore { return silent{s} },
		"does not see pauses":       func(s sound) apptest.OperationsStore { return sleepy{s} },
		"forgets a rebuild":         func(s sound) apptest.OperationsStore { return fickle{s} },
		"tries what is refused":     func(s sound) apptest.OperationsStore { return hurried{s} },
		"refuses what is not tried": func(s sound) apptest.OperationsStore { return rash{s} },
		"acts stay pending alone":   func(s sound) apptest.OperationsStore { return patient{s} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := apptest.Operations(t.Context(), broken(openSound(t)))
			if err == nil {
				t.Fatal("the suite did not notice")
			}
			t.Log(err)
		})
	}
}
