// Package many attacks a bank of many processes on real servers: one process for each module, two that take commands,
// and clients that come in by every one of them.
package many

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/gate"
	"bankforge/cmd/drill/journal"
	"bankforge/cmd/drill/judge"
	"bankforge/cmd/drill/live"
	"bankforge/cmd/drill/process"
	"bankforge/cmd/drill/servers"
	"bankforge/cmd/drill/teller"
)

// Config is what the rounds are told.
type Config struct {
	Bankforge string // the program
	Script    string // that starts servers
	Clients   int    // that move money at once
	Outside   bool   // Kafka, Redis and MongoDB, too
	Slack     int    // times as long as they should may things take: others may use the machine, too
}

// stage is one bank that is attacked: its servers, its processes, its clients, and what the drill knows of it.
type stage struct {
	conf     *Config
	dir      string
	plant    string // an order that every process gets
	servers  *servers.Set
	members  []*member
	audience *live.Audience
	journal  *journal.Journal

	judge.Case
}

// watchers are clients of the live channel.
const watchers = 18

// newStage starts servers and processes, and opens accounts that have money. It must be closed, also after an error.
func newStage(ctx context.Context, conf *Config, dir string, seed uint64, plant string) (*stage, error) {
	s := &stage{conf: conf, dir: dir, plant: plant}
	s.Log, s.Past, s.Histories = check.NewLog(), check.Past{}, true
	s.Random = rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // replayed
	s.Verify = s.verify
	names := []string{servers.Postgres}
	if conf.Outside {
		names = append(names, servers.Kafka, servers.Redis, servers.Mongo)
	}
	var err error
	if s.servers, err = servers.Up(ctx, conf.Script, filepath.Join(dir, "servers"), names...); err != nil {
		return s, err
	}
	token, err := process.Command(ctx, conf.Bankforge, slices.Concat([]string{"token"}, s.where(s.servers.At("POSTGRES")),
		[]string{"--data", dir, "--role", "teller,auditor", "--subject", "drill", "--ttl", "24h"})...)
	if err != nil {
		return s, fmt.Errorf("make a token: %w: %s", err, token)
	}
	if err := s.cast(ctx); err != nil {
		return s, err
	}
	if s.journal, err = journal.Open(filepath.Join(dir, "journal")); err != nil {
		return s, err
	}
	doors := s.doors(token)
	s.Client = doors[0]
	s.Office = teller.NewOffice(doors[0], s.journal, seed)
	s.Office.Through(doors...)
	if err := s.startAll(ctx); err != nil {
		return s, err
	}
	if err := s.Office.Setup(ctx); err != nil {
		return s, err
	}
	if conf.Outside { // on a busy machine, a Kafka that has just begun needs a while until it makes topics
		if err := s.filled(ctx); err != nil {
			return s, err
		}
	}
	s.audience, err = live.Watch(ctx, s.Client, s.named("push").url(), s.Office.Accounts(), watchers)
	return s, err
}

// where says where the bank is kept.
func (s *stage) where(postgres string) []string {
	where := []string{
		"--store", "postgres", "--postgres", postgres, "--master-key-file", filepath.Join(s.dir, "master.key"),
	}
	if s.conf.Outside {
		where = append(where, "--broker", "kafka", "--kafka", s.servers.At("KAFKA"),
			"--balances", "redis", "--redis", s.servers.At("REDIS"), "--history", "mongo", "--mongo", s.servers.At("MONGO"))
	}
	return where
}

// doors are clients of the bank, one for each process. What they read, they read where it is shown.
func (s *stage) doors(token string) []*teller.Client {
	shows := func(path string) string {
		path, _, _ = strings.Cut(path, "?")
		switch {
		case strings.HasPrefix(path, "/v1/events"), strings.HasPrefix(path, "/v1/ledger"):
			return s.named("events").url()
		case strings.HasPrefix(path, "/v1/transactions"), strings.HasSuffix(path, "/entries"):
			return s.named("transactions").url()
		}
		return s.named("accounts").url()
	}
	var doors []*teller.Client
	for _, m := range s.members {
		c := teller.NewClient(m.url(), token)
		c.Shows = shows
		doors = append(doors, c)
	}
	return doors
}

// cast says which processes there are.
func (s *stage) cast(ctx context.Context) error {
	for _, c := range []struct{ name, target string }{
		{"one", "account-command,transaction-command"},
		{"two", "account-command,transaction-command"},
		{"accounts", "account-query"},
		{"transactions", "transaction-query"},
		{"events", "event-store"},
		{"push", "push,console"},
	} {
		if err := s.join(ctx, c.name, c.target); err != nil {
			return err
		}
	}
	return nil
}

