package apptest

import (
	"context"
	"errors"
	"fmt"

	"bankforge/handlers"
	"bankforge/router"
)

// checkRewind goes back behind some of what was parked: that is forgotten, and only that.
func checkRewind(ctx context.Context, s router.Store) error {
	const handler, key = "rewind", "k"
	for i, p := range []router.Parked{
		message(handler, key, 3, router.Failed), message(handler, key, 7, router.Waiting),
		message("rewind-other", key, 9, router.Failed),
	} {
		if err := park(ctx, s, p, i%2+1); err != nil {
			return err
		}
	}
	if err := park(ctx, s, message(handler, "gone", 8, router.Failed), 1, attempt(1)); err != nil {
		return err
	}
	back := router.Checkpoint{Incarnation: "inc", Position: handlers.Position{Seq: 6, N: 1}}
	if err := rewind(ctx, s, handler, back); err != nil {
		return err
	}
	if err := expectHead(ctx, s, handler, 3); err != nil {
		return fmt.Errorf("what was parked before: %w", err)
	}
	if err := expectHead(ctx, s, "rewind-other", 9); err != nil {
		return fmt.Errorf("another handler's: %w", err)
	}
	if blocked, err := s.Blocked(ctx, handler, []string{"gone"}); err != nil || len(blocked) > 0 {
		return fmt.Errorf("a sequence without messages blocks: %q, %w", blocked, err)
	}
	// Both come again.
	if err := park(ctx, s, message(handler, key, 7, router.Waiting), 2); err != nil {
		return fmt.Errorf("again: %w", err)
	}
	if err := park(ctx, s, message(handler, "gone", 8, router.Failed), 1); err != nil {
		return fmt.Errorf("again: %w", err)
	}
	if err := resolve(ctx, s, handler, "gone", router.Discarded); err != nil {
		return err
	}
	if err := rewind(ctx, s, handler, router.Checkpoint{Incarnation: "another"}); err != nil {
		return err
	}
	if err := expectHead(ctx, s, handler, 0); err != nil {
		return fmt.Errorf("of another incarnation: %w", err)
	}
	return park(ctx, s, message(handler, "gone", 8, router.Failed), 1)
}

func rewind(ctx context.Context, s router.Store, handler string, to router.Checkpoint) error {
	err := s.InTx(ctx, func(ctx context.Context) error {
		if _, err := s.Checkpoint(ctx, stream(handler)); err != nil {
			return err
		}
		return s.Rewind(ctx, stream(handler), to)
	})
	if err != nil {
		return err
	}
	if c, err := at(ctx, s, stream(handler)); err != nil || c != to {
		return errors.Join(fmt.Errorf("the checkpoint is %+v, not %+v", c, to), err)
	}
	return nil
}
