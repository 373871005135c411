package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/projection"
	"bankforge/router"
	"bankforge/router/rebuild"
)

var _ rebuild.View = (*View)(nil)

// beside is a build that is not in use.
type beside struct {
	View
	mark    router.Mark
	streams []router.Stream
	handle  handlers.Func
	ahead   map[string][]any // what the view in use had in a later version than the build
}

// Begin implements rebuild.View.
func (v *View) Begin(ctx context.Context, streams []router.Stream, m router.Mark) (rebuild.Build, error) {
	b := &beside{
		View: View{v.db, strings.ToLower(rand.Text()[:10])}, mark: m, streams: streams, ahead: map[string][]any{},
	}
	b.handle = projection.Balances(&b.View)
	b.mark.Build = b.View.beside
	pairs := make([]any, 0, 2*len(streams))
	for _, s := range streams {
		pairs = append(pairs, v.db.in(b.View.beside)+markPart(s), formatMark(m))
	}
	if err := v.db.write.MSet(ctx, pairs...).Err(); err != nil {
		return nil, errorOf("begin a build", errors.Join(err, b.Drop(context.WithoutCancel(ctx))))
	}
	return b, nil
}

// Handle implements rebuild.Build.
func (b *beside) Handle(ctx context.Context, facts []handlers.Fact) error {
	f, ok := router.FenceOf(ctx)
	if !ok {
		return errNoFence
	}
	f.Mark = b.mark
	return b.handle(router.WithFence(ctx, f), facts)
}

// Switch implements rebuild.Build.
func (b *beside) Switch(ctx context.Context, m router.Mark) error {
	_, err := run(ctx, b.db.write, replace, []call{{
		keys: b.marks(), args: []any{b.View.beside, formatMark(b.mark), formatMark(m)},
	}})
	return errorOf("put a build in use", err)
}

// Drop implements rebuild.Build. Its marks go first: then it can neither be written to nor be put in use any more.
func (b *beside) Drop(ctx context.Context) error {
	cmds, err := run(ctx, b.db.write, unmark, []call{{keys: b.marks(), args: []any{b.View.beside}}})
	if err != nil {
		return errorOf("drop a build", err)
	}
	if gone, err := cmds[0].Bool(); err != nil || !gone {
		return errorOf("drop a build", err)
	}
	return errorOf("drop a build", b.db.remove(ctx, b.db.in(b.View.beside)))
}

// marks are the keys of the build's marks, behind the one that says what is in use.
func (b *beside) marks() []string {
	keys := []string{b.db.inUse()}
	for _, s := range b.streams {
		keys = append(keys, b.db.in(b.View.beside)+markPart(s))
	}
	return keys
}

// Sweep implements rebuild.View. There is one handler.
func (v *View) Sweep(ctx context.Context, _ string) error {
	build, err := v.db.current(ctx)
	if err != nil {
		return errorOf("drop what is not in use", err)
	}
	not := ""
	if build != "" {
		not = v.db.in(build)
		for _, what := range []string{"mark:", accountPart} {
			if err := v.db.remove(ctx, v.db.prefix+what); err != nil {
				return errorOf("drop what is not in use", err)
			}
		}
	}
	return errorOf("drop what is not in use", v.db.removeBut(ctx, v.db.builds(), not))
}

// Compare implements rebuild.Build.
func (b *beside) Compare(ctx context.Context, d *rebuild.Differences) (map[string]bank.Version, error) {
	build, err := b.db.current(ctx)
	if err != nil {
		return nil, errorOf("compare", err)
	}
	further := map[string]bank.Version{}
	used, own := b.db.in(build)+accountPart, b.db.in(b.View.beside)+accountPart
	err = b.db.eachKey(ctx, used, func(keys []string) error {
		return b.pairs(ctx, used, own, idsOf(keys, used), func(id string, got, want []any) {
			switch {
			case !b.follows(got): // of another incarnation, and never shown
			case want[0] == nil || versionIn(got) > versionIn(want):
				b.ahead[id], further[id] = got, versionIn(got)
			default:
				differ(d, id, got, want)
			}
		})
	})
	if err == nil {
		err = b.db.eachKey(ctx, own, func(keys []string) error {
			return b.pairs(ctx, used, own, idsOf(keys, own), func(id string, got, _ []any) {
				if !b.follows(got) {
					d.Add(id, "account is missing")
				}
			})
		})
	}
	return further, errorOf("compare", err)
}

