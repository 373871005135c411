package handlers

import "context"

type moreKey struct{}

// WithMore says that behind the facts that are handled with ctx much more waits.
func WithMore(ctx context.Context) context.Context { return context.WithValue(ctx, moreKey{}, true) }

// More reports whether WithMore said so: then a handler may put off what can be done once for many deliveries.
func More(ctx context.Context) bool { return ctx.Value(moreKey{}) != nil }
