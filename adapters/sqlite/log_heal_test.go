package sqlite

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"bankforge/adapters/sqlite/index"
	"bankforge/app"
)

// flipRun turns a bit of the newest run in dir, in place, as a bad disk does under a process that has it open.
func flipRun(t *testing.T, dir string, at int64) {
	t.Helper()
	runs, err := filepath.Glob(filepath.Join(dir, "*.run"))
	if err != nil || len(runs) == 0 {
		t.Fatal(runs, err)
	}
	f, err := os.OpenFile(runs[len(runs)-1], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// eventually polls: a process that works beside the test is watched.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatal(what)
		case <-tick.C:
		}
	}
}

func opened(t *testing.T, db *DB, dir string) *Log {
	t.Helper()
	l, err := OpenLog(t.Context(), db, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// TestADamagedIndexIsRefusedUntilItIsBuiltAnew: whoever notices the damage, the process goes on by itself.
func TestADamagedIndexIsRefusedUntilItIsBuiltAnew(t *testing.T) {
	t.Parallel()
	db, dir, b := closedLog(t)
	l := opened(t, db, dir)
	l.index.mu.Lock() // so that healing has to wait
	flipRun(t, dir, 100)
	key := b.Outcomes[0].Key
	eventually(t, "the damage is not noticed", func() bool {
		found, err := l.Outcomes(t.Context(), []app.Key{key})
		if err == nil && len(found) != 1 {
			t.Fatal("damage looks like something that is not there")
		}
		return err != nil
	})
	if err := l.Ready(); !errors.Is(err, index.ErrDamaged) {
		t.Errorf("ready: %v", err)
	}
	touch := b.Rows[0].Touches[0].Subject
	if _, err := l.Latest(t.Context(), []string{touch}); !errors.Is(err, index.ErrDamaged) {
		t.Errorf("the latest: %v", err)
	}
	l.index.mu.Unlock()
	eventually(t, "it does not heal", func() bool { return l.Ready() == nil })
	knows(t, l, b)
}

// TestDamageThatNobodyMeetsIsFound after the start, so that a look-up years later does not stop the bank.
func TestDamageThatNobodyMeetsIsFound(t *testing.T) {
	t.Parallel()
	for what, at := range map[string]func(size int64) int64{
		"a record":              func(int64) int64 { return 100 },
		"what is not looked at": func(int64) int64 { return 4090 },
		"the filter":            func(size int64) int64 { return size - 4096 - 30 },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			db, dir, b := closedLog(t)
			runs, err := filepath.Glob(filepath.Join(dir, "*.run"))
			if err != nil || len(runs) != 1 {
				t.Fatal(runs, err)
			}
			info, err := os.Stat(runs[0])
			if err != nil {
				t.Fatal(err)
			}
			flipRun(t, dir, at(info.Size()))
			l := opened(t, db, dir)
			eventually(t, "the file stays", func() bool {
				_, err := os.Stat(runs[0])
				return errors.Is(err, os.ErrNotExist) && l.Ready() == nil
			})
			knows(t, l, b)
		})
	}
}

// TestReadersBesideHealing get what is right, or an error; and so does who appends.
func TestReadersBesideHealing(t *testing.T) {
	t.Parallel()
	db, dir, b := closedLog(t)
	l := opened(t, db, dir)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				found, err := l.Outcomes(t.Context(), []app.Key{b.Outcomes[0].Key})
				if err == nil && len(found) != 1 || err != nil && !errors.Is(err, index.ErrEmptied) {
					t.Errorf("%d outcomes, %v", len(found), err)
					return
				}
			}
		})
	}
	again := b
	again.Number, again.After, again.Rows = b.Number+1, b.Rows[len(b.Rows)-1].Seq, nil
	for range 20 {
		l.index.heals.Lock() // the log heals by itself too, and whoever empties the index is the one who fills it
		l.index.mu.Lock()
		err := l.index.files.Reset()
		l.index.mu.Unlock()
		l.index.heals.Unlock()
		if err == nil {
			err = l.Append(t.Context(), again)
		}
		if err == nil {
			t.Error("keys that have outcomes were taken again")
		}
		if err := l.heal(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
	knows(t, l, b)
}
