package handlers

import (
	"fmt"

	"bankforge/app/bank"
)

// GapError says that a fact does not follow upon what a view has of its key: something between is missing.
type GapError struct {
	Key  string       // the account, transaction or hold
	Have bank.Version // what the view has; 0: nothing
	Got  bank.Version // what came
}

// Error is for operators.
func (e *GapError) Error() string {
	return fmt.Sprintf("version %d of %s came, but the view is at version %d", e.Got, e.Key, e.Have)
}

// Next says what to do with version got of a key of which the view has version have: take it when it is the next one,
// leave it out when the view has it already. Everything else is a *GapError, of class Poison: trying again
// brings nothing back.
func Next(key fmt.Stringer, have, got bank.Version) (take bool, err error) {
	switch {
	case got == have+1:
		return true, nil
	case got <= have:
		return false, nil
	default:
		return false, As(Poison, &GapError{key.String(), have, got})
	}
}
