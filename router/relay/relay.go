// Package relay brings the log to a broker: every event in the order of the log, as the messages that it is made of,
// at least once. One relay is active; others stand by.
package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/sync/errgroup"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// Topics are the broker's.
type Topics interface {
	// Missing returns those of the topics that are not there. One that is there with another number of partitions is an
	// ErrPartitions, which says what to do.
	Missing(ctx context.Context, partitions map[bank.Topic]int) ([]bank.Topic, error)
	// Make makes a topic, and returns once it can be written to. One that is there already is left as it is.
	Make(ctx context.Context, topic bank.Topic, partitions int) error
}

// Config is what a Relay needs. Fields without a default are required.
type Config struct {
	Source    router.Source
	Hints     *router.Hints     // wakes it when something was appended; nil: only Poll does
	Publisher message.Publisher // acknowledges what Publish returned for; keeps the order of each partition
	Topics    Topics
	Store     Store
	// Partitions is how many each topic has. They are recorded with the first message; other numbers are refused from
	// then on, because keys would change their partitions, and order would be lost.
	Partitions map[bank.Topic]int
	Owner      string              // a name that no other relay has
	Saw        func(router.Cursor) // told of each cursor that was saved; may be nil
	Lease      time.Duration       // how long after a relay's end another one takes over; default 5 s
	Poll       time.Duration       // how often the log is looked at without a hint; default 10 ms
	Again      time.Duration       // the pause after a failure; default 500 ms
	Batch      int                 // events that are sent at once at most; default 4096
	Log        *slog.Logger        // default: discarded
}

// ErrPartitions means that a topic has another number of partitions than its messages were made for.
var ErrPartitions = errors.New("the number of partitions has changed")

// Relay is one of those that can be the relay. It runs once.
type Relay struct{ c Config }

// New makes a relay.
func New(c Config) (*Relay, error) {
	if c.Source == nil || c.Publisher == nil || c.Topics == nil || c.Store == nil || c.Owner == "" {
		return nil, errors.New("a relay needs a source, a publisher, topics, a store and a name")
	}
	if len(c.Partitions) == 0 || slices.Min(slices.Collect(maps.Values(c.Partitions))) < 1 {
		return nil, errors.New("a relay needs topics with at least one partition each")
	}
	if c.Lease == 0 {
		c.Lease = 5 * time.Second
	}
	if c.Poll == 0 {
		c.Poll = 10 * time.Millisecond
	}
	if c.Again == 0 {
		c.Again = 500 * time.Millisecond
	}
	if c.Batch <= 0 {
		c.Batch = 4096
	}
	if c.Saw == nil {
		c.Saw = func(router.Cursor) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Relay{c}, nil
}

// Run stands by until nobody else is the relay, and then relays, until ctx ends. Whatever fails, it tries again; only
// ErrPartitions ends it, because that needs a decision.
func (r *Relay) Run(ctx context.Context) error {
	for {
		err := r.reign(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // what was not saved is sent again
		case errors.Is(err, ErrPartitions):
			return err
		case errors.Is(err, ErrHeld):
			r.c.Log.DebugContext(ctx, "standing by", "owner", r.c.Owner)
			wait(ctx, nil, r.c.Lease/4)
			continue
		case errors.Is(err, ErrFenced):
			r.c.Log.WarnContext(ctx, "another relay has taken over", "owner", r.c.Owner)
		default:
			r.c.Log.ErrorContext(ctx, "the relay starts again from its cursor", "owner", r.c.Owner, "error", err)
		}
		wait(ctx, nil, r.c.Again)
	}
}

// reign is one time of being the relay.
func (r *Relay) reign(ctx context.Context) error {
	term, saved, err := r.c.Store.Acquire(ctx, r.c.Owner, r.c.Lease)
	if err != nil {
		return err
	}
	cursor, err := r.begin(ctx, term, saved)
	if err == nil {
		r.c.Log.InfoContext(ctx, "relaying", "owner", r.c.Owner, "term", term, "after", cursor.Seq)
		saved, err = r.relay(ctx, term, cursor)
	}
	if ctx.Err() != nil || errors.Is(err, ErrPartitions) { // the end of this one: the next one need not wait
		release, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.c.Lease)
		defer cancel()
		if failed := r.c.Store.Save(release, term, saved, 0); err == nil {
			err = failed
		}
	}
	return err
}

