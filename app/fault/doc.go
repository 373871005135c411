// Package fault names the steps at which a drill ends the process, and the guards that it takes out to see whether it
// notices. In a program that is built without the tag "drill" all of it is nothing: the compiler removes every call.
package fault

// Steps at which Here may be told to end the process.
const (
	BeforeAppend = "before-append" // decided, nothing of it in the log
	AfterCommit  = "after-commit"  // in the log, and nobody knows
	BeforeReply  = "before-reply"  // the state has it, callers do not
	InHandler    = "in-handler"    // a handler has written, its transaction is open
	InSnapshot   = "in-snapshot"   // a snapshot is on the disk, and has not got its name
)

// Guards that Planted may say are out.
const (
	NoOutcome    = "no-outcome"    // outcomes are not written
	NoWait       = "no-wait"       // answers leave before the commit
	NoCheckpoint = "no-checkpoint" // a handler's checkpoint does not advance
	NoUndo       = "no-undo"       // a batch that fails is not undone in memory
	NoFence      = "no-fence"      // an append does not look where the head is
	NoRowLock    = "no-row-lock"   // handlers and replayers do not lock a parked sequence
)
