package repair_test

import (
	"sync"
	"testing"

	"bankforge/app/ops"
	"bankforge/router/repair"
)

// What is wanted once more after a try has failed, and before that is said, is tried once more.
func TestARebuildThatIsWantedAgainMeanwhileIsTried(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, seat *seat, view string) {
		t.Helper()
		s := newScene(seat, newAnnals(3, 400))
		process := s.start(t, "process")
		act := repair.Act{Kind: ops.SequenceRebuild, Handler: view, Key: s.broken(t, view).key}
		second := make(chan ops.Executed, 1)
		meanwhile := sync.OnceFunc(func() {
			s.fails.Clear()
			done, err := s.op.act(t.Context(), act)
			if err != nil {
				t.Error(err)
			}
			second <- done
		})
		process.life.refusing.Store(&meanwhile)
		if done := s.wants(t, act); done.Status != ops.ActDone {
			t.Errorf("the first: %+v", done)
		}
		id := (<-second).ID
		if done, _, err := s.Act(t.Context(), id); err != nil || done.Status != ops.ActDone {
			t.Errorf("the second: %+v, %v", done, err)
		}
		s.flows(t)
	})
}
