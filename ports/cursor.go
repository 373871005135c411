package ports

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"slices"

	"bankforge/app"
	"bankforge/app/bank"
)

// A cursor is where a page ended, and a hash of the list that it belongs to: path, filters and order. It is
// not secret and not signed: whoever makes one up only chooses where his own list begins.

// place is where a page ended: the time and the id of its last element.
type place struct {
	time bank.Time
	id   string
}

// list says of which list a cursor is.
type list [8]byte

const (
	cursorVersion = 1
	cursorFixed   = 1 + len(list{}) + 8 // and then the id
	maxCursorID   = 64
)

// listOfQuery hashes what a cursor belongs to. The limit may change under it, and so may the cursor.
func listOfQuery(path string, values url.Values) list {
	names := make([]string, 0, len(values))
	for name := range values {
		if name != "limit" && name != "cursor" {
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
	return list(sum[:len(list{})])
}

// encode makes the cursor that goes on behind p.
func (l list) encode(p place) string {
	b := make([]byte, 0, cursorFixed+len(p.id))
	b = append(append(b, cursorVersion), l[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.time)) //nolint:gosec // the same bits
	return base64.RawURLEncoding.EncodeToString(append(b, p.id...))
}

// decode is the inverse; ok is false for what encode has not made for this list.
func (l list) decode(cursor string) (p place, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) < cursorFixed || len(b) > cursorFixed+maxCursorID ||
		b[0] != cursorVersion || list(b[1:1+len(l)]) != l {
		return place{}, false
	}
	p.time = bank.Time(binary.BigEndian.Uint64(b[1+len(l) : cursorFixed])) //nolint:gosec // the same bits
	p.id = string(b[cursorFixed:])
	for _, c := range []byte(p.id) {
		if c <= ' ' || c >= 0x7f {
			return place{}, false
		}
	}
	return p, true
}

// page is what all lists have in common.
type page struct {
	app.Page
	list list
}

const (
	defaultLimit = 50
	maxLimit     = 200
)

// page reads limit, order, cursor, from and to, as far as the route knows them.
func (q *request) page(params *query) page {
	p := page{list: listOfQuery(q.gin.Request.URL.Path, params.values)}
	if p.Limit = int(params.number("limit", 1, maxLimit)); p.Limit == 0 { //nolint:gosec // at most 200
		p.Limit = defaultLimit
	}
	p.Ascending = params.choice("order", "asc", "desc") == "asc"
	p.From, _ = params.instant("from")
	p.To, _ = params.instant("to")
	if cursor := params.values.Get("cursor"); params.values.Has("cursor") {
		after, ok := p.list.decode(cursor)
		if !ok && params.err == nil {
			params.err = refuse(app.CodeInvalidCursor, "The cursor does not belong to this list, its filters and its order.",
				ProblemError{"", "cursor", string(app.CodeInvalidCursor), "the cursor was not made for this list"})
		}
		p.AfterTime, p.AfterID = after.time, after.id
	}
	return p
}

// List is one page of a list.
type List[T any] struct {
	Data       []T     `json:"data" nullable:"false"`
	NextCursor *string `json:"next_cursor" doc:"For the next page; null on the last one."`
}

// listOf makes the page of what was found, which is one element longer when there is a next page.
func listOf[E, T any](p page, found []E, show func(*E) T, at func(*E) place) List[T] {
	var next *string
	if len(found) > p.Limit {
		found = found[:p.Limit]
		cursor := p.list.encode(at(&found[p.Limit-1]))
		next = &cursor
	}
	out := List[T]{Data: make([]T, len(found)), NextCursor: next}
	for i := range found {
		out.Data[i] = show(&found[i])
	}
	return out
}
