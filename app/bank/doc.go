// Package bank is the domain: money, accounts, holds, transactions, and the two functions that make
// it a bank: Decide turns a command into events or a refusal, and State.Evolve turns events into state.
//
// It is pure. It reads no clock, makes no ids, knows no context, JSON or SQL: time and ids are
// arguments, so that replaying the log gives the same state byte for byte.
package bank
