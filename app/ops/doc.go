// Package ops is what operators see of the reactions, and what they can want of them: what failed and whom it touches,
// in which order it waits, where handlers stand, what was done about it, and by whom. Stores give it by the interfaces
// of Lot; doors read it. What operators do is not here: an act is a command to the ledger like any other, and is
// executed from the log. Its kinds, bodies and refusals are in acts.go.
package ops
