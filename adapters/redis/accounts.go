package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"bankforge/app/bank"
	"bankforge/app/codec"
	"bankforge/handlers/projection"
	"bankforge/router"
)

var _ projection.Store = (*View)(nil)

// accountsAtOnce is how many accounts one call of a script takes: others have to wait for it.
const accountsAtOnce = 128

// errNoFence means that a handler's store was used by somebody else.
var errNoFence = errors.New("redis: accounts are only written by a route with marks")

// AccountVersions implements projection.Store.
func (v *View) AccountVersions(
	ctx context.Context, ids []bank.AccountID,
) (map[bank.AccountID]bank.Version, error) {
	calls, err := v.calls(ctx, len(ids), 0, func(c *call, id accountKeys, i int) { c.keys = append(c.keys, id(ids[i])) })
	if err != nil {
		return nil, err
	}
	cmds, err := run(ctx, v.db.write, versions, calls)
	if err != nil {
		return nil, errorOf("read versions of accounts", err)
	}
	out := make(map[bank.AccountID]bank.Version, len(ids))
	for n, cmd := range cmds {
		found, err := cmd.Slice()
		if err != nil {
			return nil, fmt.Errorf("redis: read versions of accounts: %w", err)
		}
		for i, f := range found {
			text, ok := f.(string)
			if !ok {
				continue
			}
			version, err := strconv.ParseUint(text, 16, 64)
			if err != nil {
				return nil, fmt.Errorf("redis: version of %s: %w", ids[n*accountsAtOnce+i], err)
			}
			out[ids[n*accountsAtOnce+i]] = bank.Version(version)
		}
	}
	return out, nil
}

// SaveAccounts implements projection.Store. An account that is there at this version or a later one stays as it is.
func (v *View) SaveAccounts(ctx context.Context, updates []projection.Update) error {
	var belongs string
	if f, ok := router.FenceOf(ctx); ok {
		belongs = ownerOf(f)
	}
	calls, err := v.calls(ctx, len(updates), 3, func(c *call, id accountKeys, i int) {
		u := &updates[i]
		c.keys = append(c.keys, id(u.Account))
		c.args = append(c.args, stateOf(u, belongs), openingOf(u), detailsOf(u))
	})
	if err != nil {
		return err
	}
	_, err = run(ctx, v.db.write, save, calls)
	return errorOf("write accounts", err)
}

// calls are for n accounts, of which add appends the keys, and so many arguments each.
func (v *View) calls(
	ctx context.Context, n, args int, add func(c *call, id accountKeys, i int),
) ([]call, error) {
	f, ok := router.FenceOf(ctx)
	if !ok {
		return nil, errNoFence
	}
	mark, belongs := formatMark(f.Mark), ownerOf(f)
	build, in := f.Mark.Build, v.db.in(f.Mark.Build)
	if v.beside != "" {
		build = anyInUse
	}
	id := func(account bank.AccountID) string { return in + accountPart + account.String() }
	calls := make([]call, 0, (n+accountsAtOnce-1)/accountsAtOnce)
	for from := 0; from < n; from += accountsAtOnce {
		to := min(from+accountsAtOnce, n)
		c := call{keys: make([]string, 0, to-from+2), args: make([]any, 0, (to-from)*args+3)}
		c.keys = append(c.keys, v.db.inUse(), in+markPart(f.Stream))
		c.args = append(c.args, build, mark, belongs)
		for i := from; i < to; i++ {
			add(&c, id, i)
		}
		calls = append(calls, c)
	}
	return calls, nil
}

// accountKeys say where accounts stand in a build.
type accountKeys func(bank.AccountID) string

// anyInUse tells scripts that they write beside the build in use, whichever that is.
const anyInUse = "*"

// ownerOf is what rows say that they belong to.
func ownerOf(f router.Fence) string {
	return partitionText(f.Stream.Partition) + fmt.Sprintf("%02x", len(f.Mark.Incarnation)) + f.Mark.Incarnation
}

func stateOf(u *projection.Update, belongs string) []byte {
	b := appendHex(make([]byte, 0, 160), uint64(u.State.Version))
	b = append(b, belongs...)
	return codec.EncodeAccount(b, &bank.Account{AccountState: u.State, UpdatedAt: u.UpdatedAt})
}

// openingOf is empty when the account is not new.
func openingOf(u *projection.Update) []byte {
	if u.Opening == nil {
		return nil
	}
	return codec.EncodeAccount(nil, &bank.Account{ID: u.Account, Opening: *u.Opening, OpenedAt: u.OpenedAt})
}

// detailsOf is empty when nothing is said of them, and "-" when there are none any more.
func detailsOf(u *projection.Update) []byte {
	d := u.Details
	switch {
	case d == nil:
		return nil
	case d.Label == "" && d.ExternalID == "" && len(d.Metadata) == 0:
		return []byte("-")
	default:
		return codec.EncodeAccount(nil, &bank.Account{Details: d})
	}
}

// readAccount puts together what stateOf, openingOf and detailsOf have written.
func readAccount(fields []any) (a bank.Account, err error) {
	var parts [3]bank.Account
	for i := range parts {
		text, ok := fields[i].(string)
		if !ok {
			if i < 2 {
				return a, errors.New("redis: half an account")
			}
			continue
		}
		if i == 0 {
			_, text, err = partsOf(text)
		}
		if err == nil {
			parts[i], err = codec.DecodeAccount([]byte(text))
		}
		if err != nil {
			return a, fmt.Errorf("redis: %w", err)
		}
	}
	a = parts[1]
	a.AccountState, a.UpdatedAt, a.Details = parts[0].AccountState, parts[0].UpdatedAt, parts[2].Details
	return a, nil
}

// partsOf are the incarnation that a state belongs to, and what follows.
func partsOf(state string) (incarnation, rest string, err error) {
	const before = digits + 4 // the version and the partition
	if len(state) < before+2 {
		return "", "", errors.New("half a state")
	}
	n, err := strconv.ParseUint(state[before:before+2], 16, 8)
	if err != nil || len(state) < before+2+int(n) {
		return "", "", errors.New("a state without owner")
	}
	return state[before+2 : before+2+int(n)], state[before+2+int(n):], nil
}

// versionIn is the version by which scripts compare an account; 0: there is none.
func versionIn(fields []any) bank.Version {
	text, _ := fields[0].(string)
	n, err := strconv.ParseUint(text[:min(digits, len(text))], 16, 64)
	if err != nil {
		return 0
	}
	return bank.Version(n)
}
