// Package bench measures the bank: as a load against a running server (Load), and as a suite (Suite) that starts
// servers, measures every line of docs/performance.md, and holds it against its target. What is compared runs in turn
// on the same machine: machines differ and are noisy, so ratios count. Nothing here knows how the bank is made: it is
// measured from outside, by HTTP, /metrics, WebSocket, signals and strace.
package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/bits"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
)

// Load says what to send to a server, and for how long.
type Load struct {
	URL         string
	Token       string
	Kind        Kind
	Accounts    []string
	Connections int
	Duration    time.Duration
	Rate        float64 // requests a second on all connections together; 0: each as fast as it is answered
	// Mark gives request number n a correlation id and is told when it is sent; nil: none is sent.
	Mark func(n uint64, at time.Time) string
}

// Outcome is what came of a load.
type Outcome struct {
	Kind         Kind           `json:"kind"`
	Connections  int            `json:"connections"`
	Seconds      float64        `json:"seconds"`
	Sent         uint64         `json:"sent"`
	Accepted     uint64         `json:"accepted"`
	PerSecond    float64        `json:"per_second"` // accepted; of bulks, the transfers in them
	Errors       map[string]int `json:"errors"`     // by code, as the answer or this program names it
	NoRetryAfter int            `json:"no_retry_after"`
	P50          float64        `json:"p50_ms"` // of what was accepted
	P95          float64        `json:"p95_ms"`
	P99          float64        `json:"p99_ms"`
	Latency      *Histogram     `json:"-"`
}

// Codes of what no answer names.
const (
	codeConnection = "connection"    // it broke, or could not be made
	codeWrong      = "wrong_answer"  // the status is right, and the body is not
	codeReplayed   = "not_a_new_one" // a random key that the server says to know
)

// worker is one connection of a load.
type worker struct {
	*Load
	base    *url.URL
	number  int
	out     Outcome
	writer  *writer
	started time.Time
	sent    uint64
}

// Run sends the load, and ends early when ctx does. The error is for what makes it impossible; refusals are counted.
func (l *Load) Run(ctx context.Context) (*Outcome, error) {
	base, err := parseURL(l.URL)
	if err != nil {
		return nil, fmt.Errorf("--url: %w", err)
	}
	if len(l.Accounts) < 2 {
		return nil, errors.New("--accounts: a load needs at least 2")
	}
	var bodies [][]byte
	if l.Kind == Bulk {
		bodies = bulks(l.Accounts)
	}
	conns, err := dialAll(ctx, base, l.Connections)
	if err != nil {
		return nil, err
	}
	workers, started := make([]*worker, l.Connections), time.Now()
	limit, cancel := context.WithDeadline(ctx, started.Add(l.Duration))
	defer cancel()
	var running errgroup.Group
	for i := range workers {
		w := &worker{Load: l, base: base, number: i, started: started}
		w.writer = newWriter(l.Kind, base, l.Token, l.Accounts, bodies)
		w.out = Outcome{Errors: map[string]int{}, Latency: &Histogram{}}
		workers[i] = w
		running.Go(func() error { w.run(limit, conns[i]); return nil })
	}
	_ = running.Wait() // workers count what goes wrong
	return l.sum(workers, time.Since(started)), ctx.Err()
}

// dialAll connects before the clock runs, a few at a time so that no listener's backlog overflows.
func dialAll(ctx context.Context, base *url.URL, count int) ([]*conn, error) {
	conns := make([]*conn, count)
	var dialling errgroup.Group
	dialling.SetLimit(openers)
	for i := range conns {
		dialling.Go(func() (err error) {
			conns[i], err = dial(ctx, base)
			return err
		})
	}
	err := dialling.Wait()
	if err != nil {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
		err = fmt.Errorf("--url: %w", err)
	}
	return conns, err
}

