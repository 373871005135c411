package redis_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"bankforge/adapters/redis"
	"bankforge/app"
	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/app/codec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var prefixes atomic.Int64

// open gives a test keys of its own.
func open(tb testing.TB) (*redis.DB, *goredis.Client, string) {
	tb.Helper()
	return openAt(tb, servers.Redis(tb), patience)
}

// patience is how long tests wait for whatever is to happen, if the machine is busy.
const patience = time.Minute

func openAt(tb testing.TB, url string, within time.Duration) (*redis.DB, *goredis.Client, string) {
	tb.Helper()
	prefix := fmt.Sprintf("test-%d-%d-%d:", os.Getpid(), time.Now().UnixNano(), prefixes.Add(1))
	db, err := redis.OpenFor(url, prefix, within)
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

// Versions implements router.Versions.
func (m *memory) Versions(_ context.Context, subject string, after bank.Version, limit int) (rows []app.Row, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.events {
		for _, c := range e.Changes() {
			if c.Key() == subject && c.Version() > after && len(rows) < limit {
				rows = append(rows, app.Row{Seq: e.Seq, Data: codec.Encode(nil, &e.Event, e.Meta)})
			}
		}
	}
	return rows, nil
}

func (m *memory) append(events ...app.Recorded) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, events...)
}
