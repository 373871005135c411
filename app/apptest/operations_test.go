package apptest_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"bankforge/adapters/sqlite"
	"bankforge/app/apptest"
	"bankforge/app/ops"
	"bankforge/router"
	"bankforge/router/repair"
)

// real is a store that is correct. It is here so that each way of breaking it differs by that alone.
type real = *sqlite.HandlerStore

// The broken ones. Each overrides one method.
type (
	twice    struct{ real } // executes an act each time that it comes
	generous struct{ real } // gives a claim to everybody
	eternal  struct{ real } // claims do not run out
	early    struct{ real } // has sequences tried before their time
	leaky    struct{ real } // lets paused keys flow
	blind    struct{ real } // does not see that a key has diverged
	crowded  struct{ real } // lets any number work on a replay
	hasty    struct{ real } // knows no rate
	stubborn struct{ real } // takes failures of a replay for successes
	wordless struct{ real } // does not say what became of acts
	deaf     struct{ real } // does not see that something else is wanted
	soft     struct{ real } // does not pause a handler over its cap
	shuffled struct{ real } // lists in another order
	lax      struct{ real } // discards what is no head
	whole    struct{ real } // tries all of a sequence where its head is wanted
	stuck    struct{ real } // a rebuild leaves what waits
)

func (b twice) Execute(ctx context.Context, a repair.Act) error {
	if done, ok, err := b.Act(ctx, a.ID); err == nil && ok && done.Status == ops.ActDone {
		a.ID += "again"
	}
	return b.real.Execute(ctx, a)
}

func (b generous) Claim(context.Context, string, string, string, time.Time, time.Time) (bool, error) {
	return true, nil
}

func (b eternal) Claim(ctx context.Context, handler, key, owner string, now, until time.Time) (bool, error) {
	return b.real.Claim(ctx, handler, key, owner, now, until.Add(1000*time.Hour))
}

func (b early) Due(ctx context.Context, handlers []string, now time.Time, limit int) ([]repair.Due, error) {
	return b.real.Due(ctx, handlers, now.Add(1000*time.Hour), limit)
}

func (b leaky) Blocked(ctx context.Context, handler string, keys []string) ([]string, error) {
	keys, err := b.real.Blocked(ctx, handler, keys)
	return slices.DeleteFunc(keys, func(key string) bool {
		q, _, _ := b.Sequence(ctx, handler, key)
		return q.Waiting == 0
	}), err
}

func (b blind) Sequence(ctx context.Context, handler, key string) (ops.Sequence, bool, error) {
	q, ok, err := b.real.Sequence(ctx, handler, key)
	q.Diverged = false
	return q, ok, err
}

func (b crowded) Take(
	ctx context.Context, r repair.Running, handlers []string, owner string, n int, now, until time.Time,
) ([]repair.Due, error) {
	r.Concurrency = 1000
	return b.real.Take(ctx, r, handlers, owner, n, now, until)
}

func (b hasty) Allow(_ context.Context, _ repair.Running, _ int, now time.Time) (time.Time, error) {
	return now, nil
}

func (b stubborn) Settle(ctx context.Context, replay string, all []repair.Settled, owner string, at time.Time) error {
	all = slices.Clone(all)
	for i := range all {
		all[i].Failed = false
	}
	return b.real.Settle(ctx, replay, all, owner, at)
}

func (b wordless) Resolve(ctx context.Context, p router.Parked, e router.Ending) error {
	e.By = ops.ByBackoff
	return b.real.Resolve(ctx, p, e)
}

func (b deaf) Controls(ctx context.Context, known int64) (router.Control, error) {
	c, err := b.real.Controls(ctx, known)
	c.Version = 1
	return c, err
}

func (b soft) Halt(context.Context, string, string, time.Time) error { return nil }

func (b shuffled) Failures(ctx context.Context, f ops.FailureFilter) ([]ops.Failure, error) {
	all, err := b.real.Failures(ctx, f)
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
	return b.real.Execute(ctx, a)
}

func (b whole) Due(ctx context.Context, handlers []string, now time.Time, limit int) ([]repair.Due, error) {
	all, err := b.real.Due(ctx, handlers, now, limit)
	for i := range all {
		all[i].Alone = false
	}
	return all, err
}

func (b stuck) Rebuilt(context.Context, string, string, time.Time) (int, error) { return 1, nil }

func openReal(t *testing.T) real {
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
	if err := apptest.Operations(t.Context(), openReal(t)); err != nil {
		t.Fatal(err)
	}
}

func TestOperationsRejectsBrokenStores(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(real) apptest.OperationsStore{
		"acts twice":              func(s real) apptest.OperationsStore { return twice{s} },
		"claims for all":          func(s real) apptest.OperationsStore { return generous{s} },
		"claims for ever":         func(s real) apptest.OperationsStore { return eternal{s} },
		"tries early":             func(s real) apptest.OperationsStore { return early{s} },
		"paused keys flow":        func(s real) apptest.OperationsStore { return leaky{s} },
		"does not see divergence": func(s real) apptest.OperationsStore { return blind{s} },
		"too many at once":        func(s real) apptest.OperationsStore { return crowded{s} },
		"no rate":                 func(s real) apptest.OperationsStore { return hasty{s} },
		"failures are successes":  func(s real) apptest.OperationsStore { return stubborn{s} },
		"acts stay pending":       func(s real) apptest.OperationsStore { return wordless{s} },
		"does not see controls":   func(s real) apptest.OperationsStore { return deaf{s} },
		"does not halt":           func(s real) apptest.OperationsStore { return soft{s} },
		"lists in disorder":       func(s real) apptest.OperationsStore { return shuffled{s} },
		"takes any for the head":  func(s real) apptest.OperationsStore { return lax{s} },
		"more than the head":      func(s real) apptest.OperationsStore { return whole{s} },
		"rebuilds nothing":        func(s real) apptest.OperationsStore { return stuck{s} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := apptest.Operations(t.Context(), broken(openReal(t)))
			if err == nil {
				t.Fatal("the suite did not notice")
			}
			t.Log(err)
		})
	}
}
