package router

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

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

// FromLog reads a log and decodes what it holds. What was decoded last is kept for a while: all handlers read the same,
// and the events are shared, so nobody may change them.
func FromLog(log app.Log) Source { return &decoded{Log: log, pages: map[bank.Seq]*page{}} }

// decoded is a log with its last pages.
type decoded struct {
	app.Log
	mu    sync.Mutex
	pages map[bank.Seq]*page // by the number of the page
	reads int                // counts uses of pages, to find the one that has not been used for longest
}

// page is a stretch of the log, or as much as there is of it.
type page struct {
	mu     sync.Mutex // held while reading: others want the same
	events []app.Recorded
	used   int
}

const (
	pageEvents = 512
	pagesKept  = 32 // two long deliveries: handlers that are behind are not all at the same one, see Progress.abreast
)

// Read returns decoded events.
func (d *decoded) Read(ctx context.Context, after bank.Seq, limit int) ([]app.Recorded, error) {
	var parts [][]app.Recorded
	count := 0
	for count < limit {
		n := after / pageEvents
		events, err := d.page(n).read(ctx, d.Log, n*pageEvents, after, limit-count)
		if err != nil {
			return nil, err
		}
		if len(events) == 0 {
			break
		}
		parts = append(parts, events)
		count += len(events)
		after += bank.Seq(len(events))
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	return slices.Concat(parts...), nil
}

func (d *decoded) page(n bank.Seq) *page {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.pages[n]
	if p == nil {
		if len(d.pages) == pagesKept {
			delete(d.pages, d.oldest())
		}
		p = &page{}
		d.pages[n] = p
	}
	d.reads++
	p.used = d.reads
	return p
}

func (d *decoded) oldest() (n bank.Seq) {
	least := math.MaxInt
	for i, p := range d.pages {
		if p.used < least {
			n, least = i, p.used
		}
	}
	return n
}

// read returns at most limit events of the page that are behind after. before is the event before the page.
func (p *page) read(ctx context.Context, log app.Log, before, after bank.Seq, limit int) ([]app.Recorded, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if end := before + bank.Seq(len(p.events)); end < after+bank.Seq(limit) && end < before+pageEvents {
		rows, err := log.Read(ctx, end, int(before+pageEvents-end))
		if err != nil {
			return nil, err
		}
		for i := range rows {
			e, err := app.Decode(rows[i])
			if err != nil {
				return nil, err
			}
			if want := end + 1 + bank.Seq(i); rows[i].Seq != want {
				return nil, fmt.Errorf("the log goes on with event %d instead of %d", rows[i].Seq, want)
			}
			p.events = append(p.events, e)
		}
	}
	from := min(int(after-before), len(p.events))
	to := min(from+limit, len(p.events))
	return p.events[from:to:to], nil
}

// facts turns the log into deliveries of one topic. They end at multiples of the number of events, so that for who is
// far behind each of them is such a stretch of the log: views are made of stretches, and one is best written at once.
type facts struct {
	source Source
	events int  // read at once
	silent bool // leave out deliveries without facts
}

// Next is a Feed.
func (f facts) Next(ctx context.Context, topic string, after bank.Seq) (*message.Message, bank.Seq, error) {
	d, err := f.read(ctx, bank.Topic(topic), after, partition{})
	if err != nil || d == nil {
		return nil, after, err
	}
	if f.silent && len(d.Facts) == 0 {
		return nil, d.Through.Seq, nil
	}
	return NewMessage(ctx, d), d.Through.Seq, nil
}

// partition is the i-th of a topic's; of 0: the whole topic.
type partition struct{ i, of int }

// has reports whether the key belongs to the partition.
func (p partition) has(key string) bool { return p.of == 0 || PartitionOf(key, p.of) == p.i }

// read returns what stands on the topic behind the event after, as much of it as belongs to the partition; nil: nothing
// was written since.
func (f facts) read(ctx context.Context, topic bank.Topic, after bank.Seq, only partition) (*Delivery, error) {
	limit := f.events - int(after%bank.Seq(f.events))
	events, err := f.source.Read(ctx, after, limit)
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
		Incarnation: head.Incarnation, Partition: only.i,
		Prev: handlers.End(after), Through: handlers.End(events[len(events)-1].Seq),
		Facts: make([]handlers.Fact, 0, 2*len(events)), more: len(events) == f.events && f.events >= pageEvents,
	}
	for i := range events {
		if i%pageEvents == 0 {
			runtime.Gosched() // a handler can wait; who asks for a decision should not
		}
		e := &events[i]
		for _, c := range e.Changes() {
			if c.Topic() == topic && only.has(c.Key()) {
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
