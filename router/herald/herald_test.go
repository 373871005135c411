package herald_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers/push"
	"bankforge/router/herald"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is a parking lot in memory. Changes bear the times that the test gives them.
type store struct {
	mu       sync.Mutex
	failures []change
	acts     []ops.Executed
	standing []ops.Standing
	replays  map[string]ops.Replay
	broken   error
	asked    int
}

type change struct {
	at time.Time
	ops.Failure
}

func (s *store) ChangedFailures(_ context.Context, since time.Time, limit int) (out []ops.Failure, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	for _, c := range slices.Backward(s.failures) {
		if !c.at.Before(since) && len(out) < limit {
			out = append(out, c.Failure)
		}
	}
	return out, s.broken
}

func (s *store) ChangedActs(
	_ context.Context, after bank.Seq, since time.Time, limit int,
) (out []ops.Executed, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	for _, a := range s.acts {
		if (a.Seq > after || !a.EndedAt.Before(since)) && len(out) < limit {
			out = append(out, a)
		}
	}
	return out, s.broken
}

func (s *store) Acts(_ context.Context, f ops.ActFilter) (out []ops.Executed, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range slices.Backward(s.acts) {
		if a.At.Before(f.To.Std()) && len(out) < f.Limit {
			out = append(out, a)
		}
	}
	return out, s.broken
}

func (s *store) Act(context.Context, string) (ops.Executed, bool, error) {
	return ops.Executed{}, false, errors.New("nobody asks")
}

func (s *store) Standings(context.Context) ([]ops.Standing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.standing), s.broken
}

func (s *store) Replays(context.Context, ops.ReplayFilter) ([]ops.Replay, error) {
	return nil, errors.New("nobody asks")
}

func (s *store) Replay(_ context.Context, id string) (ops.Replay, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	r, ok := s.replays[id]
	return r, ok, s.broken
}

func (s *store) do(what func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what()
}

// hub writes down what it is told, for channels that are watched.
type hub struct {
	mu      sync.Mutex
	watched []string
	got     []string
	raw     []string
}

func (h *hub) Watched(channel string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.watched, channel)
}

func (h *hub) Watching(prefix string) (out []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, channel := range h.watched {
		if strings.HasPrefix(channel, prefix) {
			out = append(out, channel)
		}
	}
	return out
}

func (h *hub) Publish(p push.Publication) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var f struct {
		Schema string         `json:"schema"`
		Type   string         `json:"type"`
		At     time.Time      `json:"occurred_at"`
		Data   map[string]any `json:"data"`
	}
	if err := json.Unmarshal(p.Data, &f); err != nil || f.At.IsZero() || p.Offset != 0 ||
		!strings.HasPrefix(f.Schema, "bankforge.live.") {
		panic(fmt.Sprintf("%s %v", p.Data, err))
	}
	what := f.Data["id"]
	for _, name := range []string{"event_id", "handler", "handled"} {
		if v := f.Data[name]; v != nil && (what == nil || name == "handled") {
			what = v
		}
	}
	h.raw = append(h.raw, string(p.Data))
	h.got = append(h.got, fmt.Sprint(p.Channel, " ", f.Type, " ", what))
}

func (h *hub) watch(channels ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watched = channels
}

// told is what came since it was asked last.
func (h *hub) told() (got []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	got, h.got = h.got, nil
	return got
}

// in runs a test with a herald, in a time of its own.
func in(t *testing.T, test func(t *testing.T, s *store, h *hub, expect func(want ...string))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, h := &store{replays: map[string]ops.Replay{}}, &hub{}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			herald.New(herald.Config{Store: s, Hub: h}).Run(ctx)
		}()
		test(t, s, h, func(want ...string) {
			t.Helper()
			<-time.After(time.Second) // within which all must be told
			synctest.Wait()
			if got := h.told(); !slices.Equal(got, want) {
				t.Errorf("told %q, want %q", got, want)
			}
		})
		cancel()
		<-ended
	})
}

