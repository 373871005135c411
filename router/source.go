package router

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
)

// Source is the log as handlers read it. It is safe for concurrent use.
type Source interface {
	// Read returns the events with seq > after, ascending and without gaps, at most limit.
	Read(ctx context.Context, after bank.Seq, limit int) ([]app.Recorded, error)
	// Head returns the head of the log as it is now.
	Head(ctx context.Context) (app.Head, error)
}

// FromLog reads a log and decodes what it holds.
func FromLog(log app.Log) Source { return decoded{log} }

type decoded struct{ app.Log }

// Read decodes rows.
func (d decoded) Read(ctx context.Context, after bank.Seq, limit int) ([]app.Recorded, error) {
	rows, err := d.Log.Read(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	out := make([]app.Recorded, len(rows))
	for i := range rows {
		if out[i], err = app.Decode(rows[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// facts turns the log into deliveries of one topic.
type facts struct {
	source Source
	events int  // read at once
	silent bool // leave out deliveries without facts
}

// Next is a Feed.
func (f facts) Next(ctx context.Context, topic string, after bank.Seq) (*message.Message, bank.Seq, error) {
	d, err := f.read(ctx, bank.Topic(topic), after)
	if err != nil || d == nil {
		return nil, after, err
	}
	if f.silent && len(d.Facts) == 0 {
		return nil, d.Through.Seq, nil
	}
	return NewMessage(ctx, d), d.Through.Seq, nil
}

// read returns what stands on the topic behind the event after; nil: nothing was written since.
func (f facts) read(ctx context.Context, topic bank.Topic, after bank.Seq) (*Delivery, error) {
	events, err := f.source.Read(ctx, after, f.events)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	if events[0].Seq != after+1 {
		return nil, fmt.Errorf("the log goes on with event %d behind %d", events[0].Seq, after)
	}
	head, err := f.source.Head(ctx)
	if err != nil {
		return nil, err
	}
	d := &Delivery{
		Incarnation: head.Incarnation,
		Prev:        handlers.End(after), Through: handlers.End(events[len(events)-1].Seq),
		Facts: make([]handlers.Fact, 0, 2*len(events)),
	}
	for i := range events {
		e := &events[i]
		for _, c := range e.Changes() {
			if c.Topic() == topic {
				d.Facts = append(d.Facts, FactOf(c, &e.Meta, head.Incarnation))
			}
		}
	}
	return d, nil
}

// FactOf is a change as handlers see it: with what its event says of its origin.
func FactOf(c bank.Change, m *app.Meta, incarnation string) handlers.Fact {
	return handlers.Fact{
		Change: c, Incarnation: incarnation, CorrelationID: m.CorrelationID, CausationID: m.CausationID,
		Actor: m.Actor, IdempotencyKey: m.IdempotencyKey, TraceParent: m.TraceParent,
	}
}
