package apptest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/codec"
)

func checkRead(ctx context.Context, o *owner) error {
	if err := o.start(ctx, 1, 3, 0, 5, 1); err != nil {
		return err
	}
	return o.same(ctx)
}

func checkLimits(ctx context.Context, o *owner) error {
	if err := o.start(ctx, 1, 3, 5); err != nil {
		return err
	}
	all := len(o.rows)
	for after := range all + 2 {
		for _, limit := range []int{0, 1, 2, all, 100} {
			got, err := o.log.Read(ctx, bank.Seq(after), limit)
			if err != nil {
				return err
			}
			from := min(after, all)
			if err := equalRows(got, o.rows[from:min(from+limit, all)]); err != nil {
				return fmt.Errorf("at most %d rows behind %d: %w", limit, after, err)
			}
		}
	}
	got, err := o.log.Read(ctx, ^bank.Seq(0), 1)
	if err != nil || len(got) != 0 {
		return errors.Join(err, fmt.Errorf("behind the last seq that there can be: %d rows", len(got)))
	}
	return nil
}

// checkOutcomes asks for many keys at once, known and unknown ones, and the same more than once.
func checkOutcomes(ctx context.Context, o *owner) error {
	if err := o.start(ctx, 0, 70, 0, 300); err != nil {
		return err
	}
	if err := o.sameOutcomes(ctx); err != nil {
		return err
	}
	for _, n := range []int{0, 1, 2, 100, 1000} {
		var keys []app.Key
		for i := range n {
			keys = append(keys, keyOf(bank.Seq(2*i)), keyOf(bank.Seq(2*i)))
		}
		found, err := o.log.Outcomes(ctx, keys)
		if err != nil {
			return fmt.Errorf("%d keys: %w", len(keys), err)
		}
		for i := range n {
			seq := bank.Seq(2 * i)
			if got, ok := found[keyOf(seq)]; ok != (seq >= 1 && seq <= o.head.Seq) || ok && got.Seq != seq {
				return fmt.Errorf("of %d keys, that of event %d: found %t, seq %d", len(keys), seq, ok, got.Seq)
			}
		}
	}
	return nil
}

func checkLatest(ctx context.Context, o *owner) error {
	if err := o.start(ctx, 2, 3); err != nil {
		return err
	}
	subjects := []string{subjectOf(2), "acc_nobody", hot, subjectOf(5)}
	got, err := o.log.Latest(ctx, subjects)
	if err != nil {
		return err
	}
	want := map[string]bank.Seq{subjectOf(2): 2, hot: 5, subjectOf(5): 5}
	if len(got) != len(want) {
		return fmt.Errorf("%d subjects instead of %d", len(got), len(want))
	}
	for subject, seq := range want {
		if err := equalRows([]app.Row{got[subject]}, o.rows[seq-1:seq]); err != nil {
			return fmt.Errorf("the newest version of %s: %w", subject, err)
		}
	}
	none, err := o.log.Latest(ctx, nil)
	if err != nil || len(none) != 0 {
		return errors.Join(err, fmt.Errorf("of no subjects: %d rows", len(none)))
	}
	return nil
}

func checkVersions(ctx context.Context, o *owner) error {
	if err := o.start(ctx, 4, 3); err != nil {
		return err
	}
	all := len(o.rows)
	descending := slices.Clone(o.rows)
	slices.Reverse(descending)
	for bound := range all + 2 {
		for _, limit := range []int{0, 1, 3, 100} {
			from := min(bound, all)
			got, err := o.log.Versions(ctx, hot, bank.Version(bound), limit)
			if err := errors.Join(err, equalRows(got, o.rows[from:min(from+limit, all)])); err != nil {
				return fmt.Errorf("at most %d versions behind %d: %w", limit, bound, err)
			}
			got, err = o.log.VersionsBefore(ctx, hot, bank.Version(bound), limit)
			from = min(all, all+1-bound)
			if err := errors.Join(err, equalRows(got, descending[from:min(from+limit, all)])); err != nil {
				return fmt.Errorf("at most %d versions before %d: %w", limit, bound, err)
			}
		}
	}
	got, err := o.log.VersionsBefore(ctx, hot, ^bank.Version(0), 2)
	if err := errors.Join(err, equalRows(got, descending[:2])); err != nil {
		return fmt.Errorf("before the last version that there can be: %w", err)
	}
	got, err = o.log.Versions(ctx, "acc_nobody", 0, 1)
	if err != nil || len(got) != 0 {
		return errors.Join(err, fmt.Errorf("of a subject that does not exist: %d rows", len(got)))
	}
	return nil
}

// checkReaders reads while it appends: each reader must see a beginning of the log that only grows,
// with everything that belongs to it.
func checkReaders(ctx context.Context, o *owner) error {
	if err := o.start(ctx, 1); err != nil {
		return err
	}
	const readers, batches = 3, 60
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	appended := make(chan struct{})
	errs := make([]error, readers)
	var wg sync.WaitGroup
	for i := range readers {
		wg.Go(func() {
			if errs[i] = watch(ctx, o.log, appended); errs[i] != nil {
				stop(errs[i])
			}
		})
	}
	var err error
	for n := 0; n < batches && err == nil && ctx.Err() == nil; n++ {
		err = o.append(ctx, o.batch(n%7))
	}
	close(appended)
	wg.Wait()
	if broken := errors.Join(errs...); broken != nil {
		return broken
	}
	return err
}

// watch reads the log over and over until all has been appended.
func watch(ctx context.Context, l LogUnderTest, appended <-chan struct{}) error {
	for seen := 0; ; {
		over := false
		select {
		case <-appended:
			over = true
		default:
		}
		head, err := l.Head(ctx)
		if err != nil {
			return err
		}
		rows, err := l.Read(ctx, 0, 1<<20)
		if err != nil {
			return err
		}
		if len(rows) < seen || bank.Seq(len(rows)) < head.Seq {
			return fmt.Errorf("%d rows, although there have been %d and the head was at %d", len(rows), seen, head.Seq)
		}
		seen = len(rows)
		if err := beginning(ctx, l, rows); err != nil {
			return err
		}
		if over {
			return nil
		}
	}
}

func beginning(ctx context.Context, l LogUnderTest, rows []app.Row) error {
	var chain app.Hash
	for i, r := range rows {
		if r.Seq != bank.Seq(i+1) {
			return fmt.Errorf("row %d has seq %d", i, r.Seq)
		}
		if chain = codec.Chain(chain, r.Data); chain != r.Chain {
			return fmt.Errorf("the chain breaks at event %d", r.Seq)
		}
	}
	last := bank.Seq(len(rows))
	found, err := l.Outcomes(ctx, []app.Key{keyOf(last)})
	if err != nil {
		return err
	}
	if found[keyOf(last)].Seq != last {
		return fmt.Errorf("event %d can be read, but not its outcome", last)
	}
	latest, err := l.Latest(ctx, []string{subjectOf(last)})
	if err != nil {
		return err
	}
	if latest[subjectOf(last)].Seq != last {
		return fmt.Errorf("event %d can be read, but not be found by its subject", last)
	}
	return nil
}
