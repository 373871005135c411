package ops

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
)

// Policy is how a handler treats failures, as operators say it: the body of an act of kind handler.policy. What a body
// does not name has its default. Durations are in milliseconds.
type Policy struct {
	// Attempts is how often a message is tried in place before it is parked, by class: "unknown" and "transient".
	Attempts map[string]int `json:"attempts"`
	// Backoff is the pause between tries in place.
	Backoff Backoff `json:"backoff"`
	// Hold is the pause between tries while something that the handler needs is down.
	Hold Backoff `json:"hold"`
	// Timeout is how long one try may take.
	Timeout int64 `json:"timeout_ms"`
	// Outage is how many different keys must fail one after another to be taken for an outage.
	Outage int `json:"outage_after_keys"`
	// PerKey and PerHandler are how many messages may wait; over either of them the handler pauses.
	PerKey     int `json:"max_parked_per_key"`
	PerHandler int `json:"max_parked_per_handler"`
	// Again are the pauses before the head of a sequence is tried again by itself; after the last one it is by hand.
	Again []int64 `json:"again_ms"`
	// Classes overrule what an error is taken for; the first that fits counts.
	Classes []ClassRule `json:"classes"`
}

// Backoff doubles a pause with each failure, and takes a random part of up to Jitter percent of it away.
type Backoff struct {
	First  int64 `json:"first_ms"`
	Most   int64 `json:"most_ms"`
	Jitter int   `json:"jitter_percent"`
}

// ClassRule gives errors a class whose text contains something.
type ClassRule struct {
	Contains string `json:"error_contains"`
	Class    string `json:"class"` // unknown, transient, unavailable, poison
}

// Limits of a policy.
const (
	maxPolicyTries = 100
	maxPolicyPause = 24 * 60 * 60 * 1000 // ms
	maxPolicyRules = 50
	maxPolicyText  = 500
	maxPolicyLot   = 100_000_000
	maxPolicyAgain = 20
)

// DefaultPolicy is what handlers have of which nothing else was said.
func DefaultPolicy() Policy {
	return Policy{
		Attempts:   map[string]int{"transient": 8, "unknown": 3},
		Backoff:    Backoff{First: 10, Most: 2_000, Jitter: 50},
		Hold:       Backoff{First: 100, Most: 15_000, Jitter: 50},
		Timeout:    30_000,
		Outage:     10,
		PerKey:     10_000,
		PerHandler: 1_000_000,
		Again:      []int64{30_000, 2 * 60_000, 10 * 60_000, 60 * 60_000},
		Classes:    []ClassRule{},
	}
}

// ParsePolicy reads a body over what is the default. The error is for whoever wrote the body.
func ParsePolicy(body []byte, byDefault Policy) (Policy, error) {
	p := byDefault
	p.Attempts = maps.Clone(byDefault.Attempts)
	p.Again, p.Classes = nil, nil // json would write into the default's
	if err := strictly(body, &p); err != nil {
		return Policy{}, err
	}
	if p.Again == nil {
		p.Again = byDefault.Again
	}
	if p.Classes == nil {
		p.Classes = byDefault.Classes
	}
	return p, p.check()
}

// strictly reads one JSON value without unknown fields.
func strictly(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("the body: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the body: something follows the object")
	}
	return nil
}

func (p *Policy) check() error {
	for class, n := range p.Attempts {
		if class != "transient" && class != "unknown" || n < 1 || n > maxPolicyTries {
			return fmt.Errorf("attempts: %q: %d; there are transient and unknown, from 1 to %d", class, n, maxPolicyTries)
		}
	}
	for name, b := range map[string]Backoff{"backoff": p.Backoff, "hold": p.Hold} {
		if b.First < 1 || b.Most < b.First || b.Most > maxPolicyPause || b.Jitter < 0 || b.Jitter > 100 {
			return fmt.Errorf("%s: 1 ≤ first_ms ≤ most_ms ≤ %d, jitter_percent from 0 to 100", name, maxPolicyPause)
		}
	}
	if len(p.Again) > maxPolicyAgain {
		return fmt.Errorf("again_ms: at most %d", maxPolicyAgain)
	}
	for _, ms := range p.Again {
		if ms < 1 || ms > maxPolicyPause {
			return fmt.Errorf("again_ms: from 1 to %d", maxPolicyPause)
		}
	}
	return p.checkRest()
}

func (p *Policy) checkRest() error {
	for name, n := range map[string]int64{
		"timeout_ms": p.Timeout, "outage_after_keys": int64(p.Outage), "max_parked_per_key": int64(p.PerKey),
		"max_parked_per_handler": int64(p.PerHandler),
	} {
		if n < 1 || n > maxPolicyLot {
			return fmt.Errorf("%s: from 1 to %d", name, maxPolicyLot)
		}
	}
	if len(p.Classes) > maxPolicyRules {
		return fmt.Errorf("classes: at most %d", maxPolicyRules)
	}
	for _, r := range p.Classes {
		switch r.Class {
		case "unknown", "transient", "unavailable", "poison":
		default:
			return fmt.Errorf("classes: %q is no class; there are unknown, transient, unavailable, poison", r.Class)
		}
		if r.Contains == "" || len(r.Contains) > maxPolicyText {
			return fmt.Errorf("classes: error_contains has 1 to %d bytes", maxPolicyText)
		}
	}
	return nil
}

// PolicyVersion is how the version of a policy is written that was changed so many times: the first one is the default.
func PolicyVersion(changes int) string { return strconv.Itoa(changes + 1) }
