package handlers

import (
	"context"
	"errors"
)

// ActFunc is told of one act of an operator: f.Act is set. What it writes with ctx stays if it returns nil, and the
// checkpoint of who is told is where it belongs; so an act has its effect once.
type ActFunc func(ctx context.Context, f *Fact) error

var errNoAct = errors.New("what came is no act of an operator")

// Acts is the Func, on bank.OpsTopic, of who takes acts one by one. Those of one handler come in their order.
func Acts(do ActFunc) Func {
	return func(ctx context.Context, facts []Fact) error {
		for i := range facts {
			f := &facts[i]
			if f.Act == nil {
				return As(Poison, errNoAct)
			}
			if err := do(ctx, f); err != nil {
				return err
			}
		}
		return nil
	}
}
