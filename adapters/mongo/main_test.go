package mongo_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/goleak"

	"bankforge/adapters/mongo"
	"bankforge/app"
	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/app/codec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var databases atomic.Int64

// open gives a test a database of its own.
func open(tb testing.TB) (*mongo.DB, *driver.Database) {
	tb.Helper()
	return openAt(tb, servers.Mongo(tb))
}

func openAt(tb testing.TB, address string) (*mongo.DB, *driver.Database) {
	tb.Helper()
	name := fmt.Sprintf("test_%d_%d_%d", os.Getpid(), time.Now().UnixNano(), databases.Add(1))
	db, err := mongo.Open(withDatabase(tb, address, name))
	if err != nil {
		tb.Fatal(err)
	}
	client, err := driver.Connect(options.Client().ApplyURI(address).SetServerSelectionTimeout(5 * time.Second))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = client.Database(name).Drop(ctx) // the server may be gone by now
		_ = client.Disconnect(ctx)
		if err := db.Close(ctx); err != nil {
			tb.Error(err)
		}
	})
	for deadline := time.Now().Add(20 * time.Second); db.Ping(tb.Context()) != nil; { // each takes half a second, at most
		if time.Now().After(deadline) {
			tb.Fatal("the server does not answer")
		}
	}
	return db, client.Database(name)
}

// withDatabase is the address of another database on the same server.
func withDatabase(tb testing.TB, address, name string) string {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
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

// Versions implements router.Versions.
func (m *memory) Versions(_ context.Context, subject string, after bank.Version, limit int) (rows []app.Row, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.events {
		e := &m.events[i]
		for _, touch := range app.Touches(&e.Event) {
			if touch.Subject == subject && touch.Version > after && len(rows) < limit {
				rows = append(rows, app.Row{Seq: e.Seq, Data: codec.Encode(nil, &e.Event, e.Meta)})
			}
		}
	}
	return rows, nil
}

// find is a router.Find.
func (m *memory) find(ctx context.Context, subject string, v bank.Version) (e app.Recorded, ok bool, err error) {
	rows, err := m.Versions(ctx, subject, v-1, 1)
	if err != nil || len(rows) == 0 {
		return e, false, err
	}
	e, err = app.Decode(rows[0])
	return e, err == nil, err
}
