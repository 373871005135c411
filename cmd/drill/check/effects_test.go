package check

import (
	"errors"
	"slices"
	"testing"
)

// Whatever handlers may do to messages is counted for what it is.
func TestTheTallySeesWhatHandlersDid(t *testing.T) {
	t.Parallel()
	l := NewLog()
	l.accounts["a"], l.accounts["b"] = &Account{Version: 3}, &Account{Version: 2}
	l.ids["t"] = 1
	for name, c := range map[string]struct {
		a, b []uint64
		more []Effects
		want Tally
	}{
		"all is well":        {a: []uint64{1, 2, 3}, b: []uint64{1, 2}},
		"one is lost":        {a: []uint64{1, 3}, b: []uint64{1, 2}, want: Tally{Lost: 1, Disordered: 1}},
		"the last is lost":   {a: []uint64{1, 2}, b: []uint64{1, 2}, want: Tally{Lost: 1}},
		"a key is lost":      {b: []uint64{1, 2}, want: Tally{Lost: 3}},
		"one comes twice":    {a: []uint64{1, 2, 3}, b: []uint64{1, 1, 2}, want: Tally{Doubled: 1}},
		"one comes late":     {a: []uint64{1, 2, 3, 2}, b: []uint64{1, 2}, want: Tally{Doubled: 1}},
		"one is overtaken":   {a: []uint64{1, 3, 2}, b: []uint64{1, 2}, want: Tally{Disordered: 2}},
		"all is turned":      {a: []uint64{3, 2, 1}, b: []uint64{1, 2}, want: Tally{Disordered: 3}},
		"one is of nothing":  {a: []uint64{1, 2, 3}, b: []uint64{1, 2, 3}, want: Tally{Doubled: 1}},
		"a key is of nobody": {[]uint64{1, 2, 3}, []uint64{1, 2}, []Effects{{"h", "x", []uint64{1}}}, Tally{Doubled: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := slices.Concat(c.more, []Effects{{"h", "a", c.a}, {"h", "b", c.b}, {"g", "t", []uint64{1}}})
			got := l.Tally(map[string]bool{"h": true, "g": false}, all)
			want := c.want
			want.Messages, want.Effects = 6, 6
			if got.String() != want.String() {
				t.Errorf("%s; want %s", &got, &want)
			}
			finding := (*BrokenError)(nil)
			if found := errors.As(got.Broken(), &finding); found != (want.Lost+want.Doubled+want.Disordered > 0) {
				t.Errorf("found: %v", got.Broken())
			}
		})
	}
}

func TestWhatWaitsForNothingIsBroken(t *testing.T) {
	t.Parallel()
	tally := NewLog().Tally(nil, nil)
	if err := tally.Broken(); err != nil {
		t.Error(err)
	}
	tally.Wait(2, "%s waits", "k")
	if err := tally.Broken(); err == nil || tally.Stuck != 2 {
		t.Errorf("%s: %v", &tally, err)
	}
}
