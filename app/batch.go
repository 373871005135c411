package app

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"bankforge/app/bank"
	"bankforge/app/codec"
)

const (
	maxExpiries   = 1024    // holds that expire in one batch
	maxBatchBytes = 8 << 20 // of events, after which the rest of the commands go into the next batch
	usualBytes    = 512     // are enough for what most commands make: an event and an outcome's reply
)

// batch is what is decided and committed together.
type batch struct {
	Batch
	l        *Ledger
	mark     bank.Mark
	now      bank.Time
	chain    Hash
	buf      []byte // the rows' data and the outcomes' replies
	answered []*request
	first    map[Key]*request
	start    time.Time
	decided  time.Time
}

// begin makes a batch with room for so many commands.
func (l *Ledger) begin(commands int) *batch {
	return &batch{
		Batch: Batch{
			Term: l.head.Term, Number: l.head.Batch + 1, After: l.head.Seq,
			Rows: make([]Row, 0, commands), Outcomes: make([]Outcome, 0, commands),
		},
		l: l, mark: l.state.Mark(), chain: l.head.Chain, first: make(map[Key]*request, commands), start: time.Now(),
		now: max(bank.TimeOf(l.conf.Clock()), l.state.Time()),
		buf: make([]byte, 0, commands*usualBytes), answered: make([]*request, 0, commands),
	}
}

// step has one batch of requests decided, committed and answered. Holds that are due expire before; while
// more of them are due than one batch takes, only they do.
func (l *Ledger) step(taken []*request) {
	for all := false; !all; {
		b := l.begin(len(taken))
		if all = b.expire(); all {
			b.decideAll(taken)
		}
		if err := l.commit(b); err != nil && !all {
			turnAway(taken, err)
			return
		}
	}
}

// turnAway answers those whose turn does not come.
func turnAway(requests []*request, why error) {
	for _, r := range requests {
		if r.claim() {
			r.err = unavailable(why)
			r.finish()
		}
	}
}

// expire ends holds that are due, and reports whether those were all.
func (b *batch) expire() (all bool) {
	due, some := b.l.state.NextExpiry()
	if !some || due > b.now || b.l.conf.Clock().Before(b.l.restless) {
		return true
	}
	err := b.undoPanic(func() {
		for _, e := range bank.Expire(b.l.state, b.now, maxExpiries) {
			// Nobody asked for it, so the hold stands for what it belongs to.
			b.take(&e, Meta{Actor: "ledger", CorrelationID: e.Hold.ID.String()})
		}
	})
	if err != nil {
		b.l.rest()
		return true
	}
	due, some = b.l.state.NextExpiry()
	return !some || due > b.now
}

// rest lets the next try to expire holds by themselves wait, after one that has failed.
func (l *Ledger) rest() { l.restless = l.conf.Clock().Add(time.Second) }

func (b *batch) decideAll(taken []*request) {
	if len(taken) == 0 {
		return
	}
	known, err := b.lookUp(taken)
	for i, r := range taken {
		if len(b.buf) > maxBatchBytes {
			b.l.carried = append(b.l.carried, taken[i:]...)
			break
		}
		if !r.claim() {
			continue // the caller has left
		}
		if err != nil {
			r.err = unavailable(err)
			r.finish()
			continue
		}
		b.request(r, known)
	}
	b.decided = time.Now()
}

// lookUp asks the log once for all keys, and once for all that the commands need and the state does not have.
func (b *batch) lookUp(taken []*request) (map[Key]Outcome, error) {
	ctx, cancel := context.WithTimeout(b.l.ctx, b.l.conf.CommitWithin)
	defer cancel()
	var known map[Key]Outcome
	keys := make([]Key, 0, len(taken))
	for _, r := range taken {
		if k := r.key(); k != (Key{}) {
			keys = append(keys, k)
		}
	}
	if len(keys) > 0 {
		var err error
		if known, err = b.l.conf.Lookup.Outcomes(ctx, keys); err != nil {
			return nil, err
		}
	}
	var subjects []string
	for _, r := range taken {
		if _, ok := known[r.key()]; !ok {
			if s := b.l.needs(r.Command); s != "" {
				subjects = append(subjects, s)
			}
		}
	}
	if len(subjects) == 0 {
		return known, nil
	}
	rows, err := b.l.conf.Lookup.Latest(ctx, subjects)
	if err != nil {
		return nil, err
	}
	for subject, row := range rows {
		if err := b.bring(subject, row); err != nil {
			return nil, err
		}
	}
	return known, nil
}

