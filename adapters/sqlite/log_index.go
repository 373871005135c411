package sqlite

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bankforge/adapters/sqlite/index"
	"bankforge/app"
	"bankforge/app/bank"
)

// indexed is the index of one log: (subject, version) → seq, and (key, 0) → id of the outcome. It is brought up
// to date from the log at every doubt.
type indexed struct {
	files    *index.Index
	readOnly bool
	touches  func(*app.Row) ([]app.Touch, error)
	wrong    error       // why the index that was there is not used, when it is beside a running bank
	scratch  string      // the directory that goes with the log; "" when there is none
	stale    atomic.Bool // the log may know more
	flying   atomic.Pointer[flight]
	heals    sync.Mutex // one at a time
	healing  sync.WaitGroup
	stop     context.CancelFunc // of healing; nil: an index beside a running bank is not healed

	mu          sync.Mutex   // one append or catching up at a time
	incarnation string       // of the log
	entries     batchEntries // of the append
}

// flight is an append under way. Between its commit and its end, the log knows what the index does not.
type flight struct {
	batch uint64
	over  chan struct{}
}

// hashOf stands for a subject in the index. Anybody may ask for any text as an id, so it is a hash in which nobody
// finds two that meet.
func hashOf(subject string) (h index.Hash) {
	sum := sha256.Sum256([]byte(subject))
	copy(h[:], sum[:])
	return h
}

// hashOfKey is half of a key, which is a hash itself.
func hashOfKey(k app.Key) (h index.Hash) {
	copy(h[:], k[:])
	return h
}

// OpenLog opens the log in db, which must be the BankFile, with its index in dir. An index that is missing, damaged or
// of another log is built anew, and told to log. The log lives as long as db, but is closed before it.
// On a file opened for reading only nothing is written: then what the index lacks is found in the log, or built
// in a directory of its own.
func OpenLog(ctx context.Context, db *DB, dir string, log *slog.Logger) (*Log, error) {
	return openLogWith(ctx, db, dir, log, touchesOf)
}

