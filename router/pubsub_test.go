package router_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	_ "modernc.org/sqlite"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// The suite that defines Watermill's Publisher and Subscriber runs against Tail over a table in a
// real SQLite file, one row a message, with a publisher that only this test has. Groups begin at the start: what
// moves their checkpoints is the handlers' transaction, which the other tests of this package show.

// tableFeed is a log of arbitrary messages. Rows never change, so what was read is kept.
type tableFeed struct {
	db    *sql.DB
	hints *router.Hints
	mu    sync.Mutex
	read  map[string][]row // by topic, ascending
}

type row struct {
	seq      bank.Seq
	uuid     string
	metadata string
	payload  []byte
}

func openTable(t *testing.T) *tableFeed {
	t.Helper()
	path := filepath.Join(t.TempDir(), "messages.db")
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)"+
		"&_pragma=synchronous(OFF)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	_, err = db.Exec(`CREATE TABLE message (
		seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, uuid TEXT NOT NULL, metadata TEXT NOT NULL, payload BLOB);
		CREATE INDEX message_topic ON message (topic, seq)`)
	if err != nil {
		t.Fatal(err)
	}
	return &tableFeed{db: db, hints: router.NewHints(), read: map[string][]row{}}
}

func (f *tableFeed) Next(ctx context.Context, topic string, after bank.Seq) (*message.Message, bank.Seq, error) {
	r, ok, err := f.first(ctx, topic, after)
	if err != nil || !ok {
		return nil, after, err
	}
	msg := message.NewMessageWithContext(ctx, r.uuid, r.payload)
	return msg, r.seq, json.Unmarshal([]byte(r.metadata), &msg.Metadata)
}

// first returns the first row of the topic behind after.
func (f *tableFeed) first(ctx context.Context, topic string, after bank.Seq) (r row, ok bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.read[topic]
	if len(known) == 0 || known[len(known)-1].seq <= after {
		if known, err = f.load(ctx, topic, known); err != nil {
			return row{}, false, err
		}
		f.read[topic] = known
	}
	i := sort.Search(len(known), func(i int) bool { return known[i].seq > after })
	if i == len(known) {
		return row{}, false, nil
	}
	return known[i], true, nil
}

func (f *tableFeed) load(ctx context.Context, topic string, known []row) ([]row, error) {
	var last bank.Seq
	if len(known) > 0 {
		last = known[len(known)-1].seq
	}
	rows, err := f.db.QueryContext(ctx, `SELECT seq, uuid, metadata, payload FROM message
		WHERE topic = ? AND seq > ? ORDER BY seq`, topic, last)
	if err != nil {
		return known, err
	}
	defer rows.Close()
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.seq, &r.uuid, &r.metadata, &r.payload); err != nil {
			return known, err
		}
		known = append(known, r)
	}
	return known, rows.Err()
}

// Publish appends the messages in one transaction.
func (f *tableFeed) Publish(topic string, messages ...*message.Message) error {
	tx, err := f.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	for _, m := range messages {
		metadata, err := json.Marshal(m.Metadata)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO message (topic, uuid, metadata, payload) VALUES (?, ?, ?, ?)`,
			topic, m.UUID, string(metadata), []byte(m.Payload))
		if err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	f.hints.Wake()
	return nil
}

func (f *tableFeed) Close() error { return nil }

func TestTailPassesWatermillsSuite(t *testing.T) {
	t.Parallel()
	features := tests.Features{
		ConsumerGroups:                   true,
		ExactlyOnceDelivery:              false, // the checkpoint beside the handler's writes makes the effect exactly once
		GuaranteedOrder:                  true,
		Persistent:                       true,
		NewSubscriberReceivesOldMessages: true,
	}
	table := openTable(t)
	open := func(t *testing.T, _ string) (message.Publisher, message.Subscriber) {
		t.Helper()
		tail := router.NewTail(router.TailConfig{
			Feed:  table,
			Start: func(context.Context, string) (handlers.Position, error) { return handlers.Position{}, nil },
			Hints: table.hints, Poll: time.Second, Again: time.Millisecond, Log: slog.New(slog.DiscardHandler),
		})
		t.Cleanup(func() { tail.Close() }) // the suite forgets some
		return table, tail
	}
	tests.TestPubSub(t, features, func(t *testing.T) (message.Publisher, message.Subscriber) {
		t.Helper()
		return open(t, "")
	}, open)
}
