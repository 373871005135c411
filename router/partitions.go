package router

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/handlers"
)

// Broker is what a router reads from instead of the log itself.
type Broker struct {
	// Subscribe makes what the route reads from, for the handler alone. Where it has a method Drain(ctx), as Tail has, it
	// is called at the end; else the router itself hands out nothing more.
	Subscribe func(Route) (message.Subscriber, error)
	// Follow, instead of Subscribe, is for a broker that brings the log itself in one row. It is told how a Tail would
	// follow it, all but the Feed, and how many events a delivery has at most.
	Follow func(r Route, t TailConfig, events int) (message.Subscriber, error)
	// Partitions is how many each topic has; nil: the messages come in one row, as from the log.
	Partitions map[bank.Topic]int
	// Published knows how far the relay has come. It is needed with Partitions: else nobody could tell a partition that is
	// silent from one that is behind.
	Published *Published
	// Patience is how long a partition may stand still behind the relay until what is missing is read from the log: a
	// broker that lost the end of a partition brings nothing that could tell so. Default 10 s.
	Patience time.Duration
}

// brings reports whether the route reads from the broker: not where there is none, and not what writes outside of SQL
// when the broker brings the log itself. Such a route asks what stands outside also while nothing happens, as only a
// Tail does, and loses nothing by it. Nor what operators want.
func (b *Broker) brings(r *Route) bool {
	return b != nil && (b.Follow == nil || r.Outside == nil) && r.Topic != bank.OpsTopic
}

// subscribe makes what w reads from; t is how it would follow the log itself.
func (w *worker) subscribe(b *Broker, t TailConfig) (err error) {
	var sub message.Subscriber
	if b.Follow != nil {
		sub, err = b.Follow(w.Route, t, w.feed.events)
	} else {
		sub, err = b.Subscribe(w.Route)
	}
	if err != nil {
		return err
	}
	if _, ok := sub.(drainer); !ok {
		sub = newDrained(sub)
	}
	if g, ok := sub.(gatherer); ok && w.Kind == Kept {
		g.Gather(w.gatherSome)
	}
	w.reads = sub
	if w.partitions = b.Partitions[w.Topic]; w.partitions > 0 {
		w.progress.partitioned(w.Name, w.Topic, b)
	}
	return nil
}

// gatherer is a subscriber that can wait for more before it hands out again: see TailConfig.Gather.
type gatherer interface {
	Gather(how func(n int, took time.Duration) (wait time.Duration, urgent <-chan struct{}))
}

// follow keeps up to date how far handlers have come whose partitions others may read, until the function that it
// returns is called.
func (r *Router) follow(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, w := range r.workers {
		if w.partitions > 0 {
			all.Go(func() { w.follow(ctx, r.c.Broker, min(r.c.Poll, r.c.Broker.patience())) })
		}
		if w.partitions > 0 && w.Outside != nil {
			all.Go(func() { w.pulses(ctx, r.c.Poll) })
		}
	}
	return func() {
		cancel()
		all.Wait()
	}
}

func (b *Broker) patience() time.Duration {
	if b.Patience == 0 {
		return 10 * time.Second
	}
	return b.Patience
}

