package router_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

func TestTheOrderOfTheStepsOutside(t *testing.T) {
	t.Parallel()
	b := newOutside(t, handlerName, newLedger(), openStore(t), newVault())
	want := []string{"traced", "correlated", "gated", "parking", "retried", "timed", "recovered", "outside"}
	if got := b.StepNames(handlerName); !reflect.DeepEqual(got, want) {
		t.Errorf("the steps are %v; want %v: see DESIGN section 4", got, want)
	}
}

func TestWhatIsLostOutsideIsBuiltFromTheLog(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*vault){
		"all is lost":            (*vault).flush,
		"an older state returns": (*vault).older,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, v := newLedger(), newVault()
			b := newOutside(t, handlerName, l, openStore(t), v)
			b.start(t)
			for range 100 {
				l.credit(1, 2)
			}
			b.await(t)
			v.copy()
			for range 100 {
				l.credit(2, 3)
			}
			b.await(t)
			lose(v)
			l.hints.Wake() // nothing is appended: the handler looks by itself
			if !becomesComplete(v, b, finale) {
				t.Error("it is not built again")
			}
			v.expect(t, map[int]bank.Version{1: 100, 2: 200, 3: 100})
		})
	}
}

// The first mark of a bank without events is no repair, and nothing to warn of; building from what is there is.
func TestAnEmptyLogIsNothingToWarnOf(t *testing.T) {
	t.Parallel()
	l, v := newLedger(), newVault()
	var told bytes.Buffer
	warnings := slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b := newOutsideTelling(t, handlerName, l, openStore(t), v, warnings)
	stop := b.start(t)
	if !becomesComplete(v, b, finale) {
		t.Error("there is no mark")
	}
	stop()
	if told.Len() > 0 {
		t.Errorf("it warns:\n%s", &told)
	}
	l.credit(1)
	v.flush()
	b = newOutsideTelling(t, handlerName, l, openStore(t), v, warnings)
	stop = b.start(t)
	if !becomesComplete(v, b, finale) {
		t.Error("it is not built")
	}
	stop()
	if !strings.Contains(told.String(), "building from the log") {
		t.Errorf("it does not warn, but says %q", &told)
	}
}

// While it is built, readers see that it is not complete.
func TestWhatIsBeingBuiltSaysSo(t *testing.T) {
	t.Parallel()
	l, v := newLedger(), newVault()
	for range 100 {
		l.credit(1)
	}
	var seen []router.Mark
	v.during = func() {
		m, _ := v.Mark(context.Background(), outsideStream(handlerName))
		seen = append(seen, m)
	}
	b := newOutside(t, handlerName, l, openStore(t), v)
	stop := b.start(t)
	b.await(t)
	stop()
	if len(seen) < 7 {
		t.Fatalf("%d deliveries", len(seen))
	}
	for _, m := range seen {
		if m.Complete() || m.Target != handlers.End(100) {
			t.Errorf("half of it is there, and the mark is %+v", m)
		}
	}
	if !complete(v, b) {
		t.Error("it is not complete in the end")
	}
}

func TestAnOutageOutsideIsWaitedFor(t *testing.T) {
	t.Parallel()
	l, v := newLedger(), newVault()
	b := newOutside(t, handlerName, l, openStore(t), v)
	b.start(t)
	l.credit(1)
	b.await(t)
	v.set(func() { v.down = handlers.As(handlers.Unavailable, errBoom) })
	l.credit(1)
	l.credit(2)
	b.awaitState(t, router.Held)
	v.flush()
	v.set(func() { v.down = nil })
	b.await(t)
	b.awaitState(t, router.Running)
	v.expect(t, map[int]bank.Version{1: 2, 2: 1})
	if _, ok := b.head(t, 1); ok {
		t.Error("it was parked")
	}
}

