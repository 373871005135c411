package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/process"
	"bankforge/cmd/drill/teller"
)

// steps are where a process is ended by itself, and up to which passage.
var steps = []struct {
	name   string
	within int64
}{
	{"before-append", 150}, {"after-commit", 150}, {"before-reply", 150}, {"in-handler", 80}, {"in-snapshot", 2},
}

// killsInARow is how many kills one bank has to stand: what one leaves behind, the next one finds.
const killsInARow = 10

// killRounds are n kills, in rounds of several. Every second one is at a random moment.
func killRounds(n int) (all []round) {
	for first := 0; first < n; first += killsInARow {
		kills := min(killsInARow, n-first)
		all = append(all, round{
			fmt.Sprintf("kill-%02d", first/killsInARow+1), fmt.Sprintf("%d × kill -9 under load", kills),
			func(ctx context.Context, d *drill, at *visit) error { return killed(ctx, d, at, kills) },
		})
	}
	return all
}

func killed(ctx context.Context, d *drill, at *visit, kills int) error {
	s, err := d.stage(ctx, at, "")
	if err != nil {
		return err
	}
	for i := range kills {
		s.kill()
		how := "random"
		if i%2 == 1 {
			step := steps[(i/2)%len(steps)]
			how = fmt.Sprintf("%s:%d", step.name, 1+s.Random.Int64N(step.within))
			err = s.killAt(ctx, how)
		} else {
			err = s.killSometime(ctx)
		}
		if err == nil {
			err = check.Wrong(s.verify(ctx)) // what the dead have left
		}
		if err == nil {
			err = s.recover(ctx)
		}
		if err != nil {
			return fmt.Errorf("kill %d, %s: %w", i+1, how, err)
		}
		at.noted("%s", how)
	}
	at.noted("%d acked of %d, %d events", s.Office.Acked(), len(s.Office.Commands()), s.Log.Seq)
	return nil
}

// killSometime kills at a random moment of the first second and a half, which is sometimes before it serves.
func (s *stage) killSometime(ctx context.Context) error {
	moment := time.Duration(s.Random.Int64N(int64(1500 * time.Millisecond)))
	if err := s.launch(""); err != nil {
		return err
	}
	timer := time.AfterFunc(moment, func() { _ = s.process.Signal(os.Kill) })
	defer timer.Stop()
	s.workUntilGone(ctx)
	<-s.process.Done
	return nil
}

// killAt starts a process that ends itself at a step.
func (s *stage) killAt(ctx context.Context, step string) error {
	err := s.launch("kill:" + step)
	if err == nil {
		s.workUntilGone(ctx)
	}
	if err != nil && !errors.Is(err, process.ErrEnded) {
		return err
	}
	if !s.process.Ended() {
		return errNotReached
	}
	return nil
}

// workUntilGone has clients at work until the process has ended, which it must within some seconds.
func (s *stage) workUntilGone(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, process.Patience)
	defer cancel()
	go func() {
		select {
		case <-s.process.Done:
		case <-ctx.Done():
		}
		cancel()
	}()
	if s.process.Ready(ctx) != nil {
		return
	}
	s.Office.Work(ctx, s.options.Clients)
	_ = teller.Until(ctx, time.Second, s.process.Ended) // it answers no more, and is about to be gone
}
