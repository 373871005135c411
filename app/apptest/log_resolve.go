package apptest

import (
	"context"
	"errors"
	"fmt"

	"bankforge/app"
)

// resolve expects an answer, and goes on with the new head.
func (o *owner) resolve(ctx context.Context, b app.Batch, want bool) error {
	committed, head, err := o.log.Resolve(ctx, b)
	if err != nil {
		return fmt.Errorf("resolve: %w", err)
	}
	if committed != want {
		return fmt.Errorf("resolve says %t, the truth is %t", committed, want)
	}
	o.head.Term++
	if head != o.head {
		return fmt.Errorf("resolve returns the head %+v instead of %+v", head, o.head)
	}
	return o.same(ctx)
}

func checkResolveCommitted(ctx context.Context, o *owner) error {
	for _, n := range []int{2, 0} {
		if err := o.start(ctx, 1); err != nil {
			return err
		}
		b := o.batch(n)
		if err := o.append(ctx, b); err != nil {
			return err
		}
		old := *o
		if err := o.resolve(ctx, b, true); err != nil {
			return fmt.Errorf("batch of %d events: %w", n, err)
		}
		if err := old.log.Append(ctx, old.batch(1)); !errors.Is(err, app.ErrFenced) {
			return notFenced("an append with the term before resolving", err)
		}
		if err := o.append(ctx, o.batch(1)); err != nil {
			return err
		}
	}
	return o.same(ctx)
}

// checkResolveMissing is about a batch that is still under way when it is resolved: it must never arrive.
func checkResolveMissing(ctx context.Context, o *owner) error {
	for _, n := range []int{2, 0} {
		if err := o.start(ctx, 1); err != nil {
			return err
		}
		late := o.batch(n)
		if err := o.resolve(ctx, late, false); err != nil {
			return fmt.Errorf("batch of %d events: %w", n, err)
		}
		if err := o.log.Append(ctx, late); !errors.Is(err, app.ErrFenced) {
			return notFenced("a batch that came after it was resolved", err)
		}
		if err := o.same(ctx); err != nil {
			return fmt.Errorf("after the late batch: %w", err)
		}
		again := o.batch(n)
		if err := o.append(ctx, again); err != nil {
			return fmt.Errorf("the same batch in the new term: %w", err)
		}
	}
	return o.same(ctx)
}

func checkResolveFenced(ctx context.Context, o *owner) error {
	if err := o.start(ctx, 1); err != nil {
		return err
	}
	b := o.batch(1)
	if err := o.append(ctx, b); err != nil {
		return err
	}
	if err := o.acquire(ctx, "second"); err != nil {
		return err
	}
	for range 2 {
		if _, _, err := o.log.Resolve(ctx, b); !errors.Is(err, app.ErrFenced) {
			return notFenced("resolving what is not ours", err)
		}
		if err := o.same(ctx); err != nil {
			return fmt.Errorf("resolving what is not ours left a trace: %w", err)
		}
	}
	return o.append(ctx, o.batch(1))
}

func checkCrash(ctx context.Context, o *owner) error {
	if err := o.start(ctx); err != nil {
		return err
	}
	for n := range 3 {
		for _, size := range []int{1, n, 0} {
			if err := o.append(ctx, o.batch(size)); err != nil {
				return err
			}
		}
		l, err := o.crash(o.log)
		if err != nil {
			return fmt.Errorf("open after the crash: %w", err)
		}
		o.log = l
		if err := o.same(ctx); err != nil {
			return fmt.Errorf("after crash %d: %w", n+1, err)
		}
		term := o.head.Term
		if err := o.acquire(ctx, "first"); err != nil {
			return err
		}
		if o.head.Term != term+1 {
			return fmt.Errorf("after crash %d, the term is %d instead of %d", n+1, o.head.Term, term+1)
		}
	}
	if err := o.append(ctx, o.batch(2)); err != nil {
		return err
	}
	return o.same(ctx)
}
