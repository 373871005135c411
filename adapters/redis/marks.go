package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"bankforge/handlers"
	"bankforge/router"
)

// View is the view as its handler writes it: the store of projection.Balances, and the marks beside it. It is safe for
// concurrent use.
type View struct{ db *DB }

var _ router.Marks = (*View)(nil)

// NewView gives access to the view in db.
func NewView(db *DB) *View { return &View{db} }

const digits = 16 // of a number in a mark

// Mark implements router.Marks.
func (v *View) Mark(ctx context.Context, s router.Stream) (router.Mark, error) {
	text, err := v.db.write.Get(ctx, v.db.markKey(s)).Result()
	if errors.Is(err, redis.Nil) {
		return router.Mark{}, nil
	}
	if err != nil {
		return router.Mark{}, errorOf("read a mark", err)
	}
	return parseMark(text)
}

// Move implements router.Marks. Accounts of other incarnations are overwritten when they come again; those that do
// not are never shown.
func (v *View) Move(ctx context.Context, s router.Stream, seen, next router.Mark) error {
	_, err := run(ctx, v.db.write, move, []call{{
		keys: []string{v.db.markKey(s)}, args: []any{formatMark(seen), formatMark(next)},
	}})
	return errorOf("move a mark", err)
}

func (db *DB) markKey(s router.Stream) string { return db.marksOf(s) + partitionText(s.Partition) }

// marksOf is how the keys of all marks of a handler begin.
func (db *DB) marksOf(s router.Stream) string {
	return db.prefix + "mark:" + s.Handler + ":" + string(s.Topic) + ":"
}

func partitionText(p int) string { return fmt.Sprintf("%04x", p) }

// formatMark is "" for the zero mark.
func formatMark(m router.Mark) string {
	if m == (router.Mark{}) {
		return ""
	}
	return hex(uint64(m.Position.Offset())) + hex(uint64(m.Target.Offset())) + m.Incarnation
}

func parseMark(text string) (m router.Mark, err error) {
	if len(text) < 2*digits {
		return m, fmt.Errorf("redis: %q is no mark", text)
	}
	var at [2]handlers.Position
	for i := range at {
		n, err := strconv.ParseInt(text[i*digits:(i+1)*digits], 16, 64)
		if err != nil {
			return m, fmt.Errorf("redis: %q is no mark", text)
		}
		at[i] = handlers.PositionAt(n)
	}
	m.Position, m.Target, m.Incarnation = at[0], at[1], text[2*digits:]
	return m, nil
}

// hex is n in 16 digits.
func hex(n uint64) string { return string(appendHex(make([]byte, 0, digits), n)) }

func appendHex(b []byte, n uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[n>>shift&15])
	}
	return b
}
