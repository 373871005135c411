package kafka

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	wmkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/router"
)

// reader hands out what a partition brings, one message at a time.
type reader struct {
	s             *Subscriber
	out           chan<- *message.Message
	in            <-chan *sarama.ConsumerMessage // closed when the partition is not ours any more
	partition     int32
	pause, resume func()             // of the partition's fetching
	done          func(offset int64) // marks what was acknowledged

	ahead  []*sarama.ConsumerMessage // read, and not handed out yet
	held   int                       // bytes of these and of what is under way
	paused bool
	gone   bool
}

// Room is for what the subscribers of a process hold in memory: they share it, partition by partition. A partition that
// has more than its share is not fetched from until half of that is free. What had been fetched by then still comes, so
// it holds at most its share, one fetch, and what the client keeps in a channel.
type Room struct {
	bytes   int64
	readers atomic.Int64 // of partitions
}

// NewRoom makes room for so many bytes.
func NewRoom(bytes int) *Room { return &Room{bytes: int64(bytes)} }

// share is how much of the room a partition has.
func (r *Room) share() int { return int(max(r.bytes/max(r.readers.Load(), 1), 1)) }

// recordFrame is what a record takes beside its bytes, and headerFrame what each of its headers does.
const (
	recordFrame = 256
	headerFrame = 56
)

// sizeOf is how much memory a record takes.
func sizeOf(m *sarama.ConsumerMessage) int {
	size := recordFrame + len(m.Key) + len(m.Value)
	for _, h := range m.Headers {
		size += headerFrame + len(h.Key) + len(h.Value)
	}
	return size
}

// full reports whether the partition has its share, or more records than it could soon hand out.
func (r *reader) full() bool {
	return r.held >= r.s.c.Room.share() || len(r.ahead) > 2*r.s.c.Records
}

// take keeps a record.
func (r *reader) take(m *sarama.ConsumerMessage) {
	r.ahead = append(r.ahead, m)
	r.held += sizeOf(m)
	if !r.paused && r.full() {
		r.paused = true
		r.pause()
	}
}

// drop lets go of the first n records, which have been handed out.
func (r *reader) drop(n int) {
	for _, m := range r.ahead[:n] {
		r.held -= sizeOf(m)
	}
	r.ahead = append(r.ahead[:0:0], r.ahead[n:]...)
	if r.paused && 2*r.held < r.s.c.Room.share() && len(r.ahead) < r.s.c.Records {
		r.paused = false
		r.resume()
	}
}

// letGo is how long a handler has to let go of a message when the partition goes to somebody else.
const letGo = time.Second

// read returns when the partition is not ours any more, or ctx ends.
func (r *reader) read(ctx context.Context) {
	ctx, cancel := context.WithCancel(router.WithPartition(ctx, int(r.partition)))
	defer cancel()
	r.s.c.Room.readers.Add(1)
	defer r.s.c.Room.readers.Add(-1)
	for !r.gone && r.next(ctx) {
		n, began := min(len(r.ahead), r.s.c.Records), time.Now()
		if !r.deliver(ctx, r.ahead[:n]) {
			return
		}
		r.drop(n)
		if n < r.s.c.Records && !r.gather(ctx, n, time.Since(began)) {
			return
		}
	}
}

// gather waits for more; false: the partition is not ours any more.
func (r *reader) gather(ctx context.Context, n int, took time.Duration) bool {
	if r.s.gather == nil {
		return true
	}
	wait, urgent := r.s.gather(n, took)
	return wait <= 0 || r.linger(ctx, wait, urgent)
}

