package router

import (
	"context"
	"errors"
	"fmt"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
)

// Classifier knows the errors of one technology; ok is false for all others.
type Classifier func(err error) (c handlers.Class, ok bool)

// Classify says what is to become of an error: what the handler itself said comes first, then what
// the classifiers know. It is not asked when the handler is ending: then no error is a failure.
func Classify(err error, others ...Classifier) handlers.Class {
	if c, ok := handlers.ClassOf(err); ok {
		return c
	}
	for _, known := range others {
		if c, ok := known(err); ok {
			return c
		}
	}
	var refused *bank.Error
	switch {
	case errors.As(err, &refused):
		return classOfCode(refused.Code)
	case errors.Is(err, app.ErrFull):
		return handlers.Unavailable
	case errors.Is(err, context.DeadlineExceeded):
		return handlers.Transient
	default:
		return handlers.Unknown
	}
}

func classOfCode(c bank.Code) handlers.Class {
	switch c {
	case app.CodeUnavailable:
		return handlers.Unavailable
	case app.CodeOverloaded, app.CodeOutcomeUnknown, app.CodeViewBehind:
		return handlers.Transient
	default:
		return handlers.Rejected
	}
}

// errEnding ends what waits when the session of a message is over. The message comes again; nothing failed.
var errEnding = fmt.Errorf("the handler is ending: %w", context.Canceled)

// gap says that messages are missing between the checkpoint and what was delivered.
type gap struct{ from, to handlers.Position }

func (g *gap) Error() string {
	return "the broker left out what is between " + formatPosition(g.from) + " and " + formatPosition(g.to)
}

// ErrOtherLog means that the handler's checkpoint counts in another incarnation of the log. It waits until
// what it keeps has been rebuilt.
var ErrOtherLog = errors.New("the checkpoint belongs to another incarnation of the log: the view must be rebuilt")

// ErrLotFull means that as many messages wait in one sequence, or in all of a handler, as are allowed to. The handler
// pauses until an operator resumes it; where there are no operators, it waits until
// there are fewer.
var ErrLotFull = errors.New("the parking lot of the key is full")

// panicked is a panic of a handler as an error.
type panicked struct {
	value any
	stack string
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// Unwrap gives the error that was panicked with, if it was one.
func (p *panicked) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

func poison(format string, args ...any) error {
	return handlers.As(handlers.Poison, fmt.Errorf(format, args...))
}

// clip is what of a text from outside is worth quoting.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// Readable says what is wrong with a message as it was parked, read as handlers read it; nil: nothing is.
func Readable(metadata map[string]string, payload []byte) error {
	_, err := today.decode(metadata, payload)
	return err
}
