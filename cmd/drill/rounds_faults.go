package main

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"

	"bankforge/cmd/drill/faults"
)

// In the short form there are enough messages for each kind of fault, and where the lock is missing, enough to show it.
const (
	messagesInShort = 4_000
	messagesPlanted = 25_000
	runsPlanted     = 6
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
			conf, dir := d.faulty(at, min(messages, messagesPlanted), "plant:no-row-lock"), at.dir
			for n := 1; ; n++ { // it takes two transactions that meet
				conf.Dir = filepath.Join(dir, strconv.Itoa(n))
				t, err := faults.Run(ctx, conf)
				switch {
				case err != nil:
					return err
				case t.Disordered > 0:
					at.noted("found by run %d: %s", n, short(t.Broken().Error()))
					return nil
				case n == runsPlanted:
					return errors.Join(errNotFound, t.Broken())
				}
				conf.Seed++
			}
		},
	})
}

func (d *drill) faulty(at *visit, messages int, plant string) *faults.Config {
	return &faults.Config{
		Bankforge: d.Bankforge, Script: d.Services, Servers: d.Profile == "kafka", Messages: messages, Plant: plant,
		Dir: at.dir, Seed: at.seed, Noted: at.noted,
	}
}
