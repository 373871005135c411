package faults

import "testing"

// Only what nobody can read, and what does not follow by that, is given up; what was made to fail is tried again.
func TestOnlyWhatNobodyCanReadIsGivenUp(t *testing.T) {
	t.Parallel()
	text := func(s string) *string { return &s }
	for name, c := range map[string]struct {
		sequence
		want bool
	}{
		"made to fail":   {sequence{Class: text("poison"), Error: text("the drill: not version 7")}, false},
		"of other class": {sequence{Class: text("unknown"), Error: text("a string has no end")}, false},
		"only waiting":   {sequence{}, false},
		"broken":         {sequence{Class: text("poison"), Error: text("a string has no end")}, true},
		"behind a gap":   {sequence{Class: text("poison"), Error: text("version 7 came, but the view is at 5")}, true},
	} {
		if got := c.strange(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
