package app

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"

	"bankforge/app/bank"
	"bankforge/app/codec"
)

// Difference is one place where the bank is not what its log says, or the log not what it must be.
type Difference struct {
	Seq     bank.Seq // of the event at which it shows
	Subject string   // the id that it is about; "" when it is about the event, or the log
	What    string
}

// String is one line for operators.
func (d Difference) String() string {
	switch {
	case d.Subject == "":
		return fmt.Sprintf("event %d: %s", d.Seq, d.What)
	case d.Seq == 0:
		return fmt.Sprintf("%s: %s", d.Subject, d.What)
	}
	return fmt.Sprintf("event %d, %s: %s", d.Seq, d.Subject, d.What)
}

// VerifyReport is what Verify found.
type VerifyReport struct {
	Head        Head         // up to which the log was verified
	Events      int          // how many were read
	Differences []Difference // of the file, in the order of the log, of its index, and then those of the views
	Omitted     int          // how many more there are than are listed
	Parked      []ParkedKeys // views that are behind for some keys, which is no difference
	// State is the bank as the log says it is at Head. After a difference it is a guess.
	State *bank.State
}

// OK reports whether nothing was found.
func (r *VerifyReport) OK() bool { return len(r.Differences) == 0 }

// maxDifferences is how many are listed: one damage often makes many.
const maxDifferences = 100

func (r *VerifyReport) add(d Difference) {
	if len(r.Differences) == maxDifferences {
		r.Omitted++
		return
	}
	r.Differences = append(r.Differences, d)
}

// VerifiedLog is what Verify reads. It may be in use: what is appended meanwhile is not looked at.
type VerifiedLog interface {
	Head(ctx context.Context) (Head, error)
	Read(ctx context.Context, after bank.Seq, limit int) ([]Row, error)
	VerifiedIndex
	// Decided returns the outcomes behind the place after, in the order in which they were appended, at most limit, and
	// the place of the last of them. All are behind math.MinInt64.
	Decided(ctx context.Context, after int64, limit int) (page []Outcome, last int64, err error)
}

// VerifiedIndex is how versions are found in a VerifiedLog.
type VerifiedIndex interface {
	Versions(ctx context.Context, subject string, after bank.Version, limit int) ([]Row, error)
	// Touches calls each with the whole index behind Versions, in any order, as far as it is about events up to until.
	// The subjects are as IndexedAs says.
	Touches(ctx context.Context, until bank.Seq, each func(Touch, bank.Seq) error) error
	// IndexedAs is the subject itself, or what stands for it in the index.
	IndexedAs(subject string) string
}

// FileCheck is what a VerifiedLog may have besides.
type FileCheck interface {
	// CheckFile returns what is wrong with the file itself, whatever stands in it: at most so many as are listed.
	CheckFile(ctx context.Context) ([]Difference, error)
}

// KeyCheck is what a VerifiedLog may have besides.
type KeyCheck interface {
	// CheckKeys returns in what that by which outcomes are found differs from the outcomes.
	CheckKeys(ctx context.Context) ([]Difference, error)
}

// ViewCheck compares one view with the state that the log says.
type ViewCheck interface {
	// Compare returns the first differences. An error means that the view could not be read. State is only lent.
	Compare(ctx context.Context, s *bank.State) ([]Difference, error)
}

// ParkedCheck is what a ViewCheck may have besides.
type ParkedCheck interface {
	// Parked returns the views that have parked keys.
	Parked(ctx context.Context) ([]ParkedKeys, error)
}

// ParkedKeys says of how many keys a view has messages that it could not take in. They wait for an operator.
type ParkedKeys struct {
	View string
	Keys int
}

// Verify replays the whole log and trusts nothing in it: the file, the chain, the order, the head, that every event
// follows from the ones before by the rules of the bank, what is remembered of keys, the index of versions, and at last
// the views. The report is as far as it got also when there is an error, which means that something could not be read.
func Verify(ctx context.Context, log VerifiedLog, views ...ViewCheck) (VerifyReport, error) {
	v := verifier{log: log, report: VerifyReport{State: bank.NewState()}, seed: maphash.MakeSeed()}
	v.keys = newOutcomeCheck(log, &v.report)
	err := v.run(ctx)
	if err == nil {
		err = v.compare(ctx, views)
	}
	return v.report, err
}

type verifier struct {
	log    VerifiedLog
	report VerifyReport
	seq    bank.Seq // the last row that was read
	chain  Hash     // its own, true or not
	seed   maphash.Seed
	index  touchSum // of what the events touch
	keys   *outcomeCheck
}

func (v *verifier) differ(format string, args ...any) {
	v.report.add(Difference{Seq: v.seq, What: fmt.Sprintf(format, args...)})
}

