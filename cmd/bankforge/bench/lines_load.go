package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// bulkConnections is as many bulks as fit into the bank's queue at once.
const bulkConnections = 8

// load runs this program's own client against a bank. Unless it may be refused, every reply has to be right.
func (s *Suite) load(ctx context.Context, line string, b *server, l Load, refusable bool) (*Outcome, error) {
	l.URL, l.Token = b.url, b.token
	cpu := b.cpu()
	o, err := l.Run(ctx)
	if err != nil {
		return nil, err
	}
	cpu = b.cpu() - cpu
	r := Run{Line: line, Against: "bank", Generator: "bankforge bench", Kind: l.Kind, Connections: l.Connections,
		Seconds: o.Seconds, Requests: o.Sent, PerSecond: o.PerSecond, P50: o.P50, P95: o.P95, P99: o.P99,
		CPUMicros: cpu.Seconds() * 1e6 / float64(max(o.Sent, 1)), More: map[string]float64{}}
	for code, n := range o.Errors {
		r.More["error "+code] = float64(n)
	}
	r.Errors = o.failures()
	s.keep(r)
	if o.Accepted == 0 || !refusable && len(o.Errors) > 0 {
		return o, fmt.Errorf("%d of %d requests were accepted, others: %s", o.Accepted, o.Sent, o.failures())
	}
	return o, nil
}

// bulk: several connections that send 1,000 transfers at a time.
func (s *Suite) bulk(ctx context.Context) (_ values, err error) {
	b, accounts, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end(&err)
	var rates []Run
	for range s.repeats() {
		before, err := b.figures(ctx)
		if err != nil {
			return nil, err
		}
		load := Load{Kind: Bulk, Accounts: accounts, Connections: bulkConnections, Duration: s.size.bulk}
		o, err := s.load(ctx, "bulk", b, load, false)
		if err != nil {
			return nil, err
		}
		after, err := b.figures(ctx)
		if err != nil {
			return nil, err
		}
		made, want := after.sum("bankforge_events_total")-before.sum("bankforge_events_total"), float64(o.Accepted)*bulkItems
		if made != want {
			return nil, fmt.Errorf("%.0f transfers were acknowledged, and %.0f events written", want, made)
		}
		rates = append(rates, Run{PerSecond: o.PerSecond, P99: o.P99})
		if err := b.caughtUp(ctx, catchUpLimit); err != nil {
			return nil, err
		}
	}
	note := fmt.Sprintf("%d connections, p99 of a bulk %.0f ms", bulkConnections,
		median(rates, func(r *Run) float64 { return r.P99 }))
	return values{"rate": {median(rates, perSecond), note}}, nil
}

// spareFiles is what a process has open beside the connections of a load.
const spareFiles = 256

// overload: 2,000 connections that never wait, in turn with the numbers at which the bank is best.
func (s *Suite) overload(ctx context.Context) (_ values, err error) {
	if need := s.size.overloaded + spareFiles; filesAtMost() < need {
		return nil, fmt.Errorf("this process may open %d files, and needs %d: raise ulimit -n", filesAtMost(), need)
	}
	b, accounts, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end(&err)
	got, rates := overloaded{}, map[int][]Run{}
	for range s.repeats() {
		for _, n := range []int{usual, wide, s.size.overloaded} {
			load := Load{Kind: Transfers, Accounts: accounts, Connections: n, Duration: s.size.overload}
			stop := b.weigh(ctx)
			o, err := s.load(ctx, "overload", b, load, n == s.size.overloaded)
			memory := stop()
			if err != nil {
				return nil, err
			}
			rates[n] = append(rates[n], Run{PerSecond: o.PerSecond, P99: o.P99})
			if n == s.size.overloaded {
				got.add(o, memory)
			}
			if err := b.caughtUp(ctx, catchUpLimit); err != nil {
				return nil, err
			}
		}
	}
	best := max(median(rates[usual], perSecond), median(rates[wide], perSecond))
	at := median(rates[s.size.overloaded], perSecond)
	_, most := resident(b.cmd.Process.Pid)
	return values{
		"errors": {got.wrong, got.note},
		"ratio":  {at / best, fmt.Sprintf("%s/s of %s/s", show(at, ""), show(best, ""))},
		"p99":    {median(rates[s.size.overloaded], func(r *Run) float64 { return r.P99 }), ""},
		"memory": {max(most, slices.Max(got.memory)), "resident, at most in the whole line"},
		"growth": {growth(got.memory), "peaks of the samples, of the last run"},
	}, nil
}

