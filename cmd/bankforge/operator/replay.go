package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"bankforge/ports/operations"
)

// Replay tries many sequences again.
type Replay struct {
	Client `embed:""`
	Select `embed:""`

	Account     string `help:"Touching this account." placeholder:"acc_…"`
	Correlation string `help:"Of this correlation id." placeholder:"ID"`
	Rate        int    `help:"Messages a second at most; 0: as many as can be." default:"0"`
	Concurrency int    `help:"Sequences beside one another." default:"4"`
	StopAfter   int    `help:"Sequences that may fail before it stops; 0: all." default:"0"`
	Plan        bool   `help:"Only plan it, and say how much it would try."`
	Reason      string `help:"Why; kept in the log." required:"" placeholder:"TEXT"`
}

// plan is what is sent.
type plan struct {
	Reason      string                `json:"reason"`
	Filter      operations.ScopeShown `json:"filter"`
	Rate        int                   `json:"rate"`
	Concurrency int                   `json:"concurrency"`
	StopAfter   int                   `json:"stop_after_errors"`
}

// lookAgain is how often a replay is looked at.
const lookAgain = 250 * time.Millisecond

// Run plans, starts and watches it.
func (c *Replay) Run(ctx context.Context, out io.Writer) error {
	var planned operations.Planned
	if err := c.ask(ctx, out, http.MethodPost, "/replays", plan{
		c.Reason, operations.ScopeShown{
			Handler: c.Handler, Class: c.Class, Fingerprint: c.Fingerprint, Account: c.Account, Correlation: c.Correlation,
		}, c.Rate, c.Concurrency, c.StopAfter,
	}, &planned); err != nil {
		return err
	}
	path := "/replays" + step(planned.ID)
	r, err := c.settled(ctx, out, path, &planned.Replay, "pending")
	if err != nil || c.Plan {
		return errors.Join(err, c.show(out, r))
	}
	var started operations.Acted
	if err := c.ask(ctx, out, http.MethodPost, path+"/start", because{c.Reason}, &started); err != nil {
		return err
	}
	r.Status = "running"
	if r, err = c.settled(ctx, out, path, r, "planned", "running"); err != nil {
		return err
	}
	if err := c.show(out, r); err != nil {
		return err
	}
	if r.Status != "done" || r.Failed > 0 {
		return &refusal{fmt.Sprintf("the replay is %s; %d sequences failed again", r.Status, r.Failed)}
	}
	return nil
}

// settled waits until the replay is in none of the states.
func (c *Replay) settled(
	ctx context.Context, out io.Writer, path string, r *operations.Replay, states ...string,
) (*operations.Replay, error) {
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for slices.Contains(states, r.Status) {
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-again.C:
		}
		var now operations.Replay
		if err := c.ask(ctx, out, http.MethodGet, path, nil, &now); err != nil {
			return r, err
		}
		r = &now
	}
	return r, nil
}

func (c *Replay) show(out io.Writer, r *operations.Replay) error {
	return c.print(out, r, func(t *tables) {
		t.row("ID", "STATUS", "MESSAGES", "KEYS", "ACCOUNTS", "OLDEST", "ESTIMATED", "HANDLED", "FAILED", "LEFT")
		t.row(r.ID, r.Status, count(r.Count), count(r.Keys), count(r.Accounts), instant(r.Oldest),
			fmt.Sprintf("%.1fs", r.Estimated), count(r.Handled), count(r.Failed), count(r.Left))
	})
}
