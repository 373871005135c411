package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bigBank is a data directory with many accounts and events.
type bigBank struct {
	data     string
	accounts []string // some of them, spread over all
	count    int      // of all accounts
}

const (
	accountsFile = "bench-accounts.txt" // an id a line, in the large bank's directory
	sampled      = 100_000              // accounts of the large bank that a load touches
	cacheBytes   = 64 << 20             // of SQLite for a connection
)

// bigBank makes the large bank, unless it is there.
func (s *Suite) bigBank(ctx context.Context) (*bigBank, error) {
	if s.large != nil {
		return s.large, nil
	}
	dir := s.Big
	if dir == "" {
		dir = filepath.Join(s.work, "big")
	}
	list := filepath.Join(dir, accountsFile)
	if _, err := os.Stat(list); errors.Is(err, os.ErrNotExist) {
		s.say("  making a bank of %s accounts and %s events in %s", grouped(int64(s.size.bigAccounts)),
			grouped(int64(s.size.bigEvents)), dir)
		if _, err := s.command(ctx, &place{data: dir}, "bench", "--generate", strconv.Itoa(s.size.bigEvents),
			"--accounts", strconv.Itoa(s.size.bigAccounts)); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(list)
	if err != nil {
		return nil, err
	}
	all := strings.Fields(string(text))
	if len(all) < s.size.bigAccounts {
		return nil, fmt.Errorf("--big %s has %d accounts, not %d", dir, len(all), s.size.bigAccounts)
	}
	b := &bigBank{data: dir, count: len(all)}
	step := max(len(all)/sampled, 1)
	for i := 0; i < len(all); i += step {
		b.accounts = append(b.accounts, all[i])
	}
	s.large = b
	return b, nil
}

// forget removes what can be made again from the log.
func (g *bigBank) forget() error {
	var err error
	for _, pattern := range []string{"snapshots/*", "views.db*", "server.log"} {
		found, e := filepath.Glob(filepath.Join(g.data, pattern))
		err = errors.Join(err, e)
		for _, path := range found {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

var readyLine = regexp.MustCompile(`msg="the log is open" seq=(\d+) .*took=(\S+)`)

// ledgerReady is how long the bank took to load its state, as it says itself, and how many events the log had.
func (b *server) ledgerReady() (events float64, took time.Duration, err error) {
	text, err := os.ReadFile(b.log)
	if err != nil {
		return 0, 0, err
	}
	all := readyLine.FindAllSubmatch(text, -1)
	if len(all) == 0 {
		return 0, 0, fmt.Errorf("the log of the bank does not say when its ledger was ready: %s", lastLines(b.log))
	}
	last := all[len(all)-1]
	events, err = strconv.ParseFloat(string(last[1]), 64)
	if err == nil {
		took, err = time.ParseDuration(string(last[2]))
	}
	return events, max(took, time.Millisecond), err
}

// replay: without snapshots and views.db, everything comes from the log.
func (s *Suite) replay(ctx context.Context) (_ values, err error) {
	g, err := s.bigBank(ctx)
	if err != nil {
		return nil, err
	}
	if err := g.forget(); err != nil {
		return nil, err
	}
	began := time.Now()
	b, err := s.serve(ctx, place{data: g.data})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	events, took, err := b.ledgerReady()
	if err != nil {
		return nil, err
	}
	if err := b.caughtUp(ctx, rebuiltWithin); err != nil {
		return nil, err
	}
	views := time.Since(began) - took // what else starting takes counts for the views
	return values{
		"state": {events / took.Seconds(), fmt.Sprintf("%s events in %s", grouped(int64(events)), took)},
		"views": {events / views.Seconds(), fmt.Sprintf("all three, in %s", views.Round(time.Millisecond))},
	}, nil
}

// big: the large bank and an empty one run beside each other, and are loaded in turn.
func (s *Suite) big(ctx context.Context) (_ values, err error) {
	g, err := s.bigBank(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.settle(ctx, g); err != nil {
		return nil, err
	}
	large, err := s.serve(ctx, place{data: g.data})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, large.stop()) }()
	log, err := os.Stat(filepath.Join(g.data, "bank.db"))
	if err != nil {
		return nil, err
	}
	empty, accounts, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	defer empty.end(&err)
	heap, least, err := heaps(ctx, large, empty)
	if err != nil {
		return nil, err
	}
	runs, err := s.besides(ctx, empty, accounts, large, g.accounts)
	if err != nil {
		return nil, err
	}
	return values{
		"ratio": ratio(runs[large], runs[empty]),
		"start": {large.ready.Seconds(), "from starting the process until /readyz says so"},
		"heap": {(heap - least) / float64(max(g.count-len(accounts), 1)),
			fmt.Sprintf("%s MiB after a collection, %s MiB in the empty bank", show(heap/(1<<20), ""), show(least/(1<<20), ""))},
		"file": {float64(log.Size()) / cacheBytes, fmt.Sprintf("%s MiB", show(float64(log.Size())/(1<<20), ""))},
	}, nil
}

// besides runs wrk in turn against two banks.
func (s *Suite) besides(
	ctx context.Context, one *server, first []string, other *server, second []string,
) (map[*server][]Run, error) {
	runs := map[*server][]Run{}
	for range s.repeats() {
		for _, b := range []*server{one, other} {
			shot := &shot{line: "big", kind: Transfers, connections: usual, duration: s.size.burst, accounts: first}
			if b == other {
				shot.line, shot.accounts = "big, large", second
			}
			r, err := s.ours(ctx, b, shot)
			if err == nil {
				err = b.caughtUp(ctx, catchUpLimit)
			}
			if err != nil {
				return nil, err
			}
			runs[b] = append(runs[b], r)
		}
	}
	return runs, nil
}

// settle has the large bank take in all its log and write a snapshot, which it does when it ends.
func (s *Suite) settle(ctx context.Context, g *bigBank) error {
	b, err := s.serve(ctx, place{data: g.data})
	if err != nil {
		return err
	}
	err = b.caughtUp(ctx, rebuiltWithin)
	if err = errors.Join(err, b.stop()); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(g.data, "snapshots", "*"))
	if err == nil && len(found) == 0 {
		err = errors.New("the large bank has not written a snapshot")
	}
	return err
}

// heaps are the bytes of Go's heap that are in use in each bank, after collections.
func heaps(ctx context.Context, banks ...*server) (first, second float64, err error) {
	var all []float64
	for _, b := range banks {
		for range 2 { // the second frees what finalizers have let go
			if _, err := get(ctx, b.admin+"/debug/pprof/heap?gc=1"); err != nil {
				return 0, 0, err
			}
		}
		f, err := b.figures(ctx)
		if err != nil {
			return 0, 0, err
		}
		all = append(all, f.sum("go_memstats_heap_alloc_bytes"))
	}
	if slices.Contains(all, 0) {
		return 0, 0, errors.New("metrics: no heap there")
	}
	return all[0], all[1], nil
}
