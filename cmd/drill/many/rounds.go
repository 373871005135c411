package many

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/process"
	"bankforge/cmd/drill/teller"
)

// Round is one attack, or several of a kind on the same bank.
type Round struct {
	Name, Does string
	// Run returns an error when a promise was broken, or when the attack could not be made.
	Run func(ctx context.Context, v *Visit) error
}

// Visit is one time that a round is run.
type Visit struct {
	Config
	Dir   string
	Seed  uint64
	Noted func(format string, args ...any) // for the table
}

// attack is what a round does to a bank.
type attack func(ctx context.Context, s *stage, v *Visit) error

// on runs an attack on a bank of its own. Every process of it gets the order plant.
func on(a attack, plant string) func(context.Context, *Visit) error {
	return func(ctx context.Context, v *Visit) error {
		s, err := newStage(ctx, &v.Config, v.Dir, v.Seed, plant)
		if err == nil {
			err = a(ctx, s, v)
		}
		if s.Office != nil {
			v.Noted("%d acked of %d, %d events", s.Office.Acked(), len(s.Office.Commands()), s.Log.Seq)
		}
		return errors.Join(err, s.close())
	}
}

// Rounds are all. Some are only about servers outside of the database.
func Rounds(outside bool) []Round {
	all := slices.Concat(processRounds(), databaseRounds())
	if outside {
		all = append(all, outsideRounds()...)
	}
	return append(all, fenceRounds()...)
}

// Short are a few that need less than two minutes together.
func Short(outside bool) []Round {
	attacks, does := []attack{ownersKilled(1)}, "kill -9 of the owner of the ledger, under load"
	if outside {
		attacks = append(attacks, redisFlushed(1), kafkaAway(10*time.Second))
		does += "; then Redis emptied, and Kafka stopped for 10 s"
	}
	planted := slices.IndexFunc(fenceRounds(), func(r Round) bool { return r.Name == "planted-no-fence" })
	return []Round{{"short", does, on(inTurn(attacks), "")}, fenceRounds()[planted]}
}

// inTurn makes attacks on the same bank.
func inTurn(attacks []attack) attack {
	return func(ctx context.Context, s *stage, v *Visit) error {
		for _, a := range attacks {
			if err := a(ctx, s, v); err != nil {
				return err
			}
		}
		return nil
	}
}

// takeoverWithin is how long it may take until another process does what the owner of the ledger did.
const takeoverWithin = 5 * time.Second

// succeeds waits until m owns the ledger and takes commands, which it must in time.
func (s *stage) succeeds(ctx context.Context, m *member) (took time.Duration, err error) {
	began := time.Now()
	err = teller.Until(ctx, process.Patience, func() bool { return m.owns(ctx) })
	if took = time.Since(began); err == nil && took > takeoverWithin*time.Duration(s.conf.Slack) {
		err = errors.New("too late")
	}
	if err != nil {
		return took, check.Wrong(fmt.Errorf("%s took %s to take over: %w: %s", m.name, took, err, process.Tail(m.log())))
	}
	return took, nil
}
