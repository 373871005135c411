package router

import (
	"time"

	"bankforge/handlers"
)

// Metrics counts what handlers do. It is safe for concurrent use, and must not block.
type Metrics interface {
	// Delivered is called once for each message, with the number of facts in it.
	Delivered(handler string, facts int, took time.Duration, ok bool)
	// Tried is called for each try that failed.
	Tried(handler string, class handlers.Class, took time.Duration)
	// Parked is called for each message that is parked, as Failed or as Waiting.
	Parked(handler string, as Status)
	// Became is called when a handler changes its state.
	Became(handler string, state State)
}

// NoMetrics counts nothing.
type NoMetrics struct{}

// Delivered does nothing.
func (NoMetrics) Delivered(string, int, time.Duration, bool) {}

// Tried does nothing.
func (NoMetrics) Tried(string, handlers.Class, time.Duration) {}

// Parked does nothing.
func (NoMetrics) Parked(string, Status) {}

// Became does nothing.
func (NoMetrics) Became(string, State) {}
