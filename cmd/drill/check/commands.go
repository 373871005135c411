package check

import (
	"net/http"

	"bankforge/cmd/drill/journal"
	"bankforge/cmd/drill/teller"
)

// Commands holds what clients know against the log: what was acknowledged is there exactly once, as it was told; what
// was refused, or not done, is not; and of what is unknown there is at most what was asked for.
func (l *Log) Commands(commands []*teller.Command) {
	for _, c := range commands {
		there := l.by[c.Key]
		switch c.Fate {
		case journal.Acked:
			l.acked(c, there)
		case journal.Rejected, journal.NotDone:
			if len(there) > 0 {
				l.found("%s %s is %s (%d %s), and there %d times: %v",
					c.Kind, c.Key, c.Fate, c.Reply.Status, c.Reply.Body, len(there), there)
			}
		default:
			if most := c.Most(); len(there) > most {
				l.found("%s %s was never answered, and is there %d times: %v", c.Kind, c.Key, len(there), there)
			}
		}
	}
}

func (l *Log) acked(c *teller.Command, there []string) {
	moved, err := c.Movements()
	if err != nil {
		l.found("%v", err)
		return
	}
	want := len(moved)
	if c.Kind == teller.Open || c.Kind == teller.Hold || c.Kind == teller.Void {
		want = 1
	}
	if len(there) != want {
		l.found("%s %s was acknowledged (%d), and is there %d times instead of %d",
			c.Kind, c.Key, c.Reply.Status, len(there), want)
		return
	}
	for i := range moved {
		var prints []string
		for _, e := range moved[i].Entries {
			prints = append(prints, footprint(e.Account, e.Signed(), int64(e.After.Minor), e.Version))
		}
		if want := joined(prints); there[i] != want {
			l.found("%s %s was told %s, but the log says %s", c.Kind, c.Key, want, there[i])
		}
	}
	if c.Kind != teller.Bulk && c.Reply.Status == http.StatusAccepted {
		l.found("%s %s waits for a review that nobody has asked for", c.Kind, c.Key)
	}
}

// Strangers are events that nobody has asked for.
func (l *Log) Strangers(commands []*teller.Command) {
	known := make(map[string]bool, len(commands))
	for _, c := range commands {
		known[c.Key] = true
	}
	for id, there := range l.by {
		if !known[id] {
			l.found("%q is there %d times, and nobody has asked for it", id, len(there))
		}
	}
}

// Seen holds an account as a view shows it against the log.
func (l *Log) Seen(s *teller.Seen) {
	a := l.accounts[s.ID]
	if a == nil {
		l.found("the view has account %s, and the log has not", s.ID)
		return
	}
	if s.Version != a.Version || int64(s.Balance.Minor) != a.Balance || int64(s.Held.Minor) != a.Held {
		l.found("the view has %s at version %d with %d, held %d; the log at version %d with %d, held %d",
			s.ID, s.Version, s.Balance.Minor, s.Held.Minor, a.Version, a.Balance, a.Held)
	}
}

// Has says whether the command has left anything.
func (l *Log) Has(c *teller.Command) bool { return len(l.by[c.Key]) > 0 }

// Entries holds the history of an account as a view shows it, in order, against the log.
func (l *Log) Entries(account string, shown []Entry) {
	want := l.entries[account]
	for i := range max(len(want), len(shown)) {
		switch {
		case i >= len(shown):
			l.found("the history of %s has %d entries, and the log %d: %+v is missing", account, len(shown), len(want), want[i])
		case i >= len(want):
			l.found("the history of %s has %d entries, and the log %d: there is no %+v",
				account, len(shown), len(want), shown[i])
		case shown[i] != want[i]:
			l.found("entry %d in the history of %s is %+v, and in the log %+v", i, account, shown[i], want[i])
		default:
			continue
		}
		return
	}
}

// Transactions are the ids of all, and the versions that they have.
func (l *Log) Transactions() map[string]uint64 { return l.ids }

// History is what moved on an account.
func (l *Log) History(account string) []Entry { return l.entries[account] }
