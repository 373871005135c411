package app

import "bankforge/app/bank"

// LookBack has Traced look at so many events only.
func (a *App) LookBack(n bank.Seq) { a.back = n }

// Canonical is what bodies of acts become.
func Canonical(object []byte) ([]byte, error) { return canonical(object) }
