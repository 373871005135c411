package mirror_test

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/router"
	"bankforge/router/mirror"
)

// headers are what Spring writes, byte by byte.
var headers = map[string]string{
	"kafka_dlt-original-topic":          "p.bankforge.accounts.v1",
	"kafka_dlt-original-partition":      "\x00\x00\x00\x02",
	"kafka_dlt-original-offset":         "\x00\x00\x00\x01\x00\x00\x00\x07",
	"kafka_dlt-original-timestamp":      "\x00\x00\x01\x8b\xcf\xe5\x68\x7b",
	"kafka_dlt-original-timestamp-type": "CreateTime",
	"kafka_dlt-original-consumer-group": "p.history",
	"kafka_dlt-exception-fqcn":          "bankforge.poison",
	"kafka_dlt-exception-message":       "boom",
	"kafka_dlt-exception-stacktrace":    "bankforge.poison: boom\nmain.f()\n\tmain.go:1",
	"bankforge_status":                  "parked",
	"key":                               "acc_1",
	"mine":                              "as it came",
}

func TestHeadersAreSprings(t *testing.T) {
	t.Parallel()
	l := failed(1, "acc_1")
	l.Class, l.Stack = "poison", "main.f()\n\tmain.go:1\n"
	l.Payload = []byte{0, 0xff}
	l.Metadata = map[string]string{
		"key": "acc_1", "mine": "as it came", router.OriginOffset: "4294967303",
		router.OriginTime: "2023-11-14T22:13:20.123Z", "_watermill_message_uuid": "x",
	}
	check(t, l, headers, 2)
}

// What the handler has read from the log has no offset: it is where the topic has the key.
func TestWhatCameFromTheLogHasNoOffset(t *testing.T) {
	t.Parallel()
	l := failed(2, "acc_1")
	l.Partition, l.Class, l.Error, l.Status = 0, "", "", router.Waiting
	const blocked = "an earlier message of the same key waits, so this one waits behind it"
	want := maps.Clone(headers)
	maps.Copy(want, map[string]string{
		"kafka_dlt-original-partition":   "\x00\x00\x00" + string(rune(router.PartitionOf("acc_1", 4))),
		"kafka_dlt-original-offset":      "\xff\xff\xff\xff\xff\xff\xff\xff",
		"kafka_dlt-original-timestamp":   "\x00\x00\x01\x8b\xcf\xe5\x68\x00",
		"kafka_dlt-exception-fqcn":       "bankforge.blocked",
		"kafka_dlt-exception-message":    blocked,
		"kafka_dlt-exception-stacktrace": "bankforge.blocked: " + blocked,
		"bankforge_status":               "blocked",
	})
	delete(want, "mine")
	check(t, l, want, router.PartitionOf("acc_1", 4))
}

// check compares how the letter is shown.
func check(t *testing.T, l mirror.Letter, want map[string]string, partition int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store, b := &lot{mirrored: map[int64]bool{}}, &broker{topics: map[string][]*message.Message{}}
		store.park(l)
		run(t, store, b)
		time.Sleep(time.Minute)
		b.mu.Lock()
		defer b.mu.Unlock()
		all := b.topics[string(mirror.TopicOf(bank.AccountsTopic))]
		if len(all) != 1 {
			t.Fatalf("%d are shown", len(all))
		}
		want := maps.Clone(want)
		want["bankforge_failure"] = l.Parked.ID()
		for name := range all[0].Metadata {
			if _, ok := want[name]; !ok {
				t.Errorf("there is also header %s", name)
			}
		}
		for name, value := range want {
			if got := all[0].Metadata[name]; got != value {
				t.Errorf("%s is %q, want %q", name, got, value)
			}
		}
		if p, ok := router.PartitionIn(all[0].Context()); !ok || p != partition {
			t.Errorf("it is in partition %d, want %d", p, partition)
		}
		if string(all[0].Payload) != string(l.Payload) || all[0].UUID != l.Parked.ID() {
			t.Errorf("payload %q of %s", all[0].Payload, all[0].UUID)
		}
	})
}
