package apptest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"bankforge/app"
	"bankforge/app/bank"
)

// The logs here break one promise each. TestLog must reject them, and say which.

// noTermFence lets every owner write.
type noTermFence struct{ *MemoryLog }

func (l noTermFence) Append(ctx context.Context, b app.Batch) error {
	head, err := l.Head(ctx)
	if err != nil {
		return err
	}
	b.Term = head.Term
	return l.MemoryLog.Append(ctx, b)
}

// noBatchFence takes a batch again whose number is used up.
type noBatchFence struct{ *MemoryLog }

func (l noBatchFence) Append(ctx context.Context, b app.Batch) error {
	head, err := l.Head(ctx)
	if err != nil {
		return err
	}
	b.Number = head.Batch + 1
	return l.MemoryLog.Append(ctx, b)
}

// noPlaceFence puts a batch behind the head, wherever it was meant to be.
type noPlaceFence struct{ *MemoryLog }

func (l noPlaceFence) Append(ctx context.Context, b app.Batch) error {
	head, err := l.Head(ctx)
	if err != nil {
		return err
	}
	shift(&b, head.Seq)
	return l.MemoryLog.Append(ctx, b)
}

// slowFence looks at the head, and appends in a second step.
type slowFence struct {
	*MemoryLog
	looked chan struct{}
}

func (l slowFence) Append(ctx context.Context, b app.Batch) error {
	head, err := l.Head(ctx)
	if err != nil {
		return err
	}
	if head.Term != b.Term || head.Batch+1 != b.Number || head.Seq != b.After {
		return app.ErrFenced
	}
	select { // a second one may come in between
	case l.looked <- struct{}{}:
	case <-l.looked:
	default:
	}
	return l.append(app.Batch{Term: b.Term, Number: l.next(), After: l.last(), Rows: nil, Outcomes: b.Outcomes})
}

func (l slowFence) next() uint64   { h, _ := l.Head(context.Background()); return h.Batch + 1 }
func (l slowFence) last() bank.Seq { h, _ := l.Head(context.Background()); return h.Seq }
