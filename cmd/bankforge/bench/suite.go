package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Suite measures every line of the table in docs/performance.md, each against servers that it starts itself.
type Suite struct {
	Program  string    // the binary of bankforge
	Dir      string    // where data directories are made; "": the system's place for temporary files
	Only     []string  // names of lines; none: all
	Short    bool      // a few seconds a line: does each work, is every reply right?
	Repeats  int       // of everything that is compared in turn
	Big      string    // the large bank's directory, which stays; "": a temporary one
	Profile  string    // which table: embedded, or kafka, which needs Servers
	Servers  Servers   // of the suite alone
	Backlog  int       // events that wait for the relay and for handlers, but in the short form
	Progress io.Writer // told what happens

	size   size
	work   string // all that the suite makes is below it
	report *Report
	best   float64   // transfers/s of a burst, once it is known
	ended  time.Time // the last run of wrk
	large  *bigBank
	log    *backlog
	banks  int    // on servers, so far
	named  string // they, unlike those of other suites
}

// size is how much is measured.
type size struct {
	accounts                   int
	burst, sustained           time.Duration
	one, bulk, overload, reads time.Duration
	overloaded                 int // connections
	bigAccounts, bigEvents     int
	clients                    int // of live updates
	alone                      int // commands that are timed one by one
	backlog                    int // events that wait for the relay and for handlers
	chain                      int // messages that go through the steps alone
	stream, streamKeys         int // events that a handler takes in, and accounts, of which one fails
	lists, replayed            amount
}

var (
	fullSize = size{
		accounts: 1000, burst: 10 * time.Second, sustained: time.Minute, one: 5 * time.Second, bulk: 5 * time.Second,
		overload: 10 * time.Second, reads: 10 * time.Second, overloaded: 2000, bigAccounts: 1_000_000,
		bigEvents: 5_000_000, clients: 1000, alone: 500,
		chain: 500_000, stream: 600_000, streamKeys: 10_000, lists: amount{66_667, 33_333}, replayed: amount{52_501, 5000},
	}
	shortSize = size{
		accounts: 100, burst: time.Second, sustained: 2 * time.Second, one: time.Second, bulk: time.Second,
		overload: time.Second, reads: time.Second, overloaded: 300, bigAccounts: 1000, bigEvents: 5000,
		clients: 50, alone: 50, backlog: 4000,
		chain: 20_000, stream: 4000, streamKeys: 100, lists: amount{1000, 300},
		replayed: amount{1000, 300},
	}
)

// line is one line of the table.
type line struct {
	name    string
	measure func(*Suite, context.Context) (values, error)
}

// lines in the order in which they run: the table's, but that the replay prepares the large bank.
var lines = []line{
	{"burst", (*Suite).burst},
	{"sustained", (*Suite).sustained},
	{"hot", (*Suite).hot},
	{"many", (*Suite).many},
	{"one", (*Suite).one},
	{"bulk", (*Suite).bulk},
	{"overload", (*Suite).overload},
	{"durable", (*Suite).durable},
	{"live", (*Suite).live},
	{"reads", (*Suite).reads},
	{"replay", (*Suite).replay},
	{"big", (*Suite).big},
}

// Kafka is the profile of many machines; "" is that of one.
const Kafka = "kafka"

// linesOf are the lines of a profile.
func linesOf(profile string) []line {
	if profile == Kafka {
		return slices.Concat(farLines, farOpsLines)
	}
	return slices.Concat(lines, opsLines)
}

// Lines are the names that Suite.Only takes in a profile.
func Lines(profile string) (names []string) {
	for _, l := range linesOf(profile) {
		names = append(names, l.name)
	}
	return names
}

// chosen are the lines to run.
func (s *Suite) chosen() ([]line, error) {
	all := Lines(s.Profile)
	for _, name := range s.Only {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("--only: there is no line %q; there are %s", name, strings.Join(all, ", "))
		}
	}
	out := slices.Clone(linesOf(s.Profile))
	if len(s.Only) == 0 {
		return out, nil
	}
	return slices.DeleteFunc(out, func(l line) bool { return !slices.Contains(s.Only, l.name) }), nil
}

// Run measures. The error is for what makes the whole impossible; a line that cannot be measured is in the report.
func (s *Suite) Run(ctx context.Context) (_ *Report, err error) {
	todo, err := s.chosen()
	if err == nil && s.Profile == Kafka {
		err = s.Servers.missing()
	}
	if err != nil {
		return nil, err
	}
	for _, tool := range []string{"wrk", "strace"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%w: scripts/install.sh bench installs it", err)
		}
	}
	if s.Program, err = filepath.Abs(s.Program); err != nil {
		return nil, err
	}
	began := time.Now()
	s.report = &Report{At: began, Profile: s.Profile, Short: s.Short, Repeats: s.Repeats}
	s.size = fullSize
	s.size.backlog = s.Backlog
	if s.Short {
		s.size = shortSize
	}
	if s.work, err = os.MkdirTemp(s.Dir, "bankforge-bench-*"); err != nil {
		return nil, fmt.Errorf("--dir: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.work)) }()
	if s.report.Machine, err = look(ctx, s.work); err != nil {
		return nil, err
	}
	s.say("data is on %s at %s, where a flush takes %.2f ms", s.report.Machine.FileSystem, filepath.Dir(s.work),
		s.report.Machine.FsyncP50)
	for _, l := range todo {
		s.measure(ctx, l)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	s.report.Machine.LoadAfter = load()
	s.report.Took = time.Since(began).Round(time.Second).String()
	s.report.Good = s.report.judged()
	return s.report, nil
}

// measure runs one line, and judges it.
func (s *Suite) measure(ctx context.Context, l line) {
	began := time.Now()
	s.report.Lines = append(s.report.Lines, l.name)
	got, err := l.measure(s, ctx)
	rows := judge(l.name, got, err, s.Short)
	s.report.Rows = append(s.report.Rows, rows...)
	for i := range rows {
		c := rows[i].cells()
		s.say("%-9s %-60s %18s  %s", c[0], c[1], c[2], strings.Join(c[3:], "  "))
	}
	s.say("%-9s took %s", l.name, time.Since(began).Round(100*time.Millisecond))
}

func (s *Suite) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.Progress, time.Now().Format("15:04:05 ")+format+"\n", args...) // nobody may be listening
}

// keep puts a run into the report.
func (s *Suite) keep(r Run) {
	s.report.Runs = append(s.report.Runs, r)
	s.say("  %-9s %-9s %4d connections: %9.0f/s, p50 %.2f, p99 %.2f ms, %.0f µs of processor each %s", r.Line, r.Against,
		r.Connections, r.PerSecond, r.P50, r.P99, r.CPUMicros, r.Errors)
}

// repeats is how often what is compared runs in turn.
func (s *Suite) repeats() int {
	if s.Short {
		return 1
	}
	return max(1, s.Repeats)
}

// median of what runs say.
func median(runs []Run, of func(*Run) float64) float64 {
	if len(runs) == 0 {
		return 0
	}
	all := make([]float64, len(runs))
	for i := range runs {
		all[i] = of(&runs[i])
	}
	slices.Sort(all)
	if n := len(all); n%2 == 0 {
		return (all[n/2-1] + all[n/2]) / 2
	}
	return all[len(all)/2]
}

func perSecond(r *Run) float64 { return r.PerSecond }

// ratio is the quotient of two medians, with both in its note.
func ratio(ours, theirs []Run) value {
	a, b := median(ours, perSecond), median(theirs, perSecond)
	return value{a / b, fmt.Sprintf("%s/s of %s/s", show(a, ""), show(b, ""))}
}
