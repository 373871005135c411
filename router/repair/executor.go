package repair

import (
	"context"

	"bankforge/handlers"
)

// Executor is the handler of operators' acts. What acts want is in the store of the handlers that they are about; the
// executor's checkpoint stands there too, so each act is executed exactly once.
func Executor(s Acts, actOf func(*handlers.Fact) (Act, bool)) handlers.Func {
	return func(ctx context.Context, facts []handlers.Fact) error {
		for i := range facts {
			a, ok := actOf(&facts[i])
			if !ok {
				continue
			}
			if err := s.Execute(ctx, a); err != nil {
				return err
			}
		}
		return nil
	}
}
