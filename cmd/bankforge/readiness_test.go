package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bankforge/app"
)

// brokenLog cannot look anything up.
type brokenLog struct{ err error }

func (l brokenLog) Ready() error { return l.err }

// TestWhoDecidesIsNotReadyWithoutAnIndex, and says why; who only reads the log is.
func TestWhoDecidesIsNotReadyWithoutAnIndex(t *testing.T) {
	t.Parallel()
	runs := func(module string) bool { return module == "event-store" || module == "account-command" }
	r := readiness{ledger: &app.Ledger{}, runs: runs}
	for _, err := range []error{nil, errors.New("it is damaged")} {
		r.log = brokenLog{err}
		for _, s := range r.Ready() {
			if decides := s.Module == "account-command"; s.Ready != (err == nil || !decides) {
				t.Errorf("with %v: %+v", err, s)
			} else if !s.Ready && s.Detail != err.Error() {
				t.Errorf("it says %q", s.Detail)
			}
		}
	}
}

// TestReadyAsks: who asks for readiness hears what the process says, and a 503 is a failure.
func TestReadyAsks(t *testing.T) {
	t.Parallel()
	for status, fails := range map[int]bool{http.StatusOK: false, http.StatusServiceUnavailable: true} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, r.URL.Path)
		}))
		var said strings.Builder
		err := (&ReadyCmd{URL: s.URL}).Run(t.Context(), &said)
		s.Close()
		if (err != nil) != fails || said.String() != "/readyz" {
			t.Errorf("%d: %v, %q", status, err, said.String())
		}
	}
}
