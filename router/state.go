package router

import (
	"context"
	"sync"
	"time"

	"bankforge/app/bank"
	"bankforge/handlers"
)

// State is what a handler is doing. The texts are permanent.
type State string

// A handler is stopped until its router runs and after it ended. Held means that something that it needs is
// down, or that it must not go on: it alarms, tries again with growing pauses, and goes on by itself.
// Paused is what operators make it.
const (
	Stopped State = "stopped"
	Running State = "running"
	Paused  State = "paused"
	Held    State = "held"
)

// HandlerStatus is where a handler stands.
type HandlerStatus struct {
	Handler   string
	Topic     bank.Topic
	State     State
	Position  handlers.Position
	Lag       bank.Seq  // events that the log has and the handler has not taken in
	LastError string    // the last failure, also one that was mended since
	FailedAt  time.Time // when; zero: never
	Why       string    // an operator, or a cap, has paused it
}

// standing is the changing part of a handler.
type standing struct {
	handler string
	metrics Metrics

	mu       sync.Mutex
	running  bool
	paused   bool          // by this process's Pause
	ordered  bool          // by Controls
	why      string        // it is ordered
	handled  int           // facts, since somebody asked last
	held     map[int]bool  // the partitions that wait
	resumed  chan struct{} // closed with each resume
	position handlers.Position
	lastErr  string
	failedAt time.Time
	failing  map[string]bool // keys that failed without a success since
}

func newStanding(handler string, m Metrics) *standing {
	return &standing{handler: handler, metrics: m, resumed: make(chan struct{}), held: map[int]bool{},
		failing: map[string]bool{}}
}

// change does something under the lock, and tells when the state is another one afterwards.
func (s *standing) change(do func()) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.state()
	do()
	after := s.state()
	if before != after {
		s.metrics.Became(s.handler, after)
	}
	return before != after
}

func (s *standing) state() State {
	switch {
	case !s.running:
		return Stopped
	case s.paused || s.ordered:
		return Paused
	case len(s.held) > 0:
		return Held
	default:
		return Running
	}
}

// is what the handler is doing.
func (s *standing) is() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state()
}

func (s *standing) pause() { s.change(func() { s.paused = true }) }

// resume ends a pause, forgets what looked like an outage, and makes a held handler try at once.
func (s *standing) resume() {
	s.change(func() {
		s.paused = false
		s.goOn()
	})
}

// goOn ends waits; s.mu is held.
func (s *standing) goOn() {
	clear(s.failing)
	close(s.resumed)
	s.resumed = make(chan struct{})
}

// order is what Controls say: whether the handler is paused, and whether it was resumed since it was told last.
func (s *standing) order(paused bool, why string, resumed bool) {
	s.change(func() {
		ends := s.ordered && !paused
		s.ordered, s.why = paused, why
		if resumed {
			s.paused = false
		}
		if ends || resumed {
			s.goOn()
		}
	})
}

// count notes that facts were handled or parked.
func (s *standing) count(facts int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handled += facts
}

// tookSince is how many facts were handled since it was asked last.
func (s *standing) tookSince() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, s.handled = s.handled, 0
	return n
}

// failed notes a failure that has just happened, as operators are told of it.
func (s *standing) failed(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastErr, s.failedAt = text, time.Now()
}

// outage notes that a key failed for good, and reports whether so many have that nothing should be parked any more.
func (s *standing) outage(key string, limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing[key] = true
	return len(s.failing) >= limit
}

// succeeded notes that the handler has handled something.
func (s *standing) succeeded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.failing)
}

// waiting returns what ends a wait early, and whether the handler is paused.
func (s *standing) waiting() (resumed <-chan struct{}, paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resumed, s.paused || s.ordered
}

// await waits; false: the session is over, and the handler must let go of its message.
func await(ctx context.Context, draining, early <-chan struct{}, after <-chan time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-draining:
		return false
	case <-early:
	case <-after:
	}
	return true
}

// Metrics counts what handlers do. It is safe for concurrent use, and must not block.
type Metrics interface {
	// Delivered is called once for each message, with the number of facts in it.
	Delivered(handler string, facts int, took time.Duration, ok bool)
	// Tried is called for each try that failed.
	Tried(handler string, class handlers.Class, took time.Duration)
	// Parked is called for each message that is parked, as Failed or as Waiting.
	Parked(handler string, as Status)
	// Became is called when a handler changes its state.
	Became(handler string, state State)
}

// NoMetrics counts nothing.
type NoMetrics struct{}

// Delivered does nothing.
func (NoMetrics) Delivered(string, int, time.Duration, bool) {}

// Tried does nothing.
func (NoMetrics) Tried(string, handlers.Class, time.Duration) {}

// Parked does nothing.
func (NoMetrics) Parked(string, Status) {}

// Became does nothing.
func (NoMetrics) Became(string, State) {}
