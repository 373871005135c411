package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/process"
)

// tally counts what became of all messages.
func (b *bank) tally(ctx context.Context, o *operators, waits []sequence) (t check.Tally, err error) {
	if b.conf.Plant == "" {
		if err := o.rebuild(ctx); err != nil {
			return t, err
		}
	}
	if err := b.readLog(ctx); err != nil {
		return t, err
	}
	if !b.conf.Servers { // the files are for one process alone
		if err := b.members[0].process.Term(); err != nil {
			return t, check.Wrong(err)
		}
	}
	all, err := b.effects(ctx)
	if err != nil {
		return t, err
	}
	t = b.log.Tally(handlers, all)
	for _, s := range waits {
		t.Wait(max(s.Waiting, 1), "%d messages of %s wait for %s", s.Waiting, s.Key, s.Handler)
	}
	b.conf.Noted("%s", &t)
	b.conf.Noted("%d processes began, %d killed, %d more in a handler's transaction, %d ended", b.lives.began,
		b.lives.killed, b.lives.inHandler, b.lives.ended)
	b.conf.Noted("%d acts, %d refused, %d replays", o.acts, o.refused, o.planned)
	if b.conf.Servers {
		b.conf.Noted("%d times poison, parked and discarded for %d keys of handlers, rebuilt", b.poisoned, len(o.discarded))
	}
	return t, check.Broken(b.log.Findings())
}

// verify lets the bank check itself.
func (b *bank) verify(ctx context.Context) error {
	out, err := process.Command(ctx, b.conf.Bankforge, slices.Concat([]string{"verify"}, b.found())...)
	if err != nil {
		return check.Wrong(fmt.Errorf("verify: %w: %s", err, process.FirstLines(out)))
	}
	return nil
}

// found is how commands find the bank.
func (b *bank) found() []string {
	return slices.Concat([]string{"--data", filepath.Join(b.conf.Dir, b.members[0].name)}, b.where)
}

// effects are what the handlers have written down.
func (b *bank) effects(ctx context.Context) (all []check.Effects, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	//nolint:gosec // whoever starts the drill says which program
	c := exec.CommandContext(ctx, b.conf.Bankforge, slices.Concat([]string{"effects"}, b.found())...)
	var complaints bytes.Buffer
	c.Stderr = &complaints
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("effects: %w: %s", err, process.FirstLines(complaints.String()))
	}
	for line := range bytes.Lines(out) {
		var e check.Effects
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("effects: %w: %s", err, line)
		}
		all = append(all, e)
	}
	return all, nil
}

// readLog reads all of it.
func (b *bank) readLog(ctx context.Context) error {
	const page = 200
	for {
		r, err := b.shows().Get(ctx, fmt.Sprintf("/v1/events?after_seq=%d&limit=%d", b.log.Seq, page))
		if err == nil && r.Status != http.StatusOK {
			err = errors.New(string(r.Body))
		}
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		n := 0
		for line := range bytes.Lines(r.Body) {
			var e check.Event
			if err := json.Unmarshal(line, &e); err != nil {
				return fmt.Errorf("read the log behind event %d: %w", b.log.Seq, err)
			}
			b.log.Take(&e)
			n++
		}
		if n < page {
			return nil
		}
	}
}