func openLogWith(
	ctx context.Context, db *DB, dir string, log *slog.Logger, touches func(*app.Row) ([]app.Touch, error),
) (*Log, error) {
	l := &Log{db: db, read: prepare(db.read), index: &indexed{readOnly: db.write == nil, touches: touches}}
	if err := l.openIndex(ctx, dir, log); err != nil {
		return nil, fmt.Errorf("open the index: %w", err)
	}
	if db.write != nil {
		var err error
		if l.fold, err = newFolder(ctx, db, foldAfter, log); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

func (l *Log) openIndex(ctx context.Context, dir string, log *slog.Logger) (err error) {
	began := time.Now()
	if l.index.readOnly {
		l.index.files, err = index.OpenReadOnly(dir)
	} else {
		l.index.files, err = index.Open(dir, log)
	}
	missing := errors.Is(err, os.ErrNotExist)
	if err == nil {
		missing = len(l.index.files.Marks()) == 0
		if err = l.fits(ctx); err != nil {
			err = errors.Join(err, l.index.files.Close())
		}
	}
	if err != nil {
		if l.index.readOnly && !missing {
			l.index.wrong = err
		} else if !missing {
			log.Warn("the index is built anew", "reason", err)
		}
		if err := l.emptyIndex(dir, log); err != nil {
			return err
		}
	}
	from := l.index.files.Reached().Seq
	caught := l.catchUp(ctx)
	if errors.Is(caught, index.ErrDamaged) && !l.index.readOnly {
		from, caught = 0, l.heal(ctx, log)
	}
	if caught != nil {
		return errors.Join(caught, l.Close())
	}
	l.keepWhole(ctx, log)
	if to := l.index.files.Reached().Seq; to > from && log.Enabled(ctx, slog.LevelInfo) {
		log.Info("the index is up to date", "whole", missing || err != nil, "events", to-from,
			"took", time.Since(began).Round(time.Millisecond))
	}
	return nil
}

// emptyIndex opens one in which there is nothing: instead of that in dir, or beside it.
func (l *Log) emptyIndex(dir string, log *slog.Logger) (err error) {
	if l.index.readOnly {
		if dir, err = os.MkdirTemp("", "bankforge-index-"); err != nil {
			return err
		}
		l.index.scratch = dir
	} else if err := index.Clear(dir); err != nil {
		return err
	}
	l.index.files, err = index.Open(dir, log)
	return err
}

// fits checks that the index is of this log.
func (l *Log) fits(ctx context.Context) error {
	head, err := l.Head(ctx)
	if err != nil {
		return err
	}
	for _, m := range l.index.files.Marks() {
		if m.Incarnation != head.Incarnation {
			return fmt.Errorf("it is of incarnation %s, and the log of %s", m.Incarnation, head.Incarnation)
		}
		rows, err := l.Read(ctx, bank.Seq(max(m.Seq, 1)-1), 1)
		if err != nil {
			return err
		}
		there := len(rows) == 1 && rows[0].Seq == bank.Seq(m.Seq) && rows[0].Chain == m.Chain
		if m.Seq > uint64(head.Seq) || m.Seq > 0 && !there {
			return fmt.Errorf("the log has another event %d", m.Seq)
		}
		if err := l.fitsOutcome(ctx, m.Outcome); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) fitsOutcome(ctx context.Context, id uint64) error {
	if id == 0 {
		return nil
	}
	page, last, err := l.Decided(ctx, int64(id)-1, 1)
	if err != nil {
		return err
	}
	if len(page) != 1 || last != int64(id) {
		return fmt.Errorf("the log has no outcome %d", id)
	}
	ids, err := l.index.files.Values(hashOfKey(page[0].Key), 0)
	if err == nil && !slices.Contains(ids, id) {
		err = fmt.Errorf("the log has another outcome %d", id)
	}
	return err
}

// keepWhole builds the index anew whenever it is found to be damaged.
func (l *Log) keepWhole(ctx context.Context, log *slog.Logger) {
	if l.index.readOnly {
		return
	}
	ctx, l.index.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.index.healing.Go(func() {
		for {
			var again <-chan time.Time
			if l.index.files.Broken() != nil {
				if err := l.heal(ctx, log); err != nil && ctx.Err() == nil {
					log.Error("the index cannot be built anew yet", "error", err)
					again = time.After(healAgain)
				}
			}
			select {
			case <-l.index.files.Damaged():
			case <-again:
			case <-ctx.Done():
				return
			}
		}
	})
}

const healAgain = time.Second

// heal builds the index anew. Meanwhile nothing is looked up or appended: each of them is refused, and does not wait.
func (l *Log) heal(ctx context.Context, log *slog.Logger) error {
	l.index.heals.Lock()
	defer l.index.heals.Unlock()
	began := time.Now()
	l.index.mu.Lock()
	err := l.index.files.Reset()
	l.index.mu.Unlock()
	var to index.Mark
	for more := true; more && err == nil; {
		l.index.mu.Lock()
		more, err = l.indexNext(ctx, &to)
		if err == nil && !more {
			err = l.index.files.Refilled()
		}
		l.index.mu.Unlock()
	}
	if err == nil {
		log.Warn("the index was built anew from the log, and commands are taken again", "events", to.Seq,
			"took", time.Since(began).Round(time.Millisecond))
	}
	return err
}

// Ready says why nothing can be looked up or appended now; nil: it can.
func (l *Log) Ready() error {
	if err := l.index.files.Broken(); err != nil {
		return fmt.Errorf("%w; it is being built anew from the log", err)
	}
	return nil
}

// advised says of damage that was found in reading all, what becomes of it.
func advised(err error) error {
	if errors.Is(err, index.ErrDamaged) {
		err = fmt.Errorf("%w; the bank finds that by itself once it is started again, and builds the index anew", err)
	}
	return err
}

// Close writes what is new of the index to its files.
func (l *Log) Close() error {
	if l.index.stop != nil {
		l.index.stop()
		l.index.healing.Wait()
	}
	err := l.index.files.Close()
	if l.fold != nil {
		err = errors.Join(err, l.fold.close())
	}
	if l.index.scratch != "" {
		err = errors.Join(err, os.RemoveAll(l.index.scratch))
	}
	return err
}

// upToDate has the index know what the log knew when it was called.
func (l *Log) upToDate(ctx context.Context) error {
	if f := l.index.flying.Load(); f != nil {
		head, err := l.Head(ctx)
		if err != nil {
			return err
		}
		if head.Batch >= f.batch {
			<-f.over // it was committed, so its end is near
		}
	}
	if !l.index.stale.Load() && !l.index.readOnly {
		return nil
	}
	l.index.mu.Lock()
	defer l.index.mu.Unlock()
	if err := l.index.files.Broken(); err != nil {
		return err
	}
	return l.catchUp(ctx)
}

// indexPage is how many events or outcomes are read at once.
const indexPage = 1024

// catchUp adds what is behind the index in the log. It is called with mu held.
func (l *Log) catchUp(ctx context.Context) (err error) {
	l.index.stale.Store(false)
	defer func() {
		if err != nil {
			l.index.stale.Store(true)
		}
	}()
	to := l.index.files.Reached()
	for more := true; more && err == nil; {
		more, err = l.indexNext(ctx, &to)
	}
	return err
}

// indexNext adds the next page behind to, events before outcomes.
func (l *Log) indexNext(ctx context.Context, to *index.Mark) (more bool, err error) {
	head, err := l.Head(ctx)
	if err != nil {
		return false, err
	}
	l.index.incarnation, to.Incarnation = head.Incarnation, head.Incarnation
	if to.Seq < uint64(head.Seq) {
		return true, l.indexEvents(ctx, to, head.Seq)
	}
	var records []index.Record
	err = l.eachDecided(ctx, int64(to.Outcome), indexPage, func(id int64, o *app.Outcome) {
		records = append(records, index.Record{Hash: hashOfKey(o.Key), Value: uint64(id)})
		to.Outcome = uint64(id)
	})
	if err != nil || len(records) == 0 {
		return false, err
	}
	return true, l.index.take(ctx, records, *to)
}

func (l *Log) indexEvents(ctx context.Context, to *index.Mark, last bank.Seq) error {
	rows, err := l.Read(ctx, bank.Seq(to.Seq), int(min(indexPage, uint64(last)-to.Seq)))
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		to.Seq = uint64(last) // the log lost its end, which whoever reads it is told
		return nil
	}
	var records []index.Record
	for i := range rows {
		r := &rows[i]
		touches, err := l.index.touches(r)
		if err != nil && !l.index.readOnly { // who verifies is told of it by what reads the log
			return err
		}
		for _, t := range touches {
			records = append(records, index.Record{Hash: hashOf(t.Subject), Version: uint64(t.Version), Value: uint64(r.Seq)})
		}
		to.Seq, to.Chain = uint64(r.Seq), r.Chain
	}
	return l.index.take(ctx, records, *to)
}

func touchesOf(r *app.Row) ([]app.Touch, error) {
	e, err := app.Decode(*r)
	if err != nil {
		return nil, err
	}
	return app.Touches(&e.Event), nil
}

func (i *indexed) take(ctx context.Context, records []index.Record, to index.Mark) error {
	if !i.readOnly || i.scratch != "" {
		if err := i.files.Room(ctx); err != nil {
			return err
		}
	}
	i.files.Add(records, to)
	return nil
}
