// Package embedded keeps a bank in the files of one directory, which one process owns.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/gofrs/flock"

	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/cmd/bankforge/keys"
)

// paths are the files of the data directory.
type paths struct{ dir string }

// Names in it: files that are in backups, the lock, and what is there while a backup is being restored.
const (
	bankName       = "bank.db"
	stateName      = "state.db"
	viewsName      = "views.db"
	signingKeyName = "signing.key"
	masterKeyName  = "customers.key"
	indexName      = "index"
	lockName       = "lock"
	restoringName  = "restoring"
)

func (p paths) bank() string       { return filepath.Join(p.dir, bankName) }
func (p paths) state() string      { return filepath.Join(p.dir, stateName) }
func (p paths) views() string      { return filepath.Join(p.dir, viewsName) }
func (p paths) snapshots() string  { return filepath.Join(p.dir, "snapshots") }
func (p paths) index() string      { return filepath.Join(p.dir, indexName) }
func (p paths) signingKey() string { return filepath.Join(p.dir, signingKeyName) }
func (p paths) masterKey() string  { return filepath.Join(p.dir, masterKeyName) }

// refuseHalfRestored refuses a directory in which a restore was cut off.
func (p paths) refuseHalfRestored() error {
	missing, err := absent(filepath.Join(p.dir, restoringName))
	if err != nil || missing {
		return err
	}
	return fmt.Errorf("--data %s: a restore has not come to its end there; run it again", p.dir)
}

// files are the three open files of the embedded bank, and what stands beside them.
type files struct {
	paths
	bank, state, views *sqlite.DB
	masterKey          []byte
	closers            []func() error
}

// openFiles locks the data directory and opens what is in it. What is missing is made, unless that would hide a
// loss. Close releases everything.
func openFiles(ctx context.Context, dir string) (f *files, err error) {
	f = &files{paths: paths{dir}}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	unlock, err := lockData(dir)
	if err != nil {
		return f, err
	}
	f.closers = append(f.closers, unlock)
	if err := f.refuseHalfRestored(); err != nil {
		return f, err
	}
	if err := f.fill(ctx); err != nil {
		return f, fmt.Errorf("--data: %w", err)
	}
	return f, nil
}

// fill opens what is there, makes sure that nothing is lost, and makes what is missing.
func (f *files) fill(ctx context.Context) error {
	if err := f.prepare(); err != nil {
		return err
	}
	if err := f.open(ctx, true); err != nil {
		return err
	}
	begun, err := f.guard(ctx)
	if err != nil {
		return err
	}
	if f.masterKey, err = keys.Secret(f.paths.masterKey(), !begun); err != nil {
		return err
	}
	if err := f.open(ctx, false); err != nil {
		return err
	}
	return f.checkKey(ctx)
}

// prepare makes the directories, and clears away what a rebuild has left that did not come to its end.
func (f *files) prepare() error {
	left, err := filepath.Glob(filepath.Join(f.dir, "views-*.new"))
	if err != nil {
		return err
	}
	for _, scratch := range left {
		err = errors.Join(err, os.RemoveAll(scratch))
	}
	return errors.Join(err, os.MkdirAll(f.paths.snapshots(), 0o700))
}

// open opens the files that are not open yet: those that exist, or all.
func (f *files) open(ctx context.Context, onlyExisting bool) error {
	for _, file := range []struct {
		kind sqlite.File
		path string
		db   **sqlite.DB
	}{
		{sqlite.BankFile, f.paths.bank(), &f.bank},
		{sqlite.StateFile, f.paths.state(), &f.state},
		{sqlite.ViewsFile, f.paths.views(), &f.views},
	} {
		missing, err := absent(file.path)
		if err != nil {
			return err
		}
		if *file.db != nil || missing && onlyExisting {
			continue
		}
		if *file.db, err = sqlite.Open(ctx, file.path, file.kind); err != nil {
			return err
		}
		f.closers = append(f.closers, (*file.db).Close)
	}
	return nil
}

// guard refuses a directory in which something is lost that nothing can bring back, and says whether there is a bank in
// it yet. An interrupted first start has not begun one.
func (f *files) guard(ctx context.Context) (begun bool, err error) {
	var head app.Head
	var of string
	if f.bank != nil {
		if head, err = sqlite.HeadOf(ctx, f.bank); err != nil {
			return false, err
		}
	}
	if f.state != nil {
		if of, err = f.state.About(ctx, "incarnation"); err != nil {
			return false, err
		}
	}
	switch {
	case of == "" && head.Seq > 0:
		return true, fmt.Errorf("%s is missing or empty, but bank.db has %d events. It holds what cannot be rebuilt: "+
			"put it back, from a backup if need be", f.paths.state(), head.Seq)
	case of != "" && head.Incarnation == "":
		return true, fmt.Errorf("%s is missing or empty, but state.db belongs to a log. Put the log back, from a backup "+
			"if need be, or start with an empty directory", f.paths.bank())
	case of != "" && of != head.Incarnation:
		return true, fmt.Errorf("state.db is of incarnation %s of the log, but bank.db is of %s: put back the two that "+
			"belong together", of, head.Incarnation)
	}
	return of != "", nil
}

// openLog opens the log in bank.db, and the index beside it.
func (f *files) openLog(ctx context.Context, log *slog.Logger) (*sqlite.Log, error) {
	l, err := sqlite.OpenLog(ctx, f.bank, f.paths.index(), log)
	if err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	f.closers = append(f.closers, l.Close)
	return l, nil
}

// belongs notes which log and which key state.db belongs to, when it is new.
func (f *files) belongs(ctx context.Context, head app.Head) error {
	return f.state.InTx(ctx, func(ctx context.Context) error {
		return errors.Join(f.state.SetAbout(ctx, "incarnation", head.Incarnation),
			f.state.SetAbout(ctx, "customers.key", keys.Fingerprint(f.masterKey)))
	})
}

// checkKey refuses another key than the one that customers are encrypted with.
func (f *files) checkKey(ctx context.Context) error {
	known, err := f.state.About(ctx, "customers.key")
	if err == nil && known != "" && known != keys.Fingerprint(f.masterKey) {
		err = fmt.Errorf("%s is not the key that the customers in state.db are encrypted with; put that one back",
			f.paths.masterKey())
	}
	return err
}

// Close closes the files and gives the directory up, in the opposite order of opening.
func (f *files) Close() error {
	var err error
	for _, release := range slices.Backward(f.closers) {
		err = errors.Join(err, release())
	}
	f.closers = nil
	return err
}

// errInUse means that another process works on the data directory.
var errInUse = errors.New("is in use by another bankforge")

// lockData makes the directory if it is not there, and makes this process its only owner until unlock.
func lockData(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	lock := flock.New(filepath.Join(dir, lockName))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("--data %s: %w", dir, err)
	}
	if !ok {
		return nil, fmt.Errorf("--data %s %w", dir, errInUse)
	}
	return lock.Close, nil
}
