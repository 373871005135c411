// Package app holds the use cases of the bank, the one write path to its ledger, and the interfaces
// that it drives: the log, the customers, the views. Ports ask it, it answers synchronously.
package app
