package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"bankforge/adapters/postgres"
	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/cmd/bankforge/stores"
	"bankforge/handlers"
	"bankforge/router/rebuild"
)

// A process that reads from Kafka keeps others from changing the number of partitions, also once PostgreSQL has lost
// the connection that says so.
func TestReadersStayWhenTheConnectionIsLost(t *testing.T) {
	t.Parallel()
	b, db := openBank(t)
	leave, err := b.join(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	end := b.stay(t.Context(), db, leave, 10*time.Millisecond, slog.New(slog.DiscardHandler))
	defer end()
	const holders = ` FROM pg_locks WHERE locktype = 'advisory' AND
		classid::bigint << 32 | objid::bigint = hashtextextended(current_schema() || '/' || $1, 0)`
	for range 3 {
		lost := ask(t, db, `SELECT coalesce(max(pid) FILTER (WHERE pg_terminate_backend(pid)), 0)`+holders)
		if lost == 0 {
			t.Error("nobody had reserved")
		}
		again := fmt.Sprintf(`SELECT count(*)%s AND pid <> %d`, holders, lost)
		for deadline := time.Now().Add(20 * time.Second); ask(t, db, again) == 0; {
			if time.Now().After(deadline) {
				t.Fatal("it is not reserved again")
			}
		}
	}
	at := postgres.NewHandlerStore(db.Derived())
	if _, err := at.Reserve(t.Context(), readsKafka, false); !errors.Is(err, rebuild.ErrUnderWay) {
		t.Errorf("while it stays: %v", err)
	}
	end()
	release, err := at.Reserve(t.Context(), readsKafka, false)
	if err != nil {
		t.Fatalf("at the end: %v", err)
	}
	release()
}

// A process that is refused at its start leaves nothing reserved.
func TestWhoIsRefusedDoesNotStay(t *testing.T) {
	t.Parallel()
	b, db := openBank(t)
	b.Kafka = Kafka{Brokers: []string{"127.0.0.1:1"}, Partitions: 3}
	cursors := postgres.NewRelayStore(db)
	term, c, err := cursors.Acquire(t.Context(), "test", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c.Last = map[bank.Topic][]handlers.Position{bank.AccountsTopic: make([]handlers.Position, 4)}
	if err := cursors.Save(t.Context(), term, c, 0); err != nil {
		t.Fatal(err)
	}
	_, err = b.Open(t.Context(), stores.Process{
		Lease: time.Second, Log: slog.New(slog.DiscardHandler), Runs: func(string) bool { return true },
	})
	if err == nil || !strings.Contains(err.Error(), "--partitions: bankforge.accounts.v1 has 4") {
		t.Errorf("it is not refused: %v", err)
	}
	held := func() int {
		return ask(t, db, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND
			classid::bigint << 32 | objid::bigint = hashtextextended(current_schema() || '/' || $1, 0)`)
	}
	for deadline := time.Now().Add(20 * time.Second); held() > 0; { // until the server has seen the end
		if time.Now().After(deadline) {
			t.Fatal("it stays")
		}
	}
}

// openBank makes a bank of the test's own.
func openBank(t *testing.T) (Bank, *postgres.DB) {
	t.Helper()
	b := Bank{Postgres: servers.Postgres(t), Prefix: servers.Name() + "_", Conns: 2, Data: t.TempDir()}
	db, err := b.open(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Drop(context.Background()); err != nil {
			t.Error(err)
		}
		db.Close()
	})
	return b, db
}

func ask(t *testing.T, db *postgres.DB, sql string) (n int) {
	t.Helper()
	rows, err := db.Derived().Query(t.Context(), sql, readsKafka)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}
