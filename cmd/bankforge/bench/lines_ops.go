package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// The lines of operations are the same in both profiles, but for the store: files, or PostgreSQL.
var (
	opsLines = []line{
		{"ops-chain", (*Suite).opsChain},
		{"ops-one-key", (*Suite).opsOneKey},
		{"ops-lists", (*Suite).opsLists},
		{"ops-replay", (*Suite).opsReplay},
	}
	farOpsLines = []line{
		{"pg-ops-one-key", (*Suite).opsOneKey},
		{"pg-ops-lists", (*Suite).opsLists},
		{"pg-ops-replay", (*Suite).opsReplay},
	}
)

// ChainCost is the processor time of what every message goes through before it reaches its handler, for each message.
type ChainCost struct {
	Alone   time.Duration `json:"alone"`   // one that comes alone
	Batched time.Duration `json:"batched"` // one of many that come together
	Making  time.Duration `json:"making"`  // of the message of Watermill, which the steps are handed
}

// opsChain: the program times its own steps.
func (s *Suite) opsChain(ctx context.Context) (values, error) {
	var alone, batched, making []Run
	for range s.repeats() {
		text, err := s.command(ctx, &place{}, "bench", "--chain", strconv.Itoa(s.size.chain))
		if err != nil {
			return nil, err
		}
		var c ChainCost
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			return nil, fmt.Errorf("--chain: %w", err)
		}
		for to, d := range map[*[]Run]time.Duration{&alone: c.Alone, &batched: c.Batched, &making: c.Making} {
			*to = append(*to, Run{Line: "ops-chain", CPUMicros: d.Seconds() * 1e6})
		}
		s.report.Runs = append(s.report.Runs, alone[len(alone)-1], batched[len(batched)-1])
	}
	cpu := func(r *Run) float64 { return r.CPUMicros }
	return values{
		"alone": {median(alone, cpu),
			fmt.Sprintf("beside it Watermill's message takes %.2f µs to be made", median(making, cpu))},
		"batched": {median(batched, cpu), "1,000 in each delivery"},
	}, nil
}

// opsPlace is where a bank of these lines is kept, with a new directory; forget makes its views be gone.
func (s *Suite) opsPlace() (at place, forget func(context.Context) error, err error) {
	if at.data, err = os.MkdirTemp(s.work, "ops-*"); err != nil {
		return at, nil, err
	}
	if s.Profile != Kafka {
		g := bigBank{data: at.data}
		return at, func(context.Context) error { return g.forget() }, nil
	}
	f := s.far()
	at.servers = f.postgres()
	return at, func(ctx context.Context) error { // each run begins where a checkpoint has just been
		return cmp.Or(f.sql(ctx, "DROP SCHEMA IF EXISTS "+f.prefix+"views CASCADE"), f.sql(ctx, "CHECKPOINT"))
	}, nil
}

// accountMessages are those on the topic of accounts that so many generated events bring. With the first movement of
// money comes one event more, which opens the bank's cash.
func accountMessages(events, accounts int) int {
	g := backlog{events: events + 1, behind: events + 1}
	return int(g.changes(accounts)["accounts"])
}

// opsOneKey: the handler of history takes in a stream of many keys, in turn with and without one among them that fails.
func (s *Suite) opsOneKey(ctx context.Context) (values, error) {
	at, forget, err := s.opsPlace()
	if err != nil {
		return nil, err
	}
	s.say("  making %s events on %s accounts", grouped(int64(s.size.stream)), grouped(int64(s.size.streamKeys)))
	if _, err := s.command(ctx, &at, "bench", "--generate", strconv.Itoa(s.size.stream),
		"--accounts", strconv.Itoa(s.size.streamKeys)); err != nil {
		return nil, err
	}
	at.modules = "transaction-query"
	runs := map[bool][]Run{}
	for i := range s.repeats() {
		for _, fails := range []bool{i%2 == 1, i%2 == 0} { // each comes first in turn
			if err := forget(ctx); err != nil {
				return nil, err
			}
			r, err := s.stream(ctx, at, fails)
			if err != nil {
				return nil, fmt.Errorf("with a failing key %t: %w", fails, err)
			}
			runs[fails] = append(runs[fails], r)
			s.keep(r)
		}
	}
	return values{"ratio": ratio(runs[true], runs[false])}, nil
}

