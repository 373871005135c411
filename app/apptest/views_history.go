package apptest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"bankforge/app"
	"bankforge/app/bank"
)

// TestHistory checks all that app.History promises, and that its handlers keep it right whatever comes twice or is
// missing. open makes new views each time. The error names each promise that is broken.
func TestHistory(ctx context.Context, open func() (HistoryUnderTest, error)) error {
	return runChecks(ctx, historyChecks, open)
}

// TestHistoryKept checks what TestHistory does but for lists, which takes long where a server is asked for each page.
func TestHistoryKept(ctx context.Context, open func() (HistoryUnderTest, error)) error {
	return runChecks(ctx, historyChecks[:len(historyChecks)-historyLists], open)
}

// historyLists is how many of the checks are about lists: the last ones.
const historyLists = 3

var historyChecks = []viewCheck[HistoryUnderTest]{
	{"history is what the events say", checkHistory},
	{"what comes all at once gives the same", checkHistoryAtOnce},
	{"what comes again changes nothing", checkHistoryAgain},
	{"an entry that does not go on where the last one ended is refused", checkEntryGap},
	{"a version of a hold that does not follow is refused", checkHoldGap},
	{"a version of a transaction that does not follow is refused", checkTransactionGap},
	{"what fails leaves no trace", checkHistoryFailure},
	{"lists of transactions show what their filter says, in order, each row once", checkTransactionLists},
	{"lists of holds show what their filter says, in order, each row once", checkHoldLists},
	{"lists of entries show what their filter says, in order, each row once", checkEntryLists},
}

func checkHistory(ctx context.Context, v HistoryUnderTest) error {
	events, model := someHistory()
	if err := fill(ctx, v, events); err != nil {
		return err
	}
	return sameHistory(ctx, v, model)
}

func fill(ctx context.Context, v HistoryUnderTest, events []app.Recorded) error {
	if err := inBatches(ctx, v.TakeAccounts, Tell(bank.AccountsTopic, events)); err != nil {
		return err
	}
	return inBatches(ctx, v.TakeTransactions, Tell(bank.TransactionsTopic, events))
}

// sameHistory compares everything, and what does not exist.
func sameHistory(ctx context.Context, v app.History, model *MemoryViews) error {
	return errors.Join(sameEntries(ctx, v, model), sameHolds(ctx, v, model), sameTransactions(ctx, v, model))
}

func sameEntries(ctx context.Context, v app.History, model *MemoryViews) error {
	for _, a := range model.accounts {
		f := app.EntryFilter{Account: a.ID, Limit: 10_000, Ascending: true}
		if err := walkEntries(ctx, f, v, model); err != nil {
			return fmt.Errorf("entries of %s: %w", a.ID, err)
		}
	}
	return nil
}

func sameHolds(ctx context.Context, v app.History, model *MemoryViews) error {
	for _, want := range model.holds {
		got, found, err := v.Hold(ctx, want.ID)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("hold %s is missing", want.ID)
		}
		if err := same([]bank.Hold{got}, []bank.Hold{want}); err != nil {
			return fmt.Errorf("hold %s: %w", want.ID, err)
		}
	}
	if _, found, err := v.Hold(ctx, bank.MakeID[bank.Hold]([16]byte{1: 1})); found || err != nil {
		return fmt.Errorf("a hold that does not exist: found %t, %w", found, err)
	}
	return nil
}

func sameTransactions(ctx context.Context, v app.History, model *MemoryViews) error {
	for _, want := range model.transactions {
		got, found, err := v.Transaction(ctx, want.ID)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("transaction %s is missing", want.ID)
		}
		if err := same([]bank.Transaction{got}, []bank.Transaction{want.Transaction}); err != nil {
			return fmt.Errorf("transaction %s: %w", want.ID, err)
		}
	}
	if _, found, err := v.Transaction(ctx, bank.MakeID[bank.Transaction]([16]byte{1: 1})); found || err != nil {
		return fmt.Errorf("a transaction that does not exist: found %t, %w", found, err)
	}
	return nil
}

