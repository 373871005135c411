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
	bank.OperatorActed:    {14, "operator.acted", 1},
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
	today []today // by number
	lift  map[oldForm]upcaster
}

// today is what is written of a type of event now.
type today struct {
	event   bank.EventType
	version uint64 // 0: there is no such type
}

// written reads what Encode writes, and what it once wrote.
var written = newDecoder(forms[:], map[oldForm]upcaster{})

func newDecoder(forms []form, lift map[oldForm]upcaster) *decoder {
	d := &decoder{lift: lift}
	for t, f := range forms {
		for uint64(len(d.today)) <= f.number {
			d.today = append(d.today, today{})
		}
		d.today[f.number] = today{bank.EventType(t), f.version}
	}
	return d
}

// header reads type and version, and returns the other fields in today's form.
func (d *decoder) header(data string) (bank.EventType, string, error) {
	r := reader{what: "event", data: data}
	var number, version uint64
	if r.next() && r.num == 1 {
		number = r.varint()
		if r.next() && r.num == 2 {
			version = r.varint()
		}
	}
	var now today
	if number < uint64(len(d.today)) {
		now = d.today[number]
	}
	switch {
	case r.err != nil:
		return 0, "", r.err
	case number == 0 || version == 0:
		return 0, "", fmt.Errorf("%w: an event without type and version", ErrMalformed)
	case now.version == 0:
		return 0, "", fmt.Errorf("%w: unknown type %d of an event", ErrMalformed, number)
	case version > now.version:
		return 0, "", fmt.Errorf("%w: version %d of event type %d; this program knows %d and earlier",
			ErrMalformed, version, number, now.version)
	}
	rest := r.data
	for ; version < now.version; version++ {
		lift, ok := d.lift[oldForm{number, version}]
		if !ok {
			return 0, "", fmt.Errorf("%w: no way from version %d of event type %d", ErrMalformed, version, number)
		}
		lifted, err := lift([]byte(rest))
		if err != nil {
			return 0, "", fmt.Errorf("lift version %d of event type %d: %w", version, number, err)
		}
		rest = string(lifted)
	}
	return now.event, rest, nil
}
