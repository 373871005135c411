package redis_test

import (
	"strings"
	"testing"

	"bankforge/adapters/redis"
	"bankforge/app/apptest/servers"
	"bankforge/router"
)

// Damage that no later version writes over is gone once the view was forgotten, and other keys are still there.
func TestAForgottenViewIsBuiltFromTheLog(t *testing.T) {
	t.Parallel()
	url := servers.Redis(t)
	b := newBranch(t, url)
	b.goOn(200)
	b.await(both...)
	b.awaitServed(true)
	damaged := b.prefix + "account:" + b.log.events[0].Legs[0].Account.String()
	state, err := b.raw.HGet(t.Context(), damaged, "s").Result()
	if err == nil {
		err = b.raw.HSet(t.Context(), damaged, "s", strings.Repeat("f", 16)+state[16:]).Err()
	}
	if err == nil {
		err = b.raw.Set(t.Context(), b.prefix+"another", "1", 0).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	b.goOn(300)
	b.await(both...)
	if b.same() == nil {
		t.Fatal("it is no damage")
	}
	if err := redis.NewView(b.db).Forget(t.Context(), router.RedisBalancesHandler); err != nil {
		t.Fatal(err)
	}
	if err := b.same(); err != nil {
		t.Errorf("the store does not answer: %v", err)
	}
	b.awaitServed(true)
	if err := b.same(); err != nil {
		t.Error(err)
	}
	if n, err := b.raw.Exists(t.Context(), b.prefix+"another").Result(); n != 1 || err != nil {
		t.Errorf("what is not of the view is gone: %v", err)
	}
	b.nothingParked()
}
