package servers

import (
	"sync"
	"testing"
)

// Redis is the URL of a Redis server.
func Redis(tb testing.TB) string {
	tb.Helper()
	return url(tb, "BANKFORGE_REDIS", startRedis)
}

// Mongo is the URL of a server that speaks MongoDB's protocol, with a database.
func Mongo(tb testing.TB) string {
	tb.Helper()
	return url(tb, "BANKFORGE_MONGO", startMongo)
}

// Each is asked at most once in a process.
var (
	startRedis = sync.OnceValues(func() (string, error) { return start("BANKFORGE_REDIS", "redis") })
	startMongo = sync.OnceValues(func() (string, error) { return start("BANKFORGE_MONGO", "mongo") })
)
