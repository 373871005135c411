package postgres

import (
	"context"
	"testing"

	"bankforge/app/apptest/servers"
)

// openDB makes schemas of its own for a test.
func openDB(tb testing.TB) *DB {
	tb.Helper()
	return openAs(tb, Options{Prefix: servers.Name() + "_", MaxConns: 4})
}

func openAs(tb testing.TB, o Options) *DB {
	tb.Helper()
	db, err := Open(tb.Context(), servers.Postgres(tb), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Drop(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return db
}
