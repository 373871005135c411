package operator

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"

	"bankforge/ports/operations"
)

// Acts are the commands on what operators did.
type Acts struct {
	Ls   ListActs `cmd:"" help:"List what operators did, the newest first."`
	Show ShowAct  `cmd:"" help:"Show what became of an act."`
}

// ListActs lists acts.
type ListActs struct {
	Client `embed:""`
	Span   `embed:""`

	Handler string `help:"About this handler." placeholder:"NAME"`
	Key     string `help:"About this key." placeholder:"KEY"`
	Target  string `help:"About this failure, replay or group." placeholder:"ID"`
	Status  string `help:"In this state only." placeholder:"STATUS"`
}

// Run prints them.
func (c *ListActs) Run(ctx context.Context, out io.Writer) error {
	found, err := rows[operations.Acted](ctx, &c.Client, out, "/acts", c.of("handler", c.Handler, "key", c.Key,
		"target", c.Target, "status", c.Status), c.Limit)
	if err != nil {
		return err
	}
	return c.print(out, list[operations.Acted]{found}, func(t *tables) {
		t.row("EVENT", "AT", "ACTOR", "KIND", "HANDLER", "KEY", "TARGET", "STATUS", "CODE", "REASON")
		for i := range found {
			a := &found[i]
			t.row(a.EventID, instant(&a.At), text(a.Actor), a.Kind, text(a.Handler), text(a.Key), text(a.Target), a.Status,
				text(a.Code), a.Reason)
		}
	})
}

// ShowAct shows one act.
type ShowAct struct {
	Client `embed:""`

	ID string `arg:"" help:"Of the event that recorded it." placeholder:"act_…"`
}

// Run prints it.
func (c *ShowAct) Run(ctx context.Context, out io.Writer) error {
	var a operations.Acted
	if err := c.ask(ctx, out, http.MethodGet, "/acts"+step(c.ID), nil, &a); err != nil {
		return err
	}
	return c.print(out, a, func(t *tables) {
		for _, line := range [][2]string{
			{"event", a.EventID}, {"seq", strconv.FormatUint(a.Seq, 10)}, {"kind", a.Kind}, {"handler", text(a.Handler)},
			{"key", text(a.Key)}, {"target", text(a.Target)}, {"reason", a.Reason}, {"actor", text(a.Actor)},
			{"status", a.Status}, {"code", text(a.Code)}, {"detail", text(a.Detail)}, {"at", instant(&a.At)},
			{"ended", instant(a.EndedAt)},
		} {
			t.row(line[0]+":", line[1])
		}
	})
}

// Trace follows a command to all that came of it.
type Trace struct {
	Client `embed:""`

	ID string `arg:"" help:"Correlation id of the command." placeholder:"ID"`
}

// Run prints it: a line for each handler of each message.
func (c *Trace) Run(ctx context.Context, out io.Writer) error {
	var tr operations.Trace
	if err := c.ask(ctx, out, http.MethodGet, "/trace"+step(c.ID), nil, &tr); err != nil {
		return err
	}
	return c.print(out, tr, func(t *tables) {
		t.row("correlation id:", tr.CorrelationID)
		if by := tr.Command.Origin; by != nil {
			t.row("asked by:", by.Actor)
			t.row("at:", instant(&by.At))
			t.row("idempotency key:", text(by.IdempotencyKey))
		}
		t.plain("")
		t.row("POSITION", "TYPE", "KEY", "VERSION", "LIVE CHANNEL", "HANDLER", "STATUS", "FAILURE")
		for i := range tr.Events {
			for j := range tr.Events[i].Messages {
				m := &tr.Events[i].Messages[j]
				of := []string{m.Position, m.Type, m.Key, strconv.FormatUint(m.Version, 10), text(m.Channel)}
				if len(m.Handlers) == 0 {
					t.row(append(of, "", "", "")...)
				}
				for _, h := range m.Handlers {
					t.row(append(slices.Clip(of), h.Handler, h.Status, text(h.FailureID))...)
				}
			}
		}
		if len(tr.Failures) == 0 {
			return
		}
		t.plain("")
		t.row("FAILURE", "STATUS", "HANDLER", "KEY", "PARKED", "ERROR")
		for i := range tr.Failures {
			f := &tr.Failures[i]
			t.row(f.ID, f.Status, f.Handler, f.Key, instant(&f.ParkedAt), text(f.Error))
		}
	})
}

// DemoFailures are the commands on failures that are injected for demonstration.
type DemoFailures struct {
	Show ShowDemo `cmd:"" help:"Whether failures are injected."`
	On   DemoOn   `cmd:"" help:"Inject failures."`
	Off  DemoOff  `cmd:"" help:"Inject no more: that stands for the repair."`
}

const demoPath = "/demo-failures"

// ShowDemo shows whether there are any.
type ShowDemo struct {
	Client `embed:""`
}

// Run prints it.
func (c *ShowDemo) Run(ctx context.Context, out io.Writer) error {
	var d operations.DemoFailures
	if err := c.ask(ctx, out, http.MethodGet, demoPath, nil, &d); err != nil {
		return err
	}
	return c.print(out, d, func(t *tables) { t.row("enabled:", strconv.FormatBool(d.Enabled)) })
}

// enabled is what is sent.
type enabled struct {
	Reason  string `json:"reason"`
	Enabled bool   `json:"enabled"`
}

// DemoOn injects failures.
type DemoOn struct {
	Act `embed:""`
}

// Run does so.
func (c *DemoOn) Run(ctx context.Context, out io.Writer) error {
	return c.do(ctx, out, demoPath, enabled{c.Reason, true})
}

// DemoOff injects no more.
type DemoOff struct {
	Act `embed:""`
}

// Run does so.
func (c *DemoOff) Run(ctx context.Context, out io.Writer) error {
	return c.do(ctx, out, demoPath, enabled{c.Reason, false})
}
