//go:build drill

package fault

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// orders are what a drill has told this process to do.
type orders struct {
	step    string // at which to end
	after   int64  // at which passage
	passed  atomic.Int64
	planted string
	offsets []time.Duration // by which the clock is wrong, one after the other
	began   time.Time

	seed, every uint64 // handlers fail at about every so manyth message
}

// given is set once, by Obey, before anything runs.
var given atomic.Pointer[orders]

// clockTurn is how long the clock keeps one offset.
const clockTurn = 300 * time.Millisecond

// Obey takes orders, separated by commas: kill:STEP:N ends the process at the N-th passage of a step, as kill -9 does;
// plant:GUARD takes out a guard; clock:OFFSET:OFFSET:… sets the ledger's clock back and forth; fail:SEED:N has handlers
// fail at about every N-th message, and write down what they have handled. It is called once.
func Obey(text string) error {
	o := &orders{began: time.Now()}
	for order := range strings.SplitSeq(text, ",") {
		if order == "" {
			continue
		}
		if err := o.take(strings.Split(order, ":")); err != nil {
			return fmt.Errorf("the order %q: %w", order, err)
		}
	}
	given.Store(o)
	return nil
}

func (o *orders) take(words []string) (err error) {
	steps := []string{BeforeAppend, AfterCommit, BeforeReply, InHandler, InSnapshot}
	guards := []string{NoOutcome, NoWait, NoCheckpoint, NoUndo, NoFence, NoRowLock}
	switch {
	case words[0] == "kill" && len(words) == 3 && slices.Contains(steps, words[1]):
		o.step = words[1]
		o.after, err = strconv.ParseInt(words[2], 10, 64)
		return err
	case words[0] == "plant" && len(words) == 2 && slices.Contains(guards, words[1]):
		o.planted = words[1]
		return nil
	case words[0] == "clock" && len(words) > 1:
		for _, w := range words[1:] {
			d, err := time.ParseDuration(w)
			if err != nil {
				return err
			}
			o.offsets = append(o.offsets, d)
		}
		return nil
	case words[0] == "fail" && len(words) == 3:
		if o.seed, err = strconv.ParseUint(words[1], 10, 64); err == nil {
			o.every, err = strconv.ParseUint(words[2], 10, 64)
		}
		return err
	}
	return fmt.Errorf("it is none of kill:STEP:N, plant:GUARD, clock:OFFSET:…, fail:SEED:N; steps are %v, guards %v",
		steps, guards)
}

// lastBreath is how long the rest of the process goes on, while whoever has come to the step stands still.
const lastBreath = 3 * time.Millisecond

// Here ends the process, if this is the passage at which it was told to.
func Here(step string) {
	o := given.Load()
	if o == nil || o.step != step || o.passed.Add(1) != o.after {
		return
	}
	<-time.After(lastBreath) // what has been let go too early, gets out
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {} // nothing more happens, also while the signal is on its way
}

// Planted says whether that guard is out.
func Planted(guard string) bool {
	o := given.Load()
	return o != nil && o.planted == guard
}

// Clock is the clock, wrong by what was ordered.
func Clock(clock func() time.Time) func() time.Time {
	o := given.Load()
	if o == nil || len(o.offsets) == 0 {
		return clock
	}
	return func() time.Time {
		turn := int(time.Since(o.began)/clockTurn) % len(o.offsets)
		return clock().Add(o.offsets[turn])
	}
}

// Failing says at about every how manyth message handlers fail; 0: at none.
func Failing() (seed, every uint64) {
	if o := given.Load(); o != nil {
		return o.seed, o.every
	}
	return 0, 0
}
