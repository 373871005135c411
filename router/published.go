package router

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"bankforge/app/bank"
	"bankforge/handlers"
)

// Published knows how far the relay of a broker has come, wherever that runs: it is app.Publisher. While somebody
// waits, it looks again and again; a relay in the same process tells it by itself. It is safe for concurrent use.
type Published struct {
	store Cursors
	every time.Duration // while somebody waits
	idle  time.Duration
	log   *slog.Logger

	mu      sync.Mutex
	cursor  Cursor
	moved   chan struct{} // closed with the next change
	waiting int
	wanted  chan struct{} // has one when somebody began to wait
}

// PublishedConfig says how to look.
type PublishedConfig struct {
	Cursors Cursors
	Every   time.Duration // how often while somebody waits; default 5 ms
	Idle    time.Duration // how often else; default 1 s
	Log     *slog.Logger  // default: discarded
}

// NewPublished knows nothing until Run runs, or Saw is called.
func NewPublished(c PublishedConfig) *Published {
	if c.Every == 0 {
		c.Every = 5 * time.Millisecond
	}
	if c.Idle == 0 {
		c.Idle = time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Published{
		store: c.Cursors, every: c.Every, idle: c.Idle, log: c.Log,
		moved: make(chan struct{}), wanted: make(chan struct{}, 1),
	}
}

// Run looks how far the relay has come until ctx ends.
func (p *Published) Run(ctx context.Context) error {
	failing := false
	for ctx.Err() == nil {
		c, err := p.store.Cursor(ctx)
		switch {
		case err == nil:
			failing = false
			p.Saw(c)
		case ctx.Err() == nil && !failing:
			failing = true
			p.log.ErrorContext(ctx, "cannot tell how far the relay has come", "error", err)
		}
		p.pause(ctx)
	}
	return nil
}

func (p *Published) pause(ctx context.Context) {
	p.mu.Lock()
	d := p.idle
	if p.waiting > 0 {
		d = p.every
	}
	p.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.wanted:
	case <-ctx.Done():
	}
}

// Saw tells that the cursor was saved. What c holds must not change any more.
func (p *Published) Saw(c Cursor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cursor.Incarnation == c.Incarnation && p.cursor.Seq == c.Seq {
		return
	}
	p.cursor = c
	close(p.moved)
	p.moved = make(chan struct{})
}

// Seq is the last event of which the broker has acknowledged everything, as far as is known.
func (p *Published) Seq() bank.Seq {
	c, _ := p.at()
	return c.Seq
}

// Begun reports whether anything was ever brought to the broker, or is about to be.
func (p *Published) Begun() bool {
	c, _ := p.at()
	return c.Incarnation != ""
}

// at is the newest cursor that is known, and what is closed when there is a newer one.
func (p *Published) at() (Cursor, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cursor, p.moved
}

// wait makes Run look more often until the wait ends.
func (p *Published) wait() (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting++
	select {
	case p.wanted <- struct{}{}:
	default:
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.waiting--
	}
}

// AwaitPublished returns once all messages of the events up to seq have been acknowledged by the broker, or
// when ctx ends, and reports whether they have.
func (p *Published) AwaitPublished(ctx context.Context, seq bank.Seq) bool {
	c, moved := p.at()
	if c.Seq >= seq {
		return true
	}
	defer p.wait()()
	for {
		select {
		case <-moved:
		case <-ctx.Done():
			return false
		}
		if c, moved = p.at(); c.Seq >= seq {
			return true
		}
	}
}

// parts is how far a handler is that reads partitions. What this process reads itself it knows at once; other
// partitions may be read by others, so their checkpoints are looked up.
//
// A partition in which nothing happens brings nothing that could tell so. But the relay's cursor says which was the
// last message of each: a handler that has come there has everything up to the cursor.
type parts struct {
	topic     bank.Topic
	published *Published
	// The rest is guarded by Progress.
	incarnation string
	have        []handlers.Position
	looked      time.Time
}

// lookEvery is how often checkpoints are looked up at most while somebody waits for them.
const lookEvery = 10 * time.Millisecond

func (s *parts) took(partition int, at Checkpoint) {
	if s.incarnation != at.Incarnation {
		s.incarnation = at.Incarnation
		clear(s.have)
	}
	for len(s.have) <= partition {
		s.have = append(s.have, handlers.Position{})
	}
	if s.have[partition].Before(at.Position) {
		s.have[partition] = at.Position
	}
}

func (s *parts) complete() bank.Seq {
	c, _ := s.published.at()
	have := s.have
	if s.incarnation != c.Incarnation {
		have = nil
	}
	return c.complete(s.topic, have)
}

// wait returns when the handler may have come further; false: ctx has ended.
func (p *Progress) wait(ctx context.Context, handler string, s *parts, moved <-chan struct{}) bool {
	var tick <-chan time.Time
	var published <-chan struct{}
	if s != nil {
		timer := time.NewTimer(lookEvery)
		defer timer.Stop()
		tick = timer.C
		_, published = s.published.at()
	}
	select {
	case <-moved:
	case <-published:
	case <-tick:
		p.look(ctx, handler)
	case <-ctx.Done():
		return false
	}
	return true
}

// look reads the checkpoints of the partitions that seem to be behind: somebody else may have moved them.
func (p *Progress) look(ctx context.Context, handler string) {
	for _, of := range p.toLookUp(handler) {
		c, err := of.store.Checkpoint(ctx, of.Stream)
		if err != nil {
			return // the next one looks again
		}
		if c != (Checkpoint{}) {
			p.took(handler, of.Partition, c)
		}
	}
}

// toLookUp is behind for one of those who want to know at once.
func (p *Progress) toLookUp(handler string) []lagging {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.view(handler)
	if v.parts == nil || v.store == nil || time.Since(v.parts.looked) < lookEvery {
		return nil
	}
	v.parts.looked = time.Now()
	return v.behind(handler)
}

// lagging is a partition in which the relay is further than a handler.
type lagging struct {
	Stream
	store       Store
	incarnation string
	have, last  handlers.Position
}

func (p *Progress) behind(handler string) []lagging {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.view(handler).behind(handler)
}

func (v *view) behind(handler string) (out []lagging) {
	c, _ := v.parts.published.at()
	for i, last := range c.Last[v.parts.topic] {
		var have handlers.Position
		if i < len(v.parts.have) && v.parts.incarnation == c.Incarnation {
			have = v.parts.have[i]
		}
		if have.Before(last) {
			of := Stream{Handler: handler, Topic: v.parts.topic, Partition: i}
			out = append(out, lagging{of, v.store, c.Incarnation, have, last})
		}
	}
	return out
}

// partitioned makes p know that the handler reads partitions.
func (p *Progress) partitioned(handler string, topic bank.Topic, b *Broker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	have := make([]handlers.Position, b.Partitions[topic])
	p.view(handler).parts = &parts{topic: topic, published: b.Published, have: have}
}

// begin lets a handler that only wants what is new begin where the relay stands.
func (p *Progress) begin(ctx context.Context, handler string, every time.Duration) {
	p.mu.Lock()
	s := p.view(handler).parts
	p.mu.Unlock()
	for {
		c, err := s.published.store.Cursor(ctx)
		if err == nil {
			for i, last := range c.Last[s.topic] {
				p.took(handler, i, Checkpoint{c.Incarnation, last})
			}
			return
		}
		timer := time.NewTimer(every)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}
