package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// farLines are the lines of the profile of many machines, in the order in which they run: those about the backlog need
// what the ones before them have done.
var farLines = []line{
	{"pg-burst", (*Suite).pgBurst},
	{"pg-many", (*Suite).pgMany},
	{"pg-hot", (*Suite).pgHot},
	{"log-views", (*Suite).logViews},
	{"relay", (*Suite).relay},
	{"views", (*Suite).kafkaViews},
	{"redis", (*Suite).redis},
	{"mongo", (*Suite).mongo},
	{"far-live", (*Suite).farLive},
}

const commandModules = "account-command,transaction-command"

func (s *Suite) pgBurst(ctx context.Context) (values, error) {
	return s.pgBesides(ctx, "pg-burst", usual)
}

func (s *Suite) pgMany(ctx context.Context) (values, error) { return s.pgBesides(ctx, "pg-many", wide) }

// contender is a bank that takes its turn.
type contender struct {
	name     string // of its figure
	at       place
	b        *server
	accounts []string
	runs     []Run
}

// pgBesides: in turn the yardstick, a bank in PostgreSQL with all modules, one that only takes commands, as it runs
// where each module has a process, and the embedded profile.
func (s *Suite) pgBesides(ctx context.Context, line string, connections int) (_ values, err error) {
	one, other := s.far(), s.far()
	all := []*contender{
		{name: "ratio", at: place{servers: one.postgres()}},
		{name: "commands", at: place{servers: other.postgres(), modules: commandModules}},
		{name: "embedded"},
	}
	for _, c := range all {
		if c.b, c.accounts, err = s.freshIn(ctx, c.at); err != nil {
			return nil, err
		}
		defer c.b.end(&err)
	}
	y, err := s.measureOf(ctx, all[0].b, all[0].accounts)
	if err != nil {
		return nil, err
	}
	defer y.end(&err)
	var theirs []Run
	for range s.repeats() {
		shot := &shot{line: line, kind: Transfers, connections: connections, duration: s.size.burst}
		shot.accounts, shot.token = all[0].accounts, all[0].b.token
		r, err := s.theirs(ctx, y, shot)
		if err != nil {
			return nil, err
		}
		theirs = append(theirs, r)
		for _, c := range all {
			if err := s.turnOf(ctx, c, *shot); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	out := values{"memory": all[0].b.peak()}
	for _, c := range all {
		out[c.name] = ratio(c.runs, theirs)
	}
	return out, nil
}

// turnOf runs wrk against one, and lets its views catch up.
func (s *Suite) turnOf(ctx context.Context, c *contender, shot shot) error {
	if c.name != "ratio" {
		shot.line += ", " + c.name
	}
	shot.accounts = c.accounts
	r, err := s.ours(ctx, c.b, &shot)
	if err != nil {
		return err
	}
	c.runs = append(c.runs, r)
	return c.b.caughtUp(ctx, catchUpLimit)
}

// pgHot: one account on one side of each transfer, in turn with accounts at random.
func (s *Suite) pgHot(ctx context.Context) (values, error) {
	f := s.far()
	return s.hotIn(ctx, "pg-hot", place{servers: f.postgres()})
}

// logViews: handlers read a backlog from the log itself.
func (s *Suite) logViews(ctx context.Context) (values, error) {
	g, err := s.waiting(ctx)
	if err != nil {
		return nil, err
	}
	all := g.changes(s.size.accounts)
	return s.consume(ctx, place{data: g.data, servers: g.postgres(), modules: queryModules}, map[string]float64{
		"balances": all["accounts"], "history": all["accounts"], "transactions": all["transactions"],
	})
}

const queryModules = "account-query,transaction-query"

// relay: from the start of the process until Kafka has acknowledged all of the backlog.
func (s *Suite) relay(ctx context.Context) (values, error) {
	g, err := s.begun(ctx)
	if err != nil {
		return nil, err
	}
	if g.relayed == nil {
		g.relayed = &step{}
		g.relayed.values, g.relayed.messages, g.relayed.err = s.relayBacklog(ctx, g)
	}
	return g.relayed.values, g.relayed.err
}

func (s *Suite) relayBacklog(ctx context.Context, g *backlog) (_ values, _ map[string]float64, err error) {
	b, err := s.serve(ctx, place{data: g.data, servers: g.kafka(), modules: "event-store"})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := g.awaitRelay(ctx, g.events); err != nil {
		return nil, nil, err
	}
	took, cpu := time.Since(b.began), b.cpu()
	in, err := g.messages()
	if err != nil {
		return nil, nil, err
	}
	for topic, want := range g.changes(s.size.accounts) {
		in[topic] -= g.seen[topic]
		if in[topic] != want {
			return nil, in, fmt.Errorf("there are %.0f messages on %s, and %.0f in the log", in[topic], topic, want)
		}
	}
	total := in["accounts"] + in["transactions"]
	note := fmt.Sprintf("%s of %s events in %s, from the start of the process; %.1f µs of processor each",
		show(total, ""), grouped(int64(g.behind)), took.Round(time.Millisecond), cpu.Seconds()*1e6/total)
	return values{"rate": {total / took.Seconds(), note}, "memory": s.weigh(b)}, in, nil
}

// filled is the backlog once it is in Kafka.
func (s *Suite) filled(ctx context.Context) (*backlog, error) {
	_, err := s.relay(ctx)
	return s.log, err
}

// kafkaViews: one process reads all partitions, and builds the views in PostgreSQL.
func (s *Suite) kafkaViews(ctx context.Context) (values, error) {
	g, err := s.filled(ctx)
	if err != nil {
		return nil, err
	}
	if g.viewed == nil {
		in := g.relayed.messages
		g.viewed = &step{}
		g.viewed.values, g.viewed.err = s.consume(ctx, place{data: g.data, servers: g.kafka(), modules: queryModules},
			map[string]float64{
				"balances": in["accounts"], "history": in["accounts"], "transactions": in["transactions"],
			})
	}
	return g.viewed.values, g.viewed.err
}

// viewed is the backlog once the views in PostgreSQL have it: then only the ones outside are behind.
func (s *Suite) viewed(ctx context.Context) (*backlog, error) {
	_, err := s.kafkaViews(ctx)
	return s.log, err
}

// redis: the handler that keeps balances in Redis; the one in PostgreSQL has nothing left to do.
func (s *Suite) redis(ctx context.Context) (values, error) {
	g, err := s.viewed(ctx)
	if err != nil {
		return nil, err
	}
	at := place{data: g.data, servers: append(g.kafka(), g.far.redis()...), modules: "account-query"}
	return s.consume(ctx, at, map[string]float64{"balances-redis": g.relayed.messages["accounts"]})
}

// mongo: the handlers that keep history in MongoDB.
func (s *Suite) mongo(ctx context.Context) (values, error) {
	g, err := s.viewed(ctx)
	if err != nil {
		return nil, err
	}
	outside, err := g.far.mongo()
	if err != nil {
		return nil, err
	}
	in := g.relayed.messages
	at := place{data: g.data, servers: append(g.kafka(), outside...), modules: "transaction-query"}
	return s.consume(ctx, at, map[string]float64{
		"history-mongo": in["accounts"], "transactions-mongo": in["transactions"],
	})
}

// farLive: commands one by one at a bank that uses all servers, each when the frame of the one before has come.
func (s *Suite) farLive(ctx context.Context) (_ values, err error) {
	f := s.far()
	flags, err := f.all()
	if err != nil {
		return nil, err
	}
	b, accounts, err := s.freshIn(ctx, place{servers: flags})
	if err != nil {
		return nil, err
	}
	defer b.end(&err)
	alone, err := s.liveAlone(ctx, b, accounts)
	return values{"alone": alone, "memory": s.weigh(b)}, err
}