// begin checks that topics, log and cursor belong together, and says where to go on.
func (r *Relay) begin(ctx context.Context, term uint64, c router.Cursor) (router.Cursor, error) {
	head, err := r.c.Source.Head(ctx)
	if err != nil {
		return c, err
	}
	if err := r.recorded(c); err != nil {
		return c, err
	}
	missing, err := r.c.Topics.Missing(ctx, r.c.Partitions)
	switch {
	case err != nil:
		return c, err
	case head.Incarnation == "":
		return c, errors.New("the log has no owner yet")
	case c.Seq > head.Seq:
		return c, fmt.Errorf("the cursor is at event %d, and the log ends with %d: "+
			"the log was restored without the relay's cursor; rebuild the topics", c.Seq, head.Seq)
	}
	if lost := slices.DeleteFunc(slices.Clone(missing), c.Untouched); len(lost) > 0 {
		r.c.Log.WarnContext(ctx, "topics were lost, and are filled again from the log", "topics", lost)
		c = router.Cursor{}
	}
	c.Last = r.recording(c)
	// Of another incarnation, cursor and log were restored together: up to the cursor, they say the same.
	c.Incarnation = head.Incarnation
	if len(missing) > 0 { // before there are topics that look as if they had everything
		if err := r.save(ctx, term, c); err != nil {
			return c, err
		}
	}
	for _, topic := range missing {
		if err := r.c.Topics.Make(ctx, topic, r.c.Partitions[topic]); err != nil {
			return c, err
		}
	}
	return c, nil
}

// recorded compares the numbers of partitions with those that the messages were made for.
func (r *Relay) recorded(c router.Cursor) error {
	if c.Last == nil {
		return nil
	}
	for topic, n := range r.c.Partitions {
		if was := len(c.Last[topic]); was != n && was > 0 {
			return fmt.Errorf("%w: %s has %d by the configuration, and its messages were made for %d; configure %d again, "+
				"or stop all processes, and rebuild topics and views with the new number",
				ErrPartitions, topic, n, was, was)
		}
	}
	return nil
}

// recording is c.Last with the topics that are configured by now. To a new one nothing was ever sent: a relay that had
// no partitions for it has not come past the first event that is told there.
func (r *Relay) recording(c router.Cursor) map[bank.Topic][]handlers.Position {
	last := map[bank.Topic][]handlers.Position{}
	maps.Copy(last, c.Last)
	for topic, n := range r.c.Partitions {
		if len(last[topic]) == 0 {
			last[topic] = make([]handlers.Position, n)
		}
	}
	return last
}

// relay sends until ctx ends or something fails, and returns how far it has come.
func (r *Relay) relay(ctx context.Context, term uint64, c router.Cursor) (router.Cursor, error) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	chunks := make(chan *chunk) // the next chunk is made while one is sent
	var reader errgroup.Group
	reader.Go(func() error {
		defer close(chunks)
		return r.read(inner, c, chunks)
	})
	keep := time.NewTicker(r.c.Lease / 3)
	defer keep.Stop()
	for {
		var err error
		select {
		case next, ok := <-chunks:
			if !ok {
				return c, reader.Wait()
			}
			if err = r.publish(ctx, next); err == nil {
				c = next.after
				err = r.save(ctx, term, c)
			}
		case <-keep.C:
			err = r.save(ctx, term, c)
		}
		if err != nil {
			cancel()
			for range chunks { // the reader ends once nobody waits for it
			}
			return c, errors.Join(err, reader.Wait())
		}
	}
}

// read makes chunks of the log behind c until ctx ends.
func (r *Relay) read(ctx context.Context, c router.Cursor, chunks chan<- *chunk) error {
	x := newExpander(c)
	for ctx.Err() == nil {
		hint := r.c.Hints.Next()
		events, err := r.c.Source.Read(ctx, x.at.Seq, r.c.Batch)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			wait(ctx, hint, r.c.Poll)
			continue
		}
		next, err := x.expand(events)
		if err != nil {
			return err
		}
		select {
		case chunks <- next:
		case <-ctx.Done():
		}
	}
	return nil
}

// publish returns once the broker has acknowledged all of the chunk. When ctx has ended, it waits for that as long as
// others would: a broker that hangs may not answer for many minutes.
func (r *Relay) publish(ctx context.Context, c *chunk) error {
	sent := make(chan error, 1)
	go func() {
		var topics errgroup.Group
		for topic, messages := range c.messages {
			topics.Go(func() error { return r.c.Publisher.Publish(string(topic), messages...) })
		}
		sent <- topics.Wait()
	}()
	select {
	case err := <-sent:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(r.c.Lease)
	defer timer.Stop()
	select {
	case err := <-sent:
		return err
	case <-timer.C:
		return errors.New("the broker has not answered: what it was sent is sent again by the next relay")
	}
}

// save also saves what was acknowledged while the relay was told to end.
func (r *Relay) save(ctx context.Context, term uint64, c router.Cursor) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.c.Lease)
	defer cancel()
	err := r.c.Store.Save(ctx, term, c, r.c.Lease)
	if err == nil {
		r.c.Saw(c)
	}
	return err
}

// wait is over after d, with the hint, or when ctx ends.
func wait(ctx context.Context, hint <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-hint:
	case <-timer.C:
	case <-ctx.Done():
	}
}
