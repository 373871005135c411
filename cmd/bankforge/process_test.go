package main

import (
	"io"
	"log/slog"
	"testing"

	"github.com/alecthomas/kong"

	"bankforge/router"
)

// Where views are built anew, operators' acts come from the log at once: what they are about must be known by then.
func TestHandlersAreKnownBeforeTheyRun(t *testing.T) {
	t.Parallel()
	var cli CLI
	args := []string{"serve", "--data", t.TempDir(), "--http", "127.0.0.1:0"}
	if _, _, err := parse(&cli, args, nil, kong.Writers(io.Discard, io.Discard)); err != nil {
		t.Fatal(err)
	}
	b, err := newBankProcess(t.Context(), &cli.Serve, &cli.Where, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for _, r := range b.routes {
		if r.Kind != router.Kept {
			continue
		}
		kept++
		if _, known, err := b.stores.Writes.Operations.Handler(t.Context(), r.Name); err != nil || !known {
			t.Errorf("%s: %v, %v", r.Name, known, err)
		}
	}
	if err := b.close(); err != nil || kept < 4 {
		t.Errorf("%d handlers, %v", kept, err)
	}
}
