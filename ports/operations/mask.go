package operations

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// Masked stands for what the reader may not see.
const Masked = "***"

// shown are the members of payloads that say what something is, where it stands and when it was: everything else is
// money or was written by people. What nobody has thought of is not shown.
var shown = map[string]bool{
	"id": true, "version": true, "details_version": true, "status": true, "kind": true, "type": true,
	"currency": true, "direction": true, "day": true, "value_date": true, "seq": true, "reverses": true,
	"created_at": true, "expires_at": true, "posted_at": true, "account_id": true, "from_account_id": true,
	"to_account_id": true, "customer_id": true, "payer_customer_id": true, "hold_id": true, "correlation_id": true,
}

// payload reads what a message carries. ok is false when it is no JSON.
func payload(text []byte) (v any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // as they are written
	if d.Decode(&v) != nil {
		return nil, false
	}
	_, err := d.Token()
	return v, errors.Is(err, io.EOF)
}

// mask hides what is not shown; what has members or items is gone through, and keeps its shape.
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
	return Masked
}

func hidden(v any) any {
	if v == nil {
		return nil
	}
	return Masked
}
