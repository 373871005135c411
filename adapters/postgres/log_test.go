package postgres

import (
	"fmt"
	"testing"

	"bankforge/app/apptest"
)

// TestLogConforms crashes by opening the same schemas anew: what a new process finds when the old one is gone.
func TestLogConforms(t *testing.T) {
	t.Parallel()
	err := apptest.TestLog(t.Context(), apptest.LogStore{
		Open: func() (apptest.LogUnderTest, error) { return openOnly(t, ledgerSchema).Log(LogConfig{}), nil },
		Crash: func(l apptest.LogUnderTest) (apptest.LogUnderTest, error) {
			open, ok := l.(*Log)
			if !ok {
				return nil, fmt.Errorf("%T is no Log", l)
			}
			return again(t, open.db).Log(LogConfig{}), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// again opens what db has, as another process does.
func again(t *testing.T, db *DB) *DB {
	t.Helper()
	url := db.writers.Config().ConnString()
	prefix := db.ledger.name[:len(db.ledger.name)-len(ledgerSchema)]
	other, err := Open(t.Context(), url, Options{Prefix: prefix, MaxConns: 4, Existing: true, only: ledgerSchema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	return other
}
