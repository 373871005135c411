package router_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"bankforge/adapters/sqlite"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// vault is a place outside of SQL, with marks beside what is written. It counts for each account that every version
// comes once and in order.
type vault struct {
	mu       sync.Mutex
	marks    map[router.Stream]router.Mark
	versions map[bank.AccountID]bank.Version
	copied   *vault // what copy kept
	fail     func(f *handlers.Fact) error
	during   func() // called while a handler writes
	moved    func() // called when a mark has been moved
	down     error
	wrong    []string

	blind   bool              // planted: it does not compare versions
	unmoved bool              // planted: it always stands where it is said to
	late    bool              // planted: it writes after it said so
	waiting [][]handlers.Fact // of late
}

func newVault() *vault {
	return &vault{marks: map[router.Stream]router.Mark{}, versions: map[bank.AccountID]bank.Version{}}
}

// Mark implements router.Marks.
func (v *vault) Mark(_ context.Context, s router.Stream) (router.Mark, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, facts := range v.waiting {
		v.take(facts)
	}
	v.waiting = nil
	if v.unmoved {
		return router.Mark{Checkpoint: router.Checkpoint{Incarnation: "inc1", Position: handlers.End(1 << 30)}}, v.down
	}
	return v.marks[s], v.down
}

// Move implements router.Marks.
func (v *vault) Move(_ context.Context, s router.Stream, seen, next router.Mark) error {
	if err := v.move(s, seen, next); err != nil || v.moved == nil {
		return err
	}
	v.moved()
	return nil
}

func (v *vault) move(s router.Stream, seen, next router.Mark) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.down != nil:
		return v.down
	case v.unmoved:
	case v.marks[s] != seen:
		return router.ErrMoved
	}
	v.marks[s] = next
	return nil
}

func (v *vault) handle(ctx context.Context, facts []handlers.Fact) error {
	if v.during != nil {
		v.during()
	}
	fence, ok := router.FenceOf(ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.down != nil:
		return v.down
	case !ok:
		return errors.New("no fence")
	case v.marks[fence.Stream] != fence.Mark && !v.unmoved:
		return router.ErrMoved
	}
	for i := range facts {
		if v.fail != nil {
			if err := v.fail(&facts[i]); err != nil {
				v.take(facts[:i]) // no transaction undoes it
				return err
			}
		}
	}
	if v.late {
		v.waiting = append(v.waiting, facts)
		return nil
	}
	v.take(facts)
	return nil
}

func (v *vault) take(facts []handlers.Fact) {
	for i := range facts {
		id, have, got := facts[i].Leg.Account, v.versions[facts[i].Leg.Account], facts[i].Version()
		if got <= have && !v.blind {
			continue
		}
		if got != have+1 {
			v.wrong = append(v.wrong, fmt.Sprintf("%s: version %d came behind %d", id, got, have))
		}
		v.versions[id] = got
	}
}

func (v *vault) set(change func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change()
}

// flush loses everything.
func (v *vault) flush() {
	v.set(func() {
		clear(v.marks)
		clear(v.versions)
	})
}

// copy keeps what is there, and older brings it back.
func (v *vault) copy() {
	v.set(func() { v.copied = &vault{marks: maps.Clone(v.marks), versions: maps.Clone(v.versions)} })
}

func (v *vault) older() {
	v.set(func() {
		if v.copied != nil {
			v.marks, v.versions = maps.Clone(v.copied.marks), maps.Clone(v.copied.versions)
		}
	})
}

func (v *vault) at(i int) (out bank.Version) {
	v.set(func() { out = v.versions[account(i)] })
	return out
}

func (v *vault) expect(t *testing.T, want map[int]bank.Version) {
	t.Helper()
	for i, version := range want {
		if got := v.at(i); got != version {
			t.Errorf("account %d has version %d; want %d", i, got, version)
		}
	}
	v.set(func() {
		for _, w := range v.wrong {
			t.Error(w)
		}
	})
}

// complete reports whether the vault has all of the log.
func complete(v *vault, b *bench) bool {
	m, err := v.Mark(context.Background(), outsideStream(b.name))
	return err == nil && m.Complete() && !m.Position.Before(handlers.End(b.ledger.head()))
}

// becomesComplete polls: nobody waits for what is built anew.
func becomesComplete(v *vault, b *bench, within time.Duration) bool {
	for deadline := time.Now().Add(within); !complete(v, b); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

func outsideStream(name string) router.Stream {
	return router.Stream{Handler: name, Topic: bank.AccountsTopic}
}

// newOutside is a router with one handler that writes to the vault.
func newOutside(t tb, name string, l *ledger, s router.Store, v *vault) *bench {
	t.Helper()
	return newOutsideTelling(t, name, l, s, v, nil)
}

// newOutsideTelling is newOutside with a log.
func newOutsideTelling(t tb, name string, l *ledger, s router.Store, v *vault, log *slog.Logger) *bench {
	t.Helper()
	b := &bench{name: name, ledger: l, store: s, progress: router.NewProgress()}
	var err error
	b.Router, err = router.New("", []router.Route{
		{Name: name, Topic: bank.AccountsTopic, Handler: v.handle, Store: s, Outside: v},
	}, router.Config{
		Source: l, Hints: l.hints, Progress: b.progress, Policy: quick(), Batch: 16,
		Poll: 5 * time.Millisecond, Classify: []router.Classifier{sqlite.Classify}, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
