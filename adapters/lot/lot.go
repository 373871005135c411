// Package lot is the parking lot as SQL that SQLite and PostgreSQL both understand: what failed, in sequences; what
// operators want of it; what they see. Each adapter says how its statements are run, and which database it is.
package lot

import (
	"context"
	"errors"
	"strings"
	"time"

	"bankforge/app/ops"
)

// DB is what a Lot stands in: one file, or one schema, with the tables of the migrations called operations.
// Placeholders are $1, $2, and so on. It is safe for concurrent use.
type DB interface { //nolint:interfacebloat // how statements are run, and in what their dialects differ
	// InTx runs fn in one transaction, which its context carries. It does not nest.
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// Exec runs a statement in the transaction that ctx carries, and tells how many rows it met.
	Exec(ctx context.Context, statement string, args ...any) (int64, error)
	// Each calls row with the Scan of each row that a question gives: in the transaction that ctx carries, if any.
	Each(ctx context.Context, row func(scan func(...any) error) error, question string, args ...any) error
	// Tx is nil when ctx carries a transaction, or else what who needs one is told.
	Tx(ctx context.Context) error
	// Key is a key as it is stored: any bytes. It is read as bytes.
	Key(key string) any
	// Text is a text as it can be stored: errors may quote anything.
	Text(text string) string
	// Beside is a column by which rows are not to be looked for, but left out among those that are found otherwise, where
	// the database cannot know better.
	Beside(column string) string
	// Locks reports whether rows are locked one by one. Where they are not, who is in a transaction is alone.
	Locks() bool
}

// Lot is router.Lot without Blocked, router.Controls, repair.Store and ops.Lot. It is safe for concurrent use.
type Lot struct{ db DB }

var _ ops.Lot = (*Lot)(nil)

// New uses the tables of db.
func New(db DB) *Lot { return &Lot{db} }

// ErrNotHead means that the message is not the one that waits first for its key.
var ErrNotHead = errors.New("the message is not the head of its sequence")

// one reads the first row; false: there is none.
func (l *Lot) one(ctx context.Context, into []any, question string, args ...any) (found bool, err error) {
	err = l.db.Each(ctx, func(scan func(...any) error) error {
		found = true
		return scan(into...)
	}, question, args...)
	return found, err
}

// exec is Exec for those who need not know how many rows it met.
func (l *Lot) exec(ctx context.Context, statement string, args ...any) error {
	_, err := l.db.Exec(ctx, statement, args...)
	return err
}

// locking is a question that locks the rows that it gives, where rows can be locked.
func (l *Lot) locking(question string) string {
	if l.db.Locks() {
		return question + ` FOR UPDATE`
	}
	return question
}

// within runs fn in the transaction that ctx carries, or else in one of its own.
func (l *Lot) within(ctx context.Context, fn func(ctx context.Context) error) error {
	if l.db.Tx(ctx) == nil {
		return fn(ctx)
	}
	return l.db.InTx(ctx, fn)
}

// micros is a time as it is stored; the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func timeOf(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// list is how several words stand in one text.
func list(words []string) string { return strings.Join(words, " ") }

// Both are those of some keys that are among others, each once.
func Both(some, others []string) (both []string) {
	in := make(map[string]bool, len(some))
	for _, key := range some {
		in[key] = true
	}
	for _, key := range others {
		if in[key] {
			both = append(both, key)
			in[key] = false
		}
	}
	return both
}
