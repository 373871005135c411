package teller

import (
	"fmt"

	"bankforge/cmd/drill/journal"
)

// versions is what the clients know of the versions of an account.
type versions struct {
	least uint64 // it has at least this one
	// more: since then they know of something newer, whose version they were not told.
	more int64
}

// learn takes from an answer what it tells of versions.
func (o *Office) learn(c *Command, f journal.Fate) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.versions == nil || f != journal.Acked {
		return
	}
	if c.Kind == Hold || c.Kind == Void {
		v := o.versions[c.Account]
		v.more = o.Now()
		o.versions[c.Account] = v
		return
	}
	moved, err := c.moved()
	if err != nil {
		return // whoever compares it with the log will tell
	}
	for i := range moved {
		for _, e := range moved[i].Entries {
			o.told(e.Account, e.Version, c.Call)
		}
	}
}

// told notes a version, under mu. A command that was sent at call made it: it is newer than all that was told before.
func (o *Office) told(account string, version uint64, call int64) {
	if o.versions == nil {
		return
	}
	v := o.versions[account]
	v.least = max(v.least, version)
	if call > v.more {
		v.more = 0
	}
	o.versions[account] = v
}

// atLeast is how a reader asks for what the clients know of an account. ordered: what it is shown then belongs in one
// order with all that was answered before.
func (o *Office) atLeast(account string) (query string, ordered bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.versions == nil {
		return "", true
	}
	v := o.versions[account]
	if v.least == 0 {
		return "", false
	}
	return fmt.Sprintf("?min_version=%d", v.least), v.more == 0
}