func (l *Load) sum(workers []*worker, took time.Duration) *Outcome {
	o := &Outcome{Kind: l.Kind, Connections: l.Connections, Seconds: took.Seconds(),
		Errors: map[string]int{}, Latency: &Histogram{}}
	for _, w := range workers {
		o.Sent += w.sent
		o.Accepted += w.out.Accepted
		o.NoRetryAfter += w.out.NoRetryAfter
		o.Latency.Merge(w.out.Latency)
		for code, n := range w.out.Errors {
			o.Errors[code] += n
		}
	}
	o.PerSecond = float64(o.Accepted) / took.Seconds()
	if l.Kind == Bulk {
		o.PerSecond *= bulkItems
	}
	o.P50, o.P95, o.P99 = ms(o.Latency.Quantile(0.5)), ms(o.Latency.Quantile(0.95)), ms(o.Latency.Quantile(0.99))
	return o
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// run sends until the time is over. A request that was sent is waited for, also past the end.
func (w *worker) run(ctx context.Context, c *conn) {
	defer func() { _ = c.Close() }()
	for w.turn(ctx) {
		at := time.Now()
		correlation := ""
		if w.Mark != nil {
			correlation = w.Mark(w.sent*uint64(w.Connections)+uint64(w.number), at)
		}
		r, err := c.ask(w.writer.next(correlation))
		took := time.Since(at)
		w.sent++
		if err == nil {
			w.judge(r, &c.body, took)
			if !r.last {
				continue
			}
		} else {
			w.out.Errors[codeConnection]++
		}
		_ = c.Close()
		again, err := dial(ctx, w.base)
		if err != nil {
			return // the time is over, or the lost connection has been counted
		}
		c = again
	}
}

// turn waits until the next request is due; false: the time is over. Who is late does not wait.
func (w *worker) turn(ctx context.Context) bool {
	if w.Rate > 0 {
		n := float64(w.sent)*float64(w.Connections) + float64(w.number)
		wait := time.Until(w.started.Add(time.Duration(n / w.Rate * float64(time.Second))))
		if wait > 0 {
			due := time.NewTimer(wait)
			defer due.Stop()
			select {
			case <-due.C:
			case <-ctx.Done():
			}
		}
	}
	return ctx.Err() == nil
}

// judge counts an answer.
func (w *worker) judge(r reply, body *bytes.Buffer, took time.Duration) {
	switch {
	case r.status != w.Kind.accepts():
		w.out.Errors[codeOf(r.status, body.Bytes())]++
		busy := r.status == http.StatusServiceUnavailable || r.status == http.StatusTooManyRequests
		if after, err := strconv.Atoi(r.header.Get("Retry-After")); busy && (err != nil || after < 1) {
			w.out.NoRetryAfter++
		}
	case r.header.Get("Idempotency-Replayed") != "":
		w.out.Errors[codeReplayed]++
	case !w.Kind.answers(body.Bytes()):
		w.out.Errors[codeWrong]++
	default:
		w.out.Accepted++
		w.out.Latency.Add(took)
	}
}

// answers reports whether the body says what it must where the status alone does not say it.
func (k Kind) answers(body []byte) bool {
	switch k {
	case Bulk:
		return bytes.HasPrefix(body, fmt.Appendf(nil, `{"succeeded":%d,"failed":0,`, bulkItems))
	case Reads:
		return bytes.HasPrefix(body, []byte(`{"id":"acc_`))
	case Transfers, Hot:
		return bytes.Contains(body, []byte(`"status":"posted"`))
	default:
		return false
	}
}

// codeOf names a refusal by its status and code.
func codeOf(status int, body []byte) string {
	var problem struct {
		Code string `json:"code"`
	}
	if err := json.Unmarshal(body, &problem); err != nil || problem.Code == "" {
		return strconv.Itoa(status)
	}
	return strconv.Itoa(status) + " " + problem.Code
}

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
	_, err := fmt.Fprintf(w, "load\t%s, %d connections, %.1f s\nthroughput\t%s\n"+
		"latency\tp50 %.2f ms, p95 %.2f ms, p99 %.2f ms\naccepted\t%s of %s requests\n",
		o.Kind, o.Connections, o.Seconds, show(o.PerSecond, unit), o.P50, o.P95, o.P99,
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

// Histogram counts times with a precision of 1/64, in a memory that does not grow. The zero value is empty.
type Histogram struct {
	counts [64 * steps]uint64
	count  uint64
}

const (
	stepBits = 6
	steps    = 1 << stepBits
)

// Add counts one time. Those below zero count as zero.
func (h *Histogram) Add(d time.Duration) {
	h.counts[slot(uint64(max(d, 0)))]++
	h.count++
}

// Merge adds all that other has counted.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.count += other.count
}

// Count is how many times have been added.
func (h *Histogram) Count() uint64 { return h.count }

// Quantile is the time that the share q of all times does not exceed, rounded up to the precision; 0 of nothing.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank, seen := uint64(q*float64(h.count)), uint64(0)
	if float64(rank) < q*float64(h.count) || rank == 0 {
		rank++
	}
	for i, n := range h.counts {
		if seen += n; n > 0 && seen >= rank {
			return time.Duration(top(i))
		}
	}
	return 0
}

// slot: values below 64 have a slot each; above, each power of two has 64.
func slot(v uint64) int {
	shift := bits.Len64(v) - stepBits - 1
	if shift <= 0 {
		return int(v)
	}
	return (shift+1)*steps + int(v>>shift) - steps
}

// top is the highest value of a slot.
func top(i int) uint64 {
	if i < 2*steps {
		return uint64(i)
	}
	shift := i/steps - 1
	return uint64(i%steps+steps+1)<<shift - 1
}
