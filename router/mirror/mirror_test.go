package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/mirror"
	"bankforge/router/rebuild"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lot is a mirror.Store in memory.
type lot struct {
	mu       sync.Mutex
	letters  []mirror.Letter
	mirrored map[int64]bool
	reserved bool
	refuses  int // so many notes fail
}

func (l *lot) park(letters ...mirror.Letter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.letters = append(l.letters, letters...)
}

func (l *lot) Unmirrored(_ context.Context, limit int) (out []mirror.Letter, _ error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.letters {
		if !l.mirrored[one.ID] && len(out) < limit {
			out = append(out, one)
		}
	}
	return out, nil
}

func (l *lot) Mirrored(_ context.Context, ids []int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuses > 0 {
		l.refuses--
		return errors.New("the store is away")
	}
	for _, id := range ids {
		l.mirrored[id] = true
	}
	return nil
}

func (l *lot) Reserve(_ context.Context, _ string, shared bool) (func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reserved || shared {
		return nil, rebuild.ErrUnderWay
	}
	l.reserved = true
	return func() { l.reserve(false) }, nil
}

func (l *lot) reserve(by bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reserved = by
}

// broker has topics with what was published on them.
type broker struct {
	mu     sync.Mutex
	away   bool
	topics map[string][]*message.Message
}

func (b *broker) set(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
}

func (b *broker) Missing(_ context.Context, topics map[bank.Topic]int) (missing []bank.Topic, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return nil, errors.New("the broker is away")
	}
	for topic := range topics {
		if b.topics[string(topic)] == nil {
			missing = append(missing, topic)
		}
	}
	return missing, nil
}

func (b *broker) Make(_ context.Context, topic bank.Topic, _ int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.topics[string(topic)] = []*message.Message{}
	return nil
}

func (b *broker) Publish(topic string, msgs ...*message.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away || b.topics[topic] == nil {
		return errors.New("the broker is away, or has no such topic")
	}
	for _, m := range msgs {
		size := len(m.Payload)
		for name, value := range m.Metadata {
			size += len(name) + len(value)
		}
		if size > 1_000_000 {
			return errors.New("a message is too large")
		}
	}
	b.topics[topic] = append(b.topics[topic], msgs...)
	return nil
}

func (b *broker) Close() error { return nil }

// told is what came on a topic.
func (b *broker) told(topic string) (failures []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.topics[topic] {
		failures = append(failures, m.Metadata["bankforge_failure"])
	}
	return failures
}

// failed is a message of the account that has failed, or waits.
func failed(id int64, key string) mirror.Letter {
	return mirror.Letter{ID: id, Class: "unknown", Error: "boom", Parked: router.Parked{
		Stream: router.Stream{Handler: "history", Topic: bank.AccountsTopic, Partition: 2}, Key: key, Incarnation: "inc",
		Position: handlers.Position{Seq: bank.Seq(id)}, Status: router.Failed, At: time.UnixMilli(1_700_000_000_000),
		Metadata: map[string]string{"key": key}, Payload: []byte("{}"),
	}}
}

const topic = "bankforge.accounts.v1.dlt"

// run runs a mirror until the bubble's test ends.
func run(t *testing.T, l *lot, b *broker) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	m := mirror.New(mirror.Config{
		Store: l, Publisher: b, Topics: b, Partitions: map[bank.Topic]int{bank.AccountsTopic: 4}, Prefix: "p.", Batch: 2,
	})
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func ids(letters ...mirror.Letter) (out []string) {
	for _, l := range letters {
		out = append(out, l.Parked.ID())
	}
	return out
}

func some(n int) (out []mirror.Letter) {
	for i := range n {
		out = append(out, failed(int64(i+1), fmt.Sprint("acc_", i%2)))
	}
	return out
}

func TestWhatIsParkedIsShownInOrderAndOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, b := &lot{mirrored: map[int64]bool{}}, &broker{topics: map[string][]*message.Message{}}
		letters := some(7)
		l.park(letters[:5]...)
		run(t, l, b)
		time.Sleep(time.Second)
		l.park(letters[5:]...)
		time.Sleep(time.Minute)
		if got := b.told(topic); !slices.Equal(got, ids(letters...)) {
			t.Errorf("shown are\n%v\nwant\n%v", got, ids(letters...))
		}
	})
}

// A broker that is away only delays, and one that has lost a topic gets it again.
func TestABrokerThatIsAwayLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, b := &lot{mirrored: map[int64]bool{}}, &broker{topics: map[string][]*message.Message{}, away: true}
		letters := some(6)
		run(t, l, b)
		l.park(letters[:3]...)
		time.Sleep(time.Minute)
		if got := b.told(topic); len(got) > 0 || len(l.mirrored) > 0 {
			t.Fatalf("shown are %v, and noted %v", got, l.mirrored)
		}
		b.set(false)
		time.Sleep(time.Minute)
		if got := b.told(topic); !slices.Equal(got, ids(letters[:3]...)) {
			t.Fatalf("shown are %v", got)
		}
		b.mu.Lock()
		delete(b.topics, topic)
		b.mu.Unlock()
		l.park(letters[3:]...)
		time.Sleep(time.Minute)
		if got := b.told(topic); !slices.Equal(got, ids(letters[3:]...)) {
			t.Errorf("shown are %v", got)
		}
	})
}

// What was sent and not noted, as by a crash between, is sent again.
func TestWhatWasNotNotedIsShownAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, b := &lot{mirrored: map[int64]bool{}, refuses: 1}, &broker{topics: map[string][]*message.Message{}}
		letters := some(3)
		l.park(letters...)
		run(t, l, b)
		time.Sleep(time.Minute)
		want := append(ids(letters[:2]...), ids(letters...)...)
		if got := b.told(topic); !slices.Equal(got, want) {
			t.Errorf("shown are\n%v\nwant\n%v", got, want)
		}
	})
}

func TestOneShowsAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, b := &lot{mirrored: map[int64]bool{}, reserved: true}, &broker{topics: map[string][]*message.Message{}}
		l.park(some(4)...)
		run(t, l, b)
		run(t, l, b)
		time.Sleep(time.Minute)
		if got := b.told(topic); len(got) > 0 {
			t.Fatalf("shown are %v, while somebody else shows", got)
		}
		l.reserve(false)
		time.Sleep(time.Minute)
		if got := b.told(topic); !slices.Equal(got, ids(some(4)...)) {
			t.Errorf("shown are %v", got)
		}
	})
}

// What no broker would take as it is holds up nothing behind it.
func TestALetterThatIsTooLongHoldsUpNobody(t *testing.T) {
	t.Parallel()
	for name, lengthen := range map[string]func(*mirror.Letter){
		"payload": func(l *mirror.Letter) { l.Payload = make([]byte, 1_000_000) },
		"headers": func(l *mirror.Letter) { l.Metadata["mine"] = strings.Repeat("x", 1_000_000) },
		"error":   func(l *mirror.Letter) { l.Error = strings.Repeat("ä", 500_000) },
		"stack":   func(l *mirror.Letter) { l.Stack = strings.Repeat("x", 1_000_000) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, b := &lot{mirrored: map[int64]bool{}}, &broker{topics: map[string][]*message.Message{}}
				letters := some(3)
				lengthen(&letters[0])
				l.park(letters...)
				run(t, l, b)
				time.Sleep(time.Minute)
				if got := b.told(topic); !slices.Equal(got, ids(letters...)) {
					t.Errorf("shown are\n%v\nwant\n%v", got, ids(letters...))
				}
			})
		})
	}
}
