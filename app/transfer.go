package app

import (
	"context"

	"bankforge/app/bank"
)

// In all requests that move money, ID and CorrelationID are filled in here, By is what the caller is,
// and ValueDate zero means today (UTC).

// Deposit brings money in.
func (a *App) Deposit(ctx context.Context, c Call, cmd bank.Deposit) (TransactionDone, error) {
	cmd.Terms = a.terms(c, cmd.Terms)
	return a.transaction(ctx, Ask{Call: c, Name: "deposit", Command: cmd})
}

// Withdraw takes money out.
func (a *App) Withdraw(ctx context.Context, c Call, cmd bank.Withdraw) (_ TransactionDone, err error) {
	if cmd.By, err = c.Principal.by(); err != nil {
		return TransactionDone{}, err
	}
	cmd.Terms = a.terms(c, cmd.Terms)
	return a.transaction(ctx, Ask{Call: c, Name: "withdraw", Command: cmd})
}

// Transfer moves money between two accounts. The transaction is PendingReview when the payer is under review.
func (a *App) Transfer(ctx context.Context, c Call, cmd bank.Transfer) (_ TransactionDone, err error) {
	if cmd.By, err = c.Principal.by(); err != nil {
		return TransactionDone{}, err
	}
	cmd.Terms = a.terms(c, cmd.Terms)
	return a.transaction(ctx, Ask{Call: c, Name: "transfer", Command: cmd})
}

// Reverse gives back what a transaction moved, or a part of it.
func (a *App) Reverse(ctx context.Context, c Call, cmd bank.Reverse) (TransactionDone, error) {
	cmd.Terms = a.terms(c, cmd.Terms)
	return a.transaction(ctx, Ask{Call: c, Name: "reverse", Command: cmd})
}

// DecidePending approves or rejects a transfer that waits for review.
func (a *App) DecidePending(ctx context.Context, c Call, cmd bank.DecidePending) (TransactionDone, error) {
	return a.transaction(ctx, Ask{Call: c, Name: "decide_pending", Command: cmd})
}

func (a *App) transaction(ctx context.Context, ask Ask) (TransactionDone, error) {
	got, err := a.execute(ctx, ask)
	if err != nil {
		return TransactionDone{Done: got.Done}, err
	}
	t := got.last().Transactions[0]
	if ask.Call.DryRun {
		project(&t)
	}
	return TransactionDone{got.Done, t, ask.Call.DryRun}, nil
}

// project takes away what only a real transaction has.
func project(t *bank.Transaction) {
	t.ID, t.Seq, t.CreatedAt, t.PostedAt = bank.TransactionID{}, 0, 0, 0
}

// BulkTransfer makes many transfers at once. Atomic: one refused item refuses all, and the error's Item says which.
func (a *App) BulkTransfer(ctx context.Context, c Call, cmd bank.Bulk) (BulkDone, error) {
	by, err := c.Principal.by()
	if err != nil {
		return BulkDone{}, err
	}
	items := make([]bank.Transfer, len(cmd.Items))
	for i, t := range cmd.Items {
		t.By, t.Terms = by, a.terms(c, t.Terms)
		items[i] = t
	}
	cmd.Items = items
	got, err := a.execute(ctx, Ask{Call: c, Name: "bulk_transfer", Command: cmd})
	if err != nil {
		return BulkDone{Done: got.Done}, err
	}
	done := BulkDone{Done: got.Done, Items: make([]BulkItem, len(got.Items)), Projected: c.DryRun}
	for i, it := range got.Items {
		if it.Refused != nil {
			done.Items[i].Refused = it.Refused
			continue
		}
		t := got.Events[it.Event].Transactions[0]
		if c.DryRun {
			project(&t)
		}
		done.Items[i].Transaction = &t
	}
	return done, nil
}

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
