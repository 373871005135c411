// Command bankforge is the bank: one binary whose modules run together or apart.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	if os.Getenv("GOGC") == "" {
		collectLess()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := takeOrders()
	if err == nil {
		err = run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bankforge: "+oneLine(err))
		os.Exit(exitCode(err))
	}
}

// exitCode is 2 when the program was called wrongly, and 1 when it failed, or was refused.
func exitCode(err error) int {
	if _, wrong := errors.AsType[*usageError](err); wrong {
		return 2
	}
	return 1
}

// oneLine is an error as scripts and journals want it.
func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "; ")
}
