package app

import (
	"context"
	"time"

	"bankforge/app/bank"
)

// rereadEvery is how often a read looks again for a version that its view does not have yet.
const rereadEvery = 20 * time.Millisecond

// fresh waits until the view of handler has what the caller has been told of, at most for the reader's patience.
// What has happened to a key that is parked will not come by waiting, so then it answers at once.
func (a *App) fresh(ctx context.Context, p Principal, handler, key string) Freshness {
	progress := a.parts.Progress
	seq := a.toldOf(ctx, p.Subject, progress.At(handler))
	behind := progress.At(handler) < seq
	if parked := a.parked(ctx, handler, key); parked {
		return Freshness{Stale: true}
	}
	if behind {
		wait, cancel := context.WithTimeout(ctx, a.patience)
		defer cancel()
		if !progress.Await(wait, handler, seq) {
			return Freshness{Stale: true}
		}
	}
	return Freshness{Stale: progress.At(handler) < a.parts.Tide.Before(a.parts.Clock().Add(-a.patience))}
}

// Authors knows who made events, whichever process told them.
type Authors interface {
	// LastBy is the last event that the subject made behind after, of all that are in the log now; or where there are too
	// many to look at, the last one of all. 0: there is none.
	LastBy(ctx context.Context, subject string, after bank.Seq) (bank.Seq, error)
}

// toldOf is the last event that the subject was told of, by this process or another one. What is not above the view's
// place does not matter, and what cannot be found out is not waited for.
func (a *App) toldOf(ctx context.Context, subject string, at bank.Seq) bank.Seq {
	seq, _ := a.acked.Get(subject)
	if a.parts.Authors == nil {
		return seq
	}
	last, err := a.parts.Authors.LastBy(ctx, subject, max(seq, at))
	if err != nil {
		return seq
	}
	return max(seq, last)
}

// parked also says no when it cannot be found out: the views and the parking lot are one file, and reading tells.
func (a *App) parked(ctx context.Context, handler, key string) bool {
	if key == "" {
		return false
	}
	parked, err := a.parts.Progress.Parked(ctx, handler, key)
	return err == nil && parked
}

// caughtUp waits until the view of handler has everything up to seq.
func (a *App) caughtUp(ctx context.Context, handler string, seq bank.Seq) bool {
	if a.parts.Progress.At(handler) >= seq {
		return true
	}
	wait, cancel := context.WithTimeout(ctx, a.patience)
	defer cancel()
	return a.parts.Progress.Await(wait, handler, seq)
}

// missing tells what is not in a view from what does not exist: the log knows.
func (a *App) missing(ctx context.Context, what, id string, visible func(*bank.Event) bool) error {
	e, found, err := a.latest(ctx, id)
	if err != nil {
		return err
	}
	if !found || !visible(&e) {
		return notFound(what, id)
	}
	return bank.Refuse(CodeViewBehind, "", "The "+what+" exists, but cannot be shown yet.")
}

// latest is the event that made the newest version of a subject.
func (a *App) latest(ctx context.Context, subject string) (bank.Event, bool, error) {
	rows, err := a.parts.Lookup.Latest(ctx, []string{subject})
	if err != nil {
		return bank.Event{}, false, refusal(err)
	}
	row, found := rows[subject]
	if !found {
		return bank.Event{}, false, nil
	}
	r, err := record(row)
	return r.Event, err == nil, err
}

// touches reports whether the event has a leg of an account that the caller may read.
func touches(p Principal) func(*bank.Event) bool {
	return func(e *bank.Event) bool {
		for i := range e.Legs {
			if p.MayRead(e.Legs[i].Customer) {
				return true
			}
		}
		return false
	}
}

// record is Decode for callers: what cannot be read is not theirs to mend.
func record(row Row) (Recorded, error) {
	r, err := Decode(row)
	if err != nil {
		return Recorded{}, refusal(err)
	}
	return r, nil
}

func records(rows []Row) ([]Recorded, error) {
	out := make([]Recorded, len(rows))
	for i, r := range rows {
		var err error
		if out[i], err = record(r); err != nil {
			return nil, err
		}
	}
	return out, nil
}
