package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"bankforge/handlers"
	"bankforge/router"
)

// View is the view as its handler writes it: the store of projection.Balances, and the marks beside it. It is safe for
// concurrent use.
type View struct {
	db     *DB
	beside string // the build that is written, beside the one in use; "": the one in use
}

var _ router.Marks = (*View)(nil)

// NewView gives access to the view in db.
func NewView(db *DB) *View { return &View{db: db} }

const digits = 16 // of a number in a mark

// Mark implements router.Marks.
func (v *View) Mark(ctx context.Context, s router.Stream) (router.Mark, error) {
	cmds, err := run(ctx, v.db.write, mark, []call{{
		keys: []string{v.db.inUse()}, args: []any{v.db.prefix, markPart(s)},
	}})
	if err != nil {
		return router.Mark{}, errorOf("read a mark", err)
	}
	found, err := cmds[0].StringSlice()
	if err != nil || len(found) != 2 {
		return router.Mark{}, fmt.Errorf("redis: read a mark: %v, %w", found, err)
	}
	m := router.Mark{Build: found[0]}
	if found[1] != "" {
		m, err = parseMark(found[1])
		m.Build = found[0]
	}
	return m, err
}

// Move implements router.Marks. Accounts of other incarnations are overwritten when they come again; those that do
// not are never shown.
func (v *View) Move(ctx context.Context, s router.Stream, seen, next router.Mark) error {
	_, err := run(ctx, v.db.write, move, []call{{
		keys: []string{v.db.inUse(), v.db.in(seen.Build) + markPart(s)},
		args: []any{seen.Build, formatMark(seen), formatMark(next)},
	}})
	return errorOf("move a mark", err)
}

// scannedAtOnce is about how many keys one command looks at, or removes.
const scannedAtOnce = 1000

// Forget implements rebuild.View. Marks go first, so that no handler that has begun writes any more; and last, for
// those that have begun meanwhile: they find that it is gone, and build it from the log.
func (v *View) Forget(ctx context.Context, _ string) error {
	build, err := v.db.current(ctx)
	for _, what := range []string{"mark:", accountPart, "mark:"} {
		if err == nil {
			err = v.db.remove(ctx, v.db.in(build)+what)
		}
	}
	return errorOf("forget the view", err)
}

// remove unlinks all keys that begin so.
func (db *DB) remove(ctx context.Context, beginning string) error {
	return db.removeBut(ctx, beginning, "")
}

// removeBut leaves those that begin with not, if it is not empty.
func (db *DB) removeBut(ctx context.Context, beginning, not string) error {
	return db.eachKey(ctx, beginning, func(keys []string) error {
		keys = slices.DeleteFunc(keys, func(k string) bool { return not != "" && strings.HasPrefix(k, not) })
		if len(keys) == 0 {
			return nil
		}
		return db.write.Unlink(ctx, keys...).Err()
	})
}

// eachKey calls some with keys that begin so: all that are there from the beginning to the end, some of them twice.
func (db *DB) eachKey(ctx context.Context, beginning string, some func(keys []string) error) error {
	for cursor := uint64(0); ; {
		keys, next, err := db.write.Scan(ctx, cursor, pattern(beginning), scannedAtOnce).Result()
		if err != nil {
			return err
		}
		if len(keys) > 0 {
			if err := some(keys); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// pattern matches what begins so.
func pattern(beginning string) string {
	return strings.NewReplacer("\\", "\\\\", "*", "\\*", "?", "\\?", "[", "\\[", "]", "\\]").Replace(beginning) + "*"
}

// inUse is the key that says which build all read and write; nothing there: the first.
func (db *DB) inUse() string { return db.prefix + "build" }

func (db *DB) current(ctx context.Context) (build string, err error) {
	build, err = db.write.Get(ctx, db.inUse()).Result()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	return build, err
}

// in is how all keys of a build begin; look.lua and mark.lua say the same.
func (db *DB) in(build string) string {
	if build == "" {
		return db.prefix
	}
	return db.builds() + build + ":"
}

// builds is how all keys of all builds but the first begin.
func (db *DB) builds() string { return db.prefix + "build-" }

// accountPart comes before the id of an account in its key.
const accountPart = "account:"

func markPart(s router.Stream) string { return marksPart(s) + partitionText(s.Partition) }

// marksPart is what the keys of all marks of a handler have in common.
func marksPart(s router.Stream) string { return "mark:" + s.Handler + ":" + string(s.Topic) + ":" }

func partitionText(p int) string { return fmt.Sprintf("%04x", p) }

// formatMark is "" when there is no mark.
func formatMark(m router.Mark) string {
	if m.Incarnation == "" {
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
