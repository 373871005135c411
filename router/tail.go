package router

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/handlers"
)

// Feed is what a Tail follows: numbered things, each on a topic.
type Feed interface {
	// Next returns a message, whose context descends from ctx, with what stands on the topic behind after, and the
	// last number that it covers. Without a message, through says how far the topic is silent; through == after:
	// nothing new at all.
	Next(ctx context.Context, topic string, after bank.Seq) (msg *message.Message, through bank.Seq, err error)
}

// Tail is a message.Subscriber that follows a Feed. Each Subscribe is a session of its own: it starts where Start says,
// delivers in order, and goes on once a message is acknowledged; a refused one comes again.
// What was acknowledged is not remembered here: that is the checkpoint of the handler.
type Tail struct {
	c        TailConfig
	closing  chan struct{}
	draining chan struct{}
	once     struct{ close, drain sync.Once }
	sessions sync.WaitGroup
	mu       sync.Mutex // orders Subscribe and Close
	busy     sync.WaitGroup
}

// TailConfig says what a Tail follows.
type TailConfig struct {
	Feed Feed
	// Start is asked where a session begins: behind this position.
	Start func(ctx context.Context, topic string) (handlers.Position, error)
	// Hints wakes the tail before its time; nil: only Poll does.
	Hints *Hints
	// Poll is how often the feed is looked at without a hint.
	Poll time.Duration
	// Gather, if it is set, says how long a tail waits for more before it reads again. It is asked once a delivery of
	// what is behind after is done, and told how long that took. Its wait ends early when urgent is closed.
	Gather func(after, through bank.Seq, took time.Duration) (wait time.Duration, urgent <-chan struct{})
	// Silent, if it is set, is told how far the topic is silent, where no message tells the handler.
	Silent func(through bank.Seq)
	// Again is the pause before a refused message comes again, and after an error of the feed.
	Again time.Duration
	Log   *slog.Logger
}

// NewTail makes a subscriber.
func NewTail(c TailConfig) *Tail {
	return &Tail{c: c, closing: make(chan struct{}), draining: make(chan struct{})}
}

// ErrClosed means that the subscriber does not take sessions any more.
var ErrClosed = errors.New("the tail is closed")

// Subscribe starts a session. Its channel is closed when ctx ends, or by Close.
func (t *Tail) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if closed(t.closing) || closed(t.draining) {
		return nil, ErrClosed
	}
	out := make(chan *message.Message)
	t.sessions.Add(1)
	t.busy.Add(1)
	go t.session(ctx, topic, out)
	return out, nil
}

