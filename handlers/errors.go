package handlers

import (
	"errors"
	"slices"
)

// Class says what is to become of an error that a handler gives.
type Class uint8

// The classes. What nobody classified is Unknown.
const (
	Unknown     Class = iota // tried again in place, then parked
	Rejected                 // a business outcome, and no failure: the message is done with
	Transient                // likely gone when tried again: tried more often than Unknown, then parked
	Unavailable              // something that the handler needs is down: it waits, alarms, and goes on by itself
	Poison                   // no later try can help: parked at once
)

var classNames = [...]string{"unknown", "rejected", "transient", "unavailable", "poison"}

// String is the class's name. Names are permanent: they are stored, and operators filter by them.
func (c Class) String() string { return classNames[c] }

// ParseClass is the inverse of String; ok is false for what is no name of a class.
func ParseClass(name string) (c Class, ok bool) {
	i := slices.Index(classNames[:], name)
	return Class(max(i, 0)), i >= 0
}

// ClassOf is the class that the outermost As within err gives; ok is false when there is none.
func ClassOf(err error) (c Class, ok bool) {
	var e *classified
	if !errors.As(err, &e) {
		return Unknown, false
	}
	return e.class, true
}

// As gives err a class. Handlers use it to say more about a failure than the router can know.
func As(c Class, err error) error {
	if err == nil {
		return nil
	}
	return &classified{c, err}
}

type classified struct {
	class Class
	err   error
}

func (e *classified) Error() string { return e.err.Error() }
func (e *classified) Unwrap() error { return e.err }
