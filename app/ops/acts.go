package ops

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The kinds of acts that concern the parking lot. The texts are those of bank.ActKind, and permanent. What each takes
// stands beside it.
const (
	FailureRetry    = "failure.retry"     // Target: a failure that is a head; it alone is tried
	FailureDiscard  = "failure.discard"   // Target: a failure that is a head
	FailureSchedule = "failure.schedule"  // Target: a failure that is a head. Body: ScheduleBody
	SequenceRetry   = "sequence.retry"    // Handler, Key: all of it, until one fails
	SequenceRebuild = "sequence.rebuild"  // Handler, Key: its view is written anew from the log
	SequencePause   = "sequence.pause"    // Handler, Key: whether or not anything of it waits
	SequenceResume  = "sequence.resume"   // Handler, Key
	GroupRetry      = "group.retry"       // Target: a fingerprint; all sequences whose heads have it
	ReplayPlan      = "replay.plan"       // Body: ReplaySpec. The replay's id is ReplayOf(act's id)
	ReplayStart     = "replay.start"      // Target: a replay that is planned
	ReplayCancel    = "replay.cancel"     // Target: a replay that is planned or runs
	HandlerPause    = "handler.pause"     // Handler
	HandlerResume   = "handler.resume"    // Handler
	HandlerPolicy   = "handler.policy"    // Handler. Body: Policy; {} sets the default. Target: see PolicyVersion
	DemoFailuresSet = "demo_failures.set" // Body: DemoBody
)

// Codes of acts that were refused when they were to be executed, or have failed.
const (
	RefusedNotFound  = "not_found"  // there is no such failure, sequence, replay or handler
	RefusedNotHead   = "not_head"   // something of its key waits before it, or it does not wait any more
	RefusedPaused    = "key_paused" // the key is paused
	RefusedNotPaused = "not_paused" // there is nothing to resume
	RefusedState     = "wrong_state"
	RefusedInvalid   = "invalid_request"  // its body cannot be read
	RefusedNoRebuild = "not_rebuildable"  // the handler's view of one key cannot be written anew
	RefusedVersion   = "version_mismatch" // it was about another version
	FailedAgain      = "failed_again"     // it was tried, and failed; the failure has one more attempt
	Superseded       = "superseded"       // another act wants it otherwise, or what it was about has gone
)

// ScheduleBody says when a failure is tried.
type ScheduleBody struct {
	At time.Time `json:"at"`
}

// DemoBody says whether failures are injected.
type DemoBody struct {
	Enabled bool `json:"enabled"`
}

// ReplayOf is the id of the replay that an act plans.
func ReplayOf(act string) string { return "rpl_" + strings.TrimPrefix(act, "act_") }

// Limits of a replay.
const (
	maxReplayRate        = 100_000
	maxReplayConcurrency = 64
	defaultConcurrency   = 4
	maxReplayStop        = 1_000_000
)

// ParseReplay reads the body of replay.plan, and fills in what it leaves out.
func ParseReplay(body []byte) (s ReplaySpec, err error) {
	if err := strictly(body, &s); err != nil {
		return s, err
	}
	if s.Concurrency == 0 {
		s.Concurrency = defaultConcurrency
	}
	switch {
	case s.Rate < 0 || s.Rate > maxReplayRate:
		return s, fmt.Errorf("rate: from 0 to %d", maxReplayRate)
	case s.Concurrency < 1 || s.Concurrency > maxReplayConcurrency:
		return s, fmt.Errorf("concurrency: from 1 to %d", maxReplayConcurrency)
	case s.StopAfter < 0 || s.StopAfter > maxReplayStop:
		return s, fmt.Errorf("stop_after_errors: from 0 to %d", maxReplayStop)
	}
	return s, nil
}

// ParseSchedule reads the body of failure.schedule.
func ParseSchedule(body []byte) (b ScheduleBody, err error) {
	if err := strictly(body, &b); err != nil {
		return b, err
	}
	if b.At.IsZero() {
		return b, errors.New("at: the time is missing")
	}
	return b, nil
}

// ParseDemo reads the body of demo_failures.set.
func ParseDemo(body []byte) (b DemoBody, err error) {
	err = strictly(body, &b)
	return b, err
}

// Canonical is a body as an act carries it.
func Canonical(body any) ([]byte, error) { return json.Marshal(body) }
