package codec

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"bankforge/app/bank"
)

func appendLeg(b []byte, num protowire.Number, l *bank.Leg) []byte {
	b, at := begin(b, num)
	b = appendText(b, 1, l.Account.String())
	b = appendText(b, 2, l.Customer.String())
	b = appendText(b, 3, l.Currency.String())
	b = appendInt(b, 4, l.Amount)
	b = appendAccountState(b, &l.After)
	return end(b, at)
}

func readLeg(r *reader, l *bank.Leg) {
	*l = bank.Leg{}
	m := r.each("leg")
	for m.next() {
		switch m.num {
		case 1:
			l.Account = readID(&m, bank.ParseID[bank.Account])
		case 2:
			l.Customer = readID(&m, bank.ParseID[bank.Customer])
		case 3:
			l.Currency = m.currency()
		case 4:
			l.Amount = m.int()
		default:
			readAccountState(&m, &l.After)
		}
	}
	r.done(&m)
}

// appendAccountState writes the fields 5 to 14, which legs and accounts have in common.
func appendAccountState(b []byte, s *bank.AccountState) []byte {
	b = appendUint(b, 5, uint64(s.Version))
	b = appendUint(b, 6, uint64(s.Status))
	b = appendInt(b, 7, s.Balance)
	b = appendInt(b, 8, s.Held)
	b = appendInt(b, 9, int64(s.OverdraftLimit))
	b = appendInt(b, 10, int64(s.DailyDebitLimit))
	b = appendInt(b, 11, int64(s.ReviewAbove))
	b = appendInt(b, 12, int64(s.Day))
	b = appendInt(b, 13, s.DebitedToday)
	return appendUint(b, 14, uint64(s.DetailsVersion))
}

func readAccountState(m *reader, s *bank.AccountState) {
	switch m.num {
	case 5:
		s.Version = bank.Version(m.varint())
	case 6:
		s.Status = bank.AccountStatus(m.uint(uint64(bank.Closed)))
	case 7:
		s.Balance = m.int()
	case 8:
		s.Held = m.int()
	case 9:
		s.OverdraftLimit = bank.Limit(m.int())
	case 10:
		s.DailyDebitLimit = bank.Limit(m.int())
	case 11:
		s.ReviewAbove = bank.Limit(m.int())
	case 12:
		s.Day = m.date()
	case 13:
		s.DebitedToday = m.int()
	case 14:
		s.DetailsVersion = bank.Version(m.varint())
	default:
		m.unknown()
	}
}

func appendOpening(b []byte, num protowire.Number, o *bank.Opening) []byte {
	b, at := begin(b, num)
	b = appendText(b, 2, o.Customer.String())
	b = appendText(b, 3, o.Currency.String())
	b = appendUint(b, 4, uint64(o.Type))
	return end(b, at)
}

func readOpening(r *reader) *bank.Opening {
	m := r.one("opening")
	o := new(bank.Opening)
	for m.next() {
		m.opening(o)
	}
	r.done(&m)
	return o
}

// opening reads the fields 2 to 4, which openings and accounts have in common.
func (r *reader) opening(o *bank.Opening) {
	switch r.num {
	case 2:
		o.Customer = readID(r, bank.ParseID[bank.Customer])
	case 3:
		o.Currency = r.currency()
	case 4:
		o.Type = bank.AccountType(r.uint(uint64(bank.Internal)))
	default:
		r.unknown()
	}
}

func appendDetails(b []byte, num protowire.Number, d *bank.Details) []byte {
	b, at := begin(b, num)
	b = appendText(b, 1, d.Label)
	b = appendText(b, 2, d.ExternalID)
	b = appendMetadata(b, 3, d.Metadata)
	return end(b, at)
}

func readDetails(r *reader) *bank.Details {
	m := r.one("details")
	d := new(bank.Details)
	for m.next() {
		switch m.num {
		case 1:
			d.Label = m.text()
		case 2:
			d.ExternalID = m.text()
		case 3:
			d.Metadata = readMetadata(&m, d.Metadata)
		default:
			m.unknown()
		}
	}
	r.done(&m)
	return d
}

// appendMetadata writes one message for each key, in the order of the keys.
func appendMetadata(b []byte, num protowire.Number, metadata bank.Metadata) []byte {
	if len(metadata) == 0 {
		return b
	}
	for _, k := range slices.Sorted(maps.Keys(metadata)) {
		var at int
		b, at = begin(b, num)
		b = appendText(b, 1, k)
		b = appendText(b, 2, metadata[k])
		b = end(b, at)
	}
	return b
}

// readMetadata adds one key, which must come after those that are there.
func readMetadata(r *reader, all bank.Metadata) bank.Metadata {
	m := r.each("metadata")
	var k, v string
	for m.next() {
		switch m.num {
		case 1:
			k = m.text()
		case 2:
			v = m.text()
		default:
			m.unknown()
		}
	}
	r.done(&m)
	if all == nil {
		all = bank.Metadata{}
	}
	if len(all) > 0 && k <= r.key {
		r.fail("has its keys out of order")
	}
	r.key = k
	all[k] = v
	return all
}

// amount checks what was read as two fields. Neither is no amount at all.
func (r *reader) amount(minor int64, c bank.Currency) bank.Amount {
	if minor == 0 && c.IsZero() {
		return bank.Amount{}
	}
	a, err := bank.NewAmount(minor, c)
	if err != nil {
		r.fail("%v", err)
	}
	return a
}

// EncodeAccount appends a whole account, as of one moment, to dst.
func EncodeAccount(dst []byte, a *bank.Account) []byte {
	b := appendText(dst, 1, a.ID.String())
	b = appendText(b, 2, a.Customer.String())
	b = appendText(b, 3, a.Currency.String())
	b = appendUint(b, 4, uint64(a.Type))
	b = appendAccountState(b, &a.AccountState)
	b = appendInt(b, 15, int64(a.OpenedAt))
	b = appendInt(b, 16, int64(a.UpdatedAt))
	if a.Details != nil {
		b = appendDetails(b, 17, a.Details)
	}
	return b
}

// DecodeAccount reads what EncodeAccount has written.
func DecodeAccount(data []byte) (bank.Account, error) {
	r := reader{what: "account", data: string(data)}
	a := readAccount(&r)
	if r.err != nil {
		return bank.Account{}, r.err
	}
	return a, nil
}

func readAccount(m *reader) (a bank.Account) {
	for m.next() {
		switch m.num {
		case 1:
			a.ID = readID(m, bank.ParseID[bank.Account])
		case 2, 3, 4:
			m.opening(&a.Opening)
		case 15:
			a.OpenedAt = bank.Time(m.int())
		case 16:
			a.UpdatedAt = bank.Time(m.int())
		case 17:
			a.Details = readDetails(m)
		default:
			readAccountState(m, &a.AccountState)
		}
	}
	return a
}
