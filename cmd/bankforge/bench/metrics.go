package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"
)

// figures are what /metrics of a server says: the value of each series, by its name with labels.
type figures map[string]float64

// get reads an address of a server that the suite has started.
func get(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close() //nolint:errcheck // it has been read
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, answer.Status, body)
	}
	return body, err
}

// parseFigures reads Prometheus' text form.
func parseFigures(text string) (figures, error) {
	f := figures{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			return nil, fmt.Errorf("metrics: %q has no value", line)
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
		f[line[:at]] = v
	}
	return f, lines.Err()
}

// sum adds all series of a name whose labels contain all that is wanted.
func (f figures) sum(name string, labels ...string) (total float64) {
	for series, v := range f {
		if rest, ok := strings.CutPrefix(series, name); ok && (rest == "" || rest[0] == '{') && containsAll(rest, labels) {
			total += v
		}
	}
	return total
}

func containsAll(text string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}

// lag is how many events the slowest view has not taken in. ok: there are views at all, and the log's end is known.
func (f figures) lag() (events, head float64, ok bool) {
	head, ok = f["bankforge_log_seq"]
	views := 0
	for series, v := range f {
		if strings.HasPrefix(series, "bankforge_view_lag_events{") {
			events, views = max(events, v), views+1
		}
	}
	return events, head, ok && views > 0
}

// sample is where log and views were at one time.
type sample struct {
	at         time.Time
	head, view float64
}

// trail is samples in order of time.
type trail []sample

// behind is how far the views were behind at most: at each sample, the age of the oldest event that they had not taken
// in. An event's time is when the log's end passed it, between two samples in proportion.
func (t trail) behind() (worst time.Duration) {
	for _, now := range t {
		if now.view < now.head {
			worst = max(worst, now.at.Sub(t.when(now.view)))
		}
	}
	return worst
}

// when is the time at which the log's end left the event: the next one was written then.
func (t trail) when(event float64) time.Time {
	i := sort.Search(len(t), func(i int) bool { return t[i].head > event })
	switch {
	case i == len(t):
		return t[len(t)-1].at
	case i == 0:
		return t[0].at
	}
	before, after := t[i-1], t[i]
	share := (event - before.head) / (after.head - before.head)
	return before.at.Add(time.Duration(share * float64(after.at.Sub(before.at))))
}

const (
	samplePace    = 100 * time.Millisecond // between samples of the lag
	catchUpPace   = 20 * time.Millisecond  // between looks whether views have caught up
	catchUpLimit  = 3 * time.Minute        // past which views that do not catch up are a fault
	rebuiltWithin = 20 * time.Minute       // past which a view that is built anew is a fault
)

// follow samples the lag until ctx ends.
func (b *server) follow(ctx context.Context) (trail, error) {
	var t trail
	tick := time.NewTicker(samplePace)
	defer tick.Stop()
	for {
		f, err := b.figures(context.WithoutCancel(ctx))
		if err != nil {
			return t, err
		}
		lag, head, ok := f.lag()
		if !ok {
			return t, errors.New("metrics: no lag of views there")
		}
		t = append(t, sample{time.Now(), head, head - lag})
		select {
		case <-ctx.Done():
			return t, nil
		case <-tick.C:
		}
	}
}

// keepsViews reports whether the process has handlers of views.
func (b *server) keepsViews() bool { return b.modules == "" || strings.Contains(b.modules, "query") }

// caughtUp waits until no view of the process is behind.
func (b *server) caughtUp(ctx context.Context, limit time.Duration) error {
	if !b.keepsViews() {
		return nil
	}
	began := time.Now()
	tick := time.NewTicker(catchUpPace)
	defer tick.Stop()
	for {
		f, err := b.figures(ctx)
		if err != nil {
			return err
		}
		lag, head, ok := f.lag()
		switch {
		case ok && lag == 0 && head > 0:
			return nil
		case time.Since(began) > limit:
			return fmt.Errorf("after %s the views are still %.0f events behind", limit, lag)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
