package postgres

import (
	"context"
	"errors"
	"testing"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/rebuild"
)

func TestAViewIsBuiltAnewByOneAtATime(t *testing.T) {
	t.Parallel()
	db := openOnly(t, viewsSchema)
	store := NewHandlerStore(db.views)
	alone, err := store.Reserve(t.Context(), "view", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Reserve(t.Context(), "view", false); !errors.Is(err, rebuild.ErrUnderWay) {
		t.Errorf("another one at once: %v", err)
	}
	other, err := store.Reserve(t.Context(), "another view", false)
	if err != nil {
		t.Errorf("another view: %v", err)
	}
	waiting := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		shared, err := store.Reserve(ctx, "view", true)
		if err == nil {
			shared()
		}
		waiting <- err
	}()
	cancel()
	if err := <-waiting; err == nil {
		t.Error("it is verified while it is being built anew")
	}
	alone()
	other()
	first, err := store.Reserve(t.Context(), "view", true)
	if err != nil {
		t.Fatal(err)
	}
	second, err := store.Reserve(t.Context(), "view", true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Reserve(t.Context(), "view", false); !errors.Is(err, rebuild.ErrUnderWay) {
		t.Errorf("while it is verified: %v", err)
	}
	first()
	second()
	last, err := store.Reserve(t.Context(), "view", false)
	if err != nil {
		t.Fatalf("nobody has it any more: %v", err)
	}
	last()
}

// What a handler has in all partitions is what it has in each of the new ones.
func TestRepartitionLosesNothing(t *testing.T) {
	t.Parallel()
	db := openOnly(t, viewsSchema)
	store := NewHandlerStore(db.views)
	stream := func(handler string, p int) router.Stream {
		return router.Stream{Handler: handler, Topic: bank.AccountsTopic, Partition: p}
	}
	put := func(handler string, at ...bank.Seq) {
		for p, seq := range at {
			err := store.InTx(t.Context(), func(ctx context.Context) error {
				if _, err := store.Checkpoint(ctx, stream(handler, p)); err != nil {
					return err
				}
				return store.Advance(ctx, stream(handler, p), router.Checkpoint{Incarnation: "first", Position: handlers.End(seq)})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	put("one", 7, 5, 9, 6)
	put("two", 3)
	for _, n := range []int{6, 2} {
		if err := store.Repartition(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		for p := range 8 {
			for handler, seq := range map[string]bank.Seq{"one": 5, "two": 3} {
				want := router.Checkpoint{Incarnation: "first", Position: handlers.End(seq)}
				if p >= n {
					want = router.Checkpoint{}
				}
				if got, err := store.Checkpoint(t.Context(), stream(handler, p)); err != nil || got != want {
					t.Errorf("of %d partitions, %s is at %+v in %d, not %+v: %v", n, handler, got, p, want, err)
				}
			}
		}
	}
	if err := store.Forget(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	got, err := store.Checkpoint(t.Context(), stream("one", 0))
	if err != nil || got != (router.Checkpoint{}) {
		t.Errorf("what is forgotten is at %+v, %v", got, err)
	}
}
