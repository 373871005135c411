package codec

import (
	"google.golang.org/protobuf/encoding/protowire"

	"bankforge/app/bank"
)

// frame is what surrounds a transaction or hold: what they share with it is not stored twice. Times
// and seq are stored as differences, accounts as the number of their leg, entries not at all when
// they say what the legs say. The zero frame has nothing to share.
type frame struct {
	seq         bank.Seq
	time        bank.Time
	correlation string
	legs        []bank.Leg
}

func (in *frame) appendTransaction(b []byte, num protowire.Number, t *bank.Transaction) []byte {
	b, at := begin(b, num)
	b = appendText(b, 1, t.ID.String())
	b = appendUint(b, 2, uint64(t.Kind))
	b = appendUint(b, 3, uint64(t.Status))
	b = appendUint(b, 4, uint64(t.Version))
	b = appendInt(b, 5, t.Amount.Minor())
	b = appendText(b, 6, t.Amount.Currency().String())
	b = appendInt(b, 7, t.Reversed)
	b = in.appendAccount(b, 8, t.From)
	b = in.appendAccount(b, 9, t.To)
	b = appendText(b, 10, t.Reference)
	b = appendText(b, 11, t.Description)
	b = appendMetadata(b, 12, t.Metadata)
	b = appendText(b, 13, t.Reverses.String())
	b = appendText(b, 14, t.Hold.String())
	b = appendInt(b, 15, int64(t.ValueDate))
	if t.CorrelationID != in.correlation {
		b = protowire.AppendString(protowire.AppendTag(b, 16, protowire.BytesType), t.CorrelationID)
	}
	b = appendInt(b, 17, int64(t.CreatedAt-in.time))
	b = appendInt(b, 18, int64(t.PostedAt-in.time))
	b = appendInt(b, 19, int64(t.Seq-in.seq))
	if in.told(t.Entries) {
		b = appendUint(b, 20, 1)
		return end(b, at)
	}
	for i := range t.Entries {
		b = in.appendEntry(b, 21, &t.Entries[i])
	}
	return end(b, at)
}

// readTransaction uses the entries that t had again.
func (in *frame) readTransaction(r *reader, t *bank.Transaction) {
	m := r.each("transaction")
	*t = bank.Transaction{
		CorrelationID: in.correlation, CreatedAt: in.time, PostedAt: in.time, Seq: in.seq, Entries: t.Entries[:0],
	}
	var minor int64
	var currency bank.Currency
	for m.next() {
		switch m.num {
		case 1:
			t.ID = readID(&m, bank.ParseID[bank.Transaction])
		case 2:
			t.Kind = bank.TransactionKind(m.uint(uint64(bank.ReversalKind)))
		case 3:
			t.Status = bank.TransactionStatus(m.uint(uint64(bank.Reversed)))
		case 4:
			t.Version = bank.Version(m.varint())
		case 5:
			minor = m.int()
		case 6:
			currency = m.currency()
		case 7:
			t.Reversed = m.int()
		case 8:
			t.From = in.readAccount(&m)
		case 9:
			t.To = in.readAccount(&m)
		case 10:
			t.Reference = m.text()
		case 11:
			t.Description = m.text()
		case 12:
			t.Metadata = readMetadata(&m, t.Metadata)
		case 13:
			t.Reverses = readID(&m, bank.ParseID[bank.Transaction])
		case 14:
			t.Hold = readID(&m, bank.ParseID[bank.Hold])
		default:
			in.readOrigin(&m, t)
		}
	}
	t.Amount = m.amount(minor, currency)
	r.done(&m)
}

// readOrigin reads the later fields of a transaction, which say where it comes from and what it moved.
func (in *frame) readOrigin(m *reader, t *bank.Transaction) {
	switch m.num {
	case 15:
		t.ValueDate = m.date()
	case 16:
		if t.CorrelationID = m.lone(); t.CorrelationID == in.correlation {
			m.fail("repeats the event's")
		}
	case 17:
		t.CreatedAt = in.time + bank.Time(m.int())
	case 18:
		t.PostedAt = in.time + bank.Time(m.int())
	case 19:
		t.Seq = in.seq + bank.Seq(m.int())
	case 20:
		m.uint(1)
		if t.Entries = entriesOf(t.Entries, in.legs); len(t.Entries) == 0 {
			m.fail("there are no legs that could be entries")
		}
	case 21:
		if m.prev == 20 {
			m.fail("comes after all entries have been told")
		}
		t.Entries = append(grow(t.Entries, 2), in.readEntry(m))
		if len(m.data) == 0 && m.err == nil && in.told(t.Entries) {
			m.fail("repeats the legs")
		}
	default:
		m.unknown()
	}
}

// entriesOf appends to out the entries of a transaction that moves what the legs move: debits first.
func entriesOf(out []bank.Entry, legs []bank.Leg) []bank.Entry {
	for _, debit := range [...]bool{true, false} {
		for i := range legs {
			if l := &legs[i]; l.Amount != 0 && l.Amount < 0 == debit {
				out = append(grow(out, 2), entryOf(l))
			}
		}
	}
	return out
}

