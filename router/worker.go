package router

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers"
)

// worker is one handler with all that its steps need.
type worker struct {
	Route
	rules    atomic.Pointer[Policy]
	controls Controls
	parked   atomic.Bool // something, since the cap of the handler was looked at
	known    atomic.Pointer[app.Head]
	astray   atomic.Bool // it has paused itself, which nobody may know
	feed     facts
	from     *bank.Seq // of Config
	standing *standing
	progress *Progress
	metrics  Metrics
	classify []Classifier
	log      *slog.Logger
	draining <-chan struct{}
	// What the handler reads from: a tail of the log, or what a broker brings.
	reads      message.Subscriber
	partitions int // of its topic; 0: none, as of the log
}

// policy is what is in force now.
func (w *worker) policy() *Policy { return w.rules.Load() }

func (w *worker) stream(partition int) Stream {
	return Stream{Handler: w.Name, Topic: w.Topic, Partition: partition}
}

// start is where the handler goes on: the position of its checkpoint. One of another log says nothing about
// this one: then the first delivery shows it, wherever the log stands.
func (w *worker) start(ctx context.Context, _ string) (handlers.Position, error) {
	c, err := w.Store.Checkpoint(ctx, w.stream(0))
	if err != nil {
		return handlers.Position{}, err
	}
	head, err := w.feed.source.Head(ctx)
	if err != nil {
		return handlers.Position{}, err
	}
	if c.Incarnation != head.Incarnation {
		c = Checkpoint{}
	}
	w.took(0, c)
	return c.Position, nil
}

// newest is where a handler starts that only wants what happens from now on, or from an event on that it is told.
func (w *worker) newest(ctx context.Context, _ string) (handlers.Position, error) {
	if w.from != nil {
		w.took(0, Checkpoint{Position: handlers.End(*w.from)})
		return handlers.End(*w.from), nil
	}
	head, err := w.feed.source.Head(ctx)
	if err != nil {
		return handlers.Position{}, err
	}
	w.took(0, Checkpoint{Position: handlers.End(head.Seq)})
	return handlers.End(head.Seq), nil
}

// A transaction costs much, and each event in it little, above all when many are of the same accounts. So a handler
// that keeps up lets some time go by from the beginning of one to the next, unless somebody waits for it.
const (
	gatherFrom   = 64 // events in a delivery: much to do
	gatherFor    = 400 * time.Millisecond
	gatherLittle = 20 * time.Millisecond
)

// gather is the tail's Gather.
func (w *worker) gather(after, through bank.Seq, took time.Duration) (time.Duration, <-chan struct{}) {
	if through%bank.Seq(w.feed.events) == 0 { // it ends there, not with the log
		return w.progress.abreast(through, bank.Seq(w.feed.events))
	}
	return w.gatherSome(int(through-after), took)
}

// gatherSome is for what was all that there was: n events or messages.
func (w *worker) gatherSome(n int, took time.Duration) (time.Duration, <-chan struct{}) {
	if n < gatherFrom {
		return gatherLittle - took, w.progress.asked(w.Name)
	}
	return gatherFor - took, w.progress.asked(w.Name)
}

// whole is the last event of which the handler has taken in everything.
func (w *worker) whole() bank.Seq {
	w.standing.mu.Lock()
	defer w.standing.mu.Unlock()
	return w.standing.position.Whole()
}

// took tells everyone that all of a partition up to c has been committed.
func (w *worker) took(partition int, c Checkpoint) {
	w.standing.mu.Lock()
	w.standing.position = c.Position
	w.standing.mu.Unlock()
	w.progress.took(w.Name, partition, c) // who waited for it, sees it in what the handler says of itself
}

// wait sleeps for d, or until the handler is resumed; false: the session of ctx is over.
func (w *worker) wait(ctx context.Context, d time.Duration) bool {
	resumed, _ := w.standing.waiting()
	return w.waitOr(ctx, resumed, d)
}

// waitOr is wait for whoever took resumed before he told anybody that he waits.
func (w *worker) waitOr(ctx context.Context, resumed <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	return await(ctx, w.draining, resumed, timer.C)
}

// hold waits for what is down to come back: n is how often it has been tried.
func (w *worker) hold(ctx context.Context, n int, err error) error {
	d := deliveryIn(ctx)
	resumed, _ := w.standing.waiting() // from here on operators see it held, and resume it
	if w.standing.change(func() { w.standing.held[d.Partition] = true }) {
		w.log.ErrorContext(ctx, "handler holds", "handler", w.Name, "partition", d.Partition,
			"error", ops.Masked(w.says(err, d.payloads())))
	}
	if errors.Is(err, ErrLotFull) {
		w.halt(ctx, err)
	}
	if !w.waitOr(ctx, resumed, later(err, w.policy().Hold.After(n))) {
		w.release(ctx) // the partition may go to somebody else
		return errEnding
	}
	return w.gate(ctx)
}

// gate returns once the handler is not paused, or with errEnding.
func (w *worker) gate(ctx context.Context) error {
	for {
		resumed, paused := w.standing.waiting()
		if !paused {
			return nil
		}
		if !await(ctx, w.draining, resumed, nil) {
			return errEnding
		}
	}
}

// release ends what hold began.
func (w *worker) release(ctx context.Context) {
	partition := deliveryIn(ctx).Partition
	if w.standing.change(func() { delete(w.standing.held, partition) }) && !w.over(ctx) {
		w.log.InfoContext(ctx, "handler goes on", "handler", w.Name)
	}
}

// over reports whether the session of ctx is over: then errors mean nothing.
func (w *worker) over(ctx context.Context) bool { return ctx.Err() != nil || closed(w.draining) }

// within calls next with another context in the message, and puts the old one back.
func within(ctx context.Context, msg *message.Message, next message.HandlerFunc) error {
	before := msg.Context()
	msg.SetContext(ctx)
	defer msg.SetContext(before)
	_, err := next(msg)
	return err
}