func failed(id string, as ops.Status, attempts int) change {
	return change{time.Now(), ops.Failure{ID: id, Handler: "history", Key: "k", Status: as, Attempts: attempts}}
}

func TestFailuresAreToldOnceEach(t *testing.T) {
	t.Parallel()
	in(t, func(_ *testing.T, s *store, h *hub, expect func(want ...string)) {
		s.do(func() { s.failures = append(s.failures, failed("fail_0", ops.Parked, 3)) })
		expect() // nobody listens
		<-time.After(time.Minute)
		h.watch("failures", "ops")
		expect() // it is long ago
		s.do(func() { s.failures = append(s.failures, failed("fail_1", ops.Parked, 3)) })
		expect("failures failure.parked fail_1")
		expect()
		s.do(func() {
			s.failures = []change{failed("fail_1", ops.Parked, 4), failed("fail_2", ops.Blocked, 0)}
			s.failures[1].at = s.failures[1].at.Add(-4 * time.Second) // by another clock, or long in its transaction
		})
		expect("failures failure.blocked fail_2", "failures failure.parked fail_1")
		s.do(func() { s.failures = []change{failed("fail_1", ops.Resolved, 4)} })
		expect("failures failure.resolved fail_1")
		<-time.After(time.Hour)
		expect()
	})
}

func TestWhatCouldNotBeSeenIsToldLater(t *testing.T) {
	t.Parallel()
	in(t, func(_ *testing.T, s *store, h *hub, expect func(want ...string)) {
		h.watch("failures", "ops", "replay:rpl_1")
		expect()
		s.do(func() {
			s.broken = errors.New("the store is away")
			s.failures = append(s.failures, failed("fail_1", ops.Parked, 3))
			s.acts = append(s.acts, ops.Executed{ID: "act_1", Seq: 7, Status: ops.ActPending, At: time.Now()})
		})
		expect()
		<-time.After(time.Minute)
		s.do(func() { s.broken = nil })
		expect("failures failure.parked fail_1", "ops act.pending act_1")
	})
}

func TestTooManyFailuresAreToldTogether(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T, s *store, h *hub, _ func(want ...string)) {
		t.Helper()
		h.watch("failures")
		s.do(func() {
			for i := range 10_000 {
				s.failures = append(s.failures, failed(fmt.Sprint("fail_", i), ops.Resolved, 1))
			}
		})
		<-time.After(10 * time.Second)
		got := h.told()
		many := 0
		for _, one := range got {
			if one == "failures failures.many <nil>" {
				many++
			}
		}
		if len(got)-many > 200 || many < 1 || many > 7 {
			t.Errorf("told %d, and %d times to load again", len(got)-many, many)
		}
	})
}

func TestActsAndHandlersAreTold(t *testing.T) {
	t.Parallel()
	in(t, func(_ *testing.T, s *store, h *hub, expect func(want ...string)) {
		old := time.Now().Add(-time.Hour)
		s.do(func() {
			s.acts = []ops.Executed{
				{ID: "act_1", Seq: 1, Status: ops.ActDone, At: old, EndedAt: old},
				{ID: "act_2", Seq: 2, Status: ops.ActDone, At: time.Now(), EndedAt: time.Now()},
			}
			s.standing = []ops.Standing{{Handler: "history", State: "running"}}
		})
		h.watch("ops")
		expect("ops act.done act_2", "ops handler.running history")
		s.do(func() { // executed late: its event is old
			s.acts = append(s.acts, ops.Executed{ID: "act_3", Seq: 3, Status: ops.ActPending, At: old})
			s.standing[0].State = "paused"
		})
		expect("ops act.pending act_3", "ops handler.paused history")
		s.do(func() { s.acts[2].Status, s.acts[2].EndedAt = ops.ActFailed, time.Now() })
		expect("ops act.failed act_3")
		h.watch()
		s.do(func() { s.standing[0].State = "held" })
		expect()
		<-time.After(time.Minute)
		h.watch("ops")
		expect("ops handler.held history")
		s.do(func() { s.standing[0].State = "running" })
		expect("ops handler.running history")
	})
}

