package apptest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/codec"
)

// LogUnderTest is what TestLog judges.
type LogUnderTest interface {
	app.Log
	app.Lookup
}

// LogStore makes logs for TestLog.
type LogStore struct {
	// Open returns a new log that nobody has acquired yet.
	Open func() (LogUnderTest, error)
	// Crash returns a log with what a new process finds when the one that used l has died in this
	// moment. l is not used afterwards.
	Crash func(l LogUnderTest) (LogUnderTest, error)
}

// TestLog checks all that app.Log and app.Lookup promise. Its error names each promise that is broken.
func TestLog(ctx context.Context, s LogStore) error {
	var broken []error
	for _, c := range logChecks {
		l, err := s.Open()
		if err != nil {
			return fmt.Errorf("open a log: %w", err)
		}
		if err := c.run(ctx, &owner{log: l, crash: s.Crash}); err != nil {
			broken = append(broken, fmt.Errorf("%s: %w", c.promise, err))
		}
	}
	return errors.Join(broken...)
}

type logCheck struct {
	promise string
	run     func(context.Context, *owner) error
}

var logChecks = []logCheck{
	{"a ledger is made by the first to acquire it", checkNew},
	{"what was appended is read, in order and whole", checkRead},
	{"limits are kept", checkLimits},
	{"a batch that does not follow the head is fenced", checkFence},
	{"of many who follow the same head one wins", checkRace},
	{"a new owner fences the old one", checkTakeover},
	{"rows are dense", checkDense},
	{"outcomes are kept as they are", checkOutcomes},
	{"a key has one outcome for ever", checkOneOutcome},
	{"a version is made once", checkOneVersion},
	{"the newest version is found", checkLatest},
	{"versions are found in order", checkVersions},
	{"a batch is not kept", checkOwnership},
	{"a cancelled append is known to have failed or not", checkCancel},
	{"resolving a committed batch", checkResolveCommitted},
	{"resolving a batch that never came", checkResolveMissing},
	{"resolving after another owner has come", checkResolveFenced},
	{"what was acknowledged survives a crash", checkCrash},
	{"readers see nothing but beginnings of the log", checkReaders},
}

// owner plays the part of a decider: it knows where the head is, and makes batches that follow it.
type owner struct {
	log   LogUnderTest
	crash func(LogUnderTest) (LogUnderTest, error)
	head  app.Head
	rows  []app.Row     // all that was acknowledged
	keys  []app.Outcome // likewise
}

// hot is an account of which every event of owner makes a version.
const hot = "acc_hot"

func subjectOf(seq bank.Seq) string { return fmt.Sprintf("txn_%d", seq) }

// TouchesOf says what an event of TestLog touches, for logs that find that in their rows: these events are none of a
// bank.
func TouchesOf(r *app.Row) ([]app.Touch, error) {
	return []app.Touch{{Subject: hot, Version: bank.Version(r.Seq)}, {Subject: subjectOf(r.Seq), Version: 1}}, nil
}

func keyOf(n any) app.Key { return sha256.Sum256(fmt.Append(nil, "key ", n)) }

// acquire takes the ledger.
func (o *owner) acquire(ctx context.Context, name string) (err error) {
	if o.head, err = o.log.Acquire(ctx, name); err != nil {
		return fmt.Errorf("acquire: %w", err)
	}
	return nil
}

// batch makes the next batch: n events with an outcome each, and one outcome for a refusal.
func (o *owner) batch(n int) app.Batch {
	b := app.Batch{Term: o.head.Term, Number: o.head.Batch + 1, After: o.head.Seq}
	chain := o.head.Chain
	for i := range n {
		seq := o.head.Seq + 1 + bank.Seq(i)
		data := fmt.Appendf(nil, "event %d of term %d\x00\xff", seq, b.Term)
		chain = codec.Chain(chain, data)
		b.Rows = append(b.Rows, app.Row{Seq: seq, Data: data, Chain: chain, Touches: []app.Touch{
			{Subject: hot, Version: bank.Version(seq)}, {Subject: subjectOf(seq), Version: 1},
		}})
		b.Outcomes = append(b.Outcomes, app.Outcome{
			Key: keyOf(seq), Fingerprint: sha256.Sum256(data), Seq: seq, Events: 1, Reply: []byte{0, byte(i), 0xff},
			Subject: subjectOf(seq), Command: "transfer", At: bank.Time(1_700_000_000_000_000 + seq),
		})
	}
	b.Outcomes = append(b.Outcomes, app.Outcome{
		Key: keyOf(fmt.Sprint("refusal in batch ", b.Number)), Fingerprint: app.Hash{1}, Seq: b.After,
		Code: bank.InsufficientFunds, Subject: "acc_poor", Command: "withdraw", At: -1,
	})
	return b
}