// join makes a process that is not started yet. Those that take commands reach the database through a gate.
func (s *stage) join(ctx context.Context, name, target string) (err error) {
	m := &member{stage: s, name: name, target: target, postgres: s.servers.At("POSTGRES")}
	if m.addr, err = process.FreeAddress(ctx); err != nil {
		return err
	}
	s.members = append(s.members, m)
	if !strings.Contains(target, "command") {
		return nil
	}
	u, err := url.Parse(m.postgres)
	if err != nil {
		return err
	}
	if m.gate, err = gate.Open(ctx, u.Host); err != nil {
		return err
	}
	u.Host = m.gate.Addr()
	m.postgres = u.String()
	return nil
}

func (s *stage) named(name string) *member {
	return s.members[slices.IndexFunc(s.members, func(m *member) bool { return m.name == name })]
}

// startAll starts those that take commands first: the others wait for the ledger that they make.
func (s *stage) startAll(ctx context.Context) error {
	for _, m := range s.members {
		if err := m.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ready waits until all processes are.
func (s *stage) ready(ctx context.Context) error {
	for _, m := range s.members {
		if err := m.process.Ready(ctx); err != nil {
			return check.Wrong(fmt.Errorf("%s: %w", m.name, err))
		}
	}
	return nil
}

var errNobody = errors.New("nobody owns the ledger")

// owner is who decides, and the other one.
func (s *stage) owner(ctx context.Context) (owner, other *member, err error) {
	one, two := s.named("one"), s.named("two")
	err = teller.Until(ctx, process.Patience, func() bool {
		switch {
		case one.owns(ctx):
			owner, other = one, two
		case two.owns(ctx):
			owner, other = two, one
		}
		return owner != nil
	})
	if err != nil {
		err = check.Wrong(fmt.Errorf("%w: %w", errNobody, err))
	}
	return owner, other, err
}

// under has clients at work, and an attack made meanwhile. It ends when the bank takes commands again.
func (s *stage) under(ctx context.Context, attack func() error) error {
	return s.while(ctx, func(working context.Context) { s.Office.Work(working, s.conf.Clients) }, attack)
}

// while is under a load of some kind.
func (s *stage) while(ctx context.Context, load func(context.Context), attack func() error) error {
	working, stop := context.WithCancel(ctx)
	worked := make(chan struct{})
	go func() { defer close(worked); load(working) }()
	err := teller.Rest(ctx, shortWork)
	if err == nil {
		err = attack()
	}
	if err == nil {
		_, err = s.goesOn(ctx)
	}
	stop()
	<-worked
	return err
}

// shortWork is how long clients are at work before they are disturbed.
const shortWork = 800 * time.Millisecond

// goesOn waits until commands are done that were sent after now, and tells after how long the first one was.
func (s *stage) goesOn(ctx context.Context) (first time.Duration, err error) {
	const enough = 10
	since, began := s.Office.Now(), time.Now()
	err = teller.Until(ctx, process.Patience, func() bool {
		n := s.Office.AckedSince(since)
		if n > 0 && first == 0 {
			first = time.Since(began)
		}
		return n >= enough
	})
	if err != nil {
		err = check.Wrong(fmt.Errorf("it takes no commands any more: %w; %s", err, s.lastWords()))
	}
	return first, err
}

// lastWords are the ends of what those who take commands have logged.
func (s *stage) lastWords() string {
	return "one: " + process.Tail(s.named("one").log()) + "; two: " + process.Tail(s.named("two").log())
}

// judged holds everything against the log: when nobody is at work, and all processes are ready.
func (s *stage) judged(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.Judge(ctx); err != nil {
		return err
	}
	if err := s.topics(ctx); err != nil {
		return err
	}
	return s.audience.Satisfied(ctx, s.Log)
}

func (s *stage) verify(ctx context.Context) error {
	out, err := process.Command(ctx, s.conf.Bankforge, slices.Concat([]string{"verify", "--data", s.dir},
		s.where(s.servers.At("POSTGRES")))...)
	if err != nil {
		return fmt.Errorf("verify: %w: %s", err, process.FirstLines(out))
	}
	return nil
}

// close ends what runs.
func (s *stage) close() (err error) {
	if s.audience != nil {
		s.audience.Close()
	}
	for _, m := range s.members {
		err = errors.Join(err, m.close())
	}
	if s.Client != nil {
		http.DefaultClient.CloseIdleConnections()
	}
	if s.journal != nil {
		err = errors.Join(err, s.journal.Close())
	}
	if s.servers != nil {
		err = errors.Join(err, s.servers.Down(context.Background()))
	}
	return errors.Join(err, os.RemoveAll(filepath.Join(s.dir, "snapshots")))
}
