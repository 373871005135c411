package app

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"slices"

	"bankforge/app/bank"
	"bankforge/app/codec"
)

// What stands beside the events in the log: the index of versions, and the outcomes of keys.

// touchSum is the sum of a set of index entries, whatever their order. Two sets with the same sum are the same,
// but for one chance in 2^64.
type touchSum struct {
	count int
	sum   uint64
}

func (s *touchSum) add(seed maphash.Seed, t Touch, seq bank.Seq) {
	s.count++
	s.sum += maphash.Comparable(seed, indexed{t, seq})
}

type indexed struct {
	Touch
	seq bank.Seq
}

// indexed is t as the index has it.
func (v *verifier) indexed(t Touch) Touch {
	t.Subject = v.log.IndexedAs(t.Subject)
	return t
}

// checkIndex compares the index of versions with the events. Only if their sums differ it looks for the places.
func (v *verifier) checkIndex(ctx context.Context) error {
	var sum touchSum
	err := v.log.Touches(ctx, v.seq, func(t Touch, seq bank.Seq) error {
		sum.add(v.seed, t, seq)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the index of versions: %w", err)
	}
	if sum == v.index {
		return nil
	}
	if err := v.findMissing(ctx); err != nil {
		return err
	}
	if err := v.findStray(ctx); err != nil {
		return err
	}
	if v.report.OK() {
		v.differ("the index of versions has %d entries that do not match the %d of the events", sum.count, v.index.count)
	}
	return nil
}

// findMissing looks every version that the events make up in the index.
func (v *verifier) findMissing(ctx context.Context) error {
	for at := bank.Seq(0); at < v.seq; {
		rows, err := v.log.Read(ctx, at, replayPage)
		if err != nil || len(rows) == 0 {
			return err
		}
		for i := range rows {
			at = rows[i].Seq
			if err := v.findIn(ctx, &rows[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *verifier) findIn(ctx context.Context, r *Row) error {
	e, _, err := codec.Decode(r.Data)
	if err != nil || r.Seq > v.seq {
		return nil //nolint:nilerr // it was already told of
	}
	for _, t := range Touches(&e) {
		if t.Version == 0 {
			continue // Check has told
		}
		found, err := v.log.Versions(ctx, t.Subject, t.Version-1, 1)
		if err != nil {
			return err
		}
		if len(found) != 1 || found[0].Seq != r.Seq {
			what := fmt.Sprintf("the index of versions does not lead from version %d to here", t.Version)
			v.report.add(Difference{Seq: r.Seq, Subject: t.Subject, What: what})
		}
	}
	return nil
}

// findStray looks for entries of the index that no event made.
func (v *verifier) findStray(ctx context.Context) error {
	return v.log.Touches(ctx, v.seq, func(t Touch, seq bank.Seq) error {
		rows, err := v.log.Read(ctx, max(seq, 1)-1, 1)
		if err != nil {
			return err
		}
		if len(rows) == 1 && rows[0].Seq == seq {
			e, _, err := codec.Decode(rows[0].Data)
			made := func(m Touch) bool { return v.indexed(m) == t }
			if err != nil || slices.ContainsFunc(Touches(&e), made) {
				return nil //nolint:nilerr // what cannot be read was already told of
			}
		}
		if v.log.IndexedAs("") != "" { // it only stands for the subject
			t.Subject = fmt.Sprintf("%x", t.Subject)
		}
		what := fmt.Sprintf("the index of versions has version %d, which this event did not make", t.Version)
		v.report.add(Difference{Seq: seq, Subject: t.Subject, What: what})
		return nil
	})
}

// outcomePage is how many outcomes are in memory at once while they are verified.
const outcomePage = 256

// outcomeCheck walks over the outcomes beside the events: every event that was made under a key must be told of by
// exactly one outcome, and every outcome must tell of what its command has made, and answer with it.
type outcomeCheck struct {
	log    VerifiedLog
	report *VerifyReport
	page   []Outcome // read, and not looked at yet
	place  int64     // of the last that was read
	ended  bool
	past   bank.Seq // where the last outcome ends
	now    *Outcome // the last one that tells of events
	by     *Meta    // the origin of the first of these
}

func newOutcomeCheck(log VerifiedLog, report *VerifyReport) *outcomeCheck {
	return &outcomeCheck{log: log, report: report, place: math.MinInt64}
}

// begins is the first event of o; when it made none, the one that it stands before.
func (o *Outcome) begins() bank.Seq {
	if o.Events > 0 || o.Seq == math.MaxUint64 {
		return o.Seq
	}
	return o.Seq + 1
}

// ends is the last event of o; when it made none, the one that it stands behind.
func (o *Outcome) ends() bank.Seq {
	if o.Events > 0 {
		return max(o.Seq, o.Seq+bank.Seq(o.Events)-1)
	}
	return o.Seq
}

func (c *outcomeCheck) differ(o *Outcome, what string) {
	c.report.add(Difference{Seq: o.Seq, What: fmt.Sprintf("the outcome of key %x %s", o.Key, what)})
}

const (
	misplaced = "is out of the order of the log, or tells of what another one tells of"
	notThere  = "stands for what is not in the log"
)

// reach looks at the outcomes that stand before event seq, which comes next, or begin with it.
func (c *outcomeCheck) reach(ctx context.Context, seq bank.Seq) error {
	for {
		if err := c.fill(ctx); err != nil || len(c.page) == 0 {
			return err
		}
		switch o := c.page[0]; {
		case o.begins() <= seq:
			c.take(&o, seq)
		case len(c.page) > 1 && c.page[1].begins() < o.begins() && c.page[1].begins() > c.past:
			c.stray(&o) // it would make all up to where it is look wrong
		default:
			return nil
		}
		c.page = c.page[1:]
	}
}

// fill reads on, so that there is always one more to compare with.
func (c *outcomeCheck) fill(ctx context.Context) error {
	if c.ended || len(c.page) > 1 {
		return nil
	}
	more, place, err := c.log.Decided(ctx, c.place, outcomePage)
	if err != nil {
		return err
	}
	c.page, c.place, c.ended = append(c.page, more...), place, len(more) == 0
	return nil
}

func (c *outcomeCheck) stray(o *Outcome) {
	if o.ends() > c.report.Head.Seq {
		c.differ(o, notThere)
		return
	}
	c.differ(o, misplaced)
}

// take looks at what can be told of o before its events. Event seq comes next.
func (c *outcomeCheck) take(o *Outcome, seq bank.Seq) {
	if o.begins() <= c.past {
		c.differ(o, misplaced)
		return
	}
	c.sound(o)
	if o.Events > 0 && (o.Seq < seq || o.ends() > c.report.Head.Seq) {
		c.differ(o, notThere)
		o.Events = 1 // enough to go on with
	}
	c.past = o.ends()
	switch {
	case o.Events > 0:
		c.now, c.by = o, nil
	case o.Seq == c.report.State.Seq():
		c.answers(o, o.Seq)
	}
}

// sound checks what o says by itself.
func (c *outcomeCheck) sound(o *Outcome) {
	if o.Key == (Key{}) {
		c.differ(o, "has no key")
	}
	if o.Fingerprint == (Hash{}) {
		c.differ(o, "has no fingerprint")
	}
	if o.Events < 0 || o.Code != "" && o.Events > 0 {
		c.differ(o, fmt.Sprintf("was refused as %q, and tells of %d events", o.Code, o.Events))
	}
	if o.Code == "" {
		return
	}
	if refused, err := codec.DecodeRefusal(o.Reply); err != nil || refused.Code != o.Code {
		c.differ(o, fmt.Sprintf("was refused as %q, and its reply is not that refusal", o.Code))
	}
}

// event checks the event that was just taken into the state.
func (c *outcomeCheck) event(e *bank.Event, m *Meta, touches []Touch) {
	differ := func(subject, what string) { c.report.add(Difference{Seq: e.Seq, Subject: subject, What: what}) }
	o, keyed := c.now, m.IdempotencyKey != ""
	if o == nil || e.Seq < o.Seq || e.Seq > o.ends() {
		if keyed {
			differ("", "it was made under a key, and no outcome tells of it")
		}
		return
	}
	if c.by == nil {
		c.by = m
	}
	switch {
	case !keyed:
		differ("", fmt.Sprintf("the outcome of key %x tells of it, but it was made without one", o.Key))
	case m.Actor != c.by.Actor || m.IdempotencyKey != c.by.IdempotencyKey || m.CorrelationID != c.by.CorrelationID:
		differ("", fmt.Sprintf("the outcome of key %x tells of it, but another command has made it", o.Key))
	}
	if e.Seq < o.ends() {
		return
	}
	if o.Subject != "" && !slices.ContainsFunc(touches, func(t Touch) bool { return t.Subject == o.Subject }) {
		differ(o.Subject, fmt.Sprintf("the outcome of key %x is not about this event", o.Key))
	}
	c.answers(o, e.Seq)
}

// answers checks the reply of what was accepted. The state is that of seq, which is where o ends.
func (c *outcomeCheck) answers(o *Outcome, seq bank.Seq) {
	if o.Code == "" && !c.fits(o) {
		what := fmt.Sprintf("the reply of the outcome of key %x is not what was decided", o.Key)
		c.report.add(Difference{Seq: seq, Subject: o.Subject, What: what})
	}
}

func (c *outcomeCheck) fits(o *Outcome) bool {
	if o.Subject == "" {
		items, err := codec.DecodeBulk(o.Reply)
		return err == nil && !slices.ContainsFunc(items, func(i codec.BulkItem) bool {
			return i.Refused == nil && (i.Event < 0 || i.Event >= o.Events)
		})
	}
	id, err := bank.ParseID[bank.Account](o.Subject)
	if err != nil {
		return len(o.Reply) == 0 // the events of transactions and holds say it all
	}
	told, err := codec.DecodeAccount(o.Reply)
	is, known := c.report.State.Account(id)
	return err == nil && known && bytes.Equal(codec.EncodeAccount(nil, &told), codec.EncodeAccount(nil, &is))
}

// finish looks at the rest, behind the last event that was read. What was appended meanwhile is none of its business.
func (c *outcomeCheck) finish(ctx context.Context, last bank.Seq) error {
	head := c.report.Head
	for {
		if err := c.fill(ctx); err != nil || len(c.page) == 0 {
			return err
		}
		o := c.page[0]
		c.page = c.page[1:]
		if o.begins() <= c.past || o.ends() <= last {
			c.take(&o, last+1)
			continue
		}
		if o.ends() > head.Seq {
			var err error
			if head, err = c.log.Head(ctx); err != nil {
				return err
			}
		}
		if o.begins() <= c.report.Head.Seq || o.ends() > head.Seq {
			c.differ(&o, notThere)
		}
	}
}
