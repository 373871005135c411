package check_test

import (
	"strings"
	"testing"

	"bankforge/cmd/drill/check"
)

func TestAHistoryMustBeThatOfTheLog(t *testing.T) {
	t.Parallel()
	right := []check.Entry{{Version: 2, Amount: 100, Balance: 100}, {Version: 3, Amount: -30, Balance: 70}}
	for name, c := range map[string]struct {
		shown []check.Entry
		found string
	}{
		"right":   {right, ""},
		"missing": {right[:1], "is missing"},
		"twice":   {append(right[:2:2], right[1]), "there is no"},
		"other":   {[]check.Entry{right[0], {Version: 3, Amount: -31, Balance: 70}}, "and in the log"},
		"turned":  {[]check.Entry{right[1], right[0]}, "and in the log"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := check.NewLog()
			for _, e := range history(t) {
				l.Take(e)
			}
			l.Entries("a", c.shown)
			found := strings.Join(l.Findings(), "; ")
			if c.found == "" && found != "" || !strings.Contains(found, c.found) {
				t.Errorf("found %q, want %q", found, c.found)
			}
		})
	}
}
