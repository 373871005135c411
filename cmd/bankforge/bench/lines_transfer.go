package bench

import (
	"context"
	"fmt"
	"time"
)

const (
	usual = 64  // connections, unless a line says otherwise
	wide  = 256 // connections of the line with many
)

// turn does one run against the bank, and whatever belongs before and after it.
type turn func(b *server, run func() error) error

// against runs wrk in turn against the yardstick and a fresh bank.
func (s *Suite) against(ctx context.Context, shot *shot, each turn) (ours, theirs []Run, err error) {
	b, accounts, err := s.fresh(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer b.end(&err)
	y, err := s.measureOf(ctx, b, accounts)
	if err != nil {
		return nil, nil, err
	}
	defer y.end(&err)
	shot.accounts, shot.token = accounts, b.token
	for range s.repeats() {
		r, err := s.theirs(ctx, y, shot)
		if err != nil {
			return nil, nil, err
		}
		theirs = append(theirs, r)
		if err := each(b, func() error {
			r, err := s.ours(ctx, b, shot)
			ours = append(ours, r)
			return err
		}); err != nil {
			return nil, nil, err
		}
	}
	return ours, theirs, nil
}

// then lets the views catch up before the next one's turn, which they would slow down otherwise. How long that takes
// counts from the end of the load.
func (s *Suite) then(ctx context.Context, longest *time.Duration) turn {
	return func(b *server, run func() error) error {
		if err := run(); err != nil {
			return err
		}
		err := b.caughtUp(ctx, catchUpLimit)
		*longest = max(*longest, time.Since(s.ended))
		return err
	}
}

// burst: transfers among 1,000 accounts for 10 s, and then the views have 5 s.
func (s *Suite) burst(ctx context.Context) (values, error) {
	var late time.Duration
	shot := &shot{line: "burst", kind: Transfers, connections: usual, duration: s.size.burst}
	ours, theirs, err := s.against(ctx, shot, s.then(ctx, &late))
	if err != nil {
		return nil, err
	}
	s.best = median(ours, perSecond)
	return values{"ratio": ratio(ours, theirs), "caught-up": {late.Seconds(), "the longest of all runs"}}, nil
}

// sustained: the same for a minute, while the lag of the views is sampled.
func (s *Suite) sustained(ctx context.Context) (values, error) {
	var worst time.Duration
	shot := &shot{line: "sustained", kind: Transfers, connections: usual, duration: s.size.sustained}
	ours, theirs, err := s.against(ctx, shot, func(b *server, run func() error) error {
		behind, err := b.watched(ctx, run)
		worst = max(worst, behind)
		if err == nil {
			err = b.caughtUp(ctx, catchUpLimit)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return values{"ratio": ratio(ours, theirs), "behind": {worst.Seconds(), "the worst sample of all runs"}}, nil
}

// watched samples the lag while run runs.
func (b *server) watched(ctx context.Context, run func() error) (behind time.Duration, err error) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	type result struct {
		t   trail
		err error
	}
	done := make(chan result, 1)
	go func() {
		t, err := b.follow(watching)
		done <- result{t, err}
	}()
	err = run()
	stop()
	if got := <-done; err == nil {
		behind, err = got.t.behind(), got.err
	}
	return behind, err
}

// hot: one account is on one side of each transfer; in turn with accounts at random.
func (s *Suite) hot(ctx context.Context) (values, error) { return s.hotIn(ctx, "hot", place{}) }

func (s *Suite) hotIn(ctx context.Context, line string, at place) (_ values, err error) {
	b, accounts, err := s.freshIn(ctx, at)
	if err != nil {
		return nil, err
	}
	defer b.end(&err)
	var late time.Duration
	pause := s.then(ctx, &late)
	runs := map[Kind][]Run{}
	for range s.repeats() {
		for _, kind := range []Kind{Transfers, Hot} {
			shot := &shot{line: line, kind: kind, connections: usual, duration: s.size.burst, accounts: accounts}
			if err := pause(b, func() error {
				r, err := s.ours(ctx, b, shot)
				runs[kind] = append(runs[kind], r)
				return err
			}); err != nil {
				return nil, err
			}
		}
	}
	return values{"ratio": ratio(runs[Hot], runs[Transfers])}, nil
}

// many: 256 connections on both sides.
func (s *Suite) many(ctx context.Context) (values, error) {
	var late time.Duration
	shot := &shot{line: "many", kind: Transfers, connections: wide, duration: s.size.burst}
	ours, theirs, err := s.against(ctx, shot, s.then(ctx, &late))
	if err != nil {
		return nil, err
	}
	return values{"ratio": ratio(ours, theirs)}, nil
}

// one: a single connection, on which each reply waits for a commit of its own.
func (s *Suite) one(ctx context.Context) (_ values, err error) {
	b, accounts, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end(&err)
	var runs []Run
	for range s.repeats() {
		shot := &shot{line: "one", kind: Transfers, connections: 1, duration: s.size.one, accounts: accounts}
		r, err := s.ours(ctx, b, shot)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
		if err := b.caughtUp(ctx, catchUpLimit); err != nil {
			return nil, err
		}
	}
	p50 := median(runs, func(r *Run) float64 { return r.P50 })
	return values{"p50": {p50, fmt.Sprintf("p99 %.2f ms", median(runs, func(r *Run) float64 { return r.P99 }))}}, nil
}

// end stops the yardstick.
func (y *yardstick) end(err *error) {
	if e := y.stop(); *err == nil {
		*err = e
	}
}
