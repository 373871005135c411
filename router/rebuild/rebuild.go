// Package rebuild builds views that stand outside of the store anew from the log, beside the ones in use, and compares
// them with the log. The handlers that keep them may go on meanwhile, in any process.
package rebuild

import (
	"context"
	"errors"
	"fmt"
	"math"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// View is what one handler keeps outside. There may be several builds of it, of which one is in use: all who write and
// read look up which. It is safe for concurrent use.
type View interface {
	router.Marks // of the build in use
	// Begin makes an empty build beside the one in use, with this mark for each of the streams.
	Begin(ctx context.Context, streams []router.Stream, mark router.Mark) (Build, error)
	// Forget removes the handler's view with its marks: handlers find that it is gone, and build it from the log.
	Forget(ctx context.Context, handler string) error
	// Sweep drops all builds of the handler but the one in use. Nobody may be building.
	Sweep(ctx context.Context, handler string) error
}

// Build is one that is not in use. Nobody reads it, and only who has begun it writes.
type Build interface {
	// Handle takes facts of one partition in, under a fence that has the build's mark. What it has already is left out.
	// When the build has been lost, it or Switch fails.
	Handle(ctx context.Context, facts []handlers.Fact) error
	// Compare tells d in what the view in use differs from this build, which has what the one in use must have. What is
	// there in a later version than here is not compared: further says for which keys, and up to which version it wants
	// to have their facts before Again compares it.
	Compare(ctx context.Context, d *Differences) (further map[string]bank.Version, err error)
	// Again compares what Compare has left, as it was then.
	Again(ctx context.Context, d *Differences) error
	// Switch sets all marks of the build to this one, and puts it in use in the place of the one that was: at once for
	// all who read and write. With an error it is open whether that was done, until Drop has succeeded.
	Switch(ctx context.Context, mark router.Mark) error
	// Drop removes the build, unless it is in use.
	Drop(ctx context.Context) error
}

// Places is where handlers stand.
type Places interface {
	// Checkpoint returns the stream's checkpoint. Within a transaction of a Store it also locks it.
	Checkpoint(ctx context.Context, s router.Stream) (router.Checkpoint, error)
	// ParkedFrom says, by key, from which position on messages of the handler are parked.
	ParkedFrom(ctx context.Context, handler string) (map[string]handlers.Position, error)
}

// Store is where the checkpoints and the parked messages of the handler stand.
type Store interface {
	Places
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	Advance(ctx context.Context, s router.Stream, c router.Checkpoint) error
	// TakenIn ends the waiting of all parked messages of the handler, because its view has them now. It returns of how
	// many keys they were. That they were parked stays known.
	TakenIn(ctx context.Context, handler string) (keys int, err error)
	// Reserve keeps others from building the handler's view until release is called, or the process ends.
	// ErrUnderWay: somebody does. shared: others may do so, too, but nobody may reserve it alone; it is waited for.
	Reserve(ctx context.Context, handler string, shared bool) (release func(), err error)
}

// ErrUnderWay means that somebody else is building the view anew, or compares it.
var ErrUnderWay = errors.New("it is being built anew or verified by somebody else")

// Config is one view, and the log that it is built from.
type Config struct {
	Source     router.Source
	Handler    string
	Topic      bank.Topic
	Partitions int // of the topic; 1 where handlers follow the log
	View       View
}

// Report says what Run did.
type Report struct {
	Through     bank.Seq         // the last event that is in the view now
	Parked      int              // keys whose messages waited, and are in the view now
	Differences []app.Difference // the first ones between the old view and the log, at where the old view stood
	Omitted     int              // how many more there are
}

// Run builds the view anew, says in what the old one differs, and switches, while handlers wait for a moment. The old
// one is dropped. When it fails before it switches, the old one stays in use as it was.
func Run(ctx context.Context, c Config, s Store) (r Report, err error) {
	release, err := s.Reserve(ctx, c.Handler, false)
	if err != nil {
		return r, fmt.Errorf("rebuild %s: %w", c.Handler, err)
	}
	defer release()
	if err := c.View.Sweep(ctx, c.Handler); err != nil {
		return r, fmt.Errorf("rebuild %s: remove what an earlier one has left: %w", c.Handler, err)
	}
	b, err := begin(ctx, c, s)
	if err != nil {
		return r, fmt.Errorf("rebuild %s: %w", c.Handler, err)
	}
	if err := b.rebuild(ctx, s, &r); err != nil {
		return r, fmt.Errorf("rebuild %s: %w", c.Handler, errors.Join(err, b.drop(ctx)))
	}
	if err := c.View.Sweep(ctx, c.Handler); err != nil {
		return r, fmt.Errorf("%s is rebuilt and in use, but the old one could not be removed: %w", c.Handler, err)
	}
	return r, nil
}

func (b *builder) rebuild(ctx context.Context, s Store, r *Report) error {
	d, err := b.compare(ctx)
	if err != nil {
		return err
	}
	r.Differences, r.Omitted = d.Found, d.More
	have, err := b.finish(ctx)
	if err != nil {
		return err
	}
	return s.InTx(ctx, func(ctx context.Context) error { return b.replace(ctx, s, have, r) })
}

// builder fills one build.
type builder struct {
	Config
	build       Build
	was         place // of the view in use, when it began
	incarnation string
	mark        router.Mark // of all partitions, until it is switched
}

// begin finds out where the view stands, and makes an empty build.
func begin(ctx context.Context, c Config, at Places) (*builder, error) {
	was, head, err := c.stands(ctx, at)
	if err != nil {
		return nil, err
	}
	b := &builder{Config: c, was: was, incarnation: head.Incarnation}
	b.mark = router.Mark{
		Checkpoint: router.Checkpoint{Incarnation: head.Incarnation}, Target: handlers.PositionAt(math.MaxInt64),
	}
	b.build, err = c.View.Begin(ctx, c.streams(), b.mark)
	return b, err
}

func (b *builder) drop(ctx context.Context) error { return b.build.Drop(context.WithoutCancel(ctx)) }

// compare builds what the view in use must be, and compares.
func (b *builder) compare(ctx context.Context) (d *Differences, err error) {
	d = &Differences{seq: b.was.seq}
	if b.was.astray != "" { // it has nothing that is worth comparing
		d.Add("", b.was.astray)
		return d, nil
	}
	err = b.run(ctx, 0, b.was.seq, func(f *handlers.Fact) bool { return b.was.has(f, b.Partitions) })
	if err != nil {
		return nil, err
	}
	further, err := b.build.Compare(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	if len(further) > 0 { // handlers have gone on
		head, err := b.head(ctx) // only now: the log is never behind what the view has
		if err == nil {
			err = b.run(ctx, b.was.since(), head, func(f *handlers.Fact) bool {
				return f.Version() <= further[f.Key()] && !b.was.has(f, b.Partitions)
			})
		}
		if err != nil {
			return nil, err
		}
	}
	if err := b.build.Again(ctx, d); err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	return d, nil
}

// rounds is how often a build goes on to the end of the log before it gives up: each one is shorter than the one before
// where views are built faster than the log grows. fewEvents are taken in while handlers wait.
const (
	rounds    = 32
	fewEvents = 1000
)

// finish goes on to the end of the log, with what was parked, and returns how far it has come.
func (b *builder) finish(ctx context.Context) (have bank.Seq, err error) {
	have = b.was.since()
	wanted := func(f *handlers.Fact) bool { return !b.was.has(f, b.Partitions) }
	for range rounds {
		head, err := b.head(ctx)
		if err == nil {
			err = b.run(ctx, have, head, wanted)
		}
		if err != nil {
			return 0, err
		}
		few := head-have <= fewEvents
		if have, wanted = head, all; few {
			return have, nil
		}
	}
	return 0, errors.New("the log grows faster than the view is built")
}

func all(*handlers.Fact) bool { return true }

// replace holds the handlers up, takes in what has happened since, and puts the build in use. That comes last, as what
// cannot be undone: if the transaction is not committed then, handlers find more in the view than they expect.
func (b *builder) replace(ctx context.Context, s Store, have bank.Seq, r *Report) error {
	for _, stream := range b.streams() {
		if _, err := s.Checkpoint(ctx, stream); err != nil {
			return err
		}
	}
	head, err := b.head(ctx)
	if err == nil {
		err = b.run(ctx, have, head, all)
	}
	if err == nil {
		r.Through = head
		r.Parked, err = s.TakenIn(ctx, b.Handler)
	}
	if err != nil {
		return err
	}
	done := router.Mark{
		Checkpoint: router.Checkpoint{Incarnation: b.incarnation, Position: handlers.End(head)},
		Target:     handlers.End(head),
	}
	for _, stream := range b.streams() {
		if err := s.Advance(ctx, stream, done.Checkpoint); err != nil {
			return err
		}
	}
	return b.build.Switch(ctx, done)
}

// head is where the log ends.
func (b *builder) head(ctx context.Context) (bank.Seq, error) {
	head, err := b.Source.Head(ctx)
	if err == nil && head.Incarnation != b.incarnation {
		err = errors.New("the log has become another one meanwhile")
	}
	return head.Seq, err
}

// page is how many events are taken in at once.
const page = 2000

// run gives the build what is wanted of the events behind after, up to until.
func (b *builder) run(ctx context.Context, after, until bank.Seq, wanted func(*handlers.Fact) bool) error {
	for after < until {
		events, err := b.Source.Read(ctx, after, int(min(page, until-after)))
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return fmt.Errorf("the log ends at event %d, before event %d", after, until)
		}
		last := events[len(events)-1].Seq
		if err := b.take(ctx, events, wanted); err != nil {
			return fmt.Errorf("events %d to %d: %w", after+1, last, err)
		}
		after = last
	}
	return nil
}

func (b *builder) take(ctx context.Context, events []app.Recorded, wanted func(*handlers.Fact) bool) error {
	facts := make([][]handlers.Fact, b.Partitions)
	for i := range events {
		e := &events[i]
		for _, c := range e.Changes() {
			if c.Topic() != b.Topic {
				continue
			}
			if f := router.FactOf(c, &e.Meta, b.incarnation); wanted(&f) {
				p := router.PartitionOf(f.Key(), b.Partitions)
				facts[p] = append(facts[p], f)
			}
		}
	}
	for i, stream := range b.streams() {
		if len(facts[i]) == 0 {
			continue
		}
		if err := b.build.Handle(router.WithFence(ctx, router.Fence{Stream: stream, Mark: b.mark}), facts[i]); err != nil {
			return err
		}
	}
	return nil
}