// follow looks up the checkpoints of the handler's partitions, and helps those that stand still.
func (w *worker) follow(ctx context.Context, b *Broker, every time.Duration) {
	if w.Kind == Newest {
		w.progress.begin(ctx, w.Name, every)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	still := map[int]stillness{}
	for {
		w.progress.look(ctx, w.Name)
		behind := w.progress.behind(w.Name)
		moved := false // a partition that waits while others of the handler move has its turn later
		for _, p := range behind {
			if s := still[p.Partition]; s.have != p.have || s.since.IsZero() {
				still[p.Partition], moved = stillness{p.have, time.Now()}, true
			}
		}
		for _, p := range behind {
			patience := b.patience()
			if moved {
				patience *= 6
			}
			if s := still[p.Partition]; w.Kind == Kept && time.Since(s.since) >= patience {
				still[p.Partition] = stillness{p.have, time.Now()}
				w.help(ctx, p)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// stillness is where a partition stands, and since when.
type stillness struct {
	have  handlers.Position
	since time.Time
}

// chain is the handler behind all of its steps, as Watermill calls it.
func (w *worker) chain() message.HandlerFunc {
	var h message.HandlerFunc = func(msg *message.Message) ([]*message.Message, error) { return nil, w.handle(msg) }
	for _, s := range slices.Backward(w.steps()) {
		h = s.wrap(h)
	}
	return h
}

// help lets the handler take in what the relay has sent to a partition, whether or not the broker still has it: a
// delivery without facts that says what came before it.
func (w *worker) help(ctx context.Context, p lagging) {
	d := &Delivery{Incarnation: p.incarnation, Partition: p.Partition, Prev: p.last, Through: p.last}
	if _, err := w.chain()(NewMessage(ctx, d)); err != nil && !w.over(ctx) {
		w.log.WarnContext(ctx, "a partition stands still", "handler", w.Name, "partition", p.Partition, "error", err)
	}
}

// pulses let the handler look from time to time whether what stands outside is still there, in every partition: a
// broker may bring nothing for long.
func (w *worker) pulses(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		head, err := w.feed.source.Head(ctx)
		for i := 0; err == nil && i < w.partitions; i++ {
			_, err = w.chain()(NewMessage(ctx, &Delivery{Incarnation: head.Incarnation, Partition: i}))
		}
		if err != nil && !w.over(ctx) {
			w.log.WarnContext(ctx, "it cannot be found out what stands outside", "handler", w.Name, "error", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// PartitionOf is the partition of a key among n: the one that the clients of Java choose, and all who follow them.
func PartitionOf(key string, n int) int {
	return int(murmur2(key)&0x7fffffff) % n
}

// murmur2 is MurmurHash2 of 32 bits with the seed that Kafka's clients use.
func murmur2(s string) uint32 {
	const m = 0x5bd1e995
	b := []byte(s)
	h := 0x9747b28c ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := binary.LittleEndian.Uint32(b) * m
		k ^= k >> 24
		h = h*m ^ k*m
	}
	for i, c := range b {
		h ^= uint32(c) << (8 * i)
	}
	if len(b) > 0 {
		h *= m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}

type partitionKey struct{}

// WithPartition says of the messages that carry the context which partition they belong to: to a publisher where they
// go, to a handler where they come from.
func WithPartition(ctx context.Context, partition int) context.Context {
	return context.WithValue(ctx, partitionKey{}, partition)
}

// PartitionIn is what WithPartition said.
func PartitionIn(ctx context.Context) (partition int, ok bool) {
	partition, ok = ctx.Value(partitionKey{}).(int)
	return partition, ok
}

// Cursor is how far the relay has come: the broker has acknowledged every message of the events up to Seq.
type Cursor struct {
	Incarnation string // of the log that Seq counts in
	Seq         bank.Seq
	// Last is for each partition of each topic the position of the last message in it, of events up to Seq. Its lengths
	// are the numbers of partitions that the messages were made for.
	Last map[bank.Topic][]handlers.Position
}

// Untouched reports whether no message of the events up to Seq went to the topic.
func (c *Cursor) Untouched(topic bank.Topic) bool {
	return !slices.ContainsFunc(c.Last[topic], func(p handlers.Position) bool { return p != handlers.Position{} })
}

// Cursors tell how far the relay has come.
type Cursors interface {
	// Cursor returns the cursor that was saved last; the zero one when there was none yet.
	Cursor(ctx context.Context) (Cursor, error)
}

// complete is the last event of which everything on the topic has been taken in by a handler that has come to have in
// each partition. It need not have come anywhere in one that never had a message.
func (c *Cursor) complete(topic bank.Topic, have []handlers.Position) bank.Seq {
	at := c.Seq
	for i, last := range c.Last[topic] {
		var has handlers.Position
		if i < len(have) {
			has = have[i]
		}
		if has.Before(last) {
			at = min(at, has.Whole())
		}
	}
	return at
}

// place says which partition a delivery of a broker comes from.
func (w *worker) place(ctx context.Context, d *Delivery) {
	if w.partitions == 0 || len(d.Facts) == 0 {
		return
	}
	var ok bool
	if d.Partition, ok = PartitionIn(ctx); !ok {
		d.Partition = PartitionOf(d.key(0), w.partitions)
	}
}

// only is the partition of the log's messages.
func (w *worker) only(i int) partition { return partition{i, w.partitions} }

// believe decides whether the log can have a message where a record says that it stands. broken: it cannot be decoded.
// An error says nothing about the record.
type believe func(h *headers, broken bool) (bool, error)

// anything is for who has no log to ask.
func anything(*headers, bool) (bool, error) { return true, nil }

// unheardError means that it could not be found out whether records are true.
type unheardError struct{ error }

// read decodes the payload. Of what cannot be decoded, only the position is left.
func (h *headers) read(payload []byte) error {
	at := h.fact.Position()
	err := today.payload(h, payload)
	if err != nil {
		h.fact.Change = bank.Change{Seq: at.Seq, N: at.N}
		if h.before == "" { // it need not be of the relay, which always says what came before
			h.prev = handlers.End(at.Seq - 1)
		}
	}
	return err
}

// believe asks the log about records of a broker, to which others may write as well. What says that it stands behind
// the log's end, or in a partition that is not its key's, would have all that comes after it taken for handled; and
// what cannot be decoded must at least be about what the log has there. What decodes is not compared with the log:
// whoever forges that means to, and has the broker.
func (w *worker) believe(ctx context.Context) believe {
	return func(h *headers, broken bool) (bool, error) {
		if at, ok := PartitionIn(ctx); ok && w.partitions > 0 && at != PartitionOf(h.key, w.partitions) {
			return false, nil
		}
		head := w.known.Load()
		if head == nil || head.Incarnation != h.fact.Incarnation || head.Seq < h.fact.Seq {
			now, err := w.feed.source.Head(ctx)
			if err != nil {
				return false, err
			}
			head = &now
			w.known.Store(head)
		}
		switch {
		case head.Incarnation != h.fact.Incarnation: // whoever handles it leaves it out
			return true, nil
		case head.Seq < h.fact.Seq:
			return false, nil
		case !broken:
			return true, nil
		}
		return w.logged(ctx, h)
	}
}

// logged reports whether the log has a message of that key where the headers say.
func (w *worker) logged(ctx context.Context, h *headers) (bool, error) {
	events, err := w.feed.source.Read(ctx, h.fact.Seq-1, 1)
	if err != nil || len(events) == 0 {
		return false, err
	}
	return slices.ContainsFunc(events[0].Changes(), func(c bank.Change) bool {
		return c.Topic() == w.Topic && c.N == h.fact.N && c.Key() == h.key
	}), nil
}
