package mirror

import (
	"context"
	"encoding/binary"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/router"
)

// Suffix of the topics on which it is shown what was parked of others.
const Suffix = ".dlt"

// TopicOf is where it is shown what was parked of a topic.
func TopicOf(t bank.Topic) bank.Topic { return t + Suffix }

// Letter is a message that was parked.
type Letter struct {
	ID            int64  // in the store
	router.Parked        // as it was parked; without its attempts
	Class         string // of its last failure; "": it has not failed, but waits behind one that has
	Error         string // as Class
	Stack         string // of a panic
}

// The headers are those of Spring's DeadLetterPublishingRecoverer, in the same bytes: numbers are big-endian, of 4
// bytes (the partition) or 8. Ours stand behind them.
const (
	headerTopic         = "kafka_dlt-original-topic"
	headerPartition     = "kafka_dlt-original-partition"
	headerOffset        = "kafka_dlt-original-offset"
	headerTimestamp     = "kafka_dlt-original-timestamp"
	headerTimestampType = "kafka_dlt-original-timestamp-type"
	headerGroup         = "kafka_dlt-original-consumer-group"
	headerClass         = "kafka_dlt-exception-fqcn"
	headerMessage       = "kafka_dlt-exception-message"
	headerStack         = "kafka_dlt-exception-stacktrace"
	headerFailure       = "bankforge_failure"
	headerStatus        = "bankforge_status"
	headerLeftOut       = "bankforge_left_out" // what would have made the letter too long: see fit
)

// Limits of a letter in bytes. What a broker carries is at most a million, and a letter has more headers than what was
// parked had.
const (
	maxLetter = 900_000
	maxError  = 4 << 10
	maxStack  = 16 << 10
)

const (
	keyName      = "key"        // of the metadata that a topic is ordered by
	reserved     = "_watermill" // begins what transports write for themselves
	createTime   = "CreateTime" // what Kafka calls the time that a producer gave a message
	blockedClass = "blocked"
	blockedError = "an earlier message of the same key waits, so this one waits behind it"
	classPrefix  = "bankforge."
	// unknown is the offset of what no broker brought: the handler read it from the log.
	unknown = -1
)

// message is the letter as it is shown: as it came, with headers that say where from and why it was parked.
func (l *Letter) message(prefix string, partitions int) *message.Message {
	offset, at := int64(unknown), l.At
	partition := router.PartitionOf(l.Key, partitions)
	msg := message.NewMessage(l.Parked.ID(), l.Payload)
	for name, value := range l.Metadata {
		switch {
		case name == router.OriginOffset:
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				offset, partition = n, l.Partition
			}
		case name == router.OriginTime:
			at = timeOr(value, at)
		case !strings.HasPrefix(name, reserved):
			msg.Metadata[name] = value
		}
	}
	class, text := l.Class, first(ops.Open(l.Error), maxError) // who reads this topic reads the payload, too
	if class == "" {
		class, text = blockedClass, blockedError
	}
	class = classPrefix + class
	maps.Copy(msg.Metadata, map[string]string{
		keyName:             l.Key,
		headerTopic:         prefix + string(l.Topic),
		headerPartition:     string(binary.BigEndian.AppendUint32(nil, uint32(partition))),
		headerOffset:        long(offset),
		headerTimestamp:     long(at.UnixMilli()),
		headerTimestampType: createTime,
		headerGroup:         prefix + l.Handler,
		headerClass:         class,
		headerMessage:       text,
		headerStack:         strings.TrimSuffix(class+": "+text+"\n"+first(l.Stack, maxStack), "\n"),
		headerFailure:       l.Parked.ID(),
		headerStatus:        string(l.Status),
	})
	if partition >= partitions { // there are fewer than there were
		partition = router.PartitionOf(l.Key, partitions)
	}
	l.fit(msg)
	msg.SetContext(router.WithPartition(context.Background(), partition))
	return msg
}

// fit leaves out of a letter that no broker would take what may be long: its payload, and then the headers that it
// came with. They are in the parking lot; and letters behind it must not wait for it.
func (l *Letter) fit(msg *message.Message) {
	size := func() int {
		n := len(msg.Payload)
		for name, value := range msg.Metadata {
			n += len(name) + len(value)
		}
		return n
	}
	if size() <= maxLetter {
		return
	}
	msg.Payload = nil
	msg.Metadata[headerLeftOut] = "payload"
	if size() <= maxLetter {
		return
	}
	for name := range l.Metadata {
		if name != keyName && !strings.HasPrefix(name, "kafka_dlt-") {
			delete(msg.Metadata, name)
		}
	}
	msg.Metadata[headerLeftOut] = "payload, headers"
	msg.Metadata[headerFailure], msg.Metadata[headerStatus] = l.Parked.ID(), string(l.Status)
}

// first is the beginning of a text, in whole characters.
func first(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// long is a number as Java's ByteBuffer writes it.
func long(n int64) string { return string(binary.BigEndian.AppendUint64(nil, uint64(n))) }

func timeOr(text string, otherwise time.Time) time.Time {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t
	}
	return otherwise
}
