package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
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

// far is a bank on servers, under a name that no other one has, nor one of an earlier suite that left its own there.
type far struct {
	Servers
	prefix string
}

func (s *Suite) far() far {
	if s.banks++; s.named == "" {
		s.named = strings.ToLower(rand.Text()[:6])
	}
	return far{s.Servers, fmt.Sprintf("bench_%s_%d_", s.named, s.banks)}
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
		if !ours || strings.HasSuffix(name, ".dlt") {
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
	seen   map[string]float64 // messages in Kafka before: a view outside that is empty would be built from the log
	events int                // in all
	behind int                // of these, those that nobody has seen
	// What was done with it, each once: the next step needs the one before.
	relayed, viewed *step
}

// step is what one line has found; the lines behind it need that it was done.
type step struct {
	values   values
	messages map[string]float64
	err      error
}

// waiting makes a bank in which all events wait.
func (s *Suite) waiting(ctx context.Context) (*backlog, error) {
	g := &backlog{far: s.far()}
	var err error
	if g.data, err = os.MkdirTemp(s.work, "backlog-*"); err != nil {
		return nil, err
	}
	return g, s.fill(ctx, g, s.size.backlog)
}

// begun makes a bank that has run with all servers for a moment, and then got events while no reader ran.
func (s *Suite) begun(ctx context.Context) (*backlog, error) {
	if s.log != nil {
		return s.log, nil
	}
	g := &backlog{far: s.far()}
	flags, err := g.all()
	if err != nil {
		return nil, err
	}
	b, _, err := s.freshIn(ctx, place{servers: flags})
	if err != nil {
		return nil, err
	}
	g.data = b.data
	if err := b.stop(); err != nil {
		return nil, err
	}
	if err := g.count(ctx); err != nil {
		return nil, err
	}
	if g.seen, err = g.messages(); err != nil {
		return nil, err
	}
	if err := s.fill(ctx, g, g.events+s.size.backlog); err != nil {
		return nil, err
	}
	s.log = g
	return g, nil
}

// count asks where the log ends.
func (g *backlog) count(ctx context.Context) error {
	return g.sql(ctx, "SELECT seq FROM "+g.prefix+"ledger.ledger_head", &g.events)
}

// fill adds events to the log.
func (s *Suite) fill(ctx context.Context, g *backlog, until int) error {
	before := g.events
	s.say("  making %s events in PostgreSQL", grouped(int64(until-before)))
	_, err := s.command(ctx, &place{data: g.data, servers: g.postgres()}, "bench",
		"--generate", strconv.Itoa(until-before), "--onto", strconv.Itoa(before), "--accounts", strconv.Itoa(s.size.accounts))
	if err == nil {
		err = g.count(ctx)
	}
	g.behind = g.events - before
	return err
}

// changes are the messages that the generated events are made of. Opening an account is one, which the first movement
// of money also does for the bank's cash, and a movement one for each side and one for the transaction.
func (g *backlog) changes(accounts int) map[string]float64 {
	opened := float64(accounts)
	if g.behind == g.events {
		opened++
	}
	moved := float64(g.behind) - opened
	return map[string]float64{"accounts": opened + 2*moved, "transactions": moved}
}

// consume runs modules until they have taken in all that waits for them. They must have got as many messages as there
// are.
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
	took, cpu := time.Since(b.began), b.cpu()
	f, err := b.figures(ctx)
	if err != nil {
		return nil, err
	}
	total := 0.0
	for handler, messages := range want {
		got := f.sum("bankforge_handler_facts_total", `handler="`+handler+`"`)
		if got < messages { // some may come twice, which counts once; fewer: the rest came another way
			return nil, fmt.Errorf("handler %s has taken in %.0f messages, and there are %.0f", handler, got, messages)
		}
		total += messages
	}
	note := fmt.Sprintf("%s to %d handlers in %s, from the start of the process; %.1f µs of processor each",
		show(total, ""), len(want), took.Round(time.Millisecond), cpu.Seconds()*1e6/total)
	return values{"rate": {total / took.Seconds(), note}, "memory": s.weigh(b)}, nil
}

// weigh is peak, and tells beside it what the servers have.
func (s *Suite) weigh(b *server) value {
	v := b.peak()
	for _, name := range slices.Sorted(maps.Keys(s.Servers.Pids)) {
		_, most := resident(s.Servers.Pids[name])
		v.note += fmt.Sprintf("; %s %.0f MiB", name, most)
	}
	return v
}

// peak is the memory that the process has had at most.
func (b *server) peak() value {
	_, most := resident(b.cmd.Process.Pid)
	return value{most, "resident"}
}
