package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/process"
	"bankforge/cmd/drill/teller"
)

// processRounds are what an operator or a machine does to a process.
func processRounds() []round {
	return []round{
		{"sigterm", "SIGTERM under load, three times", terminated},
		{"sigstop", "SIGSTOP for 30 s under load", stopped(30 * time.Second)},
		{"second-process", "a second process on the same directory", doubled},
		{"disk-full", "the disk full under load, twice", diskFull},
		{"clock", "the clock 1 h back and 2 h forth, again and again", wrongClock},
	}
}

func terminated(ctx context.Context, d *drill, at *visit) error {
	s, err := d.stage(ctx, at, "")
	for range 3 {
		if err != nil {
			return err
		}
		worked := make(chan struct{})
		go func() { defer close(worked); s.work(ctx, process.Patience) }()
		err = teller.Rest(ctx, shortWork)
		began := time.Now()
		if err == nil {
			err = s.term()
		}
		at.noted("exit 0 after %d ms", time.Since(began).Milliseconds())
		<-worked
		if err == nil {
			err = check.Wrong(s.verify(ctx))
		}
		if err == nil {
			err = s.recover(ctx)
		}
	}
	at.noted("%d acked", s.Office.Acked())
	return err
}

// stopped has the process stand still, as a machine that is overloaded or suspended makes it.
func stopped(d time.Duration) func(context.Context, *drill, *visit) error {
	return func(ctx context.Context, dr *drill, at *visit) error {
		s, err := dr.stage(ctx, at, "")
		if err != nil {
			return err
		}
		worked := make(chan struct{})
		go func() { defer close(worked); s.work(ctx, d+3*time.Second) }()
		err = teller.Rest(ctx, time.Second)
		if err == nil {
			err = s.process.Signal(syscall.SIGSTOP)
		}
		if err == nil {
			err = errors.Join(teller.Rest(ctx, d), s.process.Signal(syscall.SIGCONT))
		}
		<-worked
		if err != nil {
			return err
		}
		before := s.Office.Acked()
		s.work(ctx, time.Second)
		if s.Office.Acked() == before {
			return errors.New("it takes no commands after SIGCONT")
		}
		at.noted("%d acked", s.Office.Acked())
		return s.Judge(ctx)
	}
}

func doubled(ctx context.Context, d *drill, at *visit) error {
	s, err := d.stage(ctx, at, "")
	if err != nil {
		return err
	}
	worked := make(chan struct{})
	go func() { defer close(worked); s.work(ctx, 2*time.Second) }()
	out, err := process.Command(ctx, s.options.Bankforge,
		"serve", "--data", s.data, "--http", "127.0.0.1:0", "--admin", "")
	<-worked
	if err == nil || !strings.Contains(out, "in use") {
		return fmt.Errorf("a second process was not refused: %w: %s", err, out)
	}
	at.noted("refused: %s", process.LastLine(out))
	return s.Judge(ctx)
}

func wrongClock(ctx context.Context, d *drill, at *visit) error {
	s, err := d.stage(ctx, at, "clock:0s:-1h:2h:-30m")
	if err != nil {
		return err
	}
	for range 3 {
		s.work(ctx, 2*time.Second)
		s.kill()
		if err := s.recover(ctx); err != nil {
			return err
		}
	}
	at.noted("%d acked, times never go back", s.Office.Acked())
	return nil
}
