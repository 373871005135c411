package ops

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
)

// Hidden stands for what the reader may not see.
const Hidden = "***"

// shown are the members of payloads that say what something is, where it stands and when it was: everything else is
// money or was written by people. What nobody has thought of is not shown.
var shown = map[string]bool{
	"id": true, "version": true, "details_version": true, "status": true, "kind": true, "type": true,
	"currency": true, "direction": true, "day": true, "value_date": true, "seq": true, "reverses": true,
	"created_at": true, "expires_at": true, "posted_at": true, "account_id": true, "from_account_id": true,
	"to_account_id": true, "customer_id": true, "payer_customer_id": true, "hold_id": true, "correlation_id": true,
}

// ReadPayload reads what a message carries. ok is false when it is no JSON.
func ReadPayload(text []byte) (v any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // as they are written
	if d.Decode(&v) != nil {
		return nil, false
	}
	_, err := d.Token()
	return v, errors.Is(err, io.EOF)
}

// Mask hides in what ReadPayload has read what is not shown; what has members or items is gone through, and keeps its
// shape.
func Mask(v any) any { return mask(v, false) }

func mask(v any, visible bool) any {
	switch v := v.(type) {
	case nil:
		return nil
	case map[string]any:
		for name, member := range v {
			if name == "metadata" { // the names in it are the user's own, too
				v[name] = hidden(member)
				continue
			}
			v[name] = mask(member, shown[name])
		}
		return v
	case []any:
		for i := range v {
			v[i] = mask(v[i], visible)
		}
		return v
	}
	if visible {
		return v
	}
	return Hidden
}

func hidden(v any) any {
	if v == nil {
		return nil
	}
	return Hidden
}

// Secrets are the texts and numbers that Mask hides in a payload. What is shown as well is none.
func Secrets(payload []byte) (out []string) {
	v, ok := ReadPayload(payload)
	if !ok {
		return nil
	}
	is := map[string]bool{} // text → it is shown, too
	gather(v, false, is)
	for text, also := range is {
		if !also {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return out
}

func gather(v any, visible bool, is map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if name == "metadata" {
				gatherAll(member, is)
				continue
			}
			gather(member, shown[name], is)
		}
	case []any:
		for i := range v {
			gather(v[i], visible, is)
		}
	case json.Number:
		is[v.String()] = is[v.String()] || visible
	case string:
		is[v] = is[v] || visible
	}
}

// gatherAll gathers what is in metadata, the names in it as well.
func gatherAll(v any, is map[string]bool) {
	pairs, _ := v.(map[string]any)
	for name, value := range pairs {
		gather(name, false, is)
		gather(value, false, is)
	}
}
