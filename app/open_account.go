package app

import (
	"context"

	"bankforge/app/bank"
)

// OpenAccount opens an account. Its ID is made here. A customer that does not exist is
// refused with CodeCustomerNotFound (field customer_id).
func (a *App) OpenAccount(ctx context.Context, c Call, cmd bank.OpenAccount) (AccountDone, error) {
	cmd.ID = bank.MakeID[bank.Account](a.newID())
	ask := Ask{Call: c, Name: "open_account", Command: cmd}
	if !cmd.Customer.IsZero() {
		_, found, err := a.parts.Customers.Customer(ctx, cmd.Customer)
		if err != nil {
			return AccountDone{}, refusal(err)
		}
		if !found {
			ask.Refusal = bank.Refuse(CodeCustomerNotFound, "customer_id", "There is no customer "+cmd.Customer.String()+".")
		}
	}
	return a.account(ctx, ask)
}

// ChangeAccount changes details and limits.
func (a *App) ChangeAccount(ctx context.Context, c Call, cmd bank.ChangeAccount) (AccountDone, error) {
	return a.account(ctx, Ask{Call: c, Name: "change_account", Command: cmd})
}

// SetStatus freezes, unfreezes or closes.
func (a *App) SetStatus(ctx context.Context, c Call, cmd bank.SetStatus) (AccountDone, error) {
	return a.account(ctx, Ask{Call: c, Name: "set_status", Command: cmd})
}

// SetReview puts an account under review, or ends that.
func (a *App) SetReview(ctx context.Context, c Call, cmd bank.SetReview) (AccountDone, error) {
	return a.account(ctx, Ask{Call: c, Name: "set_review", Command: cmd})
}

func (a *App) account(ctx context.Context, ask Ask) (AccountDone, error) {
	got, err := a.execute(ctx, ask)
	if err != nil {
		return AccountDone{Done: got.Done}, err
	}
	return AccountDone{got.Done, *got.Account}, nil
}