// linger reads ahead for a while; false: the partition is not ours any more.
func (r *reader) linger(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for len(r.ahead) < r.s.c.Records && !r.full() || early == nil {
		select {
		case <-timer.C:
			return true
		case <-early:
			return true
		case <-r.s.draining:
			return true
		case m, ok := <-r.in:
			if !r.readAhead(m, ok) {
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// next waits for something to hand out, and takes what else is there.
func (r *reader) next(ctx context.Context) bool {
	for len(r.ahead) == 0 {
		select {
		case m, ok := <-r.in:
			if !ok {
				return false
			}
			r.take(m)
		case <-r.s.draining:
			return r.idle(ctx)
		case <-ctx.Done():
			return false
		}
	}
	for len(r.ahead) < r.s.c.Records {
		select {
		case m, ok := <-r.in:
			if !ok {
				return false
			}
			r.take(m)
		default:
			return !isClosed(r.s.draining) || r.idle(ctx)
		}
	}
	return !isClosed(r.s.draining) || r.idle(ctx)
}

// idle keeps the partition without reading, until it is not ours any more: whoever gets it would not keep it for long
// while others are being stopped, too.
func (r *reader) idle(ctx context.Context) bool {
	r.pause()
	for {
		select {
		case _, ok := <-r.in:
			if !ok {
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
}

// fate is what became of a message.
type fate int

const (
	lost    fate = iota // the partition is not ours any more, or ctx has ended
	taken               // acknowledged
	refused             // it comes again
	late                // nothing is handed out any more
)

// deliver hands the records out until they are acknowledged; false: the partition is not ours any more. Meanwhile it
// reads ahead, because only so does it learn that.
func (r *reader) deliver(ctx context.Context, records []*sarama.ConsumerMessage) bool {
	for {
		inner, cancel := context.WithCancel(ctx)
		became := r.hand(ctx, r.message(inner, records), cancel)
		cancel()
		switch became {
		case taken:
			r.done(records[len(records)-1].Offset)
			return true
		case refused:
			if !r.linger(ctx, r.s.c.Again, nil) {
				return false
			}
		case late:
			return r.idle(ctx)
		case lost:
			return false
		}
	}
}

// hand hands the message out, and waits for what becomes of it.
func (r *reader) hand(ctx context.Context, msg *message.Message, cancel func()) fate {
	if !r.s.begin() {
		return late
	}
	defer r.s.busy.Done()
	out, draining := r.out, r.s.draining
	for {
		over := false
		select {
		case out <- msg:
			out, draining = nil, nil
		case <-msg.Acked():
			return taken
		case <-msg.Nacked():
			return refused
		case <-draining:
			return late
		case m, ok := <-r.in:
			over = !r.readAhead(m, ok)
		case <-ctx.Done():
			over = true
		}
		if over {
			cancel()
			if out == nil && released(msg) {
				return taken
			}
			return lost
		}
	}
}

// released waits for a handler to let go of the message, and reports whether it has taken it in after all.
func released(msg *message.Message) bool {
	timer := time.NewTimer(letGo)
	defer timer.Stop()
	select {
	case <-msg.Acked():
		return true
	case <-msg.Nacked():
	case <-timer.C:
	}
	return false
}

// readAhead keeps a record; false: the partition is not ours any more.
func (r *reader) readAhead(m *sarama.ConsumerMessage, ok bool) bool {
	if !ok {
		r.gone = true
		return false
	}
	r.take(m)
	return true
}

// begin counts a message that is under way; false: nothing is handed out any more.
func (s *Subscriber) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isClosed(s.draining) {
		return false
	}
	s.busy.Add(1)
	return true
}

// message is what carries the records.
func (r *reader) message(ctx context.Context, records []*sarama.ConsumerMessage) *message.Message {
	first := records[0]
	if len(records) == 1 {
		msg, err := wmkafka.DefaultMarshaler{}.Unmarshal(first) // takes everything, and so never fails
		if err == nil {
			msg.SetContext(router.WithOrigins(ctx, batch(records)))
			return msg
		}
	}
	id := first.Topic + "-" + strconv.Itoa(int(first.Partition)) + "-" + strconv.FormatInt(first.Offset, 10)
	return router.NewBatch(ctx, id, batch(records))
}

// batch is router.Records, which know their origin.
type batch []*sarama.ConsumerMessage

// Len is how many there are.
func (b batch) Len() int { return len(b) }

// Record is one of them.
func (b batch) Record(i int, header func(name, value []byte)) []byte {
	for _, h := range b[i].Headers {
		header(h.Key, h.Value)
	}
	return b[i].Value
}

// Origin is where Kafka has the i-th, and since when.
func (b batch) Origin(i int) (offset int64, at time.Time) { return b[i].Offset, b[i].Timestamp }