func entryOf(l *bank.Leg) bank.Entry {
	return bank.Entry{
		Account: l.Account, Customer: l.Customer, Amount: l.Amount,
		BalanceAfter: l.After.Balance, Version: l.After.Version,
	}
}

// told reports whether entries are entriesOf the legs, without making those.
func (in *frame) told(entries []bank.Entry) bool {
	n := 0
	for _, debit := range [...]bool{true, false} {
		for i := range in.legs {
			l := &in.legs[i]
			if l.Amount == 0 || l.Amount < 0 != debit {
				continue
			}
			if n == len(entries) || entries[n] != entryOf(l) {
				return false
			}
			n++
		}
	}
	return n > 0 && n == len(entries)
}

func (in *frame) appendEntry(b []byte, num protowire.Number, e *bank.Entry) []byte {
	b, at := begin(b, num)
	b = in.appendAccount(b, 1, e.Account)
	b = appendText(b, 2, e.Customer.String())
	b = appendInt(b, 3, e.Amount)
	b = appendInt(b, 4, e.BalanceAfter)
	b = appendUint(b, 5, uint64(e.Version))
	return end(b, at)
}

func (in *frame) readEntry(r *reader) (e bank.Entry) {
	m := r.each("entry")
	for m.next() {
		switch m.num {
		case 1:
			e.Account = in.readAccount(&m)
		case 2:
			e.Customer = readID(&m, bank.ParseID[bank.Customer])
		case 3:
			e.Amount = m.int()
		case 4:
			e.BalanceAfter = m.int()
		case 5:
			e.Version = bank.Version(m.varint())
		default:
			m.unknown()
		}
	}
	r.done(&m)
	return e
}

func (in *frame) appendHold(b []byte, num protowire.Number, h *bank.Hold) []byte {
	b, at := begin(b, num)
	b = appendText(b, 1, h.ID.String())
	b = in.appendAccount(b, 2, h.Account)
	b = appendText(b, 3, h.Customer.String())
	b = appendInt(b, 4, h.Amount.Minor())
	b = appendText(b, 5, h.Amount.Currency().String())
	b = appendInt(b, 6, h.Captured)
	b = appendInt(b, 7, h.Remaining)
	b = appendUint(b, 8, uint64(h.Status))
	b = appendText(b, 9, h.Reference)
	b = appendInt(b, 10, int64(h.CreatedAt-in.time))
	b = appendInt(b, 11, int64(h.ExpiresAt-in.time))
	b = appendUint(b, 12, uint64(h.Version))
	return end(b, at)
}

func (in *frame) readHold(r *reader) (h bank.Hold) {
	m := r.one("hold")
	h.CreatedAt, h.ExpiresAt = in.time, in.time
	var minor int64
	var currency bank.Currency
	for m.next() {
		switch m.num {
		case 1:
			h.ID = readID(&m, bank.ParseID[bank.Hold])
		case 2:
			h.Account = in.readAccount(&m)
		case 3:
			h.Customer = readID(&m, bank.ParseID[bank.Customer])
		case 4:
			minor = m.int()
		case 5:
			currency = m.currency()
		case 6:
			h.Captured = m.int()
		case 7:
			h.Remaining = m.int()
		case 8:
			h.Status = bank.HoldStatus(m.uint(uint64(bank.HoldExpired)))
		case 9:
			h.Reference = m.text()
		case 10:
			h.CreatedAt = in.time + bank.Time(m.int())
		case 11:
			h.ExpiresAt = in.time + bank.Time(m.int())
		case 12:
			h.Version = bank.Version(m.varint())
		default:
			m.unknown()
		}
	}
	h.Amount = m.amount(minor, currency)
	r.done(&m)
	return h
}

// appendAccount writes an account that has a leg as the number of the leg, counted from 0, in one
// byte, and another one as the text of its id, which is longer.
func (in *frame) appendAccount(b []byte, num protowire.Number, id bank.AccountID) []byte {
	if i := in.leg(id); i >= 0 {
		b = protowire.AppendTag(b, num, protowire.BytesType)
		return append(b, 1, byte(i))
	}
	return appendText(b, num, id.String())
}

func (in *frame) readAccount(m *reader) bank.AccountID {
	v := m.lone()
	if len(v) == 1 {
		if int(v[0]) >= len(in.legs) || in.leg(in.legs[v[0]].Account) != int(v[0]) {
			m.fail("names leg %d of %d", v[0], len(in.legs))
			return bank.AccountID{}
		}
		return in.legs[v[0]].Account
	}
	id := parseID(m, v, bank.ParseID[bank.Account])
	if in.leg(id) >= 0 {
		m.fail("spells out the account of a leg")
	}
	return id
}

// leg is the number of the first leg on the account; −1 when there is none, or when it does not fit in a byte.
func (in *frame) leg(id bank.AccountID) int {
	if id.IsZero() {
		return -1
	}
	for i := range min(len(in.legs), 256) {
		if in.legs[i].Account == id {
			return i
		}
	}
	return -1
}
