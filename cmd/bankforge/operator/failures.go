package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"bankforge/ports/operations"
)

// Failures are the commands on what is parked.
type Failures struct {
	Ls       List     `cmd:"" help:"List what waits in the parking lot, the newest first."`
	Groups   Groups   `cmd:"" help:"List failures by their reasons."`
	Show     Show     `cmd:"" help:"Show a failure with its message and every attempt."`
	Retry    Retry    `cmd:"" help:"Try a failure, all that waits of a key, or a group of failures again."`
	Schedule Schedule `cmd:"" help:"Try the head of a sequence again at a time."`
	Discard  Discard  `cmd:"" help:"Give the head of a sequence up; the key's view lacks it until it is rebuilt."`
	Rebuild  Rebuild  `cmd:"" help:"Write the view of one key anew from the log, which ends what waits of it."`
	Replay   Replay   `cmd:"" help:"Plan a replay of many sequences, start it, and wait until it is done."`
}

// Select selects failures.
type Select struct {
	Handler     string `help:"Of this handler." placeholder:"NAME"`
	Class       string `help:"Failed with an error of this class." placeholder:"CLASS"`
	Fingerprint string `help:"Failed for this reason." placeholder:"fp_…"`
}

// List lists failures.
type List struct {
	Client `embed:""`
	Select `embed:""`
	Span   `embed:""`

	Key         string `help:"Of this key." placeholder:"KEY"`
	Account     string `help:"Touching this account." placeholder:"acc_…"`
	Correlation string `help:"Of this correlation id." placeholder:"ID"`
	Status      string `help:"In this state only; else what waits." placeholder:"STATUS"`
	All         bool   `help:"Also what does not wait any more."`
}

// Run prints them.
func (c *List) Run(ctx context.Context, out io.Writer) error {
	waiting := "true"
	if c.All || c.Status != "" {
		waiting = ""
	}
	found, err := rows[operations.Failure](ctx, &c.Client, out, "/failures", c.of("handler", c.Handler, "key", c.Key,
		"class", c.Class, "fingerprint", c.Fingerprint, "account_id", c.Account, "correlation_id", c.Correlation,
		"status", c.Status, "waiting", waiting), c.Limit)
	if err != nil {
		return err
	}
	return c.print(out, list[operations.Failure]{found}, func(t *tables) {
		t.row("ID", "STATUS", "HANDLER", "KEY", "TYPE", "PARKED", "NEXT", "ERROR")
		for i := range found {
			f := &found[i]
			t.row(f.ID, f.Status, f.Handler, f.Key, f.Type, instant(&f.ParkedAt), instant(f.NextAttemptAt), text(f.Error))
		}
	})
}

// Groups lists groups of failures.
type Groups struct {
	Client `embed:""`
	Select `embed:""`
	Span   `embed:""`
}

// Run prints them.
func (c *Groups) Run(ctx context.Context, out io.Writer) error {
	found, err := rows[operations.Group](ctx, &c.Client, out, "/failure-groups", c.of("handler", c.Handler,
		"class", c.Class, "fingerprint", c.Fingerprint), c.Limit)
	if err != nil {
		return err
	}
	return c.print(out, list[operations.Group]{found}, func(t *tables) {
		t.row("FINGERPRINT", "HANDLER", "CLASS", "FAILURES", "WAITING", "ACCOUNTS", "OLDEST", "MESSAGE")
		for i := range found {
			g := &found[i]
			t.row(g.Fingerprint, g.Handler, g.Class, count(g.Count), count(g.Waiting), count(g.Accounts),
				(time.Duration(g.OldestAge) * time.Second).String(), g.Message)
		}
	})
}

// Show shows one failure.
type Show struct {
	Client `embed:""`

	ID string `arg:"" help:"Of the failure." placeholder:"fail_…"`
}

