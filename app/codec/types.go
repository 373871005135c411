package codec

import (
	"fmt"

	"bankforge/app/bank"
)

// form is how one type of event is stored. Numbers and names are permanent; a version is added when
// the form changes, together with an upcaster from the one before.
type form struct {
	number  uint64
	name    string
	version uint64
}

// forms are the stored forms of all events, by bank.EventType.
var forms = [...]form{
	bank.AccountOpened:    {1, "account.opened", 1},
	bank.AccountChanged:   {2, "account.changed", 1},
	bank.AccountFrozen:    {3, "account.frozen", 1},
	bank.AccountUnfrozen:  {4, "account.unfrozen", 1},
	bank.AccountClosed:    {5, "account.closed", 1},
	bank.ReviewSet:        {6, "account.review_set", 1},
	bank.TransactionMade:  {7, "transaction.made", 1},
	bank.TransferPending:  {8, "transfer.pending", 1},
	bank.TransferApproved: {9, "transfer.approved", 1},
	bank.TransferRejected: {10, "transfer.rejected", 1},
	bank.HoldPlaced:       {11, "hold.placed", 1},
	bank.HoldVoidedEvent:  {12, "hold.voided", 1},
	bank.HoldExpiredEvent: {13, "hold.expired", 1},
}

// Name is the permanent name of a type of event, "" when there is no such type.
func Name(t bank.EventType) string {
	if int(t) >= len(forms) {
		return ""
	}
	return forms[t].name
}

// upcaster lifts the fields of an old form, those behind type and version, to the next version.
type upcaster func(old []byte) ([]byte, error)

// oldForm names a form that is no longer written.
type oldForm struct{ number, version uint64 }

// decoder reads all forms that were ever written.
type decoder struct {
	types   map[uint64]bank.EventType // by number
	current map[uint64]uint64         // number → version that is written today
	lift    map[oldForm]upcaster
}

// written reads what Encode writes, and what it once wrote.
var written = newDecoder(forms[:], map[oldForm]upcaster{})

func newDecoder(forms []form, lift map[oldForm]upcaster) *decoder {
	d := &decoder{types: map[uint64]bank.EventType{}, current: map[uint64]uint64{}, lift: lift}
	for t, f := range forms {
		if f.number != 0 {
			d.types[f.number] = bank.EventType(t)
			d.current[f.number] = f.version
		}
	}
	return d
}

// header reads type and version, and returns the other fields in today's form.
func (d *decoder) header(data []byte) (bank.EventType, []byte, error) {
	r := reader{what: "event", data: data}
	var number, version uint64
	if r.next() && r.num == 1 {
		number = r.varint()
		if r.next() && r.num == 2 {
			version = r.varint()
		}
	}
	current, known := d.current[number]
	switch {
	case r.err != nil:
		return 0, nil, r.err
	case number == 0 || version == 0:
		return 0, nil, fmt.Errorf("%w: an event without type and version", ErrMalformed)
	case !known:
		return 0, nil, fmt.Errorf("%w: unknown type %d of an event", ErrMalformed, number)
	case version > current:
		return 0, nil, fmt.Errorf("%w: version %d of event type %d; this program knows %d and earlier",
			ErrMalformed, version, number, current)
	}
	rest := r.data
	for ; version < current; version++ {
		lift, ok := d.lift[oldForm{number, version}]
		if !ok {
			return 0, nil, fmt.Errorf("%w: no way from version %d of event type %d", ErrMalformed, version, number)
		}
		var err error
		if rest, err = lift(rest); err != nil {
			return 0, nil, fmt.Errorf("lift version %d of event type %d: %w", version, number, err)
		}
	}
	return d.types[number], rest, nil
}
