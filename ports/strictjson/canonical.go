package strictjson

import (
	"encoding/binary"
	"slices"
	"strings"
)

// AppendCanonical appends bytes that are the same for two values if and only if they say the same:
// the order of members and white space do not matter. It sorts the members of v.
func (v *Value) AppendCanonical(b []byte) []byte {
	b = append(b, byte(v.Kind))
	switch v.Kind {
	case Null:
	case Bool, Number, String:
		b = appendText(b, v.Text)
	case Array:
		b = binary.AppendUvarint(b, uint64(len(v.Members)))
		for i := range v.Members {
			b = v.Members[i].Value.AppendCanonical(b)
		}
	case Object:
		slices.SortFunc(v.Members, func(x, y Member) int { return strings.Compare(x.Name, y.Name) })
		b = binary.AppendUvarint(b, uint64(len(v.Members)))
		for i := range v.Members {
			b = appendText(b, v.Members[i].Name)
			b = v.Members[i].Value.AppendCanonical(b)
		}
	}
	return b
}

// appendText puts the length first, so that no two rows of texts run together into the same bytes.
func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Escape makes a name one step of a JSON pointer.
func Escape(name string) string {
	if !strings.ContainsAny(name, "~/") {
		return name
	}
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}
