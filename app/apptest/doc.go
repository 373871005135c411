// Package apptest holds the conformance suites of the interfaces in package app, stores that break
// the promises on purpose to prove the suites, and stores in memory for fast tests.
package apptest
