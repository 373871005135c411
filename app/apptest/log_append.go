package apptest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"bankforge/app"
	"bankforge/app/bank"
)

func checkNew(ctx context.Context, o *owner) error {
	before, err := o.log.Head(ctx)
	if err != nil || before != (app.Head{}) {
		return errors.Join(err, fmt.Errorf("before, the head is %+v; want zero", before))
	}
	if err := o.acquire(ctx, "first"); err != nil {
		return err
	}
	want := app.Head{Incarnation: o.head.Incarnation, Term: 1, Owner: "first"}
	if o.head != want || want.Incarnation == "" {
		return fmt.Errorf("the head is %+v instead of %+v with an incarnation", o.head, want)
	}
	if err := o.same(ctx); err != nil {
		return err
	}
	again, err := o.log.Acquire(ctx, "second")
	want.Term, want.Owner = 2, "second"
	if err != nil || again != want {
		return errors.Join(err, fmt.Errorf("acquired again, the head is %+v instead of %+v", again, want))
	}
	return nil
}

// notFenced is told when something else than ErrFenced came back.
func notFenced(what string, err error) error {
	if err == nil {
		return fmt.Errorf("%s was accepted", what)
	}
	return fmt.Errorf("%s is refused, but not with ErrFenced: %w", what, err)
}

// checkFence tries all ways not to follow the head.
func checkFence(ctx context.Context, o *owner) error {
	if err := o.start(ctx, 2, 3); err != nil {
		return err
	}
	ways := map[string]func(*app.Batch){
		"an old term":             func(b *app.Batch) { b.Term-- },
		"a term to come":          func(b *app.Batch) { b.Term++ },
		"the last batch's number": func(b *app.Batch) { b.Number-- },
		"a later batch's number":  func(b *app.Batch) { b.Number++ },
		"an earlier place":        func(b *app.Batch) { shift(b, b.After-1) },
		"a later place":           func(b *app.Batch) { shift(b, b.After+1) },
	}
	for name, change := range ways {
		for _, n := range []int{0, 2} {
			b := o.batch(n)
			change(&b)
			for i := range b.Rows { // so that nothing else refuses it
				b.Rows[i].Touches = []app.Touch{{Subject: name, Version: bank.Version(10*n + i)}}
			}
			if err := o.log.Append(ctx, b); !errors.Is(err, app.ErrFenced) {
				return notFenced("a batch with "+name, err)
			}
			if err := o.same(ctx); err != nil {
				return fmt.Errorf("with %s: a fenced batch left a trace: %w", name, err)
			}
		}
	}
	return o.append(ctx, o.batch(1))
}

func shift(b *app.Batch, after bank.Seq) {
	b.After = after
	for i := range b.Rows {
		b.Rows[i].Seq = after + 1 + bank.Seq(i)
	}
}

func checkRace(ctx context.Context, o *owner) error {
	if err := o.start(ctx, 1); err != nil {
		return err
	}
	const racers = 8
	var wg sync.WaitGroup
	errs, batches := make([]error, racers), make([]app.Batch, racers)
	for i := range racers {
		b := o.batch(1)
		b.Rows[0].Data = fmt.Append(nil, "racer ", i)
		batches[i] = b
		wg.Go(func() { errs[i] = o.log.Append(ctx, b) })
	}
	wg.Wait()
	won := 0
	for i, err := range errs {
		switch {
		case err == nil:
			won++
			o.took(batches[i])
		case !errors.Is(err, app.ErrFenced):
			return notFenced("a batch that lost", err)
		}
	}
	if won != 1 {
		return fmt.Errorf("%d batches were acknowledged at the same place", won)
	}
	return o.same(ctx)
}

func checkTakeover(ctx context.Context, o *owner) error {
	if err := o.start(ctx, 2); err != nil {
		return err
	}
	old := *o
	if err := o.acquire(ctx, "second"); err != nil {
		return err
	}
	want := old.head
	want.Term, want.Owner = want.Term+1, "second"
	if o.head != want {
		return fmt.Errorf("the new owner gets the head %+v instead of %+v", o.head, want)
	}
	if err := old.log.Append(ctx, old.batch(1)); !errors.Is(err, app.ErrFenced) {
		return notFenced("the old owner's batch", err)
	}
	if err := o.append(ctx, o.batch(2)); err != nil {
		return err
	}
	return o.same(ctx)
}

