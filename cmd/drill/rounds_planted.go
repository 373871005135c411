package main

import (
	"context"
	"errors"
	"fmt"

	"bankforge/cmd/drill/check"
)

// plantedRounds take a guard out, and must find that it is missing. They know what to do, but they judge as the others.
func plantedRounds() []round {
	return []round{
		planted("no-outcome", killOften),
		planted("no-wait", killOften),
		planted("no-checkpoint", killOften),
		planted("no-undo", fullDisk),
	}
}

// errNotFound means that the drill has not noticed a bug.
var errNotFound = errors.New("the planted bug was not found")

func planted(bug string, attack func(context.Context, *drill, *visit, string) error) round {
	return round{"planted-" + bug, "a bank without its guard, which must be found", func(
		ctx context.Context, d *drill, at *visit,
	) error {
		err := attack(ctx, d, at, "plant:"+bug)
		if finding := (*check.BrokenError)(nil); !errors.As(err, &finding) {
			return errors.Join(errNotFound, err)
		}
		at.noted("found by: %s", short(err.Error()))
		return nil
	}}
}

func short(s string) string {
	const most = 200
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// killOften kills at random moments and at the steps around the commit.
func killOften(ctx context.Context, d *drill, at *visit, plant string) error {
	s, err := d.stage(ctx, at, plant)
	if err != nil {
		return err
	}
	for i := range killsInARow {
		s.kill()
		if i%2 == 0 {
			err = s.killAt(ctx, fmt.Sprintf("before-append:%d", 20+s.Random.Int64N(100)))
		} else {
			err = s.killSometime(ctx)
		}
		if err == nil {
			err = s.recover(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
