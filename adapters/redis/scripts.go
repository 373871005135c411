package redis

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"bankforge/router"
)

// An account is a hash: "s" is its state, "o" its opening, "d" its details. The state begins with its version
// (16 hexadecimal digits, so that text compares as numbers do) and with what it belongs to: the partition (4 digits)
// and the incarnation (2 digits for its length, and the text). A mark is its position and its target (16 digits each)
// and the incarnation. Everything that a handler does is done under the mark that it has seen.
var (
	versions = redis.NewScript(`
local mark = redis.call('GET', KEYS[1])
if mark ~= ARGV[1] then return redis.error_reply('FENCED another mark stands there') end
local own, out = ARGV[2], {}
for i = 2, #KEYS do
	local s = redis.call('HGET', KEYS[i], 's')
	out[i - 1] = s and string.sub(s, 17, 16 + #own) == own and string.sub(s, 1, 16)
end
return out`)

	save = redis.NewScript( //nolint:dupword // blocks of Lua end one after another
		`
local mark = redis.call('GET', KEYS[1])
if mark ~= ARGV[1] then return redis.error_reply('FENCED another mark stands there') end
local own = ARGV[2]
for i = 2, #KEYS do
	local key, at = KEYS[i], 3 * i - 3
	local s, o, d = ARGV[at], ARGV[at + 1], ARGV[at + 2]
	local have = redis.call('HGET', key, 's')
	if have and string.sub(have, 17, 16 + #own) ~= own then
		redis.call('DEL', key)
		have = false
	end
	if not have or string.sub(have, 1, 16) < string.sub(s, 1, 16) then
		if o == '' then
			redis.call('HSET', key, 's', s)
		else
			redis.call('HSET', key, 's', s, 'o', o)
		end
		if d == '-' then redis.call('HDEL', key, 'd') end
		if d ~= '-' and d ~= '' then redis.call('HSET', key, 'd', d) end
	end
end
return 1`)

	move = redis.NewScript(`
local mark = redis.call('GET', KEYS[1])
if (mark or '') ~= ARGV[1] then return redis.error_reply('FENCED another mark stands there') end
redis.call('SET', KEYS[1], ARGV[2])
return 1`)

	// look gives the account only when the mark of its partition says that the view is complete: 0 is another one's, or
	// not complete; nothing: there is no such account.
	look = redis.NewScript(`
local a = redis.call('HMGET', KEYS[1], 's', 'o', 'd')
local s = a[1]
if not s then return false end
local mark = redis.call('GET', ARGV[1] .. string.sub(s, 17, 20))
if not mark or string.sub(mark, 1, 16) < string.sub(mark, 17, 32) then return 0 end
if string.sub(mark, 33) ~= string.sub(s, 23, 22 + tonumber(string.sub(s, 21, 22), 16)) then return 0 end
return a`)
)

// call is one call of a script.
type call struct {
	keys []string
	args []any
}

// run makes all calls in one go, and returns their replies. A script that the server has forgotten is brought again.
func run(ctx context.Context, on *redis.Client, script *redis.Script, calls []call) ([]*redis.Cmd, error) {
	for brought := false; ; brought = true {
		pipe := on.Pipeline()
		cmds := make([]*redis.Cmd, len(calls))
		for i, c := range calls {
			cmds[i] = script.EvalSha(ctx, pipe, c.keys, c.args...)
		}
		_, _ = pipe.Exec(ctx) // each command has its error
		err := firstError(cmds)
		if err == nil || brought || !redis.HasErrorPrefix(err, "NOSCRIPT") {
			return cmds, fenced(err)
		}
		if err := script.Load(ctx, on).Err(); err != nil {
			return nil, err
		}
	}
}

func firstError(cmds []*redis.Cmd) error {
	for _, c := range cmds {
		if err := c.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
	}
	return nil
}

// fenced turns what a script says about the mark into what the router understands.
func fenced(err error) error {
	if err != nil && strings.HasPrefix(err.Error(), "FENCED") {
		return router.ErrMoved
	}
	return err
}