func checkDense(ctx context.Context, o *owner) error {
	if err := o.start(ctx, 1, 0, 2); err != nil {
		return err
	}
	for _, move := range [][3]bank.Seq{{0, 0, 1}, {1, 1, 1}, {0, 0, ^bank.Seq(0)}} {
		b := o.batch(3)
		for i := range b.Rows {
			b.Rows[i].Seq += move[i]
		}
		if err := o.log.Append(ctx, b); err == nil {
			return fmt.Errorf("rows %d, %d, %d behind %d were accepted", b.Rows[0].Seq, b.Rows[1].Seq, b.Rows[2].Seq, b.After)
		}
		if err := o.same(ctx); err != nil {
			return fmt.Errorf("rows with a gap left a trace: %w", err)
		}
	}
	return nil
}

func checkOneOutcome(ctx context.Context, o *owner) error {
	return o.refuses(ctx, "a second outcome of a key", func(b *app.Batch) {
		b.Outcomes[0].Key = keyOf(bank.Seq(2))
	}, func(b *app.Batch) {
		b.Outcomes[0].Key = b.Outcomes[1].Key
	})
}

func checkOneVersion(ctx context.Context, o *owner) error {
	return o.refuses(ctx, "a version that exists", func(b *app.Batch) {
		b.Rows[1].Touches[0].Version = 2
	}, func(b *app.Batch) {
		b.Rows[1].Touches[0] = b.Rows[0].Touches[0]
	})
}

// refuses checks that the log takes no batch that was spoilt, and that nothing stays of it.
func (o *owner) refuses(ctx context.Context, what string, spoil ...func(*app.Batch)) error {
	if err := o.start(ctx, 3); err != nil {
		return err
	}
	for _, spoil := range spoil {
		b := o.batch(2)
		spoil(&b)
		switch err := o.log.Append(ctx, b); {
		case err == nil:
			return fmt.Errorf("%s was accepted", what)
		case errors.Is(err, app.ErrUnknownCommit):
			return fmt.Errorf("%s: %w", what, err)
		}
		if err := o.same(ctx); err != nil {
			return fmt.Errorf("%s left a trace of its batch: %w", what, err)
		}
	}
	if err := o.append(ctx, o.batch(2)); err != nil {
		return fmt.Errorf("the log is not usable afterwards: %w", err)
	}
	return o.same(ctx)
}

// checkCancel cancels appends in the middle. Whatever comes back must be the truth.
func checkCancel(ctx context.Context, o *owner) error {
	if err := o.start(ctx); err != nil {
		return err
	}
	for range 40 {
		b := o.batch(5)
		cancelled, cancel := context.WithCancel(ctx)
		began := make(chan struct{})
		result := make(chan error, 1)
		go func() {
			close(began)
			result <- o.log.Append(cancelled, b)
		}()
		<-began
		cancel()
		switch err := <-result; {
		case err == nil:
			o.took(b)
		case errors.Is(err, app.ErrUnknownCommit):
			return fmt.Errorf("a cancelled append: %w, although the log is well", err)
		}
		if err := o.same(ctx); err != nil {
			return fmt.Errorf("after a cancelled append: %w", err)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := o.log.Append(cancelled, o.batch(1)); err == nil {
		return errors.New("an append that was cancelled before it began was acknowledged")
	}
	return o.same(ctx)
}

// checkOwnership changes what was given and what was got.
func checkOwnership(ctx context.Context, o *owner) error {
	if err := o.start(ctx, 1); err != nil {
		return err
	}
	b, untouched := o.batch(2), o.batch(2)
	if err := o.append(ctx, b); err != nil {
		return err
	}
	o.rows = append(o.rows[:1], untouched.Rows...)
	o.keys = append(o.keys[:2], untouched.Outcomes...)
	for i := range o.rows {
		o.rows[i].Touches = nil
	}
	for i := range b.Rows {
		clear(b.Rows[i].Data)
		clear(b.Outcomes[i].Reply)
	}
	got, err := o.log.Read(ctx, 0, 3)
	if err != nil {
		return err
	}
	for i := range got {
		clear(got[i].Data)
	}
	return o.same(ctx)
}
