package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/journal"
	"bankforge/cmd/drill/teller"
)

// stage is one bank that is attacked: its directory, its clients, and what the drill knows of it. It lives through many
// processes, one after the other.
type stage struct {
	options *options
	dir     string // of everything
	data    string // the bank's own
	plant   string // an order that every process of this bank gets
	random  *rand.Rand
	addr    string
	process *process
	client  *teller.Client
	journal *journal.Journal
	office  *teller.Office
	log     *check.Log
	past    check.Past // before the commands that were not judged yet
	judged  int        // commands that have been
}

func (s *stage) serveLog() string { return filepath.Join(s.dir, "bank.log") }

// newStage makes a bank in a new directory with accounts that have money. Every process of it gets the order plant.
func newStage(ctx context.Context, o *options, dir string, seed uint64, plant string) (s *stage, err error) {
	s = &stage{
		options: o, dir: dir, data: filepath.Join(dir, "data"), plant: plant, log: check.NewLog(), past: check.Past{},
		random: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // replayed
	}
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		return s, err
	}
	if s.addr, err = freeAddress(ctx); err != nil {
		return s, err
	}
	if s.journal, err = journal.Open(filepath.Join(dir, "journal")); err != nil {
		return s, err
	}
	token, err := command(ctx, o.Bankforge, "token", "--data", s.data, "--role", "teller,auditor",
		"--subject", "drill", "--ttl", "24h")
	if err != nil {
		return s, fmt.Errorf("make a token: %w: %s", err, token)
	}
	s.client = teller.NewClient("http://"+s.addr, token)
	s.office = teller.NewOffice(s.client, s.journal, seed)
	if err := s.start(ctx); err != nil {
		return s, err
	}
	return s, s.office.Setup(ctx)
}

// freeAddress is one that nobody listens at. The bank keeps it through all its processes, as real ones do.
func freeAddress(ctx context.Context) (string, error) {
	var conf net.ListenConfig
	l, err := conf.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
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
	s.process, err = launch(s.options.Bankforge, s.serveLog(), order, s.flags()...)
	return err
}

// start starts a process, and waits until it is ready.
func (s *stage) start(ctx context.Context) error {
	err := s.launch("")
	if err == nil {
		err = s.process.ready(ctx)
	}
	if err != nil {
		return fmt.Errorf("start: %w: %s", err, tail(s.serveLog()))
	}
	return nil
}

// kill ends the process at once, if it runs.
func (s *stage) kill() {
	if s.process != nil {
		s.process.kill()
	}
	s.client.Close()
}

// term ends the process as it should be.
func (s *stage) term() error {
	s.client.Close()
	return s.process.term()
}

// work has clients at work for a while, or until the process ends.
func (s *stage) work(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	s.office.Work(ctx, s.options.Clients)
}

// close ends what runs.
func (s *stage) close() error {
	if s.process != nil && !s.process.ended() {
		s.process.kill()
	}
	if s.client != nil {
		s.client.Close()
	}
	if s.journal != nil {
		return s.journal.Close()
	}
	return nil
}

// recover starts the bank again after what has been done to it, and judges all that came of it.
func (s *stage) recover(ctx context.Context) error {
	if err := s.start(ctx); err != nil {
		return found(err)
	}
	return s.judge(ctx)
}

// brokenError is what a bank has done that it must not do. Other errors are the drill's own.
type brokenError struct{ findings []string }

func (e *brokenError) Error() string {
	most := 5
	if len(e.findings) <= most {
		return strings.Join(e.findings, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(e.findings[:most], "; "), len(e.findings)-most)
}

func broken(findings ...[]string) error {
	var all []string
	for _, f := range findings {
		all = append(all, f...)
	}
	if len(all) == 0 {
		return nil
	}
	return &brokenError{all}
}

// found makes a finding of an error.
func found(err error) error {
	if err == nil {
		return nil
	}
	return &brokenError{[]string{err.Error()}}
}

var errNotReached = errors.New("the process was not ended by its order")
