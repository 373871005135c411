package redis

import (
	"context"
	"embed"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"bankforge/router"
)

// An account is a hash: "s" is its state, "o" its opening, "d" its details. The state begins with its version
// (16 hexadecimal digits, so that text compares as numbers do) and with what it belongs to: the partition (4 digits)
// and the incarnation (2 digits for its length, and the text). A mark is its position and its target (16 digits each)
// and the incarnation. Everything that a handler does is done under the mark that it has seen, in the build that is in
// use. Who builds the view beside it does so under the build's own marks, whatever is in use.
//
//go:embed *.lua
var scripts embed.FS

var (
	versions = script("versions")
	save     = script("save")
	mend     = script("mend")
	move     = script("move")
	// look gives the account only when the mark of its partition says that the view is complete: 0 is another one's, or
	// not complete; nothing: there is no such account.
	look = script("look")
	mark = script("mark")
	// replace moves all marks of a build and puts it in use; unmark removes them, unless it is.
	replace = script("switch")
	unmark  = script("unmark")
)

func script(name string) *redis.Script {
	text, err := scripts.ReadFile(name + ".lua")
	if err != nil {
		panic(err) // it is part of the program
	}
	return redis.NewScript(string(text))
}

// call is one call of a script.
type call struct {
	keys []string
	args []any
}

// run makes all calls in one go, and returns their replies. A script that the server has forgotten is brought again.
func run(ctx context.Context, on *redis.Client, s *redis.Script, calls []call) ([]*redis.Cmd, error) {
	for brought := false; ; brought = true {
		pipe := on.Pipeline()
		cmds := make([]*redis.Cmd, len(calls))
		for i, c := range calls {
			cmds[i] = s.EvalSha(ctx, pipe, c.keys, c.args...)
		}
		_, _ = pipe.Exec(ctx) // each command has its error
		err := firstError(cmds)
		if err == nil || brought || !redis.HasErrorPrefix(err, "NOSCRIPT") {
			return cmds, fenced(err)
		}
		if err := s.Load(ctx, on).Err(); err != nil {
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
