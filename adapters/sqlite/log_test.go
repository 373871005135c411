package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"bankforge/app/apptest"
)

// TestLogConforms crashes by copying the files as they are on the disk while the log is open: what a
// new process finds when the old one is gone.
func TestLogConforms(t *testing.T) {
	t.Parallel()
	err := apptest.TestLog(t.Context(), apptest.LogStore{
		Open: func() (apptest.LogUnderTest, error) { return NewLog(open(t, BankFile)), nil },
		Crash: func(l apptest.LogUnderTest) (apptest.LogUnderTest, error) {
			open, ok := l.(*Log)
			if !ok {
				return nil, fmt.Errorf("%T is no Log", l)
			}
			return NewLog(reopen(t, open.db)), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// reopen opens a copy of what db has on the disk.
func reopen(t *testing.T, db *DB) *DB {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy.db")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(db.path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	copied, err := Open(t.Context(), to, BankFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := copied.Close(); err != nil {
			t.Error(err)
		}
	})
	return copied
}
