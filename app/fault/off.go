//go:build !drill

package fault

import "time"

// Here does nothing.
func Here(string) {}

// Planted is false: every guard is in its place.
func Planted(string) bool { return false }

// Clock is the clock that it is given.
func Clock(clock func() time.Time) func() time.Time { return clock }

// Failing is 0: no handler is made to fail.
func Failing() (seed, every uint64) { return 0, 0 }
