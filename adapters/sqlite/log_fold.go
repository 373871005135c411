package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"bankforge/app"
)

// What is committed stands in SQLite's write-ahead log until it is copied into the file. Left to itself, SQLite copies
// within a commit, once much has gathered, and everybody waits for that long. So most of it is copied beside the
// writer, and the writer only copies what came meanwhile: then it can begin with an empty write-ahead log again.

const (
	foldAfter = 16 << 20 // bytes of rows, after which the write-ahead log is copied
	foldRest  = 512      // pages: so few are left to the writer
	foldTries = 4        // each finds less, because less came meanwhile
	foldPause = time.Second

	fold = `PRAGMA wal_checkpoint(PASSIVE)`
)

// Whose turn it is.
const (
	foldIdle   = iota // the writer says when
	foldWanted        // the folder copies
	foldReady         // the writer copies the rest
)

// folder copies the write-ahead log of bank.db into the file.
type folder struct {
	beside *sql.DB // one connection
	after  int     // bytes
	log    *slog.Logger
	wake   chan struct{}
	state  atomic.Int32
	stop   context.CancelFunc
	ended  chan struct{}

	written int // bytes since the writer copied; guarded by who appends
}

func newFolder(ctx context.Context, db *DB, after int, log *slog.Logger) (*folder, error) {
	beside, err := sql.Open("sqlite", dsn(db.path, BankFile, "rw"))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", db.path, err)
	}
	beside.SetMaxOpenConns(1)
	f := &folder{beside: beside, after: after, log: log, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	ctx, f.stop = context.WithCancel(context.WithoutCancel(ctx))
	go f.run(ctx)
	return f, nil
}

func (f *folder) run(ctx context.Context) {
	defer close(f.ended)
	for {
		select {
		case <-f.wake:
		case <-ctx.Done():
			return
		}
		if f.most(ctx) {
			f.state.Store(foldReady)
			continue
		}
		select { // somebody reads what was long ago, or the disk is full: SQLite goes on without
		case <-time.After(foldPause):
			f.state.Store(foldIdle)
		case <-ctx.Done():
			return
		}
	}
}

// most copies until little is left.
func (f *folder) most(ctx context.Context) bool {
	for range foldTries {
		left, err := copyLog(ctx, f.beside)
		if err != nil {
			if ctx.Err() == nil {
				f.log.Warn("the write-ahead log is not copied into bank.db", "error", err)
			}
			return false
		}
		if left <= foldRest {
			return true
		}
	}
	return false
}

// copyLog says how many pages could not be copied, because they came meanwhile, or are behind what somebody reads, or
// because somebody else was copying: then it is not known how many there are.
func copyLog(ctx context.Context, db *sql.DB) (left int, err error) {
	var busy, all, copied int
	err = db.QueryRowContext(ctx, fold).Scan(&busy, &all, &copied)
	if busy != 0 {
		return math.MaxInt, err
	}
	return all - copied, err
}

// committed tells of a batch that was appended. It is called between two appends.
func (f *folder) committed(ctx context.Context, writer *sql.DB, b *app.Batch) {
	const perBatch, perOutcome = 3 * 4096, 256
	f.written += perBatch + len(b.Outcomes)*perOutcome
	for i := range b.Rows {
		f.written += len(b.Rows[i].Data)
	}
	if f.written < f.after {
		return
	}
	switch f.state.Load() {
	case foldIdle:
		f.state.Store(foldWanted)
		f.wake <- struct{}{}
	case foldReady:
		if _, err := copyLog(ctx, writer); err != nil {
			f.log.Warn("the write-ahead log is not copied into bank.db", "error", err)
		}
		f.written = 0
		f.state.Store(foldIdle)
	}
}

func (f *folder) close() error {
	f.stop()
	<-f.ended
	return f.beside.Close()
}
