package redis_test

import (
	"slices"
	"strings"

	"bankforge/adapters/redis"
	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/router"
	"bankforge/router/rebuild"
)

func (b *branch) config() rebuild.Config {
	return rebuild.Config{
		Source: b.log, Handler: router.RedisBalancesHandler, Topic: bank.AccountsTopic, Partitions: 1,
		View: redis.NewView(b.db),
	}
}

func (b *branch) rebuilt() rebuild.Report {
	b.Helper()
	r, err := rebuild.Run(b.Context(), b.config(), b.handlers)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// check is what a check finds.
func (b *branch) check() []app.Difference {
	b.Helper()
	found, err := rebuild.NewCheck(b.handlers, b.config()).Compare(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	return found
}

// base is how the keys of the view in use begin.
func (b *branch) base() string {
	b.Helper()
	build, err := b.raw.Get(b.Context(), b.prefix+"build").Result()
	if err != nil {
		return b.prefix
	}
	return b.prefix + "build-" + build + ":"
}

// keys are those of the bank.
func (b *branch) keys() []string {
	b.Helper()
	keys, err := b.raw.Keys(b.Context(), b.prefix+"*").Result()
	if err != nil {
		b.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}

// onlyInUse fails the test if anything is left of a build that is not in use.
func (b *branch) onlyInUse() {
	b.Helper()
	base := b.base()
	for _, key := range b.keys() {
		if key != b.prefix+"build" && (!strings.HasPrefix(key, base) || base == b.prefix && strings.Contains(key, "build-")) {
			b.Errorf("%s is left; in use is what begins with %s", key, base)
		}
	}
}

// accounts are those that the log tells of, in some order.
func (b *branch) accounts() []string {
	b.Helper()
	all, err := b.model.Accounts(b.Context(), app.AccountFilter{Page: app.Page{Limit: 1000}})
	if err != nil || len(all) < 4 {
		b.Fatal(len(all), err)
	}
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = all[i].ID.String()
	}
	return ids
}

// spoil makes four damages: a field, a version that never was, an account that is gone, and one that never was.
func (b *branch) spoil() (spoilt []string) {
	b.Helper()
	ctx, ids, base := b.Context(), b.accounts(), b.base()+"account:"
	first, err := b.raw.HGetAll(ctx, base+ids[0]).Result()
	if err != nil {
		b.Fatal(err)
	}
	second, err := b.raw.HGet(ctx, base+ids[1], "s").Result()
	nobody := bank.MakeID[bank.Account]([16]byte{1}).String()
	for _, err := range []error{
		err,
		b.raw.HSet(ctx, base+ids[0], "o", strings.ToUpper(first["o"])+"x").Err(),
		b.raw.HSet(ctx, base+ids[1], "s", strings.Repeat("f", 16)+second[16:]).Err(),
		b.raw.Del(ctx, base+ids[2]).Err(),
		b.raw.HSet(ctx, base+nobody, first).Err(),
	} {
		if err != nil {
			b.Fatal(err)
		}
	}
	return []string{ids[0], ids[1], ids[2], nobody}
}

func subjects(found []app.Difference) (out []string) {
	for _, d := range found {
		if !slices.Contains(out, d.Subject) {
			out = append(out, d.Subject)
		}
	}
	slices.Sort(out)
	return out
}

// lacks is how often a read found a view that was not whole. On a busy machine Redis may also be too slow once.
func (b *branch) lacks() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fellBack["missing"] + b.fellBack["building"]
}
