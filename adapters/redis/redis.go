// Package redis keeps the view of accounts and balances in Redis: one hash for each account, and beside them the marks
// that say how far they are. Whatever Redis loses is built again from the log. One Redis (or one with replicas for
// failover) is meant, not a cluster: scripts touch keys that they find.
package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"bankforge/handlers"
	"bankforge/router"
)

// DB is a Redis with the keys of one bank. It is safe for concurrent use.
type DB struct {
	write  *redis.Client
	read   *redis.Client // gives up soon: who reads has a store to fall back to
	prefix string
	within time.Duration // a read is given up after it
}

// Timeouts, and what a read may cost at most.
const (
	writeTimeout = 5 * time.Second
	readTimeout  = 100 * time.Millisecond
	readers      = 64 // connections
)

// Open uses the Redis at a URL of the form redis://user:password@host:port/db. All keys begin with prefix. It does not
// wait for the server: whether it answers is what Ping finds out.
func Open(url, prefix string) (*DB, error) { return open(url, prefix, readTimeout) }

func open(url, prefix string, within time.Duration) (*DB, error) {
	quiet()
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	o.DialTimeout, o.MaxRetries, o.ContextTimeoutEnabled = 2*within, -1, true
	o.DialerRetries, o.DisableIdentity = 1, true
	w, r := *o, *o
	w.ReadTimeout, w.WriteTimeout = writeTimeout, writeTimeout
	r.ReadTimeout, r.WriteTimeout, r.PoolTimeout, r.PoolSize = within, within, within, readers
	return &DB{write: redis.NewClient(&w), read: redis.NewClient(&r), prefix: prefix, within: within}, nil
}

// quiet keeps the driver from writing to standard error: what it tells there, it also returns.
var quiet = sync.OnceFunc(func() { redis.SetLogger(silent{}) })

type silent struct{}

// Printf drops what the driver says.
func (silent) Printf(context.Context, string, ...any) {}

// Ping reports whether the server answers.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.write.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}

// Close closes all connections.
func (db *DB) Close() error { return errors.Join(db.write.Close(), db.read.Close()) }

// errorOf says in err what is to become of it: what is away, full, loading or not the leader is waited for.
func errorOf(what string, err error) error {
	var reply redis.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, router.ErrMoved), errors.Is(err, context.Canceled):
	case errors.As(err, &reply) && !slices.ContainsFunc(awayReplies, func(prefix string) bool {
		return strings.HasPrefix(reply.Error(), prefix)
	}):
	default:
		err = handlers.As(handlers.Unavailable, err)
	}
	return fmt.Errorf("redis: %s: %w", what, err)
}

// awayReplies is how errors begin that say nothing about what was sent.
var awayReplies = []string{
	"LOADING", "READONLY", "MASTERDOWN", "OOM", "MISCONF", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "NOAUTH", "WRONGPASS",
	"NOREPLICAS", "NOPERM", "ERR max number of clients", "UNKILLABLE",
}
