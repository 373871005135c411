package repair_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/repair"
)

var errPoison = handlers.As(handlers.Poison, errBoom)

// each runs a test for each view in each store.
func each(t *testing.T, test func(t *testing.T, s *seat, view string)) {
	t.Helper()
	for name, open := range seats {
		for _, view := range viewNames {
			t.Run(name+"/"+view, func(t *testing.T) {
				t.Parallel()
				test(t, open(t), view)
			})
		}
	}
}

// broken has a key of the view parked from its second change on, with all that comes of it in half of the log.
func (s *scene) broken(t *testing.T, view string) plot {
	t.Helper()
	p := s.log.plotOf(view)
	if p.key == "" {
		t.Fatal("no key is told of twice")
	}
	s.come(t, p.from)
	s.fails.Store(view+" "+p.key, errPoison)
	s.come(t, p.half)
	q, ok, err := s.Sequence(t.Context(), view, p.key)
	if err != nil || !ok || q.Waiting == 0 {
		t.Fatalf("%t %+v, %v", ok, q, err)
	}
	return p
}

// flows has the rest of the log happen, and expects everything to be right.
func (s *scene) flows(t *testing.T) {
	t.Helper()
	if err := s.whole(t.Context()); err != nil {
		t.Errorf("after the rebuild: %v", err)
	}
	s.come(t, len(s.log.all))
	if err := s.whole(t.Context()); err != nil {
		t.Errorf("in the end: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.strange) > 0 {
		t.Errorf("others were written anew: %q", s.strange)
	}
}

func (s *scene) onlyKey(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.only = key
}

func TestAFailureIsRepairedByARebuild(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, seat *seat, view string) {
		t.Helper()
		s := newScene(seat, newAnnals(3, 400))
		s.start(t, "process")
		p := s.broken(t, view)
		again := repair.Act{Kind: ops.SequenceRebuild, Handler: view, Key: p.key}
		if done := s.wants(t, again); done.Status != ops.ActFailed || done.Code != ops.FailedAgain {
			t.Errorf("while the handler fails: %+v", done)
		}
		if q, ok, err := s.Sequence(t.Context(), view, p.key); err != nil || !ok || q.Waiting == 0 {
			t.Errorf("what waited is gone: %t %+v, %v", ok, q, err)
		}
		s.fails.Clear()
		s.onlyKey(p.key)
		if done := s.wants(t, again); done.Status != ops.ActDone {
			t.Errorf("%+v", done)
		}
		s.onlyKey("")
		s.flows(t)
	})
}

// What was discarded leaves a gap, behind which nothing fits, until the log is asked.
func TestADiscardIsRepairedByARebuild(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, seat *seat, view string) {
		t.Helper()
		s := newScene(seat, newAnnals(4, 400))
		s.start(t, "process")
		p := s.broken(t, view)
		q, _, err := s.Sequence(t.Context(), view, p.key)
		if err != nil {
			t.Fatal(err)
		}
		s.fails.Clear()
		if done := s.wants(t, repair.Act{Kind: ops.FailureDiscard, Target: q.Head}); done.Status != ops.ActDone {
			t.Fatalf("%+v", done)
		}
		err = eventually(t.Context(), "what is behind it fails", func() (bool, error) {
			q, ok, err := s.Sequence(t.Context(), view, p.key)
			return !ok || q.Waiting == 0 || q.Class == handlers.Poison.String(), err
		})
		if err != nil {
			t.Fatal(err)
		}
		found, err := s.differences(t.Context())
		if err != nil || len(found) == 0 || !strings.Contains(fmt.Sprint(found), p.key) {
			t.Errorf("nothing is missing in the view: %v, %v", found, err)
		}
		s.onlyKey(p.key)
		done := s.wants(t, repair.Act{Kind: ops.SequenceRebuild, Handler: view, Key: p.key})
		if done.Status != ops.ActDone {
			t.Errorf("%+v", done)
		}
		s.onlyKey("")
		s.flows(t)
	})
}

