package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/jackc/pgx/v5"
)

// Servers are those that the profile of many machines runs on. Nobody else uses them.
type Servers struct {
	Postgres string // URL
	Kafka    string // host:port
	Redis    string // URL
	Mongo    string // URL, with a database
	// Pids are their processes, by their names; those that are not given are not weighed.
	Pids map[string]int
}

// missing names what is not given.
func (s *Servers) missing() error {
	for flag, given := range map[string]string{
		"--postgres": s.Postgres, "--kafka": s.Kafka, "--redis": s.Redis, "--mongo": s.Mongo,
	} {
		if given == "" {
			return fmt.Errorf("the profile %s needs %s; scripts/services.sh starts a server", Kafka, flag)
		}
	}
	return nil
}

// far is a bank on servers, under a name that no other one has.
type far struct {
	Servers
	prefix string
}

func (s *Suite) far() far {
	s.banks++
	return far{s.Servers, fmt.Sprintf("bench%d_", s.banks)}
}

// postgres are the flags of a bank whose log is its own broker.
func (f *far) postgres() []string {
	return []string{"--store", "postgres", "--postgres", f.Postgres, "--prefix", f.prefix}
}

// kafka are the flags of one whose messages go through Kafka.
func (f *far) kafka() []string { return append(f.postgres(), "--broker", "kafka", "--kafka", f.Kafka) }

func (f *far) redis() []string { return []string{"--balances", "redis", "--redis", f.Redis} }

// mongo uses a database of its own: MongoDB has no prefixes.
func (f *far) mongo() ([]string, error) {
	u, err := url.Parse(f.Mongo)
	if err != nil {
		return nil, fmt.Errorf("--mongo: %w", err)
	}
	u.Path = "/" + strings.TrimSuffix(f.prefix, "_")
	return []string{"--history", "mongo", "--mongo", u.String()}, nil
}

// all are the flags of one that uses every server.
func (f *far) all() ([]string, error) {
	mongo, err := f.mongo()
	return append(append(f.kafka(), f.redis()...), mongo...), err
}

// sql runs one statement in PostgreSQL, and scans the row that it gives, if any is wanted.
func (f *far) sql(ctx context.Context, statement string, into ...any) (err error) {
	db, err := pgx.Connect(ctx, f.Postgres)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close(context.WithoutCancel(ctx))) }()
	if len(into) == 0 {
		_, err = db.Exec(ctx, statement)
		return err
	}
	return db.QueryRow(ctx, statement).Scan(into...)
}

// awaitRelay returns when everything in the log has been acknowledged by Kafka, as the relay's cursor says.
func (f *far) awaitRelay(ctx context.Context, events int) (err error) {
	db, err := pgx.Connect(ctx, f.Postgres)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close(context.WithoutCancel(ctx))) }()
	tick := time.NewTicker(catchUpPace)
	defer tick.Stop()
	for end := time.Now().Add(rebuiltWithin); ; {
		var at int
		err := db.QueryRow(ctx, "SELECT coalesce(max(seq), 0) FROM "+f.prefix+"ledger.relay").Scan(&at)
		switch {
		case err != nil:
			return err
		case at == events:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("the relay is at event %d of %d after %s", at, events, rebuiltWithin)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// messages counts what is in Kafka, by topic without prefix and version: accounts, transactions.
func (f *far) messages() (out map[string]float64, err error) {
	client, err := sarama.NewClient([]string{f.Kafka}, sarama.NewConfig())
	if err != nil {
		return nil, fmt.Errorf("--kafka: %w", err)
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	topics, err := client.Topics()
	if err != nil {
		return nil, err
	}
	out = map[string]float64{}
	for _, topic := range topics {
		name, ours := strings.CutPrefix(topic, f.prefix+"bankforge.")
		if !ours {
			continue
		}
		name, _, _ = strings.Cut(name, ".")
		partitions, err := client.Partitions(topic)
		if err != nil {
			return nil, err
		}
		for _, p := range partitions {
			end, err := client.GetOffset(topic, p, sarama.OffsetNewest)
			if err != nil {
				return nil, err
			}
			out[name] += float64(end)
		}
	}
	return out, nil
}

// backlog is a bank with events that neither the relay nor any handler has seen.
type backlog struct {
	far
	data   string
	events int
	// What was done with it, each once: the next step needs the one before.
	relayed, viewed *step
}

// step is what one line has found; the lines behind it need that it was done.
type step struct {
	values   values
	messages map[string]float64
	err      error
}

// waiting makes the bank, unless it is there.
func (s *Suite) waiting(ctx context.Context) (*backlog, error) {
	if s.log != nil {
		return s.log, nil
	}
	g := &backlog{far: s.far(), data: filepath.Join(s.work, "backlog")}
	if err := os.Mkdir(g.data, 0o700); err != nil {
		return nil, err
	}
	s.say("  making a log of %s events in PostgreSQL", grouped(int64(s.size.backlog)))
	args := append([]string{
		"bench", "--data", g.data, "--generate", strconv.Itoa(s.size.backlog), "--accounts", strconv.Itoa(s.size.accounts),
	}, g.postgres()...)
	c := exec.CommandContext(ctx, s.Program, args...) //nolint:gosec // the program is this one
	c.Env, c.SysProcAttr = environment(os.Environ()), dieWithParent()
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("generate: %w: %s", err, out)
	}
	if err := g.sql(ctx, "SELECT seq FROM "+g.prefix+"ledger.ledger_head", &g.events); err != nil {
		return nil, err
	}
	s.log = g
	return g, nil
}

// consume runs modules until they have taken in all that waits for them. What they get to handle must be as many messages
// as there are.
func (s *Suite) consume(
	ctx context.Context, at place, want map[string]float64,
) (out values, err error) {
	b, err := s.serve(ctx, at)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.caughtUp(ctx, rebuiltWithin); err != nil {
		return nil, err
	}
	took := time.Since(b.began)
	f, err := b.figures(ctx)
	if err != nil {
		return nil, err
	}
	total, handlers := 0.0, make([]string, 0, len(want))
	for handler, messages := range want {
		got := f.sum("bankforge_handler_facts_total", `handler="`+handler+`"`)
		if got != messages {
			return nil, fmt.Errorf("handler %s has taken in %.0f messages, and there are %.0f", handler, got, messages)
		}
		total += got
		handlers = append(handlers, handler)
	}
	note := fmt.Sprintf("%s to %d handlers in %s, from the start of the process", show(total, ""), len(handlers),
		took.Round(time.Millisecond))
	return values{"rate": {total / took.Seconds(), note}, "memory": b.peak()}, nil
}

// peak is the memory that the process has had at most.
func (b *server) peak() value {
	_, most := resident(b.cmd.Process.Pid)
	return value{most, "resident"}
}
