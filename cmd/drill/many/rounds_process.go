package many

import (
	"context"
	"fmt"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/teller"
)

// processRounds are what is done to processes of the bank.
func processRounds() []Round {
	return []Round{
		{"owner-killed", "kill -9 of the owner of the ledger, under load; twice", on(ownersKilled(2), "")},
		{"owner-ended", "SIGTERM to the owner of the ledger, under load; twice", on(ownersEnded, "")},
		{"others-killed", "kill -9 of each process that does not own the ledger, in turn, under load", on(othersKilled, "")},
		{"consumers", "consumers join and leave every second, under load", on(consumersComeAndGo, "")},
	}
}

// ownersKilled kills who owns the ledger: the other one takes over.
func ownersKilled(times int) attack {
	return func(ctx context.Context, s *stage, v *Visit) error {
		for range times {
			owner, other, err := s.owner(ctx)
			if err != nil {
				return err
			}
			err = s.under(ctx, func() error {
				owner.kill()
				took, err := s.succeeds(ctx, other)
				v.Noted("taken over after %.1f s", took.Seconds())
				return err
			})
			if err == nil {
				err = owner.start(ctx)
			}
			if err == nil {
				err = s.judged(ctx)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// ownersEnded ends who owns the ledger in order: it hands over, and nothing that was accepted is lost.
func ownersEnded(ctx context.Context, s *stage, v *Visit) error {
	for range 2 {
		owner, other, err := s.owner(ctx)
		if err != nil {
			return err
		}
		err = s.under(ctx, func() error {
			began := time.Now()
			if err := owner.process.Term(); err != nil {
				return check.Wrong(err)
			}
			ended := time.Since(began)
			took, err := s.succeeds(ctx, other)
			v.Noted("exit 0 after %d ms, taken over after %.1f s", ended.Milliseconds(), (ended + took).Seconds())
			return err
		})
		if err == nil {
			err = owner.start(ctx)
		}
		if err == nil {
			err = s.judged(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func othersKilled(ctx context.Context, s *stage, v *Visit) error {
	owner, _, err := s.owner(ctx)
	if err != nil {
		return err
	}
	for _, m := range s.members {
		if m == owner {
			continue
		}
		err := s.under(ctx, func() error {
			m.kill()
			if err := teller.Rest(ctx, shortWork); err != nil {
				return err
			}
			return m.start(ctx)
		})
		if err == nil {
			err = s.judged(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s killed: %w", m.name, err)
		}
		v.Noted("%s", m.name)
	}
	return nil
}

// comings is how often a consumer joins.
const comings = 8

// consumersComeAndGo has more processes read the views' topics for a second each, and then end in order, or killed.
func consumersComeAndGo(ctx context.Context, s *stage, v *Visit) error {
	if err := s.join(ctx, "guest", "account-query,transaction-query,push"); err != nil {
		return err
	}
	guest := s.named("guest")
	killed := 0
	err := s.under(ctx, func() error {
		for range comings {
			if err := guest.start(ctx); err != nil {
				return err
			}
			stays := time.Duration(s.Random.Int64N(int64(2 * time.Second)))
			if err := teller.Rest(ctx, stays); err != nil {
				return err
			}
			if s.Random.IntN(2) == 0 {
				guest.kill()
				killed++
			} else if err := guest.process.Term(); err != nil {
				return check.Wrong(err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	v.Noted("%d came, %d of them killed", comings, killed)
	s.members = s.members[:len(s.members)-1]
	return s.judged(ctx)
}
