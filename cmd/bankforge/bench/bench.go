// Package bench measures the bank: as a load against a running server (Load), and as a suite (Suite) that starts servers,
// measures every line of docs/performance.md, and holds it against its target. What is compared runs in turn on the same
// machine: machines differ and are noisy, so ratios count. Nothing here knows how the bank is made: it is
// measured from outside, by HTTP, /metrics, WebSocket, signals and strace.
package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// failures are the errors by code, in one line.
func (o *Outcome) failures() string {
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(o.Errors)) {
		parts = append(parts, fmt.Sprintf("%s: %d", code, o.Errors[code]))
	}
	if o.NoRetryAfter > 0 {
		parts = append(parts, fmt.Sprintf("without Retry-After: %d", o.NoRetryAfter))
	}
	return strings.Join(parts, ", ")
}

// Print writes what came of a load, as a table or as json.
func (o *Outcome) Print(out io.Writer, format string) error {
	if format == "json" {
		return json.NewEncoder(out).Encode(o)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	unit := "requests/s"
	if o.Kind != Reads {
		unit = "transfers/s"
	}
	_, err := fmt.Fprintf(w, "load\t%s, %d connections, %.1f s\nthroughput\t%s\nlatency\tp50 %.2f ms, p95 %.2f ms, p99 %.2f ms\n"+
		"accepted\t%s of %s requests\n", o.Kind, o.Connections, o.Seconds, show(o.PerSecond, unit), o.P50, o.P95, o.P99,
		grouped(int64(o.Accepted)), grouped(int64(o.Sent)))
	if err != nil {
		return err
	}
	for _, code := range slices.Sorted(maps.Keys(o.Errors)) {
		if _, err := fmt.Fprintf(w, "error\t%s: %s\n", code, grouped(int64(o.Errors[code]))); err != nil {
			return err
		}
	}
	return w.Flush()
}
