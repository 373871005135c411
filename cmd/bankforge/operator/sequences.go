package operator

import (
	"context"
	"io"
	"net/http"
	"strconv"

	"bankforge/ports"
	"bankforge/ports/operations"
)

// Sequences are the commands on the keys of which something waits.
type Sequences struct {
	Ls      ListSequences `cmd:"" help:"List the keys of which something waits, or whose view lacks something."`
	Show    ShowSequence  `cmd:"" help:"Show a key: how it stands, and what waits of it, in order."`
	Retry   RetryKey      `cmd:"" help:"Try all that waits of a key again, in order, until one fails."`
	Rebuild RebuildKey    `cmd:"" help:"Write the view of a key anew from the log, which ends what waits of it."`
	Pause   PauseKey      `cmd:"" help:"Let everything of a key wait."`
	Resume  ResumeKey     `cmd:"" help:"Let a key go on that was paused."`
}

// ListSequences lists sequences.
type ListSequences struct {
	Client `embed:""`
	Select `embed:""`
	Span   `embed:""`

	Paused   bool `help:"Only what an operator has paused."`
	Diverged bool `help:"Only keys whose view lacks what was discarded, also those of which nothing waits."`
}

// Run prints them.
func (c *ListSequences) Run(ctx context.Context, out io.Writer) error {
	params := c.of("handler", c.Handler, "class", c.Class, "fingerprint", c.Fingerprint)
	for name, only := range map[string]bool{"paused": c.Paused, "diverged": c.Diverged} {
		if only {
			params.Set(name, "true")
		}
	}
	found, err := rows[operations.Sequence](ctx, &c.Client, out, "/sequences", params, c.Limit)
	if err != nil {
		return err
	}
	return c.print(out, list[operations.Sequence]{found}, func(t *tables) {
		t.row("HANDLER", "KEY", "WAITING", "SINCE", "PAUSED", "DIVERGED", "TRIES", "NEXT", "HEAD", "ERROR")
		for i := range found {
			s := &found[i]
			t.row(s.Handler, s.Key, count(s.Waiting), instant(&s.Since), strconv.FormatBool(s.Paused),
				strconv.FormatBool(s.Diverged), count(s.Tries), instant(s.NextAttemptAt), text(s.HeadID), text(s.Error))
		}
	})
}

// Key names a sequence.
type Key struct {
	Handler string `arg:"" help:"That the key belongs to." placeholder:"HANDLER"`
	Key     string `arg:"" help:"Whose order is kept: an account's id, or a transaction's." placeholder:"KEY"`
}

func (k *Key) path() string { return "/sequences" + step(k.Handler) + step(k.Key) }

// ShowSequence shows one sequence.
type ShowSequence struct {
	Client `embed:""`
	Key    `embed:""`

	Limit Most `help:"How many of its messages at most." default:"50"`
}

// Run prints it.
func (c *ShowSequence) Run(ctx context.Context, out io.Writer) error {
	var s operations.SequenceInOrder
	params := given("limit", strconv.Itoa(int(min(c.Limit, maxPage))))
	if err := c.ask(ctx, out, http.MethodGet, c.path()+"?"+params.Encode(), nil, &s); err != nil {
		return err
	}
	for s.NextCursor != nil && len(s.Data) < int(c.Limit) {
		params.Set("cursor", *s.NextCursor)
		params.Set("limit", strconv.Itoa(min(int(c.Limit)-len(s.Data), maxPage)))
		var next ports.List[operations.Failure]
		if err := c.ask(ctx, out, http.MethodGet, c.path()+"?"+params.Encode(), nil, &next); err != nil {
			return err
		}
		s.Data, s.NextCursor = append(s.Data, next.Data...), next.NextCursor
	}
	return c.print(out, s, func(t *tables) {
		for _, line := range [][2]string{
			{"id", s.ID}, {"handler", s.Handler}, {"key", s.Sequence.Key}, {"waiting", count(s.Waiting)},
			{"since", instant(&s.Since)}, {"paused", strconv.FormatBool(s.Paused)},
			{"diverged", strconv.FormatBool(s.Diverged)}, {"diverged why", text(s.DivergedWhy)}, {"class", text(s.Class)},
			{"error", text(s.Error)}, {"fingerprint", text(s.Fingerprint)}, {"tries", count(s.Tries)},
			{"next", instant(s.NextAttemptAt)}, {"next by", text(s.NextAttemptBy)}, {"claimed by", text(s.ClaimedBy)},
		} {
			t.row(line[0]+":", line[1])
		}
		t.plain("")
		t.row("ID", "STATUS", "POSITION", "TYPE", "PARKED", "ATTEMPTS", "ERROR")
		for i := range s.Data {
			f := &s.Data[i]
			t.row(f.ID, f.Status, f.Position, f.Type, instant(&f.ParkedAt), count(f.AttemptCount), text(f.Error))
		}
	})
}

// RetryKey tries a sequence again.
type RetryKey struct {
	Act `embed:""`
	Key `embed:""`
}

// Run does so.
func (c *RetryKey) Run(ctx context.Context, out io.Writer) error {
	return c.act(ctx, out, c.path()+"/retry")
}

// RebuildKey writes the view of a key anew.
type RebuildKey struct {
	Act `embed:""`
	Key `embed:""`
}

// Run does so.
func (c *RebuildKey) Run(ctx context.Context, out io.Writer) error {
	return c.act(ctx, out, c.path()+"/rebuild")
}

// PauseKey pauses a key.
type PauseKey struct {
	Act `embed:""`
	Key `embed:""`
}

// Run does so.
func (c *PauseKey) Run(ctx context.Context, out io.Writer) error {
	return c.act(ctx, out, c.path()+"/pause")
}

// ResumeKey lets a key go on.
type ResumeKey struct {
	Act `embed:""`
	Key `embed:""`
}

// Run does so.
func (c *ResumeKey) Run(ctx context.Context, out io.Writer) error {
	return c.act(ctx, out, c.path()+"/resume")
}