// stream lets the handler take everything in, and counts what it has handled.
func (s *Suite) stream(ctx context.Context, at place, fails bool) (r Run, err error) {
	args := []string{"bench", "--isolate", "healthy"}
	if fails {
		args[2] = "failing"
	}
	if _, err := s.command(ctx, &at, args...); err != nil {
		return r, err
	}
	b, err := s.serve(ctx, at)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.caughtUp(ctx, rebuiltWithin); err != nil {
		return r, err
	}
	took, cpu := time.Since(b.began), b.cpu()
	f, err := b.figures(ctx)
	if err != nil {
		return r, err
	}
	got := f.sum("bankforge_handler_facts_total", `handler="history"`)
	parked := f.sum("bankforge_parked_messages_total", `handler="history"`)
	want := accountMessages(s.size.stream, s.size.streamKeys)
	if int(got) < want || (parked > 0) != fails || parked > got/10 {
		return r, fmt.Errorf("of %d messages %.0f were taken in, and %.0f parked", want, got, parked)
	}
	handled := got - parked
	return Run{Line: args[2], Against: "bank", Requests: uint64(handled),
		PerSecond: handled / took.Seconds(), CPUMicros: cpu.Seconds() * 1e6 / handled}, nil
}

// amount is how much is parked.
type amount struct{ events, keys int }

// opsBank makes a bank of which everything waits in the parking lot of the handler of history.
func (s *Suite) opsBank(ctx context.Context, a amount) (*parkedBank, error) {
	at, _, err := s.opsPlace()
	if err != nil {
		return nil, err
	}
	p := &parkedBank{place: at, messages: accountMessages(a.events, a.keys)}
	s.say("  parking %s messages of %s keys", grouped(int64(p.messages)), grouped(int64(a.keys)))
	if _, err := s.command(ctx, &at, "bench", "--generate", strconv.Itoa(a.events),
		"--accounts", strconv.Itoa(a.keys)); err != nil {
		return nil, err
	}
	waiting, err := s.command(ctx, &at, "bench", "--park")
	if err == nil && waiting != strconv.Itoa(p.messages) {
		err = fmt.Errorf("%s messages are parked, not %d", waiting, p.messages)
	}
	if err == nil {
		p.operator, err = s.tokenFor(ctx, &at, "operator", "bench")
	}
	return p, err
}

// opsLists: every list with every filter, one after the other, at a bank that does nothing else.
func (s *Suite) opsLists(ctx context.Context) (_ values, err error) {
	p, err := s.opsBank(ctx, s.size.lists)
	if err != nil {
		return nil, err
	}
	b, d, err := s.desk(ctx, p)
	if err != nil {
		return nil, err
	}
	defer b.end(&err)
	defer d.close(&err)
	slowest, err := d.lists(s.repeats())
	if err != nil {
		return nil, err
	}
	plan, err := d.plans(s.repeats())
	if err != nil {
		return nil, err
	}
	return values{"slowest": slowest, "plan": plan}, nil
}

// opsReplay: one replay of all that is parked. Afterwards the view must be as the log says.
func (s *Suite) opsReplay(ctx context.Context) (_ values, err error) {
	p, err := s.opsBank(ctx, s.size.replayed)
	if err != nil {
		return nil, err
	}
	rate, err := s.replayAll(ctx, p)
	if err == nil {
		_, err = s.command(ctx, &p.place, "verify")
	}
	return values{"rate": rate}, err
}

func (s *Suite) replayAll(ctx context.Context, p *parkedBank) (_ value, err error) {
	b, d, err := s.desk(ctx, p)
	if err != nil {
		return value{}, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	defer d.close(&err)
	before := b.cpu()
	r, took, err := d.replay(ctx)
	if err != nil {
		return value{}, err
	}
	cpu := b.cpu() - before
	if r.Handled != p.messages || r.Failed != 0 || r.Status != "done" {
		return value{}, fmt.Errorf("of %d messages the replay has handled %d, %d failed, and it is %s", p.messages, r.Handled,
			r.Failed, r.Status)
	}
	handled := float64(r.Handled)
	return value{handled / took.Seconds(), fmt.Sprintf("%s messages of %s keys in %s; %.0f µs of processor each",
		grouped(int64(r.Handled)), grouped(int64(r.Keys)), took.Round(time.Millisecond), cpu.Seconds()*1e6/handled)}, nil
}
