package router_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bankforge/app/bank"
	"bankforge/router"
)

// only is a progress on which one handler has come anywhere.
type only string

func (o only) At(handler string) bank.Seq {
	if handler == string(o) {
		return 7
	}
	return 0
}

func (o only) Await(ctx context.Context, handler string, seq bank.Seq) bool {
	if o.At(handler) < seq {
		<-ctx.Done()
	}
	return o.At(handler) >= seq
}

func (o only) Parked(_ context.Context, handler, _ string) (bool, error) {
	return handler == string(o), nil
}

// Who waits for a view follows the handler that keeps it, also while he waits.
func TestReadersWaitForTheHandlerThatKeepsTheView(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var other atomic.Bool
		p := router.Renamed{Progress: only("other"), Of: func(handler string) string {
			if other.Load() {
				return "other"
			}
			return handler
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if p.At("view") != 0 || p.Await(ctx, "view", 1) {
			t.Error("the view has something")
		}
		if parked, err := p.Parked(t.Context(), "view", "k"); parked || err != nil {
			t.Errorf("parked: %t, %v", parked, err)
		}
		time.AfterFunc(time.Second, func() { other.Store(true) })
		if !p.Await(t.Context(), "view", 7) || p.At("view") != 7 {
			t.Error("it has not followed")
		}
		if parked, err := p.Parked(t.Context(), "view", "k"); !parked || err != nil {
			t.Errorf("parked: %t, %v", parked, err)
		}
	})
}