func (v *verifier) run(ctx context.Context) (err error) {
	if file, ok := v.log.(FileCheck); ok {
		wrong, err := file.CheckFile(ctx)
		if err != nil {
			return err
		}
		for _, d := range wrong {
			v.report.add(d)
		}
	}
	if v.report.Head, err = v.log.Head(ctx); err != nil {
		return err
	}
	if err := v.replay(ctx); err != nil {
		return err
	}
	head := v.report.Head
	if v.seq == head.Seq && v.chain != head.Chain {
		v.differ("it is the last one, and its chain is not the head's")
	}
	if err := v.report.State.Audit(); err != nil {
		v.differ("at the end, %v", err)
	}
	if err := v.beyond(ctx); err != nil {
		return err
	}
	if err := v.keys.finish(ctx, v.seq); err != nil {
		return fmt.Errorf("read the outcomes: %w", err)
	}
	if err := v.checkIndex(ctx); err != nil {
		return err
	}
	keys, ok := v.log.(KeyCheck)
	if !ok {
		return nil
	}
	wrong, err := keys.CheckKeys(ctx)
	for _, d := range wrong {
		v.report.add(d)
	}
	return err
}

// replay reads the rows up to the head.
func (v *verifier) replay(ctx context.Context) error {
	for last := v.report.Head.Seq; v.seq < last; {
		rows, err := v.log.Read(ctx, v.seq, replayPage)
		if err != nil {
			return fmt.Errorf("read the log behind event %d: %w", v.seq, err)
		}
		if len(rows) == 0 || rows[0].Seq > last {
			v.differ("it is the last one, but the head of the log is at event %d", last)
			return nil
		}
		for i := range rows {
			if rows[i].Seq > last {
				break
			}
			if rows[i].Seq <= v.seq {
				return fmt.Errorf("the log gives event %d behind event %d", rows[i].Seq, v.seq)
			}
			if err := v.row(ctx, &rows[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *verifier) row(ctx context.Context, r *Row) error {
	before := v.seq
	v.seq = r.Seq
	v.report.Events++
	if r.Seq != before+1 {
		v.differ("it follows event %d: those between are missing", before)
	} else if codec.Chain(v.chain, r.Data) != r.Chain {
		v.differ("its chain is not that of its content and the event before")
	}
	v.chain = r.Chain
	if err := v.keys.reach(ctx, r.Seq); err != nil {
		return fmt.Errorf("read the outcomes: %w", err)
	}
	e, meta, err := codec.Decode(r.Data)
	if err != nil {
		v.differ("it cannot be read: %v", err)
		return nil
	}
	if e.Seq != r.Seq {
		v.differ("it says that it is event %d", e.Seq)
		e.Seq = r.Seq
	}
	touches := Touches(&e)
	for _, t := range touches {
		v.index.add(v.seed, v.indexed(t), r.Seq)
	}
	if err := v.bring(ctx, &e); err != nil {
		return err
	}
	if err := v.report.State.Check(&e); err != nil {
		if what := errors.Unwrap(err); what != nil {
			err = what // without the event, which the difference names
		}
		v.differ("%v", err)
	}
	v.report.State.Evolve(e)
	v.report.State.Settle()
	v.keys.event(&e, &meta, touches)
	return nil
}

// bring puts into the state the transactions that e changes and that are no longer pending.
func (v *verifier) bring(ctx context.Context, e *bank.Event) error {
	for i := range e.Transactions {
		t := &e.Transactions[i]
		if _, known := v.report.State.Transaction(t.ID); known || t.Version < 2 {
			continue
		}
		rows, err := v.log.Versions(ctx, t.ID.String(), t.Version-2, 1)
		if err != nil {
			return fmt.Errorf("look up %s: %w", t.ID, err)
		}
		if len(rows) == 0 || rows[0].Seq >= e.Seq {
			continue // Check will say that it follows on nothing
		}
		old, _, err := codec.Decode(rows[0].Data)
		if err != nil {
			continue // that event was already told of
		}
		for _, was := range old.Transactions {
			if was.ID == t.ID {
				v.report.State.Bring(was)
			}
		}
	}
	return nil
}

// beyond looks for rows behind the head. A head that is read after such a row has moved past it, if all is well.
func (v *verifier) beyond(ctx context.Context) error {
	rows, err := v.log.Read(ctx, v.report.Head.Seq, 1)
	if err != nil {
		return err
	}
	head, err := v.log.Head(ctx)
	if err != nil {
		return err
	}
	if len(rows) > 0 && rows[0].Seq > head.Seq {
		v.report.add(Difference{Seq: rows[0].Seq, What: fmt.Sprintf("it is behind the head, which is at event %d", head.Seq)})
	}
	return nil
}

func (v *verifier) compare(ctx context.Context, views []ViewCheck) error {
	for _, view := range views {
		found, err := view.Compare(ctx, v.report.State)
		for _, d := range found {
			v.report.add(d)
		}
		if err != nil {
			return fmt.Errorf("compare a view: %w", err)
		}
		lot, ok := view.(ParkedCheck)
		if !ok {
			continue
		}
		parked, err := lot.Parked(ctx)
		if err != nil {
			return fmt.Errorf("count what is parked: %w", err)
		}
		v.report.Parked = append(v.report.Parked, parked...)
	}
	return nil
}