// Again implements rebuild.Build.
func (b *beside) Again(ctx context.Context, d *rebuild.Differences) error {
	own := b.db.in(b.View.beside) + accountPart
	ids := make([]string, 0, len(b.ahead))
	for id := range b.ahead {
		ids = append(ids, id)
	}
	err := b.pairs(ctx, own, own, ids, func(id string, _, want []any) {
		if want[0] == nil {
			d.Add(id, "account is not in the log")
			return
		}
		differ(d, id, b.ahead[id], want)
	})
	clear(b.ahead)
	return errorOf("compare", err)
}

// idsOf are the ids in keys that begin so.
func idsOf(keys []string, beginning string) []string {
	for i := range keys {
		keys[i] = strings.TrimPrefix(keys[i], beginning)
	}
	return keys
}

// pairs reads accounts in two builds.
func (b *beside) pairs(
	ctx context.Context, used, own string, ids []string, each func(id string, got, want []any),
) error {
	for from := 0; from < len(ids); from += accountsAtOnce {
		some := ids[from:min(from+accountsAtOnce, len(ids))]
		pipe := b.db.write.Pipeline()
		got, want := make([]*redis.SliceCmd, len(some)), make([]*redis.SliceCmd, len(some))
		for i, id := range some {
			got[i], want[i] = pipe.HMGet(ctx, used+id, "s", "o", "d"), pipe.HMGet(ctx, own+id, "s", "o", "d")
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		for i, id := range some {
			each(id, got[i].Val(), want[i].Val())
		}
	}
	return nil
}

// follows reports whether an account belongs to the incarnation that the build is of.
func (b *beside) follows(fields []any) bool {
	text, ok := fields[0].(string)
	incarnation, _, err := partsOf(text)
	return ok && (err != nil || incarnation == b.mark.Incarnation)
}

// differ tells in what an account is not what it should be.
func differ(d *rebuild.Differences, id string, got, want []any) {
	if fmt.Sprint(got) == fmt.Sprint(want) {
		return
	}
	is, err := readAccount(got)
	if err != nil {
		d.Add(id, fmt.Sprintf("account cannot be read: %v", err))
		return
	}
	should, err := readAccount(want)
	if err != nil {
		d.Add(id, fmt.Sprintf("account cannot be built: %v", err))
		return
	}
	told := d.More + len(d.Found)
	was, now := cells(&is, versionIn(got)), cells(&should, versionIn(want))
	for i := range now {
		if was[i].value != now[i].value {
			d.Add(id, fmt.Sprintf("account: %s is %s instead of %s", now[i].name, was[i].value, now[i].value))
		}
	}
	if d.More+len(d.Found) == told {
		d.Add(id, "account is stored in another way, or for another partition")
	}
}

type cell struct{ name, value string }

func cells(a *bank.Account, version bank.Version) []cell {
	var d bank.Details
	if a.Details != nil {
		d = *a.Details
	}
	all := []struct {
		name  string
		value any
	}{
		{"version", version}, {"status", a.Status}, {"balance", a.Balance}, {"held", a.Held},
		{"overdraft_limit", a.OverdraftLimit}, {"daily_debit_limit", a.DailyDebitLimit}, {"review_above", a.ReviewAbove},
		{"day", a.Day}, {"debited_today", a.DebitedToday}, {"details_version", a.DetailsVersion},
		{"updated_at", int64(a.UpdatedAt)}, {"opened_at", int64(a.OpenedAt)}, {"customer", a.Customer},
		{"currency", a.Currency}, {"type", a.Type}, {"label", d.Label}, {"external_id", d.ExternalID},
		{"metadata", d.Metadata},
	}
	out := make([]cell, len(all))
	for i, c := range all {
		out[i] = cell{c.name, fmt.Sprint(c.value)}
	}
	return out
}
