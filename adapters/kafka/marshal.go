package kafka

import (
	"fmt"

	"github.com/IBM/sarama"
	wmkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/router"
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

// idName is the header whose value is a record's id.
const idName = "ce_id"

// usualHeaders is how many headers a record has at most, as a rule.
const usualHeaders = 20

// marshalAll makes of records what Marshal makes of messages that have the same headers as metadata. Keys, headers and
// payloads are not copied.
func marshalAll(topic string, r router.Records) []*sarama.ProducerMessage {
	all := make([]*sarama.ProducerMessage, r.Len())
	room := make([]sarama.ProducerMessage, r.Len())
	headers := make([]sarama.RecordHeader, 0, usualHeaders*r.Len())
	for i := range all {
		m, from := &room[i], len(headers)
		headers = append(headers, sarama.RecordHeader{Key: uuidName})
		payload := r.Record(i, func(name, value []byte) {
			switch string(name) {
			case keyName:
				m.Key = sarama.ByteEncoder(value)
			case idName:
				headers[from].Value = value
			}
			headers = append(headers, sarama.RecordHeader{Key: name, Value: value})
		})
		m.Topic, m.Value, m.Headers = topic, sarama.ByteEncoder(payload), headers[from:len(headers):len(headers)]
		all[i] = m
	}
	return all
}

var uuidName = []byte(wmkafka.UUIDHeaderKey)
