package repair

import (
	"context"

	"bankforge/handlers"
)

// Executor is the handler of operators' acts. What acts want is in the store of the handlers that they are about; the
// executor's checkpoint stands there too, so each act is executed exactly once.
func Executor(s Acts) handlers.Func {
	return func(ctx context.Context, facts []handlers.Fact) error {
		for i := range facts {
			f := &facts[i]
			if f.Act == nil {
				continue
			}
			err := s.Execute(ctx, Act{
				ID: f.Act.ID.String(), Seq: f.Seq, Kind: string(f.Act.Kind), Handler: f.Act.Handler, Key: f.Act.Key,
				Target: f.Act.Target, Body: f.Act.Body, Reason: f.Act.Reason, Actor: f.Actor, At: f.Time.Std(),
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
}