func TestReplaysAreToldToWhoWatchesThem(t *testing.T) {
	t.Parallel()
	in(t, func(_ *testing.T, s *store, h *hub, expect func(want ...string)) {
		s.do(func() {
			s.replays["rpl_1"] = ops.Replay{ID: "rpl_1", Status: ops.ReplayRunning}
			s.replays["rpl_2"] = ops.Replay{ID: "rpl_2", Status: ops.ReplayRunning}
		})
		h.watch("failures", "replay:rpl_1", "replay:none")
		expect("replay:rpl_1 replay.running 0")
		expect()
		s.do(func() { s.replays["rpl_1"] = ops.Replay{ID: "rpl_1", Status: ops.ReplayRunning, Handled: 7} })
		expect("replay:rpl_1 replay.running 7")
		s.do(func() { s.replays["rpl_1"] = ops.Replay{ID: "rpl_1", Status: ops.ReplayDone, Handled: 9} })
		expect("replay:rpl_1 replay.done 9")
	})
}

func TestNobodyIsAskedWhileNobodyListens(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T, s *store, _ *hub, _ func(want ...string)) {
		t.Helper()
		<-time.After(time.Hour)
		asked := 0
		if s.do(func() { asked = s.asked }); asked > 0 {
			t.Errorf("asked %d times", asked)
		}
	})
}

// What a client reads under a name never changes its meaning, and nothing that only some may see is in it.
func TestForms(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T, s *store, h *hub, _ func(want ...string)) {
		t.Helper()
		const secret = "1,250.00 EUR for Ann"
		at := time.Now()
		s.do(func() {
			s.failures = []change{{at, ops.Failure{
				ID: "fail_1", Handler: "history", Key: "acc_1", Class: "unknown", Error: secret, Fingerprint: "fp_1",
				Correlation: "cor-1", Status: ops.Parked, Head: true, Attempts: 3, Accounts: []string{"acc_1"},
			}}}
			s.acts = []ops.Executed{{
				ID: "act_1", Seq: 7, Kind: ops.FailureRetry, Target: "fail_1", Reason: secret, Detail: secret, Actor: "olga",
				Status: ops.ActFailed, Code: ops.FailedAgain, At: at, EndedAt: at,
			}}
			s.standing = []ops.Standing{{Handler: "history", State: "held"}}
			s.replays["rpl_1"] = ops.Replay{
				ID: "rpl_1", Status: ops.ReplayRunning, Keys: 4, Messages: 9, Handled: 5, Failed: 1, Left: 3, KeysLeft: 2,
			}
		})
		h.watch("failures", "ops", "replay:rpl_1")
		<-time.After(300 * time.Millisecond)
		synctest.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		const when = `"occurred_at":"2000-01-01T00:00:00.250000Z",`
		want := []string{
			`{"schema":"bankforge.live.failure/1","type":"failure.parked",` + when + `"correlation_id":"cor-1","data":{"id":` +
				`"fail_1","handler":"history","key":"acc_1","class":"unknown","fingerprint":"fp_1","status":"parked","head":true,` +
				`"attempts":3}}`,
			`{"schema":"bankforge.live.act/1","type":"act.failed",` + when + `"data":{"event_id":"act_1","seq":7,"kind":` +
				`"failure.retry","handler":null,"key":null,"target":"fail_1","actor":"olga","status":"failed","code":` +
				`"failed_again"}}`,
			`{"schema":"bankforge.live.handler/1","type":"handler.held",` + when +
				`"data":{"handler":"history","state":"held"}}`,
			`{"schema":"bankforge.live.replay/1","type":"replay.running",` + when + `"data":{"id":"rpl_1","status":"running",` +
				`"keys":4,"count":9,"handled":5,"failed":1,"left":3,"keys_left":2}}`,
		}
		if !slices.Equal(h.raw, want) {
			t.Errorf("told %s\nwant %s", strings.Join(h.raw, "\n"), strings.Join(want, "\n"))
		}
	})
}
