package ops

import (
	"bankforge/app/bank"
)

// ReactionStatus is what a handler has made of a message: done, waiting (it has not come there yet), or the Status of
// the message in the parking lot. The texts are permanent.
type ReactionStatus string

// What is not in the parking lot is behind the handler, or before it.
const (
	ReactionDone    ReactionStatus = "done"
	ReactionWaiting ReactionStatus = "waiting"
)

// Reaction is what one handler has made of one message of an event.
type Reaction struct {
	Handler string
	Topic   bank.Topic
	Seq     bank.Seq
	N       int
	Key     string
	Status  ReactionStatus
	Failure string // in the parking lot: its id
}

// Reactions joins the messages of events with the handlers of their topics, and with what of them is, or ever was, in
// the parking lot. partition says where a topic has a key; nil: there is one partition, as where the log is the
// broker.
func Reactions(
	messages []bank.Change, all []Handler, parked []Failure, partition func(topic bank.Topic, key string) int,
) []Reaction {
	var out []Reaction
	for i := range messages {
		m := &messages[i]
		for j := range all {
			h := &all[j]
			if h.Topic != m.Topic() {
				continue
			}
			r := Reaction{
				Handler: h.Name, Topic: h.Topic, Seq: m.Seq, N: m.N, Key: m.Key(), Status: ReactionWaiting,
			}
			at := 0
			if partition != nil {
				at = partition(h.Topic, r.Key)
			}
			if h.has(at, m.Seq, m.N) {
				r.Status = ReactionDone
			}
			r.look(parked)
			out = append(out, r)
		}
	}
	return out
}

// has reports whether the handler's place in a partition is not before the message.
func (h *Handler) has(partition int, seq bank.Seq, n int) bool {
	for _, p := range h.Places {
		if p.Partition == partition {
			return p.Seq > seq || p.Seq == seq && p.N >= n
		}
	}
	return false
}

// look finds the message in the parking lot.
func (r *Reaction) look(parked []Failure) {
	for i := range parked {
		if f := &parked[i]; f.Handler == r.Handler && f.Seq == r.Seq && f.N == r.N {
			r.Failure, r.Status = f.ID, ReactionStatus(f.Status)
			return
		}
	}
}
