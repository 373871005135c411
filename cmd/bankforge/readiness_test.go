package main

import (
	"errors"
	"testing"

	"bankforge/app"
)

// TestWhoDecidesIsNotReadyWithoutAnIndex, and says why; who only reads the log is.
func TestWhoDecidesIsNotReadyWithoutAnIndex(t *testing.T) {
	t.Parallel()
	runs := func(module string) bool { return module == "event-store" || module == "account-command" }
	r := readiness{decider: &app.Ledger{}, runs: runs}
	for _, err := range []error{nil, errors.New("it is damaged")} {
		r.log = func() error { return err }
		for _, s := range r.Ready() {
			if decides := s.Module == "account-command"; s.Ready != (err == nil || !decides) {
				t.Errorf("with %v: %+v", err, s)
			} else if !s.Ready && s.Detail != err.Error() {
				t.Errorf("it says %q", s.Detail)
			}
		}
	}
}
