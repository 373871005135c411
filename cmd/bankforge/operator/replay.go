package operator

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"bankforge/ports/operations"
)

// Replays are the commands on replays, step by step. bankforge failures replay does all of them in one.
type Replays struct {
	Ls     ListReplays  `cmd:"" help:"List replays, the newest first."`
	Plan   PlanReplay   `cmd:"" help:"Plan a replay, and say how much it would try."`
	Show   ShowReplay   `cmd:"" help:"Show a replay as it goes."`
	Start  StartReplay  `cmd:"" help:"Start a replay that is planned; with --wait until it is done."`
	Cancel CancelReplay `cmd:"" help:"Cancel a replay."`
}

// Plan is what a replay tries, and how fast.
type Plan struct {
	Why    `embed:""`
	Select `embed:""`

	Account     string `help:"Touching this account." placeholder:"acc_…"`
	Correlation string `help:"Of this correlation id." placeholder:"ID"`
	Rate        int    `help:"Messages a second at most; 0: as many as can be." default:"0"`
	Concurrency int    `help:"Sequences beside one another." default:"4"`
	StopAfter   int    `help:"Sequences that may fail before it stops; 0: all." default:"0"`
}

// plan is what is sent.
type plan struct {
	Reason      string                `json:"reason"`
	Filter      operations.ScopeShown `json:"filter"`
	Rate        int                   `json:"rate"`
	Concurrency int                   `json:"concurrency"`
	StopAfter   int                   `json:"stop_after_errors"`
}

// plan plans it, and waits until it is known how much it would be.
func (c *Plan) plan(ctx context.Context, out io.Writer) (*operations.Replay, error) {
	var planned operations.Planned
	if err := c.ask(ctx, out, http.MethodPost, "/replays", plan{
		c.Reason, operations.ScopeShown{
			Handler: c.Handler, Class: c.Class, Fingerprint: c.Fingerprint, Account: c.Account, Correlation: c.Correlation,
		}, c.Rate, c.Concurrency, c.StopAfter,
	}, &planned, c.keyed()...); err != nil {
		return nil, err
	}
	if planned.Status == "pending" { // it makes no replay if it is refused
		a := operations.Acted{EventID: planned.EventID, Status: planned.Status}
		err := c.ended(ctx, &a)
		if err == nil {
			err = unwilling(&a)
		}
		if err == nil {
			err = c.ask(ctx, io.Discard, http.MethodGet, "/replays"+step(planned.ID), nil, &planned.Replay)
		}
		if err != nil {
			return nil, err
		}
	}
	return &planned.Replay, nil
}

// PlanReplay plans a replay.
type PlanReplay struct {
	Plan `embed:""`
}

// Run does so.
func (c *PlanReplay) Run(ctx context.Context, out io.Writer) error {
	r, err := c.plan(ctx, out)
	if err != nil {
		return err
	}
	return c.replays(out, r, *r)
}

// Replay tries many sequences again.
type Replay struct {
	Plan `embed:""`

	Only bool `name:"plan" help:"Only plan it, and say how much it would try."`
}

// Run plans, starts and watches it.
func (c *Replay) Run(ctx context.Context, out io.Writer) error {
	r, err := c.plan(ctx, out)
	if err != nil {
		return err
	}
	if c.Only {
		return c.replays(out, r, *r)
	}
	var started operations.Acted
	path := "/replays" + step(r.ID) + "/start"
	if err := c.ask(ctx, out, http.MethodPost, path, because{c.Reason}, &started, c.keyed()...); err != nil {
		return err
	}
	return c.watch(ctx, out, r)
}

// watch waits until a replay that was started has ended, and fails unless all went well.
func (c *Client) watch(ctx context.Context, out io.Writer, r *operations.Replay) error {
	r.Status = "running"
	over := func() bool { return r.Status != "planned" && r.Status != "running" }
	if err := await(ctx, over, func() error {
		return c.ask(ctx, io.Discard, http.MethodGet, "/replays"+step(r.ID), nil, r)
	}); err != nil {
		return err
	}
	if err := c.replays(out, r, *r); err != nil {
		return err
	}
	if r.Status != "done" || r.Failed > 0 {
		return &refusal{text: fmt.Sprintf("the replay is %s; %d sequences failed again", r.Status, r.Failed)}
	}
	return nil
}

// replays prints v, in a table the replays that it holds.
func (c *Client) replays(out io.Writer, v any, all ...operations.Replay) error {
	return c.print(out, v, func(t *tables) {
		t.row("ID", "STATUS", "MESSAGES", "KEYS", "ACCOUNTS", "OLDEST", "ESTIMATED", "HANDLED", "FAILED", "LEFT")
		for i := range all {
			r := &all[i]
			t.row(r.ID, r.Status, count(r.Count), count(r.Keys), count(r.Accounts), instant(r.Oldest),
				fmt.Sprintf("%.1fs", r.Estimated), count(r.Handled), count(r.Failed), count(r.Left))
		}
	})
}

// ListReplays lists replays.
type ListReplays struct {
	Client `embed:""`
	Span   `embed:""`

	Status string `help:"In this state only." placeholder:"STATUS"`
}

// Run prints them.
func (c *ListReplays) Run(ctx context.Context, out io.Writer) error {
	found, err := rows[operations.Replay](ctx, &c.Client, out, "/replays", c.of("status", c.Status), c.Limit)
	if err != nil {
		return err
	}
	return c.replays(out, list[operations.Replay]{found}, found...)
}

// ShowReplay shows one replay.
type ShowReplay struct {
	Client `embed:""`

	ID string `arg:"" help:"Of the replay." placeholder:"rpl_…"`
}

// Run prints it.
func (c *ShowReplay) Run(ctx context.Context, out io.Writer) error {
	var r operations.Replay
	if err := c.ask(ctx, out, http.MethodGet, "/replays"+step(c.ID), nil, &r); err != nil {
		return err
	}
	return c.replays(out, r, r)
}

// StartReplay starts a replay.
type StartReplay struct {
	Act `embed:""`

	ID string `arg:"" help:"Of the replay." placeholder:"rpl_…"`
}

// Run does so; waiting, it prints the replay as it ended.
func (c *StartReplay) Run(ctx context.Context, out io.Writer) error {
	path := "/replays" + step(c.ID) + "/start"
	if !c.Wait {
		return c.act(ctx, out, path)
	}
	var started operations.Acted
	if err := c.ask(ctx, out, http.MethodPost, path, because{c.Reason}, &started, c.keyed()...); err != nil {
		return err
	}
	return c.watch(ctx, out, &operations.Replay{ID: c.ID})
}

// CancelReplay cancels a replay.
type CancelReplay struct {
	Act `embed:""`

	ID string `arg:"" help:"Of the replay." placeholder:"rpl_…"`
}

// Run does so.
func (c *CancelReplay) Run(ctx context.Context, out io.Writer) error {
	return c.act(ctx, out, "/replays"+step(c.ID)+"/cancel")
}
