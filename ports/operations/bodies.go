package operations

import (
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/ports/body"
	"bankforge/ports/strictjson"
)

// Why is the body of an act that says nothing more.
type Why struct {
	Reason body.Reason `json:"reason"`
}

// WhyAndWhen is the body of POST …/failures/{id}/schedule.
type WhyAndWhen struct {
	Reason body.Reason  `json:"reason"`
	At     body.Instant `json:"at"`
}

// WhyAndWhether is the body of POST …/demo-failures.
type WhyAndWhether struct {
	Reason  body.Reason `json:"reason"`
	Enabled body.Flag   `json:"enabled"`
}

// Plan is the body of POST …/replays.
type Plan struct {
	Reason      body.Reason                       `json:"reason"`
	Filter      body.Opt[body.Object[Scope]]      `json:"filter,omitzero"`
	Rate        body.Opt[body.Whole[rate]]        `json:"rate,omitzero"`
	Concurrency body.Opt[body.Whole[concurrency]] `json:"concurrency,omitzero"`
	StopAfter   body.Opt[body.Whole[stopAfter]]   `json:"stop_after_errors,omitzero"`
}

// Scope selects what a replay tries; what is absent selects all.
type Scope struct {
	Handler     body.Opt[body.Word] `json:"handler,omitzero"`
	Class       body.Opt[Class]     `json:"class,omitzero"`
	Fingerprint body.Opt[body.Word] `json:"fingerprint,omitzero"`
	Account     body.Opt[body.Word] `json:"account_id,omitzero"`
	Correlation body.Opt[body.Word] `json:"correlation_id,omitzero"`
}

// Spec is what an act of kind replay.plan carries.
func (p *Plan) Spec() ops.ReplaySpec {
	f := &p.Filter.Value.Value
	return ops.ReplaySpec{
		Filter: ops.ReplayScope{
			Handler: string(f.Handler.Value), Class: string(f.Class.Value), Fingerprint: string(f.Fingerprint.Value),
			Account: string(f.Account.Value), Correlation: string(f.Correlation.Value),
		},
		Rate: int(p.Rate.Value), Concurrency: int(p.Concurrency.Value), StopAfter: int(p.StopAfter.Value),
	}
}

// Treatment is the body of PUT …/handlers/{name}/policy.
type Treatment struct {
	Reason body.Reason             `json:"reason"`
	Policy body.Object[PolicyBody] `json:"policy"`
}

// PolicyBody is how a handler treats failures; what is absent has its default.
type PolicyBody struct {
	Attempts   body.Opt[body.Object[Attempts]]                 `json:"attempts,omitzero"`
	Backoff    body.Opt[body.Object[Backoff]]                  `json:"backoff,omitzero"`
	Hold       body.Opt[body.Object[Backoff]]                  `json:"hold,omitzero"`
	Timeout    body.Opt[body.Whole[timeout]]                   `json:"timeout_ms,omitzero"`
	Outage     body.Opt[body.Whole[outage]]                    `json:"outage_after_keys,omitzero"`
	PerKey     body.Opt[body.Whole[perKey]]                    `json:"max_parked_per_key,omitzero"`
	PerHandler body.Opt[body.Whole[perHandler]]                `json:"max_parked_per_handler,omitzero"`
	Again      body.Opt[body.Few[body.Whole[pause], backoffs]] `json:"again_ms,omitzero"`
	Classes    body.Opt[body.Few[body.Object[Rule], classes]]  `json:"classes,omitzero"`
}

// Attempts is how often a message is tried in place.
type Attempts struct {
	Transient body.Opt[body.Whole[tries]] `json:"transient,omitzero"`
	Unknown   body.Opt[body.Whole[tries]] `json:"unknown,omitzero"`
}

// Backoff are pauses that double.
type Backoff struct {
	First  body.Opt[body.Whole[pause]]  `json:"first_ms,omitzero"`
	Most   body.Opt[body.Whole[pause]]  `json:"most_ms,omitzero"`
	Jitter body.Opt[body.Whole[jitter]] `json:"jitter_percent,omitzero"`
}

// Rule gives errors a class.
type Rule struct {
	Contains body.Excerpt `json:"error_contains"`
	Class    Class        `json:"class"`
}

// over puts what is given over the defaults. wrong says that what was put together cannot be.
func (b *PolicyBody) over(p ops.Policy) ops.Policy {
	p.Attempts = map[string]int{"transient": p.Attempts["transient"], "unknown": p.Attempts["unknown"]}
	if a := &b.Attempts.Value.Value; b.Attempts.Given {
		for class, n := range map[string]body.Opt[body.Whole[tries]]{"transient": a.Transient, "unknown": a.Unknown} {
			if n.Given {
				p.Attempts[class] = int(n.Value)
			}
		}
	}
	p.Backoff, p.Hold = b.Backoff.Value.Value.over(p.Backoff), b.Hold.Value.Value.over(p.Hold)
	if b.Timeout.Given {
		p.Timeout = int64(b.Timeout.Value)
	}
	if b.Outage.Given {
		p.Outage = int(b.Outage.Value)
	}
	if b.PerKey.Given {
		p.PerKey = int(b.PerKey.Value)
	}
	if b.PerHandler.Given {
		p.PerHandler = int(b.PerHandler.Value)
	}
	if b.Again.Given {
		p.Again = make([]int64, len(b.Again.Value))
		for i, ms := range b.Again.Value {
			p.Again[i] = int64(ms)
		}
	}
	for i := range b.Classes.Value {
		r := &b.Classes.Value[i].Value
		p.Classes = append(p.Classes, ops.ClassRule{Contains: string(r.Contains), Class: string(r.Class)})
	}
	return p
}

