package redis

import (
	"context"
	"fmt"
	"strconv"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/projection"
	"bankforge/router"
)

// Mend is the view's router.Mend: an account is put together from what the log says, and takes the place of the one
// that stands there in one step.
func (v *View) Mend(ctx context.Context, key string) (m router.Mending, known bool, err error) {
	id, err := bank.ParseID[bank.Account](key)
	if known = err == nil && id.String() == key; !known { // only poison has another one
		return nil, false, nil
	}
	f, ok := router.FenceOf(ctx)
	if !ok {
		return nil, true, errNoFence
	}
	a := &mending{v: v, id: id, belongs: ownerOf(f)}
	a.handle = projection.Balances(a)
	return a, true, nil
}

// mending is an account as the log says, up to where it was handed out. It is a projection.Store of that one account.
type mending struct {
	v       *View
	id      bank.AccountID
	belongs string
	handle  handlers.Func
	version bank.Version

	state, opening, details []byte
}

var _ projection.Store = (*mending)(nil)

// AccountVersions implements projection.Store.
func (m *mending) AccountVersions(context.Context, []bank.AccountID) (map[bank.AccountID]bank.Version, error) {
	have := map[bank.AccountID]bank.Version{}
	if m.version > 0 {
		have[m.id] = m.version
	}
	return have, nil
}

// SaveAccounts implements projection.Store.
func (m *mending) SaveAccounts(_ context.Context, updates []projection.Update) error {
	for i := range updates { // there is only one
		u := &updates[i]
		m.version, m.state = u.State.Version, stateOf(u, m.belongs)
		if u.Opening != nil {
			m.opening = openingOf(u)
		}
		if u.Details != nil {
			m.details = detailsOf(u)
		}
	}
	return nil
}

// Take implements router.Mending.
func (m *mending) Take(ctx context.Context, facts []handlers.Fact) error { return m.handle(ctx, facts) }

// End implements router.Mending.
func (m *mending) End(ctx context.Context, _ bank.Version, find router.Find) error {
	if m.state == nil {
		m.state = appendHex(nil, 0) // the log has nothing of it
	}
	later, err := m.put(ctx, "")
	if err != nil || later == "" {
		return err
	}
	if n, err := strconv.ParseUint(later, 16, 63); err == nil {
		_, ok, err := find(ctx, m.id.String(), bank.Version(n))
		if err != nil || ok {
			return err
		}
	}
	_, err = m.put(ctx, later)
	return err
}

// put lets the account take the place of what stands there, unless that is later and not the strange version. It
// returns the version that stands there still.
func (m *mending) put(ctx context.Context, strange string) (later string, err error) {
	calls, err := m.v.calls(ctx, 1, 4, func(c *call, id accountKeys, _ int) {
		c.keys = append(c.keys, id(m.id))
		c.args = append(c.args, m.state, m.opening, m.details, strange)
	})
	if err != nil {
		return "", err
	}
	cmds, err := run(ctx, m.v.db.write, mend, calls)
	if err != nil {
		return "", errorOf("mend an account", err)
	}
	later, err = cmds[0].Text()
	if err != nil {
		err = fmt.Errorf("redis: mend an account: %w", err)
	}
	return later, err
}
