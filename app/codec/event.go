package codec

import (
	"fmt"
	"slices"

	"bankforge/app/bank"
)

// The field numbers are documented in event.proto. They are permanent.

// Encode appends the stored form of e and m to dst. One event has exactly one form.
// It panics when the type of e is none of bank's: such an event must never reach the log.
func Encode(dst []byte, e *bank.Event, m Meta) []byte {
	if Name(e.Type) == "" {
		panic(fmt.Sprintf("codec: there is no type %d of events", e.Type))
	}
	f := forms[e.Type]
	b := appendUint(dst, 1, f.number)
	b = appendUint(b, 2, f.version)
	b = appendUint(b, 3, uint64(e.Seq))
	b = appendInt(b, 4, int64(e.Time))
	b = appendText(b, 5, m.CorrelationID)
	b = appendText(b, 6, m.CausationID)
	b = appendText(b, 7, m.Actor)
	b = appendText(b, 8, m.IdempotencyKey)
	b = appendText(b, 9, m.TraceParent)
	in := frame{e.Seq, e.Time, m.CorrelationID, e.Legs}
	for i := range e.Legs {
		b = appendLeg(b, 10, &e.Legs[i])
	}
	if e.Opening != nil {
		b = appendOpening(b, 11, e.Opening)
	}
	if e.Details != nil {
		b = appendDetails(b, 12, e.Details)
	}
	for i := range e.Transactions {
		b = in.appendTransaction(b, 13, &e.Transactions[i])
	}
	if e.Hold != nil {
		b = in.appendHold(b, 14, e.Hold)
	}
	b = appendText(b, 15, e.Reason)
	if e.Act != nil {
		b = appendAct(b, 16, e.Act)
	}
	return b
}

// Decode reads what Encode has written, in this version of the program or in an earlier one. What it
// returns shares nothing with data. Its errors wrap ErrMalformed.
func Decode(data []byte) (bank.Event, Meta, error) { return written.decode(data) }

func (d *decoder) decode(data []byte) (e bank.Event, m Meta, err error) {
	err = d.into(string(data), &e, &m)
	return e, m, err
}

// DecodeInto is Decode for who reads many events, one after the other: it uses the slices of e again, and all texts in
// e and m are parts of data. Who keeps one of them beyond data makes a copy. After an error, e and m are empty.
func DecodeInto(data string, e *bank.Event, m *Meta) error { return written.into(data, e, m) }

func (d *decoder) into(data string, e *bank.Event, m *Meta) error {
	kind, rest, err := d.header(data)
	if err == nil {
		*e, *m = bank.Event{Type: kind, Legs: e.Legs[:0], Transactions: e.Transactions[:0]}, Meta{}
		err = readEvent(rest, e, m)
	}
	if err != nil {
		*e, *m = bank.Event{}, Meta{}
	}
	return err
}

// readEvent reads the fields behind type and version.
func readEvent(rest string, e *bank.Event, m *Meta) error {
	r := reader{what: "event", data: rest, num: 2}
	for r.next() {
		switch r.num {
		case 3:
			e.Seq = bank.Seq(r.varint())
		case 4:
			e.Time = bank.Time(r.int())
		case 5:
			m.CorrelationID = r.text()
		case 6:
			m.CausationID = r.text()
		case 7:
			m.Actor = r.text()
		case 8:
			m.IdempotencyKey = r.text()
		case 9:
			m.TraceParent = r.text()
		case 10:
			e.Legs = more(e.Legs, 2)
			readLeg(&r, &e.Legs[len(e.Legs)-1])
		case 11:
			e.Opening = readOpening(&r)
		case 12:
			e.Details = readDetails(&r)
		case 13:
			in := frame{e.Seq, e.Time, m.CorrelationID, e.Legs}
			e.Transactions = more(e.Transactions, 1)
			in.readTransaction(&r, &e.Transactions[len(e.Transactions)-1])
		case 14:
			in := frame{e.Seq, e.Time, m.CorrelationID, e.Legs}
			h := in.readHold(&r)
			e.Hold = &h
		case 15:
			e.Reason = r.text()
		case 16:
			e.Act = readAct(&r)
		default:
			r.unknown()
		}
	}
	return r.err
}

// more is s with one more element, which may have been used before; n are as many as there mostly are.
func more[E any](s []E, n int) []E {
	if len(s) < cap(s) {
		return s[:len(s)+1]
	}
	var zero E
	return append(grow(s, n), zero)
}

// grow makes room for the usual number of elements at once.
func grow[E any](s []E, n int) []E {
	if s == nil {
		return slices.Grow(s, n)
	}
	return s
}