// Run prints it.
func (c *Show) Run(ctx context.Context, out io.Writer) error {
	var d operations.Detail
	if err := c.ask(ctx, out, http.MethodGet, "/failures"+step(c.ID), nil, &d); err != nil {
		return err
	}
	payload, err := json.MarshalIndent(d.Payload, "", "  ")
	if err != nil {
		return err
	}
	return c.print(out, d, func(t *tables) {
		for _, line := range [][2]string{
			{"id", d.ID}, {"status", d.Status}, {"head", strconv.FormatBool(d.Head)}, {"handler", d.Handler}, {"key", d.Key},
			{"type", d.Type}, {"topic", d.Topic}, {"partition", count(d.Partition)}, {"position", d.Position},
			{"correlation id", text(d.CorrelationID)}, {"class", text(d.Class)}, {"error", text(d.Error)},
			{"fingerprint", text(d.Fingerprint)}, {"parked", instant(&d.ParkedAt)}, {"next", instant(d.NextAttemptAt)},
			{"ended", instant(d.EndedAt)}, {"ended by", text(d.EndedBy)}, {"problem", text(d.PayloadProblem)},
		} {
			t.row(line[0]+":", line[1])
		}
		t.plain("")
		t.row("AT", "BY", "TOOK", "CLASS", "ERROR")
		for i := range d.Attempts {
			a := &d.Attempts[i]
			t.row(instant(&a.At), a.By, fmt.Sprintf("%.1fms", a.TookMS), a.Class, a.Error)
		}
		t.plain("\n" + string(payload)) // JSON has no control characters
	})
}

// Retry tries something again.
type Retry struct {
	Act `embed:""`

	ID          string `arg:"" optional:"" help:"Of a failure that is the head of its sequence." placeholder:"fail_…"`
	Handler     string `help:"Of a sequence; with --key." placeholder:"NAME"`
	Key         string `help:"Of a sequence: all of it, until one fails." placeholder:"KEY"`
	Fingerprint string `help:"All sequences whose heads failed for this reason." placeholder:"fp_…"`
}

var errRetryWhat = errors.New("give the id of a failure, or --handler and --key, or --fingerprint")

// Validate checks what kong cannot.
func (c *Retry) Validate() error {
	named := 0
	for _, given := range []bool{c.ID != "", c.Handler != "" || c.Key != "", c.Fingerprint != ""} {
		if given {
			named++
		}
	}
	if named != 1 || (c.Handler == "") != (c.Key == "") {
		return errRetryWhat
	}
	return c.Client.Validate()
}

// Run does so.
func (c *Retry) Run(ctx context.Context, out io.Writer) error {
	path := "/failures" + step(c.ID)
	switch {
	case c.Key != "":
		path = "/sequences" + step(c.Handler) + step(c.Key)
	case c.Fingerprint != "":
		path = "/failure-groups" + step(c.Fingerprint)
	}
	return c.act(ctx, out, path+"/retry")
}

// Schedule has a failure tried again at a time.
type Schedule struct {
	Act `embed:""`

	ID string `arg:"" help:"Of a failure that is the head of its sequence." placeholder:"fail_…"`
	At string `help:"When: 2031-05-01T06:00:00Z, or 90m for in so long." required:"" placeholder:"TIME"`
}

// scheduled is what is sent.
type scheduled struct {
	Reason string `json:"reason"`
	At     string `json:"at"`
}

// Run does so.
func (c *Schedule) Run(ctx context.Context, out io.Writer) error {
	at := c.At
	if in, err := time.ParseDuration(at); err == nil {
		at = time.Now().Add(in).UTC().Format(time.RFC3339)
	}
	return c.do(ctx, out, "/failures"+step(c.ID)+"/schedule", scheduled{c.Reason, at})
}

// Discard gives a failure up.
type Discard struct {
	Act `embed:""`

	ID string `arg:"" help:"Of a failure that is the head of its sequence." placeholder:"fail_…"`
}

// Run does so.
func (c *Discard) Run(ctx context.Context, out io.Writer) error {
	return c.act(ctx, out, "/failures"+step(c.ID)+"/discard")
}

// Rebuild writes the view of one key anew.
type Rebuild struct {
	Act `embed:""`

	Handler string `help:"That keeps the view." required:"" placeholder:"NAME"`
	Key     string `help:"Of the view: an account's id, or a transaction's." required:"" placeholder:"KEY"`
}

// Run does so.
func (c *Rebuild) Run(ctx context.Context, out io.Writer) error {
	return c.act(ctx, out, "/sequences"+step(c.Handler)+step(c.Key)+"/rebuild")
}
