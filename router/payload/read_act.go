package payload

import (
	"bytes"
	"encoding/json"

	"bankforge/app/bank"
)

// acted reads what is told on the topic of operators.
func (r *reader) acted(c *bank.Change) {
	a := &bank.Act{}
	r.object(func(name []byte) {
		switch string(name) {
		case "act":
			r.act(a)
		case "reason":
			a.Reason = r.string()
		default:
			r.skip()
		}
	})
	if r.err != nil {
		return
	}
	if err := a.Check(); err != nil {
		r.fail("%w", err)
	}
	if a.Kind.ActName() != c.Name {
		r.fail("the kind of the act is %.64q", a.Kind)
	}
	c.Act = a
}

func (r *reader) act(a *bank.Act) {
	r.object(func(name []byte) {
		switch string(name) {
		case "id":
			a.ID = required(r, bank.ParseID[bank.Act])
		case "kind":
			a.Kind = bank.ActKind(r.string())
		case "handler":
			a.Handler = r.string()
		case "key":
			a.Key = r.string()
		case "target":
			a.Target = r.string()
		case "body":
			a.Body = r.raw()
		default:
			r.skip()
		}
	})
}

// raw takes any value as it is written, but for blanks; null is nothing.
func (r *reader) raw() []byte {
	if r.null() {
		return nil
	}
	r.peek()
	from := r.at
	r.skip()
	if r.err != nil {
		return nil
	}
	var out bytes.Buffer
	if err := json.Compact(&out, r.data[from:r.at]); err != nil {
		r.fail("%w", err)
	}
	return out.Bytes()
}