func (b *Backoff) over(by ops.Backoff) ops.Backoff {
	if b.First.Given {
		by.First = int64(b.First.Value)
	}
	if b.Most.Given {
		by.Most = int64(b.Most.Value)
	}
	if b.Jitter.Given {
		by.Jitter = int(b.Jitter.Value)
	}
	return by
}

// Body is what an act of kind handler.policy carries: the whole policy, so that another default changes nothing about
// it; of a policy that says nothing, an empty object, which is the default whatever that is. The error is for whoever
// wrote it.
func (b *PolicyBody) Body() ([]byte, error) {
	if b.isEmpty() {
		return []byte("{}"), nil
	}
	text, err := ops.Canonical(b.over(ops.DefaultPolicy()))
	if err != nil {
		return nil, err
	}
	if _, err = ops.ParsePolicy(text, ops.DefaultPolicy()); err == nil && len(text) > bank.MaxActBody {
		err = fmt.Errorf("as a whole it has more than %d bytes", bank.MaxActBody)
	}
	return text, err
}

func (b *PolicyBody) isEmpty() bool {
	return !(b.Attempts.Given || b.Backoff.Given || b.Hold.Given || b.Timeout.Given || b.Outage.Given ||
		b.PerKey.Given || b.PerHandler.Given || b.Again.Given || b.Classes.Given)
}

// Class is what an error is taken for.
type Class string

// Classes are all of them.
var Classes = []string{"unknown", "transient", "unavailable", "poison"}

// Read implements body.Field.
func (c *Class) Read(v *strictjson.Value, at body.Place) {
	for _, class := range Classes {
		if v.Kind == strictjson.String && v.Text == class {
			*c = Class(class)
			return
		}
	}
	at.Invalid("enum", "one of unknown, transient, unavailable, poison was expected")
}

// Schema implements body.Field.
func (*Class) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Enum: []any{"unknown", "transient", "unavailable", "poison"}}
}

// What numbers may be, with the limits of app/ops.
type (
	rate        struct{}
	concurrency struct{}
	stopAfter   struct{}
	tries       struct{}
	pause       struct{}
	jitter      struct{}
	timeout     struct{}
	outage      struct{}
	perKey      struct{}
	perHandler  struct{}
	backoffs    struct{}
	classes     struct{}
)

// Range implements body.Range.
func (rate) Range() (low, high int64, what string) {
	return 0, 100_000, "Messages a second at most, of all processes together; 0 (the default): as many as can be."
}

// Range implements body.Range.
func (concurrency) Range() (low, high int64, what string) {
	return 1, 64, "Sequences that are tried beside one another, by all processes together; default: 4."
}

// Range implements body.Range.
func (stopAfter) Range() (low, high int64, what string) {
	return 0, 1_000_000, "How many sequences may fail before the replay stops; 0 (the default): all."
}

// Range implements body.Range.
func (tries) Range() (low, high int64, what string) {
	return 1, 100, "How often a message with an error of this class is tried in place."
}

const day = 24 * 60 * 60 * 1000 // ms

// Range implements body.Range.
func (pause) Range() (low, high int64, what string) { return 1, day, "A pause in milliseconds." }

// Range implements body.Range.
func (jitter) Range() (low, high int64, what string) {
	return 0, 100, "Up to how much of a pause is taken away at random."
}

const most = 100_000_000

// Range implements body.Range.
func (timeout) Range() (low, high int64, what string) {
	return 1, most, "How long one try may take, in milliseconds."
}

// Range implements body.Range.
func (outage) Range() (low, high int64, what string) {
	return 1, most, "How many different keys must fail one after another to be taken for an outage."
}

// Range implements body.Range.
func (perKey) Range() (low, high int64, what string) {
	return 1, most, "Messages that may wait for one key; over that, the handler pauses."
}

// Range implements body.Range.
func (perHandler) Range() (low, high int64, what string) {
	return 1, most, "Messages that may wait for the handler; over that, it pauses."
}

// Range implements body.Range.
func (backoffs) Range() (low, high int64, what string) {
	return 0, 20, "The pauses before the head of a sequence is tried again by itself; after the last one it is by hand."
}

// Range implements body.Range.
func (classes) Range() (low, high int64, what string) {
	return 0, 50, "What errors are taken for whose text contains something; the first that fits counts."
}
