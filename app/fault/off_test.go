//go:build !drill

package fault_test

import (
	"testing"
	"time"

	"bankforge/app/fault"
)

func TestWithoutTheTagNothingIsPlanted(t *testing.T) {
	t.Parallel()
	fault.Here(fault.AfterCommit)
	for _, guard := range []string{fault.NoOutcome, fault.NoWait, fault.NoCheckpoint, fault.NoUndo, fault.NoFence,
		fault.NoRowLock} {
		if fault.Planted(guard) {
			t.Errorf("%s is planted", guard)
		}
	}
	if _, every := fault.Failing(); every != 0 {
		t.Errorf("handlers fail at every %dth message", every)
	}
	at := time.Unix(1, 0)
	if now := fault.Clock(func() time.Time { return at })(); now != at {
		t.Errorf("the clock says %v", now)
	}
}