func TestParkingOutside(t *testing.T) {
	t.Parallel()
	l, v := newLedger(), newVault()
	v.fail = failing(1, 2, errBoom)
	b := newOutside(t, handlerName, l, openStore(t), v)
	b.start(t)
	for range 20 {
		l.credit(1, 2)
	}
	b.await(t)
	v.expect(t, map[int]bank.Version{1: 1, 2: 20})
	v.flush() // what is parked is parked again, in order, and what came before is there again
	l.credit(1, 2)
	b.await(t)
	v.expect(t, map[int]bank.Version{1: 1, 2: 21})
	head, ok := b.head(t, 1)
	if !ok || head.Status != router.Failed || head.Position != (handlers.Position{Seq: 2}) {
		t.Fatalf("the head is %v %+v; want version 2", ok, head)
	}
	ctx, key := t.Context(), account(1).String()
	if n, err := b.ReplaySequence(ctx, handlerName, key); n != 0 || !errors.Is(err, errBoom) {
		t.Fatalf("replayed %d, %v while it still fails", n, err)
	}
	v.set(func() { v.fail = nil })
	if n, err := b.ReplaySequence(ctx, handlerName, key); n != 20 || err != nil {
		t.Fatalf("replayed %d, %v", n, err)
	}
	l.credit(1)
	b.await(t)
	v.expect(t, map[int]bank.Version{1: 22, 2: 21})
}

func TestAReplayWaitsForWhatIsBeingBuilt(t *testing.T) {
	t.Parallel()
	l, v := newLedger(), newVault()
	v.fail = failing(1, 1, errBoom)
	b := newOutside(t, handlerName, l, openStore(t), v)
	stop := b.start(t)
	l.credit(1)
	b.await(t)
	stop()
	v.flush()
	v.set(func() { v.fail = nil })
	err := b.ReplayHead(t.Context(), handlerName, account(1).String(), router.By{Cause: "test"})
	if class, _ := handlers.ClassOf(err); class != handlers.Unavailable {
		t.Errorf("a replay into nothing: %v", err)
	}
	v.expect(t, map[int]bank.Version{1: 0})
}

// Another incarnation of the log begins anew; messages of the old one do nothing any more.
func TestAnotherIncarnationIsBuiltFromTheLog(t *testing.T) {
	t.Parallel()
	store, v := openStore(t), newVault()
	old := newLedger()
	for range 50 {
		old.credit(1, 2)
	}
	b := newOutside(t, handlerName, old, store, v)
	stop := b.start(t)
	b.await(t)
	stop()
	l := newLedger()
	l.incarnation = "inc2"
	for range 10 {
		l.credit(1)
	}
	v.set(func() { clear(v.versions) }) // its rows are of the other incarnation, and count for nothing
	b = newOutside(t, handlerName, l, store, v)
	b.start(t)
	b.await(t)
	v.expect(t, map[int]bank.Version{1: 10, 2: 0})
	c, err := store.Checkpoint(t.Context(), outsideStream(handlerName))
	if err != nil || c.Incarnation != "inc2" || c.Position != handlers.End(10) {
		t.Errorf("the checkpoint is %+v, %v", c, err)
	}
}

// What is advanced meanwhile by somebody else is not set back.
func overtaken(t *testing.T, plant func(router.Store) router.Store) error {
	t.Helper()
	l, v, store := newLedger(), newVault(), openStore(t)
	l.credit(1)
	b := newOutside(t, handlerName, l, plant(store), v)
	stop := b.start(t)
	b.await(t)
	far := router.Checkpoint{Incarnation: "inc1", Position: handlers.End(1000)}
	v.set(func() {
		v.moved = func() {
			v.set(func() {
				v.moved = nil
				v.marks[outsideStream(handlerName)] = router.Mark{Checkpoint: far}
			})
			err := store.InTx(context.Background(), func(ctx context.Context) error {
				if _, err := store.Checkpoint(ctx, outsideStream(handlerName)); err != nil {
					return err
				}
				return store.Advance(ctx, outsideStream(handlerName), far)
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
	l.credit(1)
	b.await(t)
	stop()
	got, err := store.Checkpoint(t.Context(), outsideStream(handlerName))
	if err == nil && got != far {
		err = errors.New("the checkpoint was set back")
	}
	return err
}

// unchecked is a store whose transactions all see the checkpoint that the first one of a step saw.
type unchecked struct {
	router.Store
	seen *router.Checkpoint
}

func (u unchecked) Checkpoint(ctx context.Context, s router.Stream) (router.Checkpoint, error) {
	c, err := u.Store.Checkpoint(ctx, s)
	if c.Position == handlers.End(1000) {
		return *u.seen, err
	}
	*u.seen = c
	return c, err
}

func TestTheLastStepChecksTheCheckpointAgain(t *testing.T) {
	t.Parallel()
	if err := overtaken(t, func(s router.Store) router.Store { return s }); err != nil {
		t.Error(err)
	}
	planted := func(s router.Store) router.Store { return unchecked{s, &router.Checkpoint{}} }
	if overtaken(t, planted) == nil {
		t.Error("without a check nothing is noticed")
	}
}
