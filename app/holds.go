package app

import (
	"context"

	"bankforge/app/bank"
)

// PlaceHold keeps money back. ExpiresAt zero means in 7 days; in the past or after more than 31 days it is refused
// with CodeInvalidRequest (field expires_at), but not where the key is known: ports need not check it.
func (a *App) PlaceHold(ctx context.Context, c Call, cmd bank.PlaceHold) (_ HoldDone, err error) {
	if cmd.By, err = c.Principal.by(); err != nil {
		return HoldDone{}, err
	}
	cmd.ID = bank.MakeID[bank.Hold](a.newID())
	return a.hold(ctx, Ask{Call: c, Name: "place_hold", Command: cmd})
}

// VoidHold releases what a hold keeps back.
func (a *App) VoidHold(ctx context.Context, c Call, cmd bank.VoidHold) (_ HoldDone, err error) {
	if cmd.By, err = c.Principal.by(); err != nil {
		return HoldDone{}, err
	}
	return a.hold(ctx, Ask{Call: c, Name: "void_hold", Command: cmd})
}

// Capture moves money that a hold keeps back.
func (a *App) Capture(ctx context.Context, c Call, cmd bank.Capture) (_ TransactionDone, err error) {
	if cmd.By, err = c.Principal.by(); err != nil {
		return TransactionDone{}, err
	}
	cmd.Terms = a.terms(c, cmd.Terms)
	return a.transaction(ctx, Ask{Call: c, Name: "capture", Command: cmd})
}

func (a *App) hold(ctx context.Context, ask Ask) (HoldDone, error) {
	got, err := a.execute(ctx, ask)
	if err != nil {
		return HoldDone{Done: got.Done}, err
	}
	h := *got.last().Hold
	if ask.Call.DryRun {
		h.ID, h.CreatedAt = bank.HoldID{}, 0
	}
	return HoldDone{got.Done, h, ask.Call.DryRun}, nil
}
