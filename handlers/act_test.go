package handlers_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"bankforge/app/bank"
	"bankforge/handlers"
)

func TestActsComeOneByOne(t *testing.T) {
	t.Parallel()
	var got []string
	boom := errors.New("boom")
	take := handlers.Acts(func(_ context.Context, f *handlers.Fact) error {
		if got = append(got, f.Act.Handler); f.Act.Handler == "bad" {
			return boom
		}
		return nil
	})
	facts := func(names ...string) (all []handlers.Fact) {
		for _, name := range names {
			all = append(all, handlers.Fact{Change: bank.Change{Act: &bank.Act{Handler: name}}})
		}
		return all
	}
	if err := take(t.Context(), facts("a", "b")); err != nil {
		t.Error(err)
	}
	if err := take(t.Context(), facts("c", "bad", "never")); !errors.Is(err, boom) {
		t.Errorf("the error is %v", err)
	}
	if want := []string{"a", "b", "c", "bad"}; !slices.Equal(got, want) {
		t.Errorf("told of %v, want %v", got, want)
	}
	err := take(t.Context(), []handlers.Fact{{Change: bank.Change{Leg: &bank.Leg{}}}})
	if class, ok := handlers.ClassOf(err); !ok || class != handlers.Poison {
		t.Errorf("what is no act: %v", err)
	}
}
