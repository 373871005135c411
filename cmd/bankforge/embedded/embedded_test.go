package embedded

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"bankforge/cmd/bankforge/stores"
)

// What a process had claimed that was killed, the next one tries at once.
func TestClaimsEndWithTheirProcess(t *testing.T) {
	t.Parallel()
	b := Bank{Dir: t.TempDir()}
	for _, owner := range []string{"killed", "next"} {
		s, err := b.Open(t.Context(), stores.Process{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		ok, err := s.Writes.Operations.Claim(context.Background(), "history", "key", owner, now, now.Add(time.Hour))
		if err != nil || !ok {
			t.Errorf("%s: %v, %v", owner, ok, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
