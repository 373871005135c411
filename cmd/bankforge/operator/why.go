package operator

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"bankforge/ports/operations"
)

// Why is what everything takes that an operator does.
type Why struct {
	Client `embed:""`

	Reason         string `help:"Why; kept in the log." required:"" placeholder:"TEXT"`
	IdempotencyKey string `help:"Sent again under the same key, it is done once." placeholder:"KEY"`
}

// Act is what an act takes.
type Act struct {
	Why `embed:""`

	Wait bool `help:"Wait until what is wanted has come to its end."`
}

// act has an act done that needs a reason only.
func (w *Act) act(ctx context.Context, out io.Writer, path string) error {
	return w.do(ctx, out, path, because{w.Reason})
}

// do sends an act, prints what became of it, and fails where that is not what was wanted.
func (w *Act) do(ctx context.Context, out io.Writer, path string, body any) error {
	var a operations.Acted
	err := w.ask(ctx, out, http.MethodPost, path, body, &a, w.keyed()...)
	if err == nil && w.Wait {
		err = w.ended(ctx, &a)
	}
	if err != nil {
		return err
	}
	return w.became(out, &a)
}

// keyed is the header with the idempotency key.
func (w *Why) keyed() []string {
	if w.IdempotencyKey == "" {
		return nil
	}
	return []string{"Idempotency-Key", w.IdempotencyKey}
}

// lookAgain is how often something is looked at that goes on.
const lookAgain = 250 * time.Millisecond

// await looks again and again until it is over, or a look fails.
func await(ctx context.Context, over func() bool, look func() error) error {
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for !over() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
		if err := look(); err != nil {
			return err
		}
	}
	return nil
}

// ended waits until an act has come to its end. One that stands in the log, and that nobody has come to yet, is not
// found.
func (c *Client) ended(ctx context.Context, a *operations.Acted) error {
	return await(ctx, func() bool { return a.Status != "pending" }, func() error {
		err := c.ask(ctx, io.Discard, http.MethodGet, "/acts"+step(a.EventID), nil, a)
		if refused, ok := errors.AsType[*refusal](err); ok && refused.code == "not_found" {
			return nil
		}
		return err
	})
}