// Drain ends delivery, and returns once what was delivered is acknowledged or refused, or when ctx ends.
// Sessions stay open until Close: a router that sees them end thinks that they failed.
func (t *Tail) Drain(ctx context.Context) {
	t.mu.Lock()
	t.once.drain.Do(func() { close(t.draining) })
	t.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.busy.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Close ends all sessions; messages that are still being handled have their contexts cancelled.
func (t *Tail) Close() error {
	t.mu.Lock()
	t.once.close.Do(func() { close(t.closing) })
	t.mu.Unlock()
	t.sessions.Wait()
	return nil
}

// session delivers until ctx ends or the tail is closed.
func (t *Tail) session(parent context.Context, topic string, out chan<- *message.Message) {
	defer t.sessions.Done()
	defer close(out)
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	go func() {
		select {
		case <-t.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	t.follow(ctx, topic, out)
	t.busy.Done()
	<-ctx.Done()
}

// follow delivers until ctx ends or the tail is drained.
func (t *Tail) follow(ctx context.Context, topic string, out chan<- *message.Message) {
	at, ok := t.start(ctx, topic)
	for ok {
		hint := t.c.Hints.Next()
		msg, through, err := t.c.Feed.Next(ctx, topic, at)
		switch {
		case err != nil:
			if ctx.Err() == nil {
				t.c.Log.ErrorContext(ctx, "cannot read on", "topic", topic, "after", at, "error", err)
			}
			ok = t.wait(ctx, nil, t.c.Again)
		case msg != nil:
			began := time.Now()
			ok = t.deliver(ctx, msg, out) && t.gather(ctx, at, through, time.Since(began))
			at = through
		case through > at:
			at = through
			if t.c.Silent != nil {
				t.c.Silent(through)
			}
		default:
			ok = t.wait(ctx, hint, t.c.Poll)
		}
		ok = ok && ctx.Err() == nil && !closed(t.draining)
	}
}

// gather waits as Gather says; false: the session is over.
func (t *Tail) gather(ctx context.Context, after, through bank.Seq, took time.Duration) bool {
	if t.c.Gather == nil {
		return true
	}
	wait, urgent := t.c.Gather(after, through, took)
	return wait <= 0 || t.wait(ctx, urgent, wait)
}

func (t *Tail) start(ctx context.Context, topic string) (at bank.Seq, ok bool) {
	for {
		p, err := t.c.Start(ctx, topic)
		if err == nil {
			return p.Whole(), true
		}
		if ctx.Err() == nil {
			t.c.Log.ErrorContext(ctx, "cannot tell where to start", "topic", topic, "error", err)
		}
		if !t.wait(ctx, nil, t.c.Again) {
			return 0, false
		}
	}
}

// deliver hands the message out until it is acknowledged; false: the session is over.
func (t *Tail) deliver(ctx context.Context, msg *message.Message, out chan<- *message.Message) bool {
	for {
		try := msg.CopyWithContext()
		tryCtx, cancel := context.WithCancel(msg.Context())
		try.SetContext(tryCtx)
		select {
		case out <- try:
		case <-t.draining:
			cancel()
			return false
		case <-ctx.Done():
			cancel()
			return false
		}
		select {
		case <-try.Acked():
			cancel()
			return true
		case <-try.Nacked():
			cancel()
			if !t.wait(ctx, nil, t.c.Again) {
				return false
			}
		case <-ctx.Done():
			cancel()
			return false
		}
	}
}

// wait is over after d or with a hint; false: the session is over.
func (t *Tail) wait(ctx context.Context, hint <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-hint:
	case <-timer.C:
	case <-t.draining:
		return false
	case <-ctx.Done():
		return false
	}
	return true
}

// Hints wakes tails when something was written. It is only a hint: one that is lost costs a Poll.
type Hints struct {
	mu sync.Mutex
	ch chan struct{}
}

// NewHints makes a place to call and to listen.
func NewHints() *Hints { return &Hints{ch: make(chan struct{})} }

// Wake wakes all who listen.
func (h *Hints) Wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.ch)
	h.ch = make(chan struct{})
}

// Next is closed with the next Wake.
func (h *Hints) Next() <-chan struct{} {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ch
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// drainer is a subscriber that can end in peace: Drain ends delivery, and returns once what was delivered is
// acknowledged or refused, or when ctx ends. Its sessions stay open.
type drainer interface{ Drain(ctx context.Context) }

// drained makes a drainer of any subscriber: once it drains, it hands out nothing more of what the other one brings.
type drained struct {
	message.Subscriber
	draining chan struct{}
	once     sync.Once
	mu       sync.Mutex // orders deliver and Drain
	busy     sync.WaitGroup
}

func newDrained(s message.Subscriber) *drained {
	return &drained{Subscriber: s, draining: make(chan struct{})}
}

// Subscribe passes on what the other one brings.
func (s *drained) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	in, err := s.Subscriber.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		for msg := range in {
			if !s.deliver(ctx, msg, out) {
				msg.Nack()
			}
		}
	}()
	return out, nil
}

// deliver hands the message out; false: it is too late.
func (s *drained) deliver(ctx context.Context, msg *message.Message, out chan<- *message.Message) bool {
	s.mu.Lock()
	if closed(s.draining) {
		s.mu.Unlock()
		return false
	}
	s.busy.Add(1)
	s.mu.Unlock()
	session := msg.Context() // whoever gets the message may change it
	select {
	case out <- msg:
		go func() {
			defer s.busy.Done()
			select {
			case <-msg.Acked():
			case <-msg.Nacked():
			case <-session.Done():
			}
		}()
		return true
	case <-s.draining:
	case <-ctx.Done():
	}
	s.busy.Done()
	return false
}

// Drain ends delivery.
func (s *drained) Drain(ctx context.Context) {
	s.mu.Lock()
	s.once.Do(func() { close(s.draining) })
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.busy.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