// key is zero for what is not remembered.
func (r *request) key() Key {
	if r.Call.DryRun {
		return Key{}
	}
	return r.Call.Key
}

// needs is the transaction or hold of the past that the command is about, or "".
func (l *Ledger) needs(c bank.Command) string {
	switch c := c.(type) {
	case bank.Reverse:
		return missingTransaction(l.state, c.Of)
	case bank.DecidePending:
		return missingTransaction(l.state, c.ID)
	case bank.Capture:
		return missingHold(l.state, c.Hold)
	case bank.VoidHold:
		return missingHold(l.state, c.ID)
	}
	return ""
}

func missingTransaction(s *bank.State, id bank.TransactionID) string {
	if _, have := s.Transaction(id); have {
		return ""
	}
	return id.String()
}

func missingHold(s *bank.State, id bank.HoldID) string {
	if _, have := s.Hold(id); have {
		return ""
	}
	return id.String()
}

// bring shows the state the transaction or hold that was asked for. The row's event may tell of others too, but those
// may have newer versions than it knows.
func (b *batch) bring(subject string, row Row) error {
	e, _, err := codec.Decode(row.Data)
	if err != nil {
		return fmt.Errorf("event %d: %w", row.Seq, err)
	}
	for _, t := range e.Transactions {
		if t.ID.String() == subject {
			b.l.state.Bring(t)
		}
	}
	if e.Hold != nil && e.Hold.ID.String() == subject {
		b.l.state.BringHold(*e.Hold)
	}
	return nil
}

// request finds out what becomes of one request. What rests on nothing that is tentative is answered at once.
func (b *batch) request(r *request, known map[Key]Outcome) {
	key := r.key()
	if o, ok := known[key]; ok {
		if r.known = &o; o.Fingerprint != r.Call.Fingerprint {
			r.known, r.err = nil, keyReused()
		}
		r.finish()
		return
	}
	b.answered = append(b.answered, r)
	if first, ok := b.first[key]; ok {
		if r.first = first; first.Call.Fingerprint != r.Call.Fingerprint {
			r.first, r.err = nil, keyReused()
		}
		return
	}
	if err := b.undoPanic(func() { b.decide(r) }); err != nil {
		r.answer, r.err = Answer{}, unavailable(err)
	}
}