// overloaded sums up what the runs with too many connections were answered.
type overloaded struct {
	wrong  float64
	note   string
	memory []float64 // of the last run
}

func (s *overloaded) add(o *Outcome, memory []float64) {
	for code, n := range o.Errors {
		if len(code) < 3 || code[:3] != "503" && code[:3] != "429" {
			s.wrong += float64(n)
		}
	}
	s.wrong += float64(o.NoRetryAfter)
	s.note = "in the last run: " + o.failures()
	s.memory = memory
}

// weigh samples the resident memory of a bank until the function that it returns is called.
func (b *server) weigh(ctx context.Context) (stop func() []float64) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan []float64, 1)
	go func() {
		var all []float64
		tick := time.NewTicker(samplePace)
		defer tick.Stop()
		for {
			now, _ := resident(b.cmd.Process.Pid)
			all = append(all, now)
			select {
			case <-ctx.Done():
				done <- all
				return
			case <-tick.C:
			}
		}
	}()
	return func() []float64 { cancel(); return <-done }
}

// growth is the peak of the last third of the samples, of the peak of the middle one: at the beginning, memory must
// grow with the connections.
func growth(samples []float64) float64 {
	third := max(len(samples)/3, 1)
	if len(samples) < 3 {
		return 1
	}
	return slices.Max(samples[len(samples)-third:]) / slices.Max(samples[third:len(samples)-third])
}

// pace is half of what a burst reached, in requests a second.
func (s *Suite) pace(ctx context.Context, b *server, accounts []string) (float64, error) {
	if s.best == 0 {
		shot := &shot{line: "burst", kind: Transfers, connections: usual, duration: s.size.burst, accounts: accounts}
		r, err := s.ours(ctx, b, shot)
		if err != nil {
			return 0, err
		}
		s.best = r.PerSecond
		if err := b.caughtUp(ctx, catchUpLimit); err != nil {
			return 0, err
		}
	}
	return s.best / 2, nil
}

// halfConnections carry half of the load, also when an answer takes ten times as long as it should.
const halfConnections = 128

// atHalf runs a load of transfers at the pace beside what do does, and says which share of it was accepted in time.
func (s *Suite) atHalf(
	ctx context.Context, line string, b *server, l Load, do func(context.Context) error,
) (float64, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l.Kind, l.Connections = Transfers, halfConnections
	type result struct {
		o   *Outcome
		err error
	}
	done := make(chan result, 1)
	go func() {
		o, err := s.load(ctx, line, b, l, false)
		done <- result{o, err}
	}()
	err := do(ctx)
	if err != nil {
		stop()
	}
	got := <-done
	if err == nil {
		err = got.err
	}
	if err != nil {
		return 0, err
	}
	return got.o.PerSecond / l.Rate, nil
}

// reads of one account each, by 64 connections, while half of the burst's transfers go on.
func (s *Suite) reads(ctx context.Context) (_ values, err error) {
	b, accounts, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end(&err)
	y, err := s.measureOf(ctx, b, accounts)
	if err != nil {
		return nil, err
	}
	defer y.end(&err)
	pace, err := s.pace(ctx, b, accounts)
	if err != nil {
		return nil, err
	}
	shot := &shot{line: "reads", kind: Reads, connections: usual, duration: s.size.reads, accounts: accounts}
	shot.token = b.reader
	var ours, theirs []Run
	share := 1.0
	for range s.repeats() {
		r, err := s.theirs(ctx, y, shot)
		if err != nil {
			return nil, err
		}
		theirs = append(theirs, r)
		load := Load{Accounts: accounts, Rate: pace, Duration: s.size.reads}
		kept, err := s.atHalf(ctx, "reads", b, load, func(ctx context.Context) error {
			r, err := s.ours(ctx, b, shot)
			ours = append(ours, r)
			return err
		})
		if err != nil {
			return nil, err
		}
		share = min(share, kept)
		if err := b.caughtUp(ctx, catchUpLimit); err != nil {
			return nil, err
		}
	}
	return values{
		"ratio": ratio(ours, theirs),
		"p99":   {median(ours, func(r *Run) float64 { return r.P99 }), ""},
		"load":  {share, fmt.Sprintf("%s transfers/s asked for", show(pace, ""))},
	}, nil
}
