package rebuild

import (
	"context"
	"fmt"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// place is where a view stands in the log: what it has at least.
type place struct {
	at     []handlers.Position          // by partition
	parked map[string]handlers.Position // by key, from where on its messages wait
	astray string                       // why the log does not have that place; "": it has
	seq    bank.Seq                     // the last event that it has something of
}

// streams are the partitions of the view.
func (c *Config) streams() []router.Stream {
	out := make([]router.Stream, c.Partitions)
	for i := range out {
		out[i] = router.Stream{Handler: c.Handler, Topic: c.Topic, Partition: i}
	}
	return out
}

// stands asks the marks first, then the checkpoints, then the parking lot and the log: what moves between makes that
// the view has more than is said here, and never less.
func (c *Config) stands(ctx context.Context, at Places) (p place, head app.Head, err error) {
	streams := c.streams()
	marks := make([]router.Mark, len(streams))
	for i, s := range streams {
		if marks[i], err = c.View.Mark(ctx, s); err != nil {
			return p, head, err
		}
	}
	p.at = make([]handlers.Position, len(streams))
	for i, s := range streams {
		checkpoint, err := at.Checkpoint(ctx, s)
		if err != nil {
			return p, head, err
		}
		p.at[i] = marks[i].Position
		if checkpoint.Incarnation == marks[i].Incarnation && checkpoint.Position.Before(p.at[i]) {
			p.at[i] = checkpoint.Position // a step was not ended: see router.Marks
		}
	}
	if p.parked, err = at.ParkedFrom(ctx, c.Handler); err != nil {
		return p, head, err
	}
	if head, err = c.Source.Head(ctx); err != nil {
		return p, head, err
	}
	for i, m := range marks {
		switch {
		case m.Incarnation != "" && m.Incarnation != head.Incarnation:
			p.astray = fmt.Sprintf("view %s follows incarnation %s of the log, but the log is %s",
				c.Handler, m.Incarnation, head.Incarnation)
		case p.at[i].Seq > head.Seq:
			p.astray = fmt.Sprintf("view %s has this event, but the log ends at event %d", c.Handler, head.Seq)
		}
	}
	for _, at := range p.at {
		p.seq = max(p.seq, at.Seq)
	}
	if p.astray != "" { // nothing of it counts
		p = place{astray: p.astray, seq: p.seq, at: make([]handlers.Position, len(streams))}
	}
	return p, head, nil
}

// has reports whether a view that stands at p has taken the message in.
func (p *place) has(f *handlers.Fact, partitions int) bool {
	at, key := f.Position(), f.Key()
	if from, parked := p.parked[key]; parked && !at.Before(from) {
		return false
	}
	return !p.at[router.PartitionOf(key, partitions)].Before(at)
}

// since is an event up to which the view has everything.
func (p *place) since() bank.Seq {
	since := ^bank.Seq(0)
	for _, at := range p.at {
		since = min(since, at.Whole())
	}
	for _, from := range p.parked {
		since = min(since, max(from.Seq, 1)-1)
	}
	return since
}
