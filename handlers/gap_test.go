package handlers_test

import (
	"errors"
	"testing"

	"bankforge/app/bank"
	"bankforge/handlers"
)

func TestNextTakesOnlyWhatFollows(t *testing.T) {
	t.Parallel()
	id := bank.MakeID[bank.Account]([16]byte{1})
	for _, c := range []struct {
		have, got bank.Version
		take, gap bool
	}{
		{0, 1, true, false}, {7, 8, true, false}, {7, 7, false, false}, {7, 1, false, false}, {7, 0, false, false},
		{0, 2, false, true}, {7, 9, false, true},
	} {
		take, err := handlers.Next(id, c.have, c.got)
		var gap *handlers.GapError
		if take != c.take || errors.As(err, &gap) != c.gap {
			t.Errorf("version %d behind %d: take %t, %v", c.got, c.have, take, err)
		}
		want := handlers.GapError{Key: id.String(), Have: c.have, Got: c.got}
		if class, _ := handlers.ClassOf(err); c.gap && (class != handlers.Poison || *gap != want) {
			t.Errorf("version %d behind %d: %s, %+v", c.got, c.have, class, gap)
		}
	}
}
