package redis_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"bankforge/adapters/redis"
	"bankforge/app"
	"bankforge/app/bank"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// services runs scripts/services.sh, and returns what it exports.
func services(args ...string) (map[string]string, error) {
	var out, problems bytes.Buffer
	cmd := exec.Command("../../scripts/services.sh", args...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("services.sh %s: %w\n%s", strings.Join(args, " "), err, problems.String())
	}
	exports := map[string]string{}
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		if name, value, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "export "), "="); ok {
			exports[name] = value
		}
	}
	return exports, nil
}

// server is the Redis that all tests share.
var server = sync.OnceValues(func() (string, error) {
	const name = "BANKFORGE_REDIS"
	if url := os.Getenv(name); url != "" {
		return url, nil
	}
	exports, err := services("up", "redis")
	return exports[name], err
})

var prefixes atomic.Int64

// open gives a test keys of its own.
func open(tb testing.TB) (*redis.DB, *goredis.Client, string) {
	tb.Helper()
	url, err := server()
	if err != nil {
		tb.Fatal(err)
	}
	return openAt(tb, url)
}

func openAt(tb testing.TB, url string) (*redis.DB, *goredis.Client, string) {
	tb.Helper()
	prefix := fmt.Sprintf("test-%d-%d-%d:", os.Getpid(), time.Now().UnixNano(), prefixes.Add(1))
	db, err := redis.Open(url, prefix)
	if err != nil {
		tb.Fatal(err)
	}
	o, err := goredis.ParseURL(url)
	if err != nil {
		tb.Fatal(err)
	}
	raw := goredis.NewClient(o)
	tb.Cleanup(func() {
		_ = forget(raw, prefix) // the server may be gone by now
		_ = raw.Close()
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	return db, raw, prefix
}

// forget removes all keys with the prefix.
func forget(raw *goredis.Client, prefix string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var gone []string
	all := raw.Scan(ctx, 0, prefix+"*", 1000).Iterator()
	for all.Next(ctx) {
		gone = append(gone, all.Val())
	}
	for chunk := range slices.Chunk(gone, 1000) {
		if err := raw.Unlink(ctx, chunk...).Err(); err != nil {
			return err
		}
	}
	return all.Err()
}

// memory is a log in memory.
type memory struct {
	mu          sync.Mutex
	incarnation string
	events      []app.Recorded
}

func (m *memory) Read(_ context.Context, after bank.Seq, limit int) ([]app.Recorded, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	end := min(int(after)+limit, len(m.events))
	return slices.Clone(m.events[min(int(after), end):end]), nil
}

func (m *memory) Head(context.Context) (app.Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return app.Head{Incarnation: m.incarnation, Seq: bank.Seq(len(m.events))}, nil
}

func (m *memory) append(events ...app.Recorded) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, events...)
}
