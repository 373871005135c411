// Package repair does what operators want of the parking lot: it executes their acts as they come from the log, and
// tries again what waits, in order, by itself or because somebody wants it. Every process that runs handlers has a
// replayer for them; they share one store.
package repair

import (
	"context"
	"time"

	"bankforge/app/bank"
)

// Store is what executor and replayers share: where the handlers' parking lot stands. It is safe for concurrent use.
type Store interface {
	Acts
	Claims
	Rebuilds
	Replays
}

// Act is an operator's act as the log has it.
type Act struct {
	ID      string
	Seq     bank.Seq
	Kind    string // of package ops
	Handler string
	Key     string
	Target  string
	Body    []byte
	Reason  string
	Actor   string
	At      time.Time
}

// Acts execute what operators want.
type Acts interface {
	// Execute does what the act wants, or notes that it is wanted, or notes why that cannot be done any more, in the
	// transaction that ctx carries. Of one act it does so once. An error says nothing about the act.
	Execute(ctx context.Context, a Act) error
}

// Due is a sequence that is to be tried.
type Due struct {
	Handler string
	Key     string
	Cause   string // what wants it: see ops.Attempt.By
	Alone   bool   // only the head is wanted
	Rebuild bool   // the key's view is to be written anew
}

// Claims see to it that a sequence is worked on by one replayer at a time: a claim that is not kept up runs out.
// They do not carry the order, which the lock on the sequence does.
type Claims interface {
	// Due returns sequences of the handlers that are to be tried by now and are not claimed, those that are due longest
	// first, at most limit. Keys that are paused are left out.
	Due(ctx context.Context, handlers []string, now time.Time, limit int) ([]Due, error)
	// DueNow is Due of one sequence, whoever has claimed it; ok is false when it is not to be tried now.
	DueNow(ctx context.Context, handler, key string, now time.Time) (d Due, ok bool, err error)
	// Claim takes or prolongs a claim; ok is false while somebody else's is valid.
	Claim(ctx context.Context, handler, key, owner string, now, until time.Time) (ok bool, err error)
	// Release ends a claim of the owner's.
	Release(ctx context.Context, handler, key, owner string) error
	// Postpone has a sequence tried later, for what wants it now.
	Postpone(ctx context.Context, handler, key string, until time.Time) error
}

// Rebuilds are of one key's view.
type Rebuilds interface {
	// Lock locks the key until the transaction of ctx ends. ok is false when nobody wants it rebuilt any more.
	Lock(ctx context.Context, handler, key string) (act string, ok bool, err error)
	// Rebuilt ends the waiting of all messages of the key, and that it has diverged: its view has all that the handler's
	// checkpoint has. It returns how many messages waited.
	Rebuilt(ctx context.Context, handler, key string, at time.Time) (resolved int, err error)
	// Refuse ends the wish, unless the key is wanted rebuilt once more by now. It needs no transaction.
	Refuse(ctx context.Context, handler, key string, r Refusal) error
}

// Refusal is why a key is not rebuilt.
type Refusal struct {
	Act  string // for which it was tried, as Lock said; "": whichever
	Code string
	Why  string
	At   time.Time
}

// Running is a replay that runs.
type Running struct {
	ID          string
	Rate        int // messages a second, of all processes together; 0: as many as can be
	Concurrency int // owners of claims beside one another, of all processes together
	StopAfter   int // sequences that may fail; 0: all
}

// Replays share the sequences of replays among replayers.
type Replays interface {
	// Running returns the replays that run.
	Running(ctx context.Context) ([]Running, error)
	// Take claims up to n more sequences of a replay that runs, of the handlers; none when there are none now, or as many
	// owners have some as may. Sequences that have gone meanwhile are done, paused ones have failed.
	Take(ctx context.Context, r Running, handlers []string, owner string, n int, now, until time.Time) ([]Due, error)
	// Allow returns when the next n messages of the replay may begin, by its rate.
	Allow(ctx context.Context, r Running, n int, now time.Time) (from time.Time, err error)
	// Runs reports whether the replay still runs.
	Runs(ctx context.Context, replay string) (bool, error)
	// Settle notes which sequences of a replay are empty, and of which a message has failed; a replay is done with its
	// last one, and stops when too many have failed. It releases the claims, also those of what is not settled.
	Settle(ctx context.Context, replay string, all []Settled, owner string, at time.Time) error
}

// Settled is a sequence of a replay that was tried.
type Settled struct {
	Due
	Failed bool
}
