package check_test

import (
	"slices"
	"strings"
	"testing"

	"bankforge/cmd/drill/check"
)

func TestATopicMustHaveEveryVersionInOrder(t *testing.T) {
	t.Parallel()
	right := []check.Message{{0, 0, "a", 1}, {0, 1, "a", 2}, {1, 0, "b", 1}, {0, 2, "a", 3}}
	with := func(i int, m check.Message) []check.Message {
		out := slices.Clone(right)
		out[i] = m
		return out
	}
	for name, c := range map[string]struct {
		topic []check.Message
		found string
	}{
		"right":              {right, ""},
		"told again":         {append(slices.Clone(right), check.Message{0, 3, "a", 2}, check.Message{0, 4, "a", 3}), ""},
		"read in any order":  {[]check.Message{right[3], right[2], right[1], right[0]}, ""},
		"its end is missing": {right[:3], "version 3 of a is missing"},
		"a key is missing":   {slices.Delete(slices.Clone(right), 2, 3), "version 1 of b is missing"},
		"its middle missing": {slices.Delete(slices.Clone(right), 1, 2), "version 3 of a comes after version 1"},
		"turned": {append(with(1, check.Message{0, 1, "a", 3}), check.Message{0, 3, "a", 2}),
			"comes after version 1"},
		"another partition":      {with(3, check.Message{1, 1, "a", 3}), "a is in partitions 0 and 1"},
		"what is not in the log": {append(slices.Clone(right), check.Message{0, 3, "a", 4}), "it has version 4 of a"},
		"a stranger":             {append(slices.Clone(right), check.Message{1, 1, "c", 1}), "it has version 1 of c"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := check.NewLog()
			l.Topic("topic", slices.Clone(c.topic), map[string]uint64{"a": 3, "b": 1})
			found := strings.Join(l.Findings(), "; ")
			if c.found == "" && found != "" || !strings.Contains(found, c.found) {
				t.Errorf("found %q, want %q", found, c.found)
			}
		})
	}
}
