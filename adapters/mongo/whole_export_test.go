package mongo

import "context"

// Whole reads as all questions about transactions do, with ask in place of the question.
func (h *History) Whole(ctx context.Context, ask func() string) (string, error) {
	return whole(ctx, h, &h.changes, func(context.Context, space) (string, error) { return ask(), nil })
}
