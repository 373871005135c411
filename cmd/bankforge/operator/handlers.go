package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"

	"bankforge/ports/operations"
)

// Handlers are the commands on handlers.
type Handlers struct {
	Ls     Standing `cmd:"" help:"List handlers: where they are, and how."`
	Show   Handler  `cmd:"" help:"Show one: each partition, and each process that runs it."`
	Pause  Pause    `cmd:"" help:"Pause a handler on every process."`
	Resume Resume   `cmd:"" help:"Let a handler go on."`
	Policy Policy   `cmd:"" help:"Show or change how a handler treats failures."`
}

// Standing lists handlers.
type Standing struct {
	Client `embed:""`
}

// Run prints them.
func (c *Standing) Run(ctx context.Context, out io.Writer) error {
	var all operations.Handlers
	if err := c.ask(ctx, out, http.MethodGet, "/handlers", nil, &all); err != nil {
		return err
	}
	return c.print(out, all, func(t *tables) {
		t.row("NAME", "STATE", "LAG", "RATE", "PARKED", "KEYS", "FAILING", "DIVERGED", "OLDEST", "WHY", "LAST ERROR")
		for i := range all.Data {
			h := &all.Data[i]
			t.row(h.Name, h.State, strconv.FormatUint(h.Lag, 10), fmt.Sprintf("%.0f/s", h.Rate), count(h.Parked), count(h.Keys),
				count(h.Failing), count(h.Diverged), instant(h.Oldest), text(h.PausedWhy), text(h.LastError))
		}
	})
}

// Handler shows one handler.
type Handler struct {
	Client `embed:""`

	Name string `arg:"" help:"Of the handler." placeholder:"NAME"`
}

// Run prints it.
func (c *Handler) Run(ctx context.Context, out io.Writer) error {
	var all operations.Handlers
	if err := c.ask(ctx, out, http.MethodGet, "/handlers", nil, &all); err != nil {
		return err
	}
	i := slices.IndexFunc(all.Data, func(h operations.Handler) bool { return h.Name == c.Name })
	if i < 0 {
		return &refusal{"not_found", "not_found: There is no such handler."}
	}
	h := &all.Data[i]
	return c.print(out, h, func(t *tables) {
		for _, line := range [][2]string{
			{"name", h.Name}, {"topic", text(h.Topic)}, {"state", h.State}, {"paused", instant(h.PausedAt)},
			{"paused why", text(h.PausedWhy)}, {"paused by", text(h.PausedBy)}, {"lag", strconv.FormatUint(h.Lag, 10)},
			{"parked", count(h.Parked)}, {"keys", count(h.Keys)}, {"failing", count(h.Failing)},
			{"diverged", count(h.Diverged)}, {"oldest", instant(h.Oldest)}, {"policy", count(h.PolicyVersion)},
			{"last error", text(h.LastError)}, {"at", instant(h.LastErrorAt)},
		} {
			t.row(line[0]+":", line[1])
		}
		t.plain("")
		t.row("PARTITION", "POSITION", "INCARNATION")
		for _, p := range h.Places {
			t.row(count(p.Partition), p.Position, p.Incarnation)
		}
		t.plain("")
		t.row("PROCESS", "STATE", "LAG", "RATE", "SEEN", "LAST ERROR")
		for i := range h.Processes {
			p := &h.Processes[i]
			t.row(p.Process, p.State, strconv.FormatUint(p.Lag, 10), fmt.Sprintf("%.0f/s", p.Rate), instant(&p.SeenAt),
				text(p.LastError))
		}
	})
}

// Pause pauses a handler.
type Pause struct {
	Act `embed:""`

	Name string `arg:"" help:"Of the handler." placeholder:"NAME"`
}

// Run does so.
func (c *Pause) Run(ctx context.Context, out io.Writer) error {
	return c.act(ctx, out, "/handlers"+step(c.Name)+"/pause")
}

// Resume lets a handler go on.
type Resume struct {
	Act `embed:""`

	Name string `arg:"" help:"Of the handler." placeholder:"NAME"`
}

// Run does so.
func (c *Resume) Run(ctx context.Context, out io.Writer) error {
	return c.act(ctx, out, "/handlers"+step(c.Name)+"/resume")
}

// Policy shows or changes a policy.
type Policy struct {
	Client `embed:""`

	Name      string `arg:"" help:"Of the handler." placeholder:"NAME"`
	Set       string `help:"JSON file with the new one, which is over the default; -: standard input." placeholder:"FILE"`
	IfVersion *int   `help:"Change it only if this is its version." placeholder:"N"`
	Reason    string `help:"Why; kept in the log; with --set." placeholder:"TEXT"`
}

// Validate checks what kong cannot.
func (c *Policy) Validate() error {
	switch {
	case c.Set != "" && c.Reason == "":
		return errors.New("--set needs --reason")
	case c.Set == "" && (c.Reason != "" || c.IfVersion != nil):
		return errors.New("--reason and --if-version are for --set")
	case c.IfVersion != nil && *c.IfVersion < 1: // it would not be asked for, and any be changed
		return errors.New("--if-version is above 0")
	}
	return c.Client.Validate()
}

// treatment is what is sent.
type treatment struct {
	Reason string          `json:"reason"`
	Policy json.RawMessage `json:"policy"`
}

// Run prints the policy, or changes it.
func (c *Policy) Run(ctx context.Context, out io.Writer) error {
	path := "/handlers" + step(c.Name) + "/policy"
	if c.Set != "" {
		return c.set(ctx, out, path)
	}
	var p operations.Policy
	if err := c.ask(ctx, out, http.MethodGet, path, nil, &p); err != nil {
		return err
	}
	policy, err := json.MarshalIndent(p.Policy, "", "  ")
	if err != nil {
		return err
	}
	return c.print(out, p, func(t *tables) {
		t.row("HANDLER", "VERSION", "DEFAULT")
		t.row(p.Handler, strconv.FormatUint(p.Version, 10), strconv.FormatBool(p.IsDefault))
		t.plain("\n" + string(policy))
	})
}

func (c *Policy) set(ctx context.Context, out io.Writer, path string) error {
	text, err := readAll(c.Set)
	if err != nil {
		return fmt.Errorf("--set: %w", err)
	}
	if !json.Valid(text) {
		return fmt.Errorf("--set: %s holds no JSON", c.Set)
	}
	var headers []string
	if c.IfVersion != nil {
		headers = []string{"If-Match", fmt.Sprintf(`"%d"`, *c.IfVersion)}
	}
	var a operations.Acted
	if err := c.ask(ctx, out, http.MethodPut, path, treatment{c.Reason, text}, &a, headers...); err != nil {
		return err
	}
	return c.became(out, &a)
}

func readAll(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, maxAnswer))
	}
	return os.ReadFile(path)
}