func checkHistoryAtOnce(ctx context.Context, v HistoryUnderTest) error {
	events, model := someHistory()
	if err := v.TakeAccounts(ctx, Tell(bank.AccountsTopic, events)); err != nil {
		return err
	}
	if err := v.TakeTransactions(ctx, Tell(bank.TransactionsTopic, events)); err != nil {
		return err
	}
	return sameHistory(ctx, v, model)
}

func checkHistoryAgain(ctx context.Context, v HistoryUnderTest) error {
	events, model := someHistory()
	if err := fill(ctx, v, events[:len(events)-20]); err != nil {
		return err
	}
	for _, from := range []int{len(events) / 2, 0, len(events) - 30} {
		if err := fill(ctx, v, events[from:]); err != nil {
			return err
		}
		if err := sameHistory(ctx, v, model); err != nil {
			return fmt.Errorf("again from event %d on: %w", from+1, err)
		}
		if err := fill(ctx, v, events[from:from+5]); err != nil {
			return err
		}
		if err := sameHistory(ctx, v, model); err != nil {
			return fmt.Errorf("events %d to %d again: %w", from+1, from+5, err)
		}
	}
	return nil
}

func checkEntryGap(ctx context.Context, v HistoryUnderTest) error {
	return checkGap(ctx, bank.AccountsTopic, v.TakeAccounts, entryOf, func(t *Told) bool { return t.Hold == nil },
		func(model *MemoryViews) error {
			return errors.Join(sameEntries(ctx, v, model), sameHolds(ctx, v, model))
		})
}

// entryOf is the account that an entry is on; "": the message makes none.
func entryOf(t *Told) string {
	if t.Leg.Amount == 0 {
		return ""
	}
	return t.Key()
}

func checkHoldGap(ctx context.Context, v HistoryUnderTest) error {
	return checkGap(ctx, bank.AccountsTopic, v.TakeAccounts, holdOf, func(t *Told) bool { return t.Leg.Amount == 0 },
		func(model *MemoryViews) error {
			return errors.Join(sameEntries(ctx, v, model), sameHolds(ctx, v, model))
		})
}

// holdOf is the hold that changed with the account; "": none.
func holdOf(t *Told) string {
	if t.Hold == nil || t.Hold.Account != t.Leg.Account {
		return ""
	}
	return t.Hold.ID.String()
}

func checkTransactionGap(ctx context.Context, v HistoryUnderTest) error {
	return checkGap(ctx, bank.TransactionsTopic, v.TakeTransactions, subject, always,
		func(model *MemoryViews) error { return sameTransactions(ctx, v, model) })
}

// checkGap leaves one message out, and expects that the next one of the same thing is refused.
func checkGap(
	ctx context.Context, topic bank.Topic, take Take,
	of func(*Told) string, starts func(*Told) bool, equals func(*MemoryViews) error,
) error {
	events, model := someHistory()
	told := Tell(topic, events)
	missing, next := followed(told, of, starts)
	if err := inBatches(ctx, take, without(told[:next], missing)); err != nil {
		return err
	}
	if take(ctx, told[next:next+1]) == nil {
		return fmt.Errorf("%s of %s was taken without what came before", told[next].Name, of(&told[next]))
	}
	if err := inBatches(ctx, take, told[missing:]); err != nil {
		return fmt.Errorf("once the missing one has come: %w", err)
	}
	return equals(model)
}

func checkHistoryFailure(ctx context.Context, v HistoryUnderTest) error {
	events, model := someHistory()
	told := Tell(bank.AccountsTopic, events)
	missing, next := followed(told, entryOf, always)
	before := &MemoryViews{}
	for _, e := range events[:told[missing].Seq-1] {
		before.Evolve(e)
	}
	done := slices.IndexFunc(told, func(t Told) bool { return t.Seq == told[missing].Seq }) // whole events
	if err := v.TakeAccounts(ctx, told[:done]); err != nil {
		return err
	}
	if v.TakeAccounts(ctx, without(told[:next+1], missing)[done:]) == nil {
		return errors.New("a gap within a batch was taken")
	}
	if err := sameEntries(ctx, v, before); err != nil {
		return err
	}
	if err := fill(ctx, v, events); err != nil {
		return err
	}
	return sameHistory(ctx, v, model)
}
