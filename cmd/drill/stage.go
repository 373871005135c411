package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/journal"
	"bankforge/cmd/drill/judge"
	"bankforge/cmd/drill/process"
	"bankforge/cmd/drill/teller"
)

// stage is one bank that is attacked: its directory, its clients, and what the drill knows of it. It lives through many
// processes, one after the other.
type stage struct {
	options *options
	dir     string // of everything
	data    string // the bank's own
	plant   string // an order that every process of this bank gets
	addr    string
	process *process.Process
	journal *journal.Journal

	judge.Case
}

func (s *stage) serveLog() string { return filepath.Join(s.dir, "bank.log") }

// newStage makes a bank in a new directory with accounts that have money. Every process of it gets the order plant.
func newStage(ctx context.Context, o *options, dir string, seed uint64, plant string) (s *stage, err error) {
	s = &stage{
		options: o, dir: dir, data: filepath.Join(dir, "data"), plant: plant,
		Case: judge.Case{
			Log: check.NewLog(), Past: check.Past{},
			Random: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // replayed
		},
	}
	s.Verify = s.verify
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		return s, err
	}
	if s.addr, err = process.FreeAddress(ctx); err != nil {
		return s, err
	}
	if s.journal, err = journal.Open(filepath.Join(dir, "journal")); err != nil {
		return s, err
	}
	token, err := process.Command(ctx, o.Bankforge, "token", "--data", s.data, "--role", "teller,auditor",
		"--subject", "drill", "--ttl", "24h")
	if err != nil {
		return s, fmt.Errorf("make a token: %w: %s", err, token)
	}
	s.Client = teller.NewClient("http://"+s.addr, token)
	s.Office = teller.NewOffice(s.Client, s.journal, seed)
	if err := s.start(ctx); err != nil {
		return s, err
	}
	return s, s.Office.Setup(ctx)
}

// flags are those of every process of the bank. Snapshots are often, so that some are in the way of every kill.
func (s *stage) flags() []string {
	return []string{
		"serve", "--data", s.data, "--http", s.addr, "--admin", "", "--snapshot-every", "150", "--grace", "10s",
	}
}

// launch starts a process with an order, and does not wait until it is ready.
func (s *stage) launch(order string) (err error) {
	if s.plant != "" {
		order = strings.Trim(s.plant+","+order, ",")
	}
	s.process, err = process.Launch(s.options.Bankforge, s.serveLog(), order, s.flags()...)
	return err
}

// start starts a process, and waits until it is ready.
func (s *stage) start(ctx context.Context) error {
	err := s.launch("")
	if err == nil {
		err = s.process.Ready(ctx)
	}
	if err != nil {
		return fmt.Errorf("start: %w: %s", err, process.Tail(s.serveLog()))
	}
	return nil
}

// kill ends the process at once, if it runs.
func (s *stage) kill() {
	if s.process != nil {
		s.process.Kill()
	}
	s.Client.Close()
}

// term ends the process as it should be.
func (s *stage) term() error {
	s.Client.Close()
	return s.process.Term()
}

// work has clients at work for a while, or until the process ends.
func (s *stage) work(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	s.Office.Work(ctx, s.options.Clients)
}

// close ends what runs.
func (s *stage) close() error {
	if s.process != nil && !s.process.Ended() {
		s.process.Kill()
	}
	if s.Client != nil {
		s.Client.Close()
	}
	if s.journal != nil {
		return s.journal.Close()
	}
	return nil
}

// recover starts the bank again after what has been done to it, and judges all that came of it.
func (s *stage) recover(ctx context.Context) error {
	if err := s.start(ctx); err != nil {
		return check.Wrong(err)
	}
	return s.Judge(ctx)
}

var errNotReached = errors.New("the process was not ended by its order")

// verify lets the bank check itself, beside the running one.
func (s *stage) verify(ctx context.Context) error {
	out, err := process.Command(ctx, s.options.Bankforge, "verify", "--data", s.data)
	if err != nil {
		return fmt.Errorf("verify: %w: %s", err, process.FirstLines(out))
	}
	return nil
}

// shortWork is how long clients are at work where nothing depends on it.
const shortWork = 600 * time.Millisecond