// append appends b, and expects that to work.
func (o *owner) append(ctx context.Context, b app.Batch) error {
	if err := o.log.Append(ctx, b); err != nil {
		return fmt.Errorf("append batch %d of %d events: %w", b.Number, len(b.Rows), err)
	}
	o.took(b)
	return nil
}

// took notes that b is in the log.
func (o *owner) took(b app.Batch) {
	o.head.Batch = b.Number
	for _, r := range b.Rows {
		o.head.Seq, o.head.Chain = r.Seq, r.Chain
		o.rows = append(o.rows, app.Row{Seq: r.Seq, Data: r.Data, Chain: r.Chain})
	}
	o.keys = append(o.keys, b.Outcomes...)
}

// start acquires the ledger, and appends batches of the given sizes.
func (o *owner) start(ctx context.Context, sizes ...int) error {
	if err := o.acquire(ctx, "first"); err != nil {
		return err
	}
	for _, n := range sizes {
		if err := o.append(ctx, o.batch(n)); err != nil {
			return err
		}
	}
	return nil
}

// same checks that the log holds what was acknowledged, and nothing else.
func (o *owner) same(ctx context.Context) error {
	head, err := o.log.Head(ctx)
	if err != nil {
		return fmt.Errorf("head: %w", err)
	}
	if head != o.head {
		return fmt.Errorf("the head is %+v instead of %+v", head, o.head)
	}
	rows, err := o.log.Read(ctx, 0, len(o.rows)+10)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if err := equalRows(rows, o.rows); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	latest, err := o.log.Latest(ctx, []string{hot, subjectOf(o.head.Seq + 1)})
	if err != nil {
		return fmt.Errorf("latest: %w", err)
	}
	if latest[hot].Seq != o.head.Seq || latest[subjectOf(o.head.Seq+1)].Seq != 0 {
		return fmt.Errorf("latest finds event %d, and %d which was never acknowledged",
			latest[hot].Seq, latest[subjectOf(o.head.Seq+1)].Seq)
	}
	return o.sameOutcomes(ctx)
}

func (o *owner) sameOutcomes(ctx context.Context) error {
	never := o.batch(1).Outcomes
	keys := make([]app.Key, 0, len(o.keys)+len(never))
	for _, k := range append(never, o.keys...) {
		keys = append(keys, k.Key)
	}
	found, err := o.log.Outcomes(ctx, keys)
	if err != nil {
		return fmt.Errorf("outcomes: %w", err)
	}
	for _, want := range o.keys {
		got, ok := found[want.Key]
		if !ok {
			return fmt.Errorf("the outcome of seq %d with code %q is missing", want.Seq, want.Code)
		}
		if len(got.Reply) == 0 {
			got.Reply = want.Reply[:0:0]
		}
		if !reflect.DeepEqual(got, want) {
			return fmt.Errorf("the outcome is %+v instead of %+v", got, want)
		}
	}
	if len(found) != len(o.keys) {
		return fmt.Errorf("%d outcomes instead of %d: some were never acknowledged", len(found), len(o.keys))
	}
	return nil
}

func equalRows(got, want []app.Row) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d rows instead of %d", len(got), len(want))
	}
	for i, g := range got {
		switch w := want[i]; {
		case g.Seq != w.Seq:
			return fmt.Errorf("row %d has seq %d instead of %d", i, g.Seq, w.Seq)
		case string(g.Data) != string(w.Data):
			return fmt.Errorf("event %d is %q instead of %q", g.Seq, g.Data, w.Data)
		case g.Chain != w.Chain:
			return fmt.Errorf("event %d has chain %x instead of %x", g.Seq, g.Chain, w.Chain)
		case len(g.Touches) != 0:
			return fmt.Errorf("event %d says what it touches, which is not read", g.Seq)
		}
	}
	return nil
}