// undoPanic runs fn. What fn did before it panicked is undone; everything else stays as it is.
func (b *batch) undoPanic(fn func()) (err error) {
	mark, rows, outcomes, chain := b.l.state.Mark(), len(b.Rows), len(b.Outcomes), b.chain
	defer func() {
		if p := recover(); p != nil {
			b.l.state.Rollback(mark)
			b.Rows, b.Outcomes, b.chain = b.Rows[:rows], b.Outcomes[:outcomes], chain
			err = fmt.Errorf("panic: %v", p)
			b.l.conf.Logger.Error("deciding panicked; the command was undone", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	fn()
	return nil
}

// decide decides one command upon all before it.
func (b *batch) decide(r *request) {
	before := b.l.state.Seq()
	events, items, err := b.ask(r)
	if err != nil {
		r.err = refusedAs(r.Call.CorrelationID, refusal(err))
	}
	for i := range items {
		items[i].Refused = refusedAs(r.Call.CorrelationID, items[i].Refused)
	}
	r.answer = Answer{Events: events, Items: items}
	r.answer.Seq = before + bank.Seq(len(events))
	if r.Call.DryRun {
		r.answer.Seq = 0
		return
	}
	meta := Meta{
		CorrelationID: r.Call.CorrelationID, Actor: r.Call.Principal.Subject,
		IdempotencyKey: r.Call.IdempotencyKey, TraceParent: r.Call.TraceParent,
	}
	for i := range events {
		b.take(&events[i], meta)
	}
	if r.err == nil {
		r.answer.Account = b.account(r.Command)
	}
	b.remember(r, before)
}

// refusedAs is the refusal e of the command with that correlation id; nil when e is.
func refusedAs(correlation string, e *bank.Error) *bank.Error {
	if e == nil {
		return nil
	}
	own := *e // what ports have found may be shared
	own.CorrelationID = correlation
	return &own
}

// ask puts the command to the domain.
func (b *batch) ask(r *request) ([]bank.Event, []codec.BulkItem, error) {
	if r.Refusal != nil {
		return nil, nil, r.Refusal
	}
	bulk, ok := r.Command.(bank.Bulk)
	if !ok {
		events, err := bank.Decide(b.l.state, r.Command, b.now)
		return events, nil, err
	}
	events, refused, err := bank.DecideBulk(b.l.state, bulk, b.now)
	if err != nil {
		return nil, nil, err
	}
	items, next := make([]codec.BulkItem, len(refused)), 0
	for i := range refused {
		if items[i].Refused = refused[i]; refused[i] == nil {
			items[i].Event = next
			next++
		}
	}
	return events, items, nil
}

// take has the state take an event in, and puts it into the batch.
func (b *batch) take(e *bank.Event, m Meta) {
	from := len(b.buf)
	b.buf = codec.Encode(b.buf, e, m)
	data := b.buf[from:len(b.buf):len(b.buf)]
	b.chain = codec.Chain(b.chain, data)
	b.Rows = append(b.Rows, Row{Seq: e.Seq, Data: data, Chain: b.chain, Touches: Touches(e)})
	b.l.state.Evolve(*e)
}

// account is what a command on an account has made of it; nil for other commands.
func (b *batch) account(c bank.Command) *bank.Account {
	var id bank.AccountID
	switch c := c.(type) {
	case bank.OpenAccount:
		id = c.ID
	case bank.ChangeAccount:
		id = c.ID
	case bank.SetStatus:
		id = c.ID
	case bank.SetReview:
		id = c.ID
	default:
		return nil
	}
	a, _ := b.l.state.Account(id)
	return &a
}

// remembered reports whether a refusal stays the answer for ever: what was refused before it came to a decision
// on the ledger, or without one, may be asked again.
func remembered(c bank.Code) bool {
	switch c {
	case bank.NotFound, bank.InvalidRequest, CodeForbidden, CodeUnavailable, CodeOverloaded:
		return false
	default:
		return true
	}
}

// remember adds the outcome of a request to the batch. before is the last event before its own.
func (b *batch) remember(r *request, before bank.Seq) {
	if r.key() == (Key{}) || r.err != nil && !remembered(r.err.Code) {
		return
	}
	o := Outcome{
		Key: r.Call.Key, Fingerprint: r.Call.Fingerprint, Seq: before, Events: len(r.answer.Events),
		Command: r.Name, At: b.now,
	}
	from := len(b.buf)
	switch {
	case r.err != nil:
		o.Code = r.err.Code
		b.buf = codec.EncodeRefusal(b.buf, r.err)
	case r.answer.Account != nil:
		o.Subject = r.answer.Account.ID.String()
		b.buf = codec.EncodeAccount(b.buf, r.answer.Account)
	case r.answer.Items != nil:
		b.buf = codec.EncodeBulk(b.buf, r.answer.Items)
	}
	if n := len(r.answer.Events); n > 0 {
		o.Seq++
		if o.Subject == "" && r.answer.Items == nil {
			o.Subject = subject(&r.answer.Events[n-1])
		}
	}
	o.Reply = b.buf[from:len(b.buf):len(b.buf)]
	b.Outcomes = append(b.Outcomes, o)
	b.first[o.Key] = r
}

// subject is what an event made or changed: a transaction, a hold, or an act.
func subject(e *bank.Event) string {
	switch {
	case len(e.Transactions) > 0:
		return e.Transactions[0].ID.String()
	case e.Hold != nil:
		return e.Hold.ID.String()
	case e.Act != nil:
		return e.Act.ID.String()
	default:
		return ""
	}
}
