package codec

import "bankforge/app/bank"

// EncodeRefusal appends a refusal as callers see it, without its cause, to dst.
func EncodeRefusal(dst []byte, e *bank.Error) []byte {
	b := appendText(dst, 1, string(e.Code))
	b = appendText(b, 2, e.Field)
	b = appendText(b, 3, e.Detail)
	b = appendInt(b, 4, int64(e.Item))
	return appendText(b, 5, e.CorrelationID)
}

// DecodeRefusal reads what EncodeRefusal has written.
func DecodeRefusal(data []byte) (*bank.Error, error) {
	r := reader{what: "refusal", data: string(data)}
	e := readRefusal(&r)
	if r.err != nil {
		return nil, r.err
	}
	return e, nil
}

func readRefusal(m *reader) *bank.Error {
	e := new(bank.Error)
	for m.next() {
		switch m.num {
		case 1:
			e.Code = bank.Code(m.text())
		case 2:
			e.Field = m.text()
		case 3:
			e.Detail = m.text()
		case 4:
			e.Item = int(m.int())
		case 5:
			e.CorrelationID = m.text()
		default:
			m.unknown()
		}
	}
	return e
}

// BulkItem says what became of one item of a bulk.
type BulkItem struct {
	Event   int         // which of the bulk's events is the item's, from 0; not when it was refused
	Refused *bank.Error // nil when accepted
}

// EncodeBulk appends what became of all items, in order, to dst.
func EncodeBulk(dst []byte, items []BulkItem) []byte {
	b := dst
	for i := range items {
		var at int
		b, at = begin(b, 1)
		if it := &items[i]; it.Refused != nil {
			var in int
			b, in = begin(b, 2)
			b = end(EncodeRefusal(b, it.Refused), in)
		} else {
			b = appendInt(b, 1, int64(it.Event))
		}
		b = end(b, at)
	}
	return b
}

// DecodeBulk reads what EncodeBulk has written.
func DecodeBulk(data []byte) ([]BulkItem, error) {
	r := reader{what: "bulk", data: string(data)}
	var items []BulkItem
	for r.next() {
		if r.num != 1 {
			r.unknown()
			break
		}
		m := r.each("bulk item")
		var it BulkItem
		for m.next() {
			switch {
			case m.num == 1:
				it.Event = int(m.int())
			case m.num == 2 && m.prev == 0:
				in := m.one("refusal")
				it.Refused = readRefusal(&in)
				m.done(&in)
			default:
				m.unknown()
			}
		}
		r.done(&m)
		items = append(items, it)
	}
	if r.err != nil {
		return nil, r.err
	}
	return items, nil
}
