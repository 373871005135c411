package operations

import (
	"encoding/base64"
	"strconv"
	"time"

	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/ports/render"
)

// Failure is a message in the parking lot.
type Failure struct {
	ID            string   `json:"id" example:"fail_06h09h3q657ss5pr9u4kq9irho"`
	Handler       string   `json:"handler" example:"history"`
	Topic         string   `json:"topic" example:"bankforge.accounts.v1"`
	Partition     int      `json:"partition"`
	Seq           uint64   `json:"seq" doc:"Of the event."`
	Position      string   `json:"position" example:"41.1" doc:"The event's seq, and the number of the message within it."`
	Key           string   `json:"key" example:"acc_06h09h3q657ss5pr9u4kq9irho" doc:"Whose order is kept."`
	Type          string   `json:"type" example:"bankforge.account.credited.v1"`
	Status        string   `json:"status" enum:"parked,blocked,scheduled,resolved,discarded"`
	Head          bool     `json:"head" doc:"The first of its key that waits: it alone can be retried or discarded."`
	Class         *string  `json:"class" doc:"Of the last failure; null while it has not failed itself."`
	Error         *string  `json:"error" doc:"As class; what it quotes is masked as the payload is."`
	Fingerprint   *string  `json:"fingerprint" doc:"Of the group, as class."`
	CorrelationID *string  `json:"correlation_id"`
	Accounts      []string `json:"account_ids" nullable:"false" doc:"That it touches."`
	AttemptCount  int      `json:"attempt_count"`
	ParkedAt      string   `json:"parked_at" format:"date-time"`
	NextAttemptAt *string  `json:"next_attempt_at" format:"date-time" doc:"null: by hand."`
	EndedAt       *string  `json:"ended_at" format:"date-time" doc:"null: it waits."`
	EndedBy       *string  `json:"ended_by" doc:"stream, backoff, or the id of an act or a replay."`
}

// Watcher is who reads of failures.
type Watcher struct {
	All bool // money and what people wrote, too
}

// Text is what the reader may see of what says why something failed.
func (w Watcher) Text(s string) string {
	if w.All {
		return ops.Open(s)
	}
	return ops.Masked(s)
}

func (w Watcher) maybe(s string) *string { return render.Maybe(w.Text(s)) }

// Failure renders a failure.
func (w Watcher) Failure(f *ops.Failure) Failure {
	out := Failure{
		ID: f.ID, Handler: f.Handler, Topic: string(f.Topic), Partition: f.Partition, Seq: uint64(f.Seq),
		Position: position(uint64(f.Seq), f.N), Key: f.Key, Type: f.Type, Status: string(f.Status), Head: f.Head,
		Class: render.Maybe(f.Class), Error: w.maybe(f.Error), Fingerprint: render.Maybe(f.Fingerprint),
		CorrelationID: render.Maybe(f.Correlation), Accounts: f.Accounts, AttemptCount: f.Attempts,
		ParkedAt: render.Clock(f.ParkedAt), NextAttemptAt: maybeClock(f.NextAt), EndedAt: maybeClock(f.EndedAt),
		EndedBy: render.Maybe(f.EndedBy),
	}
	if out.Accounts == nil {
		out.Accounts = []string{}
	}
	return out
}

func position(seq uint64, n int) string { return strconv.FormatUint(seq, 10) + "." + strconv.Itoa(n) }

// maybeClock is nil for no time.
func maybeClock(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := render.Clock(t)
	return &s
}

// Detail is a failure with all that is known of it.
type Detail struct {
	Failure

	Incarnation    string            `json:"incarnation" doc:"Of the log that the position is in."`
	Stack          *string           `json:"stack" doc:"Of the last panic; null: there was none."`
	Metadata       map[string]string `json:"metadata" nullable:"false" doc:"The message's headers."`
	Payload        any               `json:"payload" doc:"What it says, as its type has it; null when it is no JSON."`
	PayloadMasked  bool              `json:"payload_masked" doc:"Money and what people wrote is hidden from the reader."`
	PayloadBytes   *string           `json:"payload_bytes" doc:"Base64 of what is no JSON, for who may see everything."`
	PayloadProblem *string           `json:"payload_problem" doc:"Why it is not what its type says; null: it is."`
	Attempts       []Attempt         `json:"attempts" nullable:"false" doc:"Every try that failed, in order."`
}

// Attempt is one try that failed.
type Attempt struct {
	At     string  `json:"at" format:"date-time"`
	TookMS float64 `json:"took_ms"`
	Class  string  `json:"class"`
	Error  string  `json:"error"`
	Stack  *string `json:"stack" doc:"Of a panic."`
	By     string  `json:"by" doc:"stream, backoff, or the id of an act or a replay."`
}

// Check reads a message as its type says, and tells what is wrong with it.
type Check func(metadata map[string]string, payload []byte) error

