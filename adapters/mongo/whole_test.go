package mongo_test

import (
	"context"
	"errors"
	"testing"

	"bankforge/adapters/failover"
	"bankforge/adapters/mongo"
	"bankforge/handlers"
	"bankforge/router"
)

// TestReadWhileItIsBuilt loses a view that was whole, also to a head that stands, and reads while it is built anew.
// That it is whole afterwards says nothing about what was read before.
func TestReadWhileItIsBuilt(t *testing.T) {
	t.Parallel()
	db, raw := open(t)
	view, h := mongo.NewView(db), mongo.NewHistory(db, 1, nil, nil, nil)
	at := func(position, target uint64) router.Mark {
		return router.Mark{
			Checkpoint: router.Checkpoint{Incarnation: "first", Position: handlers.PositionAt(int64(position))},
			Target:     handlers.PositionAt(int64(target)),
		}
	}
	move := func(seen, next router.Mark) {
		t.Helper()
		if err := view.Move(t.Context(), changesStream, seen, next); err != nil {
			t.Fatal(err)
		}
	}
	reads := func(during func(), want string) {
		t.Helper()
		said := "before"
		got, err := h.Whole(t.Context(), func() string {
			was := said
			if was == "before" {
				during()
			}
			said = "after"
			return was
		})
		if err != nil || got != want {
			t.Errorf("read %q, %v instead of %q", got, err, want)
		}
	}
	move(router.Mark{}, at(0, 4096))
	if _, err := h.Whole(t.Context(), func() string { return "" }); !errors.Is(err, failover.ErrIncomplete) {
		t.Errorf("half a view can be read: %v", err)
	}
	move(at(0, 4096), at(4096, 4096))
	reads(func() {}, "before")
	reads(func() { move(at(4096, 4096), at(8192, 4096)) }, "before") // it goes on, and was whole all the time
	for range 2 {
		if err := raw.Collection("mark").Drop(context.Background()); err != nil {
			t.Fatal(err)
		}
		move(router.Mark{}, at(0, 8192))
		reads(func() { move(at(0, 8192), at(8192, 8192)) }, "after")
		reads(func() {}, "before")
	}
}
