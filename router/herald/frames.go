package herald

import (
	"encoding/json"
	"strconv"
	"time"

	"bankforge/app/ops"
)

// The names of the forms below. What a client reads under a name never changes its meaning. There are no amounts in
// them, and no texts: errors, reasons and messages are loaded by who may see them.
const (
	failureSchema = "bankforge.live.failure/1"
	actSchema     = "bankforge.live.act/1"
	handlerSchema = "bankforge.live.handler/1"
	replaySchema  = "bankforge.live.replay/1"
)

type frame struct {
	Schema        string `json:"schema"`
	Type          string `json:"type"`
	OccurredAt    string `json:"occurred_at"`
	CorrelationID string `json:"correlation_id,omitempty"`
	Data          any    `json:"data"`
}

type failure struct {
	ID          string  `json:"id"`
	Handler     string  `json:"handler"`
	Key         string  `json:"key"`
	Class       *string `json:"class"`
	Fingerprint *string `json:"fingerprint"`
	Status      string  `json:"status"`
	Head        bool    `json:"head"`
	Attempts    int     `json:"attempts"`
}

type act struct {
	EventID string  `json:"event_id"`
	Seq     uint64  `json:"seq"`
	Kind    string  `json:"kind"`
	Handler *string `json:"handler"`
	Key     *string `json:"key"`
	Target  *string `json:"target"`
	Actor   *string `json:"actor"`
	Status  string  `json:"status"`
	Code    *string `json:"code"`
}

type handler struct {
	Handler string `json:"handler"`
	State   string `json:"state"`
}

type replay struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Keys     int    `json:"keys"`
	Count    int    `json:"count"`
	Handled  int    `json:"handled"`
	Failed   int    `json:"failed"`
	Left     int    `json:"left"`
	KeysLeft int    `json:"keys_left"`
}

// failureState is another text whenever something has happened to a message.
func failureState(f *ops.Failure) string {
	return f.ID + " " + string(f.Status) + " " + strconv.Itoa(f.Attempts)
}

func failureFrame(f *ops.Failure, now time.Time) frame {
	out := frameOf(failureSchema, "failure."+string(f.Status), now, failure{
		ID: f.ID, Handler: f.Handler, Key: f.Key, Class: maybe(f.Class), Fingerprint: maybe(f.Fingerprint),
		Status: string(f.Status), Head: f.Head, Attempts: f.Attempts,
	})
	out.CorrelationID = f.Correlation
	return out
}

// manyFrame says that more has changed than is told one by one.
func manyFrame(now time.Time) frame { return frameOf(failureSchema, "failures.many", now, struct{}{}) }

func actFrame(a *ops.Executed, now time.Time) frame {
	return frameOf(actSchema, "act."+string(a.Status), now, act{
		EventID: a.ID, Seq: uint64(a.Seq), Kind: a.Kind, Handler: maybe(a.Handler), Key: maybe(a.Key),
		Target: maybe(a.Target), Actor: maybe(a.Actor), Status: string(a.Status), Code: maybe(a.Code),
	})
}

func handlerFrame(s ops.Standing, now time.Time) frame {
	return frameOf(handlerSchema, "handler."+s.State, now, handler(s))
}

func replayFrame(r *ops.Replay, now time.Time) frame {
	return frameOf(replaySchema, "replay."+string(r.Status), now, replay{
		ID: r.ID, Status: string(r.Status), Keys: r.Keys, Count: r.Messages, Handled: r.Handled, Failed: r.Failed,
		Left: r.Left, KeysLeft: r.KeysLeft,
	})
}

func frameOf(schema, kind string, now time.Time, data any) frame {
	return frame{
		Schema: schema, Type: kind, OccurredAt: now.UTC().Format("2006-01-02T15:04:05.000000Z"), Data: data,
	}
}

// maybe is nil for no text.
func maybe(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (f frame) encode() []byte {
	b, err := json.Marshal(f)
	if err != nil {
		panic("herald: texts and numbers always encode: " + err.Error())
	}
	return b
}

// says is what a frame says, whenever it is said.
func (f frame) says() string {
	f.OccurredAt = ""
	return string(f.encode())
}
