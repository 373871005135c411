package bank

import (
	"strings"
	"unicode/utf8"
)

// ActKind is what an operator wants done. The texts are permanent.
type ActKind string

// The kinds of acts, and what each needs to say.
const (
	FailureRetry    ActKind = "failure.retry"     // Target: the failed message
	FailureDiscard  ActKind = "failure.discard"   // Target
	FailureSchedule ActKind = "failure.schedule"  // Target, and Body: when
	SequenceRetry   ActKind = "sequence.retry"    // Handler and Key
	SequenceRebuild ActKind = "sequence.rebuild"  // Handler and Key
	SequencePause   ActKind = "sequence.pause"    // Handler and Key
	SequenceResume  ActKind = "sequence.resume"   // Handler and Key
	GroupRetry      ActKind = "group.retry"       // Target: the fingerprint
	ReplayPlan      ActKind = "replay.plan"       // Body: of what, and how fast
	ReplayStart     ActKind = "replay.start"      // Target: the replay
	ReplayCancel    ActKind = "replay.cancel"     // Target
	HandlerPause    ActKind = "handler.pause"     // Handler
	HandlerResume   ActKind = "handler.resume"    // Handler
	HandlerPolicy   ActKind = "handler.policy"    // Handler, and Body: the policy; Target: its version, or any
	DemoFailuresSet ActKind = "demo_failures.set" // Body: whether there are any
)

// Limits of what acts say.
const (
	MaxActName   = 256      // bytes of a handler's name, and of a target
	MaxActKey    = 4 << 10  // bytes: as long as the key of a message may be
	MaxActBody   = 16 << 10 // bytes
	MaxActReason = 500      // characters
)

// Act is what an operator wants of the handlers: a command that no balance depends on. It is an event before it is
// done, so that nothing is done that nobody can find, and nothing forgotten that was promised.
type Act struct {
	ID      ActID
	Kind    ActKind
	Handler string // whom it is about; "": nobody in particular
	Key     string // which sequence of the handler
	Target  string // the id of a failure or a replay, the fingerprint of a group, the version that a policy must have
	Body    []byte // what else there is to say: a JSON object in its canonical form; empty: nothing
	Reason  string
}

// need says what an act of some kind cannot do without.
type need struct{ handler, key, target, body bool }

var needs = map[ActKind]need{
	FailureRetry:    {target: true},
	FailureDiscard:  {target: true},
	FailureSchedule: {target: true, body: true},
	SequenceRetry:   {handler: true, key: true},
	SequenceRebuild: {handler: true, key: true},
	SequencePause:   {handler: true, key: true},
	SequenceResume:  {handler: true, key: true},
	GroupRetry:      {target: true},
	ReplayPlan:      {body: true},
	ReplayStart:     {target: true},
	ReplayCancel:    {target: true},
	HandlerPause:    {handler: true},
	HandlerResume:   {handler: true},
	HandlerPolicy:   {handler: true, body: true},
	DemoFailuresSet: {body: true},
}

// ActKinds are all of them, in the order of their declaration.
func ActKinds() []ActKind {
	return []ActKind{
		FailureRetry, FailureDiscard, FailureSchedule, SequenceRetry, SequenceRebuild, SequencePause, SequenceResume,
		GroupRetry, ReplayPlan, ReplayStart, ReplayCancel, HandlerPause, HandlerResume, HandlerPolicy, DemoFailuresSet,
	}
}

// IsKnown reports whether there is such a kind.
func (k ActKind) IsKnown() bool {
	_, known := needs[k]
	return known
}

// ActName is the name of the messages that tell of acts of the kind.
func (k ActKind) ActName() string { return actPrefix + string(k) }

const actPrefix = "ops."

// ParseActName is the inverse of ActName; ok is false for what is no name of an act.
func ParseActName(name string) (k ActKind, ok bool) {
	text, ok := strings.CutPrefix(name, actPrefix)
	if k = ActKind(text); !ok || !k.IsKnown() {
		return "", false
	}
	return k, true
}

// Check refuses an act that is not well-formed. Whether it can be done is for others to find out.
func (a *Act) Check() error {
	n, known := needs[a.Kind]
	switch {
	case !known:
		return badAct("kind", "There is no such kind of act.")
	case a.ID.IsZero():
		return badAct("id", "An act has an id.")
	}
	return firstOf(
		actText("handler", a.Handler, n.handler, MaxActName),
		actText("key", a.Key, n.key, MaxActKey),
		actText("target", a.Target, n.target, MaxActName),
		actBody(a.Body, n.body),
		actText("reason", a.Reason, true, utf8.UTFMax*MaxActReason),
		actLength("reason", a.Reason, MaxActReason),
	)
}

func (a Act) decide(d *desk) error {
	if err := a.Check(); err != nil {
		return err
	}
	d.emit(Event{Type: OperatorActed, Act: &a})
	return nil
}

func badAct(field, detail string) error { return Refuse(InvalidRequest, field, detail) }

// actText refuses what cannot be shown, and what is longer than most bytes.
func actText(field, text string, needed bool, most int) error {
	switch {
	case needed && text == "":
		return badAct(field, "It is needed for this kind of act.")
	case len(text) > most:
		return badAct(field, "It is too long.")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, isUnseen):
		return badAct(field, "It has characters that cannot be shown.")
	}
	return nil
}

// isUnseen reports whether r is a control character that no text needs.
func isUnseen(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f }

func actLength(field, text string, most int) error {
	if utf8.RuneCountInString(text) > most {
		return badAct(field, "It is too long.")
	}
	return nil
}

// actBody sees to what can be seen without reading JSON, which is done where bodies come from.
func actBody(body []byte, needed bool) error {
	switch {
	case needed && len(body) == 0:
		return badAct("body", "It is needed for this kind of act.")
	case len(body) > MaxActBody:
		return badAct("body", "It is too long.")
	case len(body) > 0 && (!utf8.Valid(body) || body[0] != '{' || body[len(body)-1] != '}'):
		return badAct("body", "It is not an object.")
	}
	return nil
}
