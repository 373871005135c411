package kafka

import (
	"fmt"

	"github.com/IBM/sarama"
	wmkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
)

// marshaler is a wmkafka.Marshaler. It writes what watermill-kafka's own writes, and the key of the metadata as the
// record's, with a sixth of the allocations.
type marshaler struct {
	names map[string][]byte // of the headers that most messages have
}

func newMarshaler() marshaler {
	m := marshaler{map[string][]byte{}}
	for _, name := range []string{
		"ce_specversion", "ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "ce_datacontenttype", keyName,
		"position", "prev", "incarnation", "account_version", "transaction_version", "correlation_id", "causation_id",
		"traceparent", "actor", "idempotency_key",
	} {
		m.names[name] = []byte(name)
	}
	return m
}

// Marshal makes a record of the message.
func (m marshaler) Marshal(topic string, msg *message.Message) (*sarama.ProducerMessage, error) {
	size := len(msg.UUID)
	for _, value := range msg.Metadata {
		size += len(value)
	}
	room := make([]byte, 0, size)
	cut := func(s string) []byte {
		from := len(room)
		room = append(room, s...)
		return room[from:len(room):len(room)]
	}
	headers := make([]sarama.RecordHeader, 1, 1+len(msg.Metadata))
	headers[0] = sarama.RecordHeader{Key: []byte(wmkafka.UUIDHeaderKey), Value: cut(msg.UUID)}
	var key sarama.Encoder
	for name, value := range msg.Metadata {
		known, ok := m.names[name]
		switch {
		case name == wmkafka.UUIDHeaderKey:
			return nil, fmt.Errorf("metadata %s is reserved for the message's UUID", name)
		case !ok:
			known = []byte(name)
		}
		written := cut(value)
		if name == keyName {
			key = sarama.ByteEncoder(written)
		}
		headers = append(headers, sarama.RecordHeader{Key: known, Value: written})
	}
	return &sarama.ProducerMessage{
		Topic: topic, Key: key, Value: sarama.ByteEncoder(msg.Payload), Headers: headers,
	}, nil
}
