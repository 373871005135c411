package kafka

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/router"
)

// feed is a partition in memory. It sends one record at a time, while the reader wants it to.
type feed struct {
	in      chan *sarama.ConsumerMessage
	out     chan *message.Message
	wants   chan bool // what the reader says; nobody else changes its mind
	fetches bool
	sent    int
	got     int // of what was sent, what was handed out and acknowledged
}

// most is what the whole room holds of the records, which take 1 KiB each.
const most = 100

func newRecord(offset int) *sarama.ConsumerMessage {
	return &sarama.ConsumerMessage{Offset: int64(offset), Value: make([]byte, 1<<10-recordFrame)}
}

// read starts a reader of a new feed.
func (s *Subscriber) read(t *testing.T) *feed {
	t.Helper()
	f := &feed{
		in: make(chan *sarama.ConsumerMessage), out: make(chan *message.Message), wants: make(chan bool), fetches: true,
	}
	ctx, done := t.Context(), make(chan struct{})
	say := func(wants bool) func() {
		return func() {
			select {
			case f.wants <- wants:
			case <-ctx.Done():
			}
		}
	}
	r := reader{s: s, out: f.out, in: f.in, pause: say(false), resume: say(true), done: func(int64) {}}
	go func() {
		defer close(done)
		r.read(ctx)
	}()
	t.Cleanup(func() { <-done })
	f.step(t, nil) // it runs once it takes something
	return f
}

// step lets something happen: the reader takes a record, or changes its mind, or hands a message to out.
func (f *feed) step(t *testing.T, out <-chan *message.Message) {
	t.Helper()
	in := f.in
	if !f.fetches {
		in = nil
	}
	select {
	case in <- newRecord(f.sent):
		f.sent++
	case f.fetches = <-f.wants:
	case msg := <-out:
		if n, ok := router.RecordsIn(msg); ok {
			f.got += n.Len()
		} else {
			f.got++
		}
		msg.Ack()
	}
	if f.sent-f.got > most+1 {
		t.Fatalf("%d records are held; there is room for %d", f.sent-f.got, most)
	}
}

// fill lets the reader take what it likes while nobody handles anything.
func (f *feed) fill(t *testing.T) int {
	t.Helper()
	for f.fetches {
		f.step(t, nil)
	}
	return f.sent - f.got
}

// What is read ahead of a slow handler is bounded by the bytes that all partitions of a process may hold together. Once
// there is room again, everything comes.
func TestWhatIsReadAheadIsBounded(t *testing.T) {
	t.Parallel()
	s := NewSubscriber(SubscriberConfig{Records: 10 * most, Room: NewRoom(most << 10)})
	one := s.read(t)
	if held := one.fill(t); held != most {
		t.Errorf("alone it holds %d records; want %d", held, most)
	}
	other := s.read(t)
	if held := other.fill(t); held != most/2 {
		t.Errorf("one of two holds %d records; want %d", held, most/2)
	}
	for one.got < 5*most {
		one.step(t, one.out)
	}
	if held := one.fill(t); held > most/2+1 {
		t.Errorf("the other one of two holds %d records; want %d", held, most/2)
	}
}

// Of small records there are never many more than can be handed out soon.
func TestRecordsThatAreReadAheadAreCounted(t *testing.T) {
	t.Parallel()
	s := NewSubscriber(SubscriberConfig{Records: 10, Room: NewRoom(1 << 30)})
	if held := s.read(t).fill(t); held > 2*10+1 {
		t.Errorf("%d records are held", held)
	}
}

// A broker that is away is told of by every partition, again and again, in turn.
func TestTheSameFailureIsLoggedOnce(t *testing.T) {
	t.Parallel()
	var lines bytes.Buffer
	s := NewSubscriber(SubscriberConfig{Config: Config{Log: slog.New(slog.NewTextHandler(&lines, nil))}})
	away := errors.New("connection refused")
	for range 5 {
		for partition := range int32(3) {
			s.warn(t.Context(), "topic", &sarama.ConsumerError{Topic: "topic", Partition: partition, Err: away})
		}
		s.warn(t.Context(), "topic", errors.New("something else"))
	}
	if n := strings.Count(lines.String(), "\n"); n != 2 {
		t.Errorf("%d lines:\n%s", n, &lines)
	}
}
