package kafka_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/adapters/kafka"
	"bankforge/adapters/postgres"
	"bankforge/api/apitest"
	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/router/mirror"
)

// openLot is a parking lot in a real PostgreSQL.
func openLot(t *testing.T) *postgres.HandlerStore {
	t.Helper()
	db, err := postgres.Open(t.Context(), servers.Postgres(t), postgres.Options{Prefix: servers.Name() + "_", MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Drop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return postgres.NewHandlerStore(db.Derived())
}

// flaky is a publisher to a broker that is away for the first few times, and a lot that does not note the first batch.
type flaky struct {
	*kafka.Publisher
	*postgres.HandlerStore
	away, forgets int
}

func (f *flaky) Publish(topic string, msgs ...*message.Message) error {
	if f.away--; f.away >= 0 {
		return errors.New("Kafka is away")
	}
	return f.Publisher.Publish(topic, msgs...)
}

func (f *flaky) Mirrored(ctx context.Context, ids []int64) error {
	if f.forgets--; f.forgets >= 0 {
		return errors.New("killed before it was noted")
	}
	return f.HandlerStore.Mirrored(ctx, ids)
}

// broken is a handler that cannot handle some accounts.
func broken(h *house, accounts ...int) func(context.Context, []handlers.Fact) error {
	return func(_ context.Context, facts []handlers.Fact) error {
		for i := range facts {
			for _, a := range accounts {
				if facts[i].Key() == h.log.account(a).String() {
					return handlers.As(handlers.Poison, fmt.Errorf("account %d is broken", a))
				}
			}
		}
		return nil
	}
}

// Through a real Kafka and a real PostgreSQL: what a handler has parked is shown beside its topic, all of it, each
// key's in order, as it came, with headers that point to where it came from.
func TestWhatIsParkedIsShownInKafka(t *testing.T) {
	t.Parallel()
	const partitions = 4
	h, lot := newHouse(t, partitions), openLot(t)
	h.views = lot
	h.transfer(300)
	progress, _ := h.handling(t, partitions, broken(h, 3, 7), postgres.Classify)
	h.await(t, progress)
	f := &flaky{publisher(t, h.broker), lot, 2, 1}
	m := mirror.New(mirror.Config{
		Store: f, Publisher: f, Topics: &kafka.Topics{Config: h.broker}, Partitions: topicsOf(partitions),
		Prefix: h.broker.Prefix, Poll: 10 * time.Millisecond, Again: 10 * time.Millisecond, Batch: 20,
	})
	background(t, m.Run)
	parked, err := lot.Failures(t.Context(), ops.FailureFilter{Page: ops.Page{Limit: 1000, Ascending: true}})
	if err != nil || len(parked) < 40 {
		t.Fatalf("%d are parked, %v", len(parked), err)
	}
	awaitMirrored(t, lot)
	const again = 20 // were not noted, and are sent twice
	shown := records(t, h.broker, mirror.TopicOf(bank.AccountsTopic), partitions, len(parked)+again)
	was := map[string]*sarama.ConsumerMessage{}
	for _, m := range records(t, h.broker, bank.AccountsTopic, partitions, h.messages()) {
		was[fmt.Sprint(m.Partition, "/", m.Offset)] = m
	}
	want, is := map[string][]string{}, map[string][]string{}
	for _, f := range parked {
		want[f.Key] = append(want[f.Key], f.ID)
	}
	for _, m := range shown {
		key, id := string(m.Key), header(m, "bankforge_failure")
		if !slices.Contains(is[key], id) {
			is[key] = append(is[key], id)
		}
		checkLetter(t, h, m, was)
	}
	if !maps.EqualFunc(is, want, slices.Equal) {
		t.Errorf("shown are\n%v\nparked are\n%v", is, want)
	}
}

// awaitMirrored waits until nothing is left to be shown.
func awaitMirrored(t *testing.T, lot *postgres.HandlerStore) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		left, err := lot.Unmirrored(t.Context(), 1)
		if err == nil && len(left) == 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("there is still something to be shown, %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// messages is how many there are of accounts.
func (h *house) messages() (n int) {
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	for _, v := range h.log.versions {
		n += int(v)
	}
	return n
}

func header(m *sarama.ConsumerMessage, name string) string {
	for _, h := range m.Headers {
		if string(h.Key) == name {
			return string(h.Value)
		}
	}
	return ""
}

// checkLetter compares what is shown with the document, and with the message where it says that it came from.
func checkLetter(t *testing.T, h *house, m *sarama.ConsumerMessage, was map[string]*sarama.ConsumerMessage) {
	t.Helper()
	const dlt = "kafka_dlt-"
	said := map[string]any{}
	for _, h := range m.Headers {
		said[string(h.Key)] = string(h.Value)
	}
	if err := apitest.Messages(t)[apitest.DeadLetter].Headers.Validate(said); err != nil {
		t.Errorf("it is not as documented: %v", err)
	}
	partition, offset := header(m, dlt+"original-partition"), header(m, dlt+"original-offset")
	if len(partition) != 4 || len(offset) != 8 {
		t.Fatalf("partition %q, offset %q", partition, offset)
	}
	at := fmt.Sprint(binary.BigEndian.Uint32([]byte(partition)), "/", binary.BigEndian.Uint64([]byte(offset)))
	from := was[at]
	if from == nil {
		t.Fatalf("there is no message at %s", at)
	}
	if string(from.Key) != string(m.Key) || string(from.Value) != string(m.Value) || from.Partition != m.Partition {
		t.Errorf("at %s is\n%s\nand shown is\n%s", at, from.Value, m.Value)
	}
	for _, h := range from.Headers {
		name := string(h.Key)
		if name != "prev" && !strings.HasPrefix(name, "_") && header(m, name) != string(h.Value) {
			t.Errorf("%s was %s, and is %s", name, h.Value, header(m, name))
		}
	}
	stamp := binary.BigEndian.Uint64([]byte(header(m, dlt+"original-timestamp")))
	if int64(stamp) != from.Timestamp.UnixMilli() || header(m, dlt+"original-topic") != from.Topic ||
		header(m, dlt+"original-consumer-group") != h.broker.Prefix+"book" {
		t.Errorf("headers %v of a message of %v on %s", said, from.Timestamp, from.Topic)
	}
	class, text := header(m, dlt+"exception-fqcn"), header(m, dlt+"exception-message")
	if header(m, "bankforge_status") == "parked" {
		if class != "bankforge.poison" || !strings.Contains(text, "is broken") {
			t.Errorf("it failed as %s: %s", class, text)
		}
	} else if class != "bankforge.blocked" {
		t.Errorf("what waits is of class %s", class)
	}
}
