// Package cursor makes and reads the cursors of lists. A cursor is where a page ended, and a hash of the list that it
// belongs to: path, filters and order. It is not secret and not signed: whoever makes one up only
// chooses where his own list begins.
package cursor

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"slices"

	"bankforge/app/bank"
)

// Place is where a page ended: the time and the id of its last element.
type Place struct {
	Time bank.Time
	ID   string
}

// List says of which list a cursor is.
type List [8]byte

const (
	version = 1
	fixed   = 1 + len(List{}) + 8 // and then the id
	maxID   = 64
)

// Of hashes what a cursor belongs to. The limit may change under it, and so may the cursor; order=desc is the default.
func Of(path string, values url.Values) List {
	names := make([]string, 0, len(values))
	for name := range values {
		if name != "limit" && name != "cursor" && !(name == "order" && values.Get(name) == "desc") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	b := []byte(path)
	for _, name := range names {
		for _, part := range []string{name, values.Get(name)} {
			b = binary.AppendUvarint(b, uint64(len(part)))
			b = append(b, part...)
		}
	}
	sum := sha256.Sum256(b)
	return List(sum[:len(List{})])
}

// Encode makes the cursor that goes on behind p.
func (l List) Encode(p Place) string {
	b := make([]byte, 0, fixed+len(p.ID))
	b = append(append(b, version), l[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.Time))
	return base64.RawURLEncoding.EncodeToString(append(b, p.ID...))
}

// Decode is the inverse; ok is false for what Encode has not made for this list.
func (l List) Decode(cursor string) (p Place, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) < fixed || len(b) > fixed+maxID ||
		b[0] != version || List(b[1:1+len(l)]) != l {
		return Place{}, false
	}
	p.Time = bank.Time(binary.BigEndian.Uint64(b[1+len(l) : fixed]))
	p.ID = string(b[fixed:])
	for _, c := range []byte(p.ID) {
		if c <= ' ' || c >= 0x7f {
			return Place{}, false
		}
	}
	return p, true
}
