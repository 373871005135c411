package main

import (
	"context"
	"errors"

	"bankforge/cmd/drill/faults"
)

// In the short form there are enough messages for each kind of fault, and where the lock is missing, enough to show it.
const (
	messagesInShort = 4_000
	messagesPlanted = 25_000
)

// faultRounds let handlers and replayers fail, and kill them in the middle.
func (d *drill) faultRounds() []round {
	messages := d.Messages
	if d.Short {
		messages = messagesInShort
	}
	all := []round{{
		"faults", "handlers and replayers fail at random, and are killed in the middle",
		func(ctx context.Context, d *drill, at *visit) error {
			t, err := faults.Run(ctx, d.faulty(at, messages, ""))
			return errors.Join(err, t.Broken())
		},
	}}
	if d.Profile == "embedded" {
		return all
	}
	all[0].does += ", and poison is on the topics"
	if d.Short { // few messages do not surely show it
		return all
	}
	return append(all, round{
		"planted-no-row-lock", "the same without the lock on parked sequences, which must show disorder",
		func(ctx context.Context, d *drill, at *visit) error {
			t, err := faults.Run(ctx, d.faulty(at, min(messages, messagesPlanted), "plant:no-row-lock"))
			if err == nil && t.Disordered == 0 {
				return errors.Join(errNotFound, t.Broken())
			}
			if err == nil {
				at.noted("found by: %s", short(t.Broken().Error()))
			}
			return err
		},
	})
}

func (d *drill) faulty(at *visit, messages int, plant string) *faults.Config {
	return &faults.Config{
		Bankforge: d.Bankforge, Script: d.Services, Servers: d.Profile == "kafka", Messages: messages, Plant: plant,
		Dir: at.dir, Seed: at.seed, Noted: at.noted,
	}
}
