package app

import (
	"context"
	"fmt"

	"bankforge/app/bank"
	"bankforge/app/codec"
)

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

// subject is what an event made or changed: a transaction, or a hold.
func subject(e *bank.Event) string {
	if len(e.Transactions) > 0 {
		return e.Transactions[0].ID.String()
	}
	if e.Hold != nil {
		return e.Hold.ID.String()
	}
	return ""
}

// replay gives the answer that the command was given when it was decided: what was stored with its outcome, and its
// events. It runs on the caller's side, so that it holds nobody up.
func (l *Ledger) replay(ctx context.Context, r *request) (Answer, *bank.Error) {
	a, err := l.recall(ctx, r)
	if err != nil {
		return Answer{Done: a.Done}, refusal(err)
	}
	return a, nil
}

func (l *Ledger) recall(ctx context.Context, r *request) (Answer, error) {
	o := r.known
	a := Answer{Done: Done{Replayed: true, Seq: o.Seq}}
	if o.Events > 0 {
		a.Seq += bank.Seq(o.Events) - 1
	}
	if o.Code != "" {
		refused, err := codec.DecodeRefusal(o.Reply)
		if err == nil {
			err = refused
		}
		return a, err
	}
	if o.Events > 0 {
		rows, err := l.conf.Log.Read(ctx, o.Seq-1, o.Events)
		if err == nil && len(rows) != o.Events {
			err = fmt.Errorf("the log has %d of %d events from %d on", len(rows), o.Events, o.Seq)
		}
		if err != nil {
			return a, err
		}
		for _, row := range rows {
			e, _, err := codec.Decode(row.Data)
			if err != nil {
				return a, err
			}
			a.Events = append(a.Events, e)
		}
	}
	var err error
	switch r.Command.(type) {
	case bank.OpenAccount, bank.ChangeAccount, bank.SetStatus, bank.SetReview:
		var acc bank.Account
		acc, err = codec.DecodeAccount(o.Reply)
		a.Account = &acc
	case bank.Bulk:
		a.Items, err = codec.DecodeBulk(o.Reply)
	}
	return a, err
}
