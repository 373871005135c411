package many

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/gate"
	"bankforge/cmd/drill/process"
	"bankforge/cmd/drill/servers"
	"bankforge/cmd/drill/teller"
)

// databaseRounds are what is done to PostgreSQL, and to the way there.
func databaseRounds() []Round {
	return []Round{
		{"postgres-killed", "kill -9 of PostgreSQL under load; twice", on(gone(servers.Postgres, "kill"), "")},
		{"postgres-stopped", "pg_ctl stop -m immediate under load; twice", on(gone(servers.Postgres, "stop", "now"), "")},
		{"postgres-paused", "PostgreSQL stands still for 10 s under load", on(paused(servers.Postgres, 10*time.Second), "")},
		{"commit-cut", "the connection cut at the commit: before, within, and after it; in turn, under load",
			on(commitsCut, "")},
	}
}

// goings is how often a server goes.
const goings = 2

// gone has a server end under load, and come back after a moment.
func gone(name, verb string, more ...string) attack {
	return func(ctx context.Context, s *stage, v *Visit) error {
		for range goings {
			err := s.under(ctx, func() error {
				if err := s.servers.Do(ctx, verb, name, more...); err != nil {
					return err
				}
				if err := teller.Rest(ctx, 2*time.Second); err != nil {
					return err
				}
				if err := s.servers.Do(ctx, "start", name); err != nil {
					return err
				}
				first, err := s.goesOn(ctx)
				v.Noted("%s: the first answer %.1f s after it is back", name, first.Seconds())
				return err
			})
			if err == nil {
				err = s.judged(ctx)
			}
			if err != nil {
				return fmt.Errorf("%s %s: %w", name, verb, err)
			}
		}
		return nil
	}
}

// paused has a server stand still under load.
func paused(name string, d time.Duration) attack {
	return func(ctx context.Context, s *stage, v *Visit) error {
		err := s.under(ctx, func() error {
			err := s.servers.Do(ctx, "pause", name)
			if err == nil {
				err = teller.Rest(ctx, d)
			}
			if err = errors.Join(err, s.servers.Do(ctx, "resume", name)); err != nil {
				return err
			}
			first, err := s.goesOn(ctx)
			v.Noted("the first answer %.1f s after it goes on", first.Seconds())
			return err
		})
		if err != nil {
			return err
		}
		return s.judged(ctx)
	}
}

// cutsEach is how often the connection is cut at each moment.
const cutsEach = 4

// commitsCut cuts the owner's connection where a commit passes.
func commitsCut(ctx context.Context, s *stage, v *Visit) error {
	for i := range cutsEach {
		for at := range gate.Moments {
			err := s.under(ctx, func() error {
				owner, _, err := s.owner(ctx)
				if err != nil {
					return err
				}
				select {
				case <-owner.gate.Cut(at):
				case <-time.After(process.Patience):
					owner.gate.Forget()
					return check.Wrong(errors.New("nothing is committed"))
				case <-ctx.Done():
					return ctx.Err()
				}
				return nil
			})
			if err == nil && at == gate.After {
				err = s.judged(ctx)
			}
			if err != nil {
				return fmt.Errorf("cut %d %s the commit: %w", i+1, at, err)
			}
		}
	}
	v.Noted("%d × each of before, within, after", cutsEach)
	return nil
}
