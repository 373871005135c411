// Package judge holds a running bank against all that is known of it.
package judge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/journal"
	"bankforge/cmd/drill/teller"
)

// Case is one bank, and what is known of it. Only while no clients are at work.
type Case struct {
	Client *teller.Client // for reading
	Office *teller.Office
	Log    *check.Log
	Random *rand.Rand
	Past   check.Past // before the commands that were not judged yet
	Judged int        // commands that have been
	// Verify lets the bank check itself, beside what runs.
	Verify func(context.Context) error
	// Histories: the entries of accounts are compared, too.
	Histories bool
}

// Patience is how long views may take to catch up.
const Patience = 30 * time.Second

// Judge holds a running bank against all that is known of it. No clients are at work. In this order: what the
// log says of itself and of the commands; the same keys again, which also settles what was unknown; the log once
// more; the views; the order of answers; and what the bank's own verify says.
func (c *Case) Judge(ctx context.Context) error {
	if err := c.ReadLog(ctx); err != nil {
		return err
	}
	commands := c.Office.Commands()
	c.Log.Commands(commands)
	c.Log.Strangers(commands)
	if err := check.Broken(c.Office.Findings(), c.Log.Findings()); err != nil {
		return err
	}
	if err := c.AskAgain(ctx, commands); err != nil {
		return check.Wrong(err)
	}
	if err := c.ReadLog(ctx); err != nil {
		return err
	}
	c.Log.Commands(commands)
	if err := c.views(ctx); err != nil {
		return check.Wrong(err)
	}
	if c.Histories {
		if err := c.histories(ctx); err != nil {
			return check.Wrong(err)
		}
	}
	through := c.Log.Now()
	disorder, _ := check.Linear(c.Past, through, commands[c.Judged:], c.Office.Reads())
	c.Past, c.Judged = through, len(commands)
	if err := check.Broken(c.Office.Findings(), c.Log.Findings(), disorder); err != nil {
		return err
	}
	return check.Wrong(c.Verify(ctx))
}

// ReadLog reads on from where the drill has come.
func (c *Case) ReadLog(ctx context.Context) error {
	const page = 200
	for {
		r, err := c.Client.Get(ctx, fmt.Sprintf("/v1/events?after_seq=%d&limit=%d", c.Log.Seq, page))
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if r.Status != http.StatusOK {
			return fmt.Errorf("read the log: %d %s", r.Status, r.Body)
		}
		n := 0
		for line := range bytes.Lines(r.Body) {
			var e check.Event
			if err := json.Unmarshal(line, &e); err != nil {
				return fmt.Errorf("read the log behind event %d: %w", c.Log.Seq, err)
			}
			c.Log.Take(&e)
			n++
		}
		if n < page {
			return nil
		}
	}
}

// Of what is known already, so many commands are asked again: the newest, and some of all.
const (
	againNew = 150
	againOld = 50
)

// AskAgain sends commands again under their old keys.
func (c *Case) AskAgain(ctx context.Context, commands []*teller.Command) error {
	again := map[int]bool{}
	for i, m := range commands {
		if m.Fate == journal.Unknown || m.Fate == journal.Intent || m.Fate == "" || i >= len(commands)-againNew {
			again[i] = true
		}
	}
	for range min(againOld, len(commands)) {
		again[c.Random.IntN(len(commands))] = true
	}
	for i, m := range commands {
		if !again[i] || m.Fate == journal.NotDone {
			continue
		}
		if err := c.Office.Ask(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// views waits until the views have come as far as the log, and compares them with it.
func (c *Case) views(ctx context.Context) error {
	var seen teller.Seen
	for _, a := range c.Office.Accounts() {
		want := c.Log.Account(a.ID)
		if want == nil {
			return fmt.Errorf("account %s is not in the log", a.ID)
		}
		err := teller.Until(ctx, Patience, func() bool {
			err := c.Client.GetInto(ctx, "/v1/accounts/"+a.ID, &seen)
			return err == nil && seen.Version >= want.Version
		})
		if err != nil {
			return fmt.Errorf("the view of %s does not come to version %d, it is at %d: %w", a.ID, want.Version,
				seen.Version, err)
		}
		c.Log.Seen(&seen)
	}
	return nil
}
