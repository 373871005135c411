package teller

import (
	"context"
	"fmt"
	"slices"
	"time"

	"bankforge/cmd/drill/journal"
)

// Pace is how commands fared that were sent in some time.
type Pace struct {
	Answered int           // done or refused
	Failed   int           // neither
	Median   time.Duration // until an answer
	Slow     time.Duration // all but one in a hundred were answered by then
}

// String is for the table.
func (p Pace) String() string {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms (%d answered, %d not)", ms(p.Median), ms(p.Slow), p.Answered, p.Failed)
}

// Pace is that of the commands that were sent after a time of the drill, and are not under way any more. Those that
// prefer to wait for something do not count.
func (o *Office) Pace(since int64) (p Pace) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var took []time.Duration
	for _, c := range o.commands {
		switch {
		case c.Fate == "" || c.Fate == journal.Intent: // only its client may look at what else there is
		case c.Call <= since || c.Prefer != "":
		case c.Fate == journal.Acked || c.Fate == journal.Rejected:
			took = append(took, time.Duration(c.Return-c.Call))
		default:
			p.Failed++
		}
	}
	if p.Answered = len(took); p.Answered > 0 {
		slices.Sort(took)
		p.Median, p.Slow = took[len(took)/2], took[len(took)*99/100]
	}
	return p
}

// Move has n clients send commands until ctx ends, each one and then no other for a while. They never read, so what
// they ask for does not depend on how fast views are.
func (o *Office) Move(ctx context.Context, n int, every time.Duration) {
	o.work(ctx, n, func(w *worker, ctx context.Context) bool {
		return w.move(ctx, w.random.IntN(movements)) && Rest(ctx, every) == nil
	})
}

// Published puts money on an account, by some door, and asks to be answered when the broker has it. It tells how long
// the answer took, and whether it says that the broker has.
func (o *Office) Published(ctx context.Context, door int) (took time.Duration, said bool, err error) {
	w := o.worker()
	w.at = door
	c := w.deposit(w.accounts[0], 1)
	c.Prefer = "ack=published"
	w.send(ctx, c)
	if c.Fate != journal.Acked {
		return 0, false, fmt.Errorf("a deposit that prefers to be published is %s: %s", c.Fate, c.Reply.Body)
	}
	return time.Duration(c.Return - c.Call), c.Reply.Header.Get("Preference-Applied") == c.Prefer, nil
}

// Doors is how many there are.
func (o *Office) Doors() int { return len(o.doors) }
