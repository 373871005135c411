package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"bankforge/adapters/postgres"
	"bankforge/app/apptest/servers"
	"bankforge/router/rebuild"
)

// A process that reads from Kafka keeps others from changing the number of partitions, also once PostgreSQL has lost
// the connection that says so.
func TestReadersStayWhenTheConnectionIsLost(t *testing.T) {
	t.Parallel()
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
		again := fmt.Sprintf(`SELECT count(*)%s AND pid > %d`, holders, lost)
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