// Detail renders a failure with all that is known of it.
func (w Watcher) Detail(d *ops.Detail, check Check) Detail {
	out := Detail{
		Failure: w.Failure(&d.Failure), Incarnation: d.Incarnation, Metadata: d.Metadata,
		Attempts: make([]Attempt, len(d.Tries)),
	}
	if out.Metadata == nil {
		out.Metadata = map[string]string{}
	}
	for i := range d.Tries {
		t := &d.Tries[i]
		out.Attempts[i] = Attempt{
			At: render.Clock(t.At), TookMS: float64(t.Took.Microseconds()) / 1000, Class: t.Class, Error: w.Text(t.Error),
			Stack: render.Maybe(t.Stack), By: t.By,
		}
		if t.Stack != "" {
			out.Stack = out.Attempts[i].Stack
		}
	}
	out.carries(d, check, w.All)
	return out
}

// notAsTyped is what those hear of a broken payload who may not see what is in it.
const notAsTyped = "it is not what its type says"

func (out *Detail) carries(d *ops.Detail, check Check, everything bool) {
	out.PayloadMasked = !everything && d.Topic != bank.OpsTopic // what operators did is not hidden from them
	if check != nil {
		if err := check(d.Metadata, d.Payload); err != nil {
			what := notAsTyped
			if everything {
				what = err.Error()
			}
			out.PayloadProblem = &what
		}
	}
	v, isJSON := ops.ReadPayload(d.Payload)
	switch {
	case !isJSON && everything:
		text := base64.StdEncoding.EncodeToString(d.Payload)
		out.PayloadBytes = &text
	case !isJSON:
		out.PayloadMasked = true
	case out.PayloadMasked:
		out.Payload = ops.Mask(v)
	default:
		out.Payload = v
	}
}

// Group are failures of one handler for one reason.
type Group struct {
	Fingerprint string `json:"fingerprint" example:"fp_06h09h3q657ss5pr9u4kq9irho"`
	Handler     string `json:"handler"`
	Class       string `json:"class"`
	Message     string `json:"message" doc:"The error of the first one."`
	Count       int    `json:"count" doc:"Failures; each is the head of a key's sequence."`
	Waiting     int    `json:"waiting" doc:"Messages in these sequences."`
	Accounts    int    `json:"accounts" doc:"How many are touched by the failures."`
	First       string `json:"first" format:"date-time"`
	Last        string `json:"last" format:"date-time"`
	OldestAge   int64  `json:"oldest_age_seconds"`
}

// Group renders a group as it is now.
func (w Watcher) Group(g *ops.Group, now time.Time) Group {
	return Group{
		Fingerprint: g.Fingerprint, Handler: g.Handler, Class: g.Class, Message: w.Text(g.Error), Count: g.Count,
		Waiting: g.Waiting, Accounts: g.Accounts, First: render.Clock(g.First), Last: render.Clock(g.Last),
		OldestAge: max(int64(now.Sub(g.First)/time.Second), 0),
	}
}

// Sequence are the messages of one key that wait for one handler.
type Sequence struct {
	ID            string  `json:"id" example:"seq_06h09h3q657ss5pr9u4kq9irho"`
	Handler       string  `json:"handler"`
	Key           string  `json:"key"`
	Waiting       int     `json:"waiting" doc:"Messages."`
	Since         string  `json:"since" format:"date-time"`
	Paused        bool    `json:"paused" doc:"By an operator: nothing of it is tried."`
	Diverged      bool    `json:"diverged" doc:"Something was discarded, and the key's view not built anew since."`
	DivergedWhy   *string `json:"diverged_why"`
	HeadID        *string `json:"head_id" doc:"The first failure that waits."`
	Class         *string `json:"class" doc:"Of the head; null while it has not failed itself."`
	Error         *string `json:"error"`
	Fingerprint   *string `json:"fingerprint"`
	Tries         int     `json:"tries" doc:"The head's place in the back-off."`
	NextAttemptAt *string `json:"next_attempt_at" format:"date-time" doc:"null: by hand."`
	NextAttemptBy *string `json:"next_attempt_by" doc:"backoff, or the id of an act or a replay."`
	ClaimedBy     *string `json:"claimed_by" doc:"The replayer that works on it now."`
}

// Sequence renders a sequence.
func (w Watcher) Sequence(s *ops.Sequence) Sequence {
	return Sequence{
		ID: s.ID, Handler: s.Handler, Key: s.Key, Waiting: s.Waiting,
		Since: render.Clock(s.Since), Paused: s.Paused, Diverged: s.Diverged, DivergedWhy: render.Maybe(s.Why),
		HeadID: render.Maybe(s.Head), Class: render.Maybe(s.Class), Error: w.maybe(s.Error),
		Fingerprint: render.Maybe(s.Fingerprint), Tries: s.Tries, NextAttemptAt: maybeClock(s.NextAt),
		NextAttemptBy: render.Maybe(s.NextBy), ClaimedBy: render.Maybe(s.Claimed),
	}
}

// SequenceInOrder is a sequence with a page of its messages.
type SequenceInOrder struct {
	Sequence

	Data       []Failure `json:"data" nullable:"false" doc:"What waits, in order."`
	NextCursor *string   `json:"next_cursor" doc:"For the next page; null on the last one."`
}
