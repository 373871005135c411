package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// opener makes a message of a row; none, and no error: nothing in it is of the topic.
type opener func(ctx context.Context, topic string, s *stretch) (*message.Message, error)

// Subscriber is a message.Subscriber over the log. Each Subscribe is a session of its own: it starts where the
// handler's checkpoint is, delivers in order, and goes on once a message is acknowledged; a refused one is read again.
type Subscriber struct {
	log      Querier
	name     string
	t        router.TailConfig
	events   int // in a row at most
	table    func(topic string) string
	open     opener
	asked    *asked // nil: every session asks for itself
	closing  chan struct{}
	draining chan struct{}
	once     struct{ close, drain sync.Once }
	mu       sync.Mutex // orders Subscribe, Drain and Close
	sessions sync.WaitGroup
	busy     sync.WaitGroup
}

func newSubscriber(
	log Querier, name string, t router.TailConfig, events int, table func(string) string, open opener,
) *Subscriber {
	return &Subscriber{
		log: log, name: name, t: t, events: events, table: table, open: open,
		closing: make(chan struct{}), draining: make(chan struct{}),
	}
}

// Subscribe starts a session. Its channel is closed when ctx ends, or by Close.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isClosed(s.closing) || isClosed(s.draining) {
		return nil, router.ErrClosed
	}
	out := make(chan *message.Message)
	s.busy.Add(1)
	s.sessions.Go(func() { s.session(ctx, topic, out) })
	return out, nil
}

// Drain ends delivery, and returns once what was delivered is acknowledged or refused, or when ctx ends.
// Sessions stay open until Close: a router that sees them end thinks that they failed.
func (s *Subscriber) Drain(ctx context.Context) {
	s.mu.Lock()
	s.once.drain.Do(func() { close(s.draining) })
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

// Close ends all sessions; messages that are still being handled have their contexts cancelled.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.once.close.Do(func() { close(s.closing) })
	s.mu.Unlock()
	s.sessions.Wait()
	return nil
}

// session delivers until ctx ends or the subscriber is closed.
func (s *Subscriber) session(parent context.Context, topic string, out chan<- *message.Message) {
	defer close(out)
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	s.sessions.Go(func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	})
	if at, ok := s.start(ctx, topic); ok {
		if err := s.follow(ctx, topic, at, out); err != nil {
			s.t.Log.ErrorContext(ctx, "cannot subscribe", "topic", topic, "error", err)
		}
	}
	s.busy.Done()
	<-ctx.Done()
}

// start asks where to begin; false: the session is over.
func (s *Subscriber) start(ctx context.Context, topic string) (at handlers.Position, ok bool) {
	for {
		at, err := s.t.Start(ctx, topic)
		if err == nil {
			return at, true
		}
		if ctx.Err() == nil {
			s.t.Log.ErrorContext(ctx, "cannot tell where to start", "topic", topic, "error", err)
		}
		if !s.wait(ctx, nil, s.t.Again) {
			return at, false
		}
	}
}

// patience is how long a message may be under way. A handler that holds does so until what it needs is back.
const patience = 100 * 365 * 24 * time.Hour

// follow lets watermill-sql read, and hands out what it brings, until ctx ends or the subscriber is drained.
func (s *Subscriber) follow(
	parent context.Context, topic string, at handlers.Position, out chan<- *message.Message,
) error {
	ctx, cancel := context.WithCancel(parent)
	f := &follower{s: s, ctx: ctx, table: s.table(topic)}
	f.offset.Store(at.Offset())
	db := openPool(s.log, f.asking)
	defer db.Close() //nolint:errcheck // it holds nothing
	deadline := patience
	reader, err := wmsql.NewSubscriber(db, wmsql.SubscriberConfig{
		ConsumerGroup: s.name, AckDeadline: &deadline, SchemaAdapter: f, OffsetsAdapter: f, BackoffManager: f,
	}, watermill.NewSlogLoggerWithLevelMapping(s.t.Log, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug}))
	if err != nil {
		cancel()
		return err
	}
	defer reader.Close() //nolint:errcheck // it has no error to tell
	defer cancel()
	rows, err := reader.Subscribe(ctx, topic)
	if err != nil {
		return err
	}
	for {
		select {
		case row, ok := <-rows:
			if !ok || !s.take(ctx, topic, f, row, out) {
				return nil
			}
			// In watermill-sql's words: read on, from where the offset stands now.
			row.Ack()
		case <-s.draining:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// take hands out what the row brings, and moves the offset once that is acknowledged; else the row is read
// again. false: the session is over.
func (s *Subscriber) take(
	ctx context.Context, topic string, f *follower, row *message.Message, out chan<- *message.Message,
) bool {
	began := time.Now()
	read, err := stretchOf(row)
	var msg *message.Message
	tryCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err == nil {
		msg, err = s.open(tryCtx, topic, read)
	}
	switch {
	case err != nil:
		s.t.Log.ErrorContext(ctx, "cannot read on", "topic", topic, "row", row.UUID, "error", err)
		return s.wait(ctx, nil, s.t.Again)
	case msg == nil:
		f.offset.Store(handlers.End(read.through()).Offset())
		s.t.Silent(read.through())
		return !isClosed(s.draining) && s.more(ctx, f, read)
	}
	select {
	case out <- msg:
	case <-s.draining:
		return false
	case <-ctx.Done():
		return false
	}
	select {
	case <-msg.Acked():
	case <-msg.Nacked():
		return s.wait(ctx, nil, s.t.Again)
	case <-ctx.Done():
		return false
	}
	f.offset.Store(handlers.End(read.through()).Offset())
	return !isClosed(s.draining) && s.gather(ctx, read.after, read.through(), time.Since(began)) && s.more(ctx, f, read)
}

// more waits until there may be more than what was read, where that was the log's end; false: the session is over.
func (s *Subscriber) more(ctx context.Context, f *follower, read *stretch) bool {
	return s.t.Hints == nil || int64(read.events) == f.limit || s.wait(ctx, f.hint, s.t.Poll)
}

// gather waits as the handler wants it; false: the session is over.
func (s *Subscriber) gather(ctx context.Context, after, through bank.Seq, took time.Duration) bool {
	if s.t.Gather == nil {
		return true
	}
	wait, urgent := s.t.Gather(after, through, took)
	return wait <= 0 || s.wait(ctx, urgent, wait)
}

// wait is over after d or with a hint; false: the session is over.
func (s *Subscriber) wait(ctx context.Context, hint <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-hint:
	case <-timer.C:
	case <-s.draining:
		return false
	case <-ctx.Done():
		return false
	}
	return true
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
