package many

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/process"
	"bankforge/cmd/drill/teller"
)

// fenceRounds are about an owner of the ledger who does not know that he is not any more.
func fenceRounds() []Round {
	return []Round{
		{"owner-paused", "SIGSTOP to the owner, its commit on the way; woken after the takeover", on(ownersPaused, "")},
		{"planted-no-fence", "the same without the fence, which must be found", withoutFence},
	}
}

// errNotFound means that the drill has not noticed a bug.
var errNotFound = errors.New("the planted bug was not found")

func withoutFence(ctx context.Context, v *Visit) error {
	v.Outside = false // it is about the database alone
	err := on(ownersPaused, "plant:no-fence")(ctx, v)
	if finding := (*check.BrokenError)(nil); !errors.As(err, &finding) {
		return errors.Join(errNotFound, err)
	}
	v.Noted("found by: %s", short(err.Error()))
	return nil
}

func short(s string) string {
	const most = 200
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// ownersPaused stops the owner while a commit of it is on its way to the database, and wakes it when another one has
// taken over: at once, and when that has done something.
func ownersPaused(ctx context.Context, s *stage, v *Visit) error {
	for _, others := range []time.Duration{0, 2 * time.Second, 0} {
		if err := s.ownerPaused(ctx, v, others); err != nil {
			return fmt.Errorf("the owner paused, woken %s after the takeover: %w", others, err)
		}
		if err := s.judged(ctx); err != nil {
			return fmt.Errorf("the owner paused, woken %s after the takeover: %w", others, err)
		}
	}
	return nil
}

func (s *stage) ownerPaused(ctx context.Context, v *Visit, others time.Duration) error {
	owner, other, err := s.owner(ctx)
	if err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	all.Go(func() { s.Office.Work(working, s.conf.Clients) })
	if err := teller.Rest(ctx, shortWork); err != nil {
		return err
	}
	held, release := owner.gate.Hold()
	defer release()
	select {
	case <-held:
	case <-time.After(process.Patience):
		return check.Wrong(errors.New("nothing is committed"))
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := owner.pause(); err != nil {
		return err
	}
	stop() // who waits for an answer of the owner, goes on waiting
	took, err := s.succeeds(ctx, other)
	if err == nil && others > 0 {
		all.Go(func() { s.work(ctx, others) })
		err = teller.Rest(ctx, others)
	}
	release()
	if err = errors.Join(err, owner.resume()); err != nil {
		return err
	}
	all.Wait()
	began := time.Now()
	err = teller.Until(ctx, process.Patience, func() bool { return owner.standsBy(ctx) })
	if err != nil {
		return check.Wrong(fmt.Errorf("%s does not step down: %w: %s", owner.name, err, process.Tail(owner.log())))
	}
	v.Noted("taken over after %.1f s, stepped down %.1f s after it woke", took.Seconds(), time.Since(began).Seconds())
	return s.under(ctx, func() error { return nil })
}

// work has clients at work for a while.
func (s *stage) work(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	s.Office.Work(ctx, s.conf.Clients)
}
