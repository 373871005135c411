package many

import (
	"strings"
	"testing"
	"time"

	"bankforge/cmd/drill/teller"
)

func TestCommandsMustBeAsFastWithoutKafka(t *testing.T) {
	t.Parallel()
	with := teller.Pace{Answered: 100, Median: 4 * time.Millisecond, Slow: 20 * time.Millisecond}
	for name, c := range map[string]struct {
		without teller.Pace
		found   string
	}{
		"as fast":    {teller.Pace{Answered: 50, Median: 5 * time.Millisecond}, ""},
		"slower":     {teller.Pace{Answered: 50, Median: 9 * time.Millisecond}, "take longer"},
		"one failed": {teller.Pace{Answered: 50, Failed: 1, Median: time.Millisecond}, "1 commands failed"},
		"none":       {teller.Pace{}, "no command was answered"},
	} {
		err := asFast(with, c.without, 1)
		if (err == nil) != (c.found == "") || err != nil && !strings.Contains(err.Error(), c.found) {
			t.Errorf("%s: found %v, want %q", name, err, c.found)
		}
	}
	if err := asFast(teller.Pace{}, with, 1); err == nil {
		t.Error("nothing to compare with is taken for as fast")
	}
}