// The process dies while it writes the view of a key anew: nothing of it stays, and another one does what was wanted.
func TestARebuildOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, seat *seat, view string) {
		t.Helper()
		s := newScene(seat, newAnnals(5, 300))
		s.claim = soon
		var first *process
		died := make(chan struct{})
		s.forget = func(forget router.Forget) router.Forget {
			return func(ctx context.Context, key string) (bool, error) {
				select {
				case <-died:
				default:
					first.life.dead.Store(true)
					close(died)
				}
				return forget(ctx, key)
			}
		}
		first = s.start(t, "first")
		p := s.broken(t, view)
		s.fails.Clear()
		before, err := s.differences(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		act, err := s.op.act(t.Context(), repair.Act{Kind: ops.SequenceRebuild, Handler: view, Key: p.key})
		if err != nil {
			t.Fatal(err)
		}
		<-died
		if err := first.stop(); err != nil {
			t.Fatal(err)
		}
		after, err := s.differences(t.Context())
		if err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("it has left something behind: %v, %v", after, err)
		}
		if now, _, err := s.Act(t.Context(), act.ID); err != nil || now.Status != ops.ActPending {
			t.Errorf("%+v, %v", now, err)
		}
		s.start(t, "second")
		err = eventually(t.Context(), "another one does it", func() (bool, error) {
			now, _, err := s.Act(t.Context(), act.ID)
			return now.Status == ops.ActDone, err
		})
		if err != nil {
			t.Fatal(err)
		}
		s.flows(t)
	})
}

// long is a log in which keys have more versions than can be written anew.
type long struct{ *annals }

func (l long) Versions(ctx context.Context, key string, after bank.Version, limit int) ([]app.Row, error) {
	if after < 100_000 {
		return l.annals.Versions(ctx, key, after, limit)
	}
	return l.annals.Versions(ctx, key, 0, 1)
}

