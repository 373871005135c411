package operations

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/codec"
	"bankforge/app/ops"
	"bankforge/ports/render"
)

// Trace is all that followed from one correlation id.
type Trace struct {
	CorrelationID string        `json:"correlation_id"`
	Command       MaybeOrigin   `json:"command" doc:"That began it; null: it is behind what was looked at."`
	Events        []TracedEvent `json:"events" nullable:"false" doc:"In the order of the log."`
	Failures      []Failure     `json:"failures" nullable:"false" doc:"Messages that are or were parked."`
	LookedFrom    uint64        `json:"looked_from" doc:"Older events are found by transactions and failures only."`
}

// Origin is who asked.
type Origin struct {
	Actor          string  `json:"actor"`
	IdempotencyKey *string `json:"idempotency_key"`
	At             string  `json:"at" format:"date-time"`
}

// MaybeOrigin is Origin or null.
type MaybeOrigin struct{ *Origin }

// Schema overrides what huma would make of it.
func (MaybeOrigin) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{AnyOf: []*huma.Schema{r.Schema(reflect.TypeFor[Origin](), true, ""), {Type: "null"}}}
}

// MarshalJSON writes null where nobody is known.
func (m MaybeOrigin) MarshalJSON() ([]byte, error) { return json.Marshal(m.Origin) }

// TracedEvent is one event, and who has heard of it.
type TracedEvent struct {
	Seq      uint64          `json:"seq"`
	Type     string          `json:"type" example:"transaction.made"`
	Time     string          `json:"time" format:"date-time"`
	Actor    string          `json:"actor"`
	ActID    *string         `json:"act_id" doc:"Of an operator's act."`
	Messages []TracedMessage `json:"messages" nullable:"false"`
}

// TracedMessage is one message of an event, and what handlers have made of it.
type TracedMessage struct {
	Position string     `json:"position" example:"41.1"`
	Topic    string     `json:"topic"`
	Key      string     `json:"key"`
	Type     string     `json:"type" example:"bankforge.account.credited.v1"`
	Version  uint64     `json:"version" doc:"Of the key."`
	Channel  *string    `json:"live_channel" doc:"Where live clients get it, with the version as its offset."`
	Handlers []Reaction `json:"handlers" nullable:"false"`
}

// Reaction is what one handler has made of a message.
type Reaction struct {
	Handler   string  `json:"handler"`
	Status    string  `json:"status" enum:"done,waiting,parked,blocked,scheduled,resolved,discarded"`
	FailureID *string `json:"failure_id"`
}

// Partition says in which partition of a topic a key is.
type Partition func(topic bank.Topic, key string) int

// Trace joins events with handlers and with what is parked of them.
func (w Watcher) Trace(
	correlation string, events []app.Recorded, from bank.Seq, all []ops.Handler, parked []ops.Failure, at Partition,
) Trace {
	out := Trace{
		CorrelationID: correlation, Events: make([]TracedEvent, len(events)), Failures: make([]Failure, len(parked)),
		LookedFrom: uint64(from),
	}
	for i := range parked {
		out.Failures[i] = w.Failure(&parked[i])
	}
	for i := range events {
		out.Events[i] = traced(&events[i], all, parked, at)
	}
	if len(events) > 0 {
		first := &events[0]
		out.Command.Origin = &Origin{
			first.Meta.Actor, render.Maybe(first.Meta.IdempotencyKey), render.Time(first.Time),
		}
	}
	return out
}

func traced(e *app.Recorded, all []ops.Handler, parked []ops.Failure, at Partition) TracedEvent {
	messages := e.Changes()
	out := TracedEvent{
		Seq: uint64(e.Seq), Type: codec.Name(e.Type), Time: render.Time(e.Time), Actor: e.Meta.Actor,
		Messages: make([]TracedMessage, len(messages)),
	}
	if e.Act != nil {
		out.ActID = render.Maybe(e.Act.ID.String())
	}
	for i := range messages {
		m := &messages[i]
		t := TracedMessage{
			Position: position(uint64(m.Seq), m.N), Topic: string(m.Topic()), Key: m.Key(),
			Type: "bankforge." + m.Name + ".v1", Version: uint64(m.Version()), Channel: channel(m), Handlers: []Reaction{},
		}
		for _, r := range ops.Reactions(messages[i:i+1], all, parked, at) {
			t.Handlers = append(t.Handlers, Reaction{r.Handler, string(r.Status), render.Maybe(r.Failure)})
		}
		out.Messages[i] = t
	}
	return out
}

// channel is where live clients hear of a message; nobody can follow what is the bank's own.
func channel(m *bank.Change) *string {
	switch {
	case m.Topic() == bank.AccountsTopic && !strings.HasPrefix(m.Key(), "@"):
		return render.Maybe("account:" + m.Key())
	case m.Topic() == bank.TransactionsTopic:
		return render.Maybe("transaction:" + m.Key())
	}
	return nil
}
