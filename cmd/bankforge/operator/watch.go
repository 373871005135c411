package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/coder/websocket"
)

// Watch follows what happens, as the live channels tell it.
type Watch struct {
	Client `embed:""`

	Channels []string `arg:"" optional:"" help:"Of failures, ops, replay:rpl_…; none: the first 2." placeholder:"CHANNEL"`
	Count    int      `help:"End after so many; 0: go on." default:"0"`
}

// Validate checks what kong cannot.
func (c *Watch) Validate() error {
	if c.Count < 0 {
		return errors.New("--count: 0 or more was expected")
	}
	return c.Client.Validate()
}

// maxFrame is how long a message of a live connection may be, in bytes.
const maxFrame = 1 << 20

// Run prints a line for each, until the command is ended; with -o json an object. What happened before, and while it
// does not run, is not told: that is for the lists.
func (c *Watch) Run(ctx context.Context, out io.Writer) error {
	if len(c.Channels) == 0 {
		c.Channels = []string{"failures", "ops"}
	}
	conn, _, err := websocket.Dial(ctx, strings.TrimSuffix(c.URL, "/")+"/v1/live", nil) //nolint:bodyclose // it has none
	if err != nil {
		return fmt.Errorf("%s: %w", c.URL, err)
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(maxFrame)
	if err := conn.Write(ctx, websocket.MessageText, c.hello()); err != nil {
		return fmt.Errorf("%s: %w", c.URL, err)
	}
	for told := 0; c.Count == 0 || told < c.Count; {
		_, text, err := conn.Read(ctx)
		switch closed := (websocket.CloseError{}); {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &closed):
			return &refusal{text: clean(fmt.Sprintf("%d: %s", closed.Code, closed.Reason), maxRefusal)}
		case err != nil:
			return fmt.Errorf("%s: %w", c.URL, err)
		}
		for line := range bytes.SplitSeq(bytes.TrimSpace(text), []byte("\n")) {
			is, err := c.hear(ctx, out, conn, line)
			if err != nil {
				return err
			}
			if is {
				told++
			}
		}
	}
	return nil
}

// hello connects, and subscribes to the channels.
func (c *Watch) hello() []byte {
	lines := []string{fmt.Sprintf(`{"id":1,"connect":{"token":%s}}`, quote(c.Token))}
	for i, channel := range c.Channels {
		lines = append(lines, fmt.Sprintf(`{"id":%d,"subscribe":{"channel":%s}}`, i+2, quote(channel)))
	}
	return []byte(strings.Join(lines, "\n"))
}

// quote is a text in JSON.
func quote(s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		panic("operator: texts always encode: " + err.Error())
	}
	return text
}

// heard is a line of a live connection.
type heard struct {
	ID    int `json:"id"`
	Error *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	Push struct {
		Channel string `json:"channel"`
		Pub     *struct {
			Data json.RawMessage `json:"data"`
		} `json:"pub"`
	} `json:"push"`
}

// told is what a channel tells.
type told struct {
	Type string         `json:"type"`
	At   string         `json:"occurred_at"`
	Data map[string]any `json:"data"`
}

// hear answers pings, and prints what is told. A channel that may not be watched is an error.
func (c *Watch) hear(ctx context.Context, out io.Writer, conn *websocket.Conn, line []byte) (is bool, err error) {
	var h heard
	if string(line) == "{}" {
		return false, conn.Write(ctx, websocket.MessageText, line)
	}
	if err := json.Unmarshal(line, &h); err != nil {
		return false, fmt.Errorf("%s: %w", c.URL, err)
	}
	switch {
	case h.Error != nil && h.ID > 1 && h.ID-2 < len(c.Channels):
		what := fmt.Sprintf("%d: %s: %s", h.Error.Code, c.Channels[h.ID-2], h.Error.Message)
		return false, &refusal{text: clean(what, maxRefusal)}
	case h.Error != nil:
		return false, &refusal{text: clean(fmt.Sprintf("%d: %s", h.Error.Code, h.Error.Message), maxRefusal)}
	case h.Push.Pub == nil:
		return false, nil
	}
	if c.Output == "json" {
		text, err := json.Marshal(map[string]any{"channel": h.Push.Channel, "told": h.Push.Pub.Data})
		if err == nil {
			_, err = fmt.Fprintf(out, "%s\n", text)
		}
		return true, err
	}
	var t told
	if err := json.Unmarshal(h.Push.Pub.Data, &t); err != nil {
		return false, fmt.Errorf("%s: %w", c.URL, err)
	}
	_, err = fmt.Fprintln(out, instant(&t.At), clean(h.Push.Channel, maxCell), clean(t.Type, maxCell), parts(t.Data))
	return true, err
}

// parts are the members of what is told that say something.
func parts(data map[string]any) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(data)) {
		if v := data[name]; v != nil {
			out = append(out, clean(fmt.Sprintf("%s=%v", name, v), maxCell))
		}
	}
	return strings.Join(out, " ")
}
