package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/journal"
	"bankforge/cmd/drill/teller"
)

// judge holds a running bank against all that is known of it. No clients are at work. In this order: what the
// log says of itself and of the commands; the same keys again, which also settles what was unknown; the log once
// more; the views; the order of answers; and what the bank's own verify says.
func (s *stage) judge(ctx context.Context) error {
	if err := s.readLog(ctx); err != nil {
		return err
	}
	commands := s.office.Commands()
	s.log.Commands(commands)
	s.log.Strangers(commands)
	if err := broken(s.office.Findings(), s.log.Findings()); err != nil {
		return err
	}
	if err := s.askAgain(ctx, commands); err != nil {
		return found(err)
	}
	if err := s.readLog(ctx); err != nil {
		return err
	}
	s.log.Commands(commands)
	if err := s.views(ctx); err != nil {
		return found(err)
	}
	through := s.log.Now()
	disorder, _ := check.Linear(s.past, through, commands[s.judged:], s.office.Reads())
	s.past, s.judged = through, len(commands)
	if err := broken(s.office.Findings(), s.log.Findings(), disorder); err != nil {
		return err
	}
	return found(s.verify(ctx))
}

// readLog reads on from where the drill has come.
func (s *stage) readLog(ctx context.Context) error {
	const page = 200
	for {
		r, err := s.client.Get(ctx, fmt.Sprintf("/v1/events?after_seq=%d&limit=%d", s.log.Seq, page))
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if r.Status != http.StatusOK {
			return fmt.Errorf("read the log: %d %s", r.Status, r.Body)
		}
		n := 0
		for line := range bytes.Lines(r.Body) {
			var e check.Event
			if err := json.Unmarshal(line, &e); err != nil {
				return fmt.Errorf("read the log behind event %d: %w", s.log.Seq, err)
			}
			s.log.Take(&e)
			n++
		}
		if n < page {
			return nil
		}
	}
}

// Of what is known already, so many commands are asked again: the newest, and some of all.
const (
	againNew = 150
	againOld = 50
)

// askAgain sends commands again under their old keys.
func (s *stage) askAgain(ctx context.Context, commands []*teller.Command) error {
	again := map[int]bool{}
	for i, c := range commands {
		if c.Fate == journal.Unknown || c.Fate == journal.Intent || c.Fate == "" || i >= len(commands)-againNew {
			again[i] = true
		}
	}
	for range min(againOld, len(commands)) {
		again[s.random.IntN(len(commands))] = true
	}
	for i, c := range commands {
		if !again[i] || c.Fate == journal.NotDone {
			continue
		}
		if err := s.office.Ask(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// views waits until the views have come as far as the log, and compares them with it.
func (s *stage) views(ctx context.Context) error {
	var seen teller.Seen
	for _, a := range s.office.Accounts() {
		want := s.log.Account(a.ID)
		if want == nil {
			return fmt.Errorf("account %s is not in the log", a.ID)
		}
		err := until(ctx, waitFor, func() bool {
			err := s.client.GetInto(ctx, "/v1/accounts/"+a.ID, &seen)
			return err == nil && seen.Version >= want.Version
		})
		if err != nil {
			return fmt.Errorf("the view of %s does not come to version %d, it is at %d: %w", a.ID, want.Version,
				seen.Version, err)
		}
		s.log.Seen(&seen)
	}
	return nil
}

// verify lets the bank check itself, beside the running one.
func (s *stage) verify(ctx context.Context) error {
	out, err := command(ctx, s.options.Bankforge, "verify", "--data", s.data)
	if err != nil {
		return fmt.Errorf("verify: %w: %s", err, firstLines(out))
	}
	return nil
}

func firstLines(out string) string {
	lines := bytes.SplitN([]byte(out), []byte("\n"), 4)
	return string(bytes.Join(lines[:min(3, len(lines))], []byte(" | ")))
}

// shortWork is how long clients are at work where nothing depends on it.
const shortWork = 600 * time.Millisecond
