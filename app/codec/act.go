package codec

import (
	"google.golang.org/protobuf/encoding/protowire"

	"bankforge/app/bank"
)

func appendAct(b []byte, num protowire.Number, a *bank.Act) []byte {
	b, at := begin(b, num)
	b = appendText(b, 1, a.ID.String())
	b = appendText(b, 2, string(a.Kind))
	b = appendText(b, 3, a.Handler)
	b = appendText(b, 4, a.Key)
	b = appendText(b, 5, a.Target)
	b = appendText(b, 6, string(a.Body))
	b = appendText(b, 7, a.Reason)
	return end(b, at)
}

func readAct(r *reader) *bank.Act {
	m := r.one("act")
	a := new(bank.Act)
	for m.next() {
		switch m.num {
		case 1:
			a.ID = readID(&m, bank.ParseID[bank.Act])
		case 2:
			a.Kind = m.actKind()
		case 3:
			a.Handler = m.text()
		case 4:
			a.Key = m.text()
		case 5:
			a.Target = m.text()
		case 6:
			a.Body = []byte(m.text())
		case 7:
			a.Reason = m.text()
		default:
			m.unknown()
		}
	}
	r.done(&m)
	return a
}

func (r *reader) actKind() bank.ActKind {
	k := bank.ActKind(r.text())
	if r.err == nil && !k.IsKnown() {
		r.fail("is no kind of act")
	}
	return k
}
