package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// durable: does each reply wait for the disk? strace counts the flushes of the log, the bank its commits.
func (s *Suite) durable(ctx context.Context) (_ values, err error) {
	b, accounts, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end(&err)
	f, err := b.figures(ctx)
	if err != nil {
		return nil, err
	}
	out := values{}
	log, there := f[`bankforge_store_synchronous{file="bank"}`]
	state, too := f[`bankforge_store_synchronous{file="state"}`]
	if there && too {
		out["settings"] = value{min(log, state), fmt.Sprintf("bank.db %.0f, state.db %.0f", log, state)}
	}
	many, err := s.flushes(ctx, b, accounts, usual)
	if err != nil {
		return nil, err
	}
	out["commits"] = value{many.flushed / many.commits, many.note()}
	one, err := s.flushes(ctx, b, accounts, 1)
	if err != nil {
		return nil, err
	}
	out["replies"] = value{one.flushed / one.replies, one.note()}
	out["early"] = value{one.early, one.note()}
	return out, nil
}

// flushing is what happened while strace looked.
type flushing struct{ flushed, commits, replies, early float64 }

func (f flushing) note() string {
	return fmt.Sprintf("%.0f flushes, %.0f commits, %.0f replies", f.flushed, f.commits, f.replies)
}

// underTrace is how long strace looks; it slows the bank down.
const underTrace = 2 * time.Second

// flushes runs a load under strace. The bank is idle when strace begins and when it ends, so no commit has its flush
// outside.
func (s *Suite) flushes(ctx context.Context, b *server, accounts []string, connections int) (out flushing, err error) {
	trace := filepath.Join(s.work, "trace")
	//nolint:gosec // the arguments are the suite's own
	tracer := exec.CommandContext(ctx, "strace", "-f", "-y", "-e", "trace=fsync,fdatasync,write", "-s", "16", "-o", trace,
		"-p", strconv.Itoa(b.cmd.Process.Pid))
	var says lockedBuffer
	tracer.Stderr, tracer.SysProcAttr = &says, dieWithParent()
	tracer.Cancel = func() error { return tracer.Process.Signal(os.Interrupt) }
	if err := tracer.Start(); err != nil {
		return out, err
	}
	stop := func() error {
		_ = tracer.Process.Signal(syscall.SIGINT) // it may have ended by itself
		return tracer.Wait()
	}
	if err := says.await(ctx, "attached"); err != nil {
		return out, errors.Join(err, stop())
	}
	before, err := b.figures(ctx)
	if err != nil {
		return out, errors.Join(err, stop())
	}
	load := Load{Kind: Transfers, Accounts: accounts, Connections: connections, Duration: underTrace}
	o, err := s.load(ctx, "durable", b, load, false)
	if err != nil {
		return out, errors.Join(err, stop())
	}
	after, err := b.figures(ctx)
	_ = stop() // the signal that ended it is its status
	if err != nil {
		return out, err
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		return out, err
	}
	seen, err := readTrace(text, b.data)
	if err == nil && uint64(seen.replies) != o.Accepted {
		err = fmt.Errorf("strace has seen %d replies, and the client %d", seen.replies, o.Accepted)
	}
	out.replies, out.flushed, out.early = float64(o.Accepted), float64(seen.flushes), float64(seen.early)
	out.commits = after.sum("bankforge_commit_seconds_count") - before.sum("bankforge_commit_seconds_count")
	return out, err
}

var (
	call    = regexp.MustCompile(`^(\d+) +(\w+)\(\d+<([^>]*)>`)
	resumed = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>`)
)

// traced is what strace has seen.
type traced struct {
	flushes int // of the log that have come to their end
	replies int // with status 201 that began to leave
	early   int // of these, those with no flush since the reply before: on one connection, they left too soon
}

// readTrace follows the trace in the order in which things happened. The log's files are called bank.* in the data
// directory. A flush that failed is an error: the reply after it would have been a lie.
func readTrace(trace []byte, data string) (t traced, err error) {
	waiting := map[string]bool{} // threads in a flush of the log that another thread's line has interrupted
	fresh := false
	for l := range strings.Lines(string(trace)) {
		if strings.Contains(l, "sync") && strings.Contains(l, "= -1") {
			return t, fmt.Errorf("a flush failed: %s", l)
		}
		ended := false
		if m := resumed.FindStringSubmatch(l); m != nil && flushes(m[2]) && waiting[m[1]] {
			ended, waiting[m[1]] = true, false
		}
		if m := call.FindStringSubmatch(l); m != nil {
			inside, _ := filepath.Match(filepath.Join(data, "bank*"), m[3]) // the pattern is a good one
			if inside && flushes(m[2]) {
				waiting[m[1]] = strings.Contains(l, "<unfinished")
				ended = !waiting[m[1]]
			}
			if m[2] == "write" && strings.Contains(l, `, "HTTP/1.1 201`) {
				t.replies++
				if !fresh {
					t.early++
				}
				fresh = false
			}
		}
		if ended {
			t.flushes++
			fresh = true
		}
	}
	return t, nil
}

func flushes(call string) bool { return call == "fsync" || call == "fdatasync" }

// lockedBuffer is what a child says, while somebody waits for a word in it.
type lockedBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *lockedBuffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// wordPatience is how long a child may take to say what it is waited for.
const wordPatience = 20 * time.Second

// await returns when the word has been said.
func (b *lockedBuffer) await(ctx context.Context, word string) error {
	tick := time.NewTicker(catchUpPace)
	defer tick.Stop()
	for end := time.Now().Add(wordPatience); time.Now().Before(end); {
		if strings.Contains(b.text(), word) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return fmt.Errorf("it did not say %q, but %q", word, b.text())
}