func TestWhatCannotBeRebuiltIsRefused(t *testing.T) {
	t.Parallel()
	for name, open := range seats {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(open(t), newAnnals(6, 100))
			s.log.goOn(len(s.log.all))
			p, err := run(s.store, router.Config{
				Source: s.log, Hints: s.log.hints, Versions: long{s.log}, Policy: quick(), Process: "process",
			}, s.claim, func(life *mortal) []router.Route {
				routes := s.routes(life)
				routes[1].Forget = nil
				return routes
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := p.stop(); err != nil {
					t.Error(err)
				}
			})
			s.come(t, len(s.log.all))
			for view, why := range map[string]string{viewNames[0]: "more than 100000 versions", viewNames[1]: "keeps no view"} {
				done := s.wants(t, repair.Act{Kind: ops.SequenceRebuild, Handler: view, Key: s.log.plotOf(view).key})
				instead := "bankforge rebuild " + view
				if done.Code != ops.RefusedNoRebuild || !strings.Contains(done.Detail, why) ||
					!strings.Contains(done.Detail, instead) {
					t.Errorf("%+v", done)
				}
			}
			// What no log can have, as of a message that somebody has put on a broker, goes.
			const key = "no account\xff"
			err = s.InTx(t.Context(), func(ctx context.Context) error {
				_, err := s.Park(ctx, router.Parked{
					Stream: router.Stream{Handler: viewNames[0], Topic: bank.AccountsTopic}, Key: key, Incarnation: "inc1",
					Position: handlers.Position{Seq: 1, N: 99}, Status: router.Failed, At: time.UnixMicro(1),
				}, nil)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			done := s.wants(t, repair.Act{Kind: ops.SequenceRebuild, Handler: viewNames[0], Key: key})
			if done.Status != ops.ActDone {
				t.Errorf("%+v", done)
			}
			if err := s.whole(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Whatever fails, is given up, written anew, paused and killed, with handlers running beside it: once all that has
// diverged or waits is rebuilt, the views are what the log says.
func TestWhateverIsRebuiltTheViewsAreRight(t *testing.T) {
	t.Parallel()
	for name, open := range seats {
		for seed := range uint64(2) {
			t.Run(fmt.Sprint(name, "/", seed), func(t *testing.T) {
				t.Parallel()
				s := newScene(open(t), newAnnals(seed, 350))
				s.claim = soon
				tellStory(t, s, rand.New(rand.NewPCG(seed, 5)))
			})
		}
	}
}

func tellStory(t *testing.T, s *scene, random *rand.Rand) {
	t.Helper()
	var all [2]*process
	begin := func(i int) {
		var err error
		if all[i], err = s.begin(fmt.Sprint("process-", i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range all {
		begin(i)
	}
	touched, diverged := map[[2]string]bool{}, 0
	for n := 0; n < len(s.log.all); {
		n += 1 + random.IntN(12)
		s.log.goOn(n)
		view := viewNames[random.IntN(len(viewNames))]
		key := s.someKey(view, random)
		switch random.IntN(10) {
		case 0, 1, 2:
			s.fails.Store(view+" "+key, errPoison)
		case 3, 4:
			s.fails.Clear()
		case 5, 6:
			for of := range touched {
				s.act(t, repair.Act{Kind: ops.SequenceRebuild, Handler: of[0], Key: of[1]})
				break
			}
		case 7:
			q, ok, err := s.Sequence(t.Context(), view, key)
			if err != nil {
				t.Fatal(err)
			}
			if ok && q.Head != "" {
				diverged++
				s.act(t, repair.Act{Kind: ops.FailureDiscard, Target: q.Head})
			}
		case 8:
			kind := []string{ops.SequencePause, ops.SequenceResume, ops.SequenceRetry, ops.SequenceRebuild}[random.IntN(4)]
			s.act(t, repair.Act{Kind: kind, Handler: view, Key: key})
		case 9:
			i := random.IntN(len(all))
			all[i].life.dead.Store(random.IntN(2) == 0)
			if err := all[i].stop(); err != nil {
				t.Fatal(err)
			}
			begin(i)
		}
		touched[[2]string{view, key}] = true
	}
	s.mend(t, touched)
	for _, p := range all {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	}
	if err := s.whole(t.Context()); err != nil {
		t.Error(err)
	}
	t.Logf("%d keys touched, %d messages discarded, %d acts", len(touched), diverged, s.op.n.Load())
}

// act executes an act, whatever becomes of it.
func (s *scene) act(t *testing.T, a repair.Act) {
	t.Helper()
	if _, err := s.op.act(t.Context(), a); err != nil {
		t.Fatal(err)
	}
}

// someKey is one that something has just happened to, most of the time one of the busy ones.
func (s *scene) someKey(view string, random *rand.Rand) string {
	events := s.log.events()
	for i := len(events) - 1 - random.IntN(min(10, len(events))); i >= 0; i-- {
		for _, c := range events[i].Changes() {
			if c.Topic() == topicOf(view) {
				return c.Key()
			}
		}
	}
	return ""
}

// mend has everything rebuilt that was touched, or waits.
func (s *scene) mend(t *testing.T, touched map[[2]string]bool) {
	t.Helper()
	s.fails.Clear()
	for of := range touched {
		if of[1] != "" {
			s.act(t, repair.Act{Kind: ops.SequenceResume, Handler: of[0], Key: of[1]})
		}
	}
	s.come(t, len(s.log.all))
	for of := range touched {
		if of[1] == "" {
			continue
		}
		if done := s.wants(t, repair.Act{Kind: ops.SequenceRebuild, Handler: of[0], Key: of[1]}); done.Status != ops.ActDone {
			t.Errorf("%v: %+v", of, done)
		}
	}
	err := eventually(t.Context(), "nothing waits", func() (bool, error) {
		waits, err := s.Sequences(t.Context(), ops.SequenceFilter{Page: ops.Page{Limit: 100}})
		for _, q := range waits {
			if q.NextAt.IsZero() {
				_, ill := s.op.act(t.Context(), repair.Act{Kind: ops.SequenceRebuild, Handler: q.Handler, Key: q.Key})
				err = errors.Join(err, ill)
			}
		}
		return len(waits) == 0, err
	})
	if err != nil {
		t.Error(err)
	}
}
