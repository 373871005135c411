package router

import (
	"context"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
)

// Renamed is Progress as readers need it whose views are kept by other handlers than app names, or now by one, now by
// another: Of says by which one now.
type Renamed struct {
	app.Progress
	Of func(handler string) string
}

var _ app.Progress = Renamed{}

// renameEvery is how often who waits asks whether another handler keeps the view by now.
const renameEvery = 100 * time.Millisecond

// At is how far the handler is that keeps the view.
func (r Renamed) At(handler string) bank.Seq { return r.Progress.At(r.Of(handler)) }

// Await waits for the handler that keeps the view.
func (r Renamed) Await(ctx context.Context, handler string, seq bank.Seq) bool {
	for {
		wait, cancel := context.WithTimeout(ctx, renameEvery)
		there := r.Progress.Await(wait, r.Of(handler), seq)
		cancel()
		if there || ctx.Err() != nil {
			return there
		}
	}
}

// Parked asks the handler that keeps the view.
func (r Renamed) Parked(ctx context.Context, handler, key string) (bool, error) {
	return r.Progress.Parked(ctx, r.Of(handler), key)
}
