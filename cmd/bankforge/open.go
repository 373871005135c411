package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"bankforge/adapters/sqlite"
	"bankforge/app"
)

// paths are the files of the data directory.
type paths struct{ dir string }

func (p paths) bank() string       { return filepath.Join(p.dir, "bank.db") }
func (p paths) state() string      { return filepath.Join(p.dir, "state.db") }
func (p paths) views() string      { return filepath.Join(p.dir, "views.db") }
func (p paths) snapshots() string  { return filepath.Join(p.dir, "snapshots") }
func (p paths) signingKey() string { return filepath.Join(p.dir, "signing.key") }
func (p paths) masterKey() string  { return filepath.Join(p.dir, "customers.key") }

// files are the three open files of the embedded bank, and what stands beside them.
type files struct {
	paths
	bank, state, views *sqlite.DB
	masterKey          []byte
	closers            []func() error
}

// openFiles locks the data directory and opens what is in it; what is missing is made, unless that would
// hide a loss. Close releases everything.
func openFiles(ctx context.Context, dir string, log *slog.Logger) (f *files, err error) {
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
	if err := os.MkdirAll(f.paths.snapshots(), 0o700); err != nil {
		return f, fmt.Errorf("--data: %w", err)
	}
	fresh, err := absent(f.paths.bank())
	if err != nil {
		return f, err
	}
	if err := f.guard(fresh); err != nil {
		return f, err
	}
	if f.masterKey, err = secret(f.paths.masterKey(), fresh); err != nil {
		return f, err
	}
	for _, file := range []struct {
		kind sqlite.File
		path string
		db   **sqlite.DB
	}{
		{sqlite.BankFile, f.paths.bank(), &f.bank},
		{sqlite.StateFile, f.paths.state(), &f.state},
		{sqlite.ViewsFile, f.paths.views(), &f.views},
	} {
		if *file.db, err = sqlite.Open(ctx, file.path, file.kind); err != nil {
			return f, fmt.Errorf("--data: %w", err)
		}
		f.closers = append(f.closers, (*file.db).Close)
	}
	log.Debug("data directory is open", "dir", dir, "new", fresh)
	return f, nil
}

// guard refuses a directory in which a file is missing that nothing can bring back.
func (f *files) guard(fresh bool) error {
	for _, path := range []string{f.paths.state(), f.paths.masterKey()} {
		missing, err := absent(path)
		switch {
		case err != nil:
			return err
		case missing && !fresh:
			return fmt.Errorf("--data: %s is missing, but bank.db is there. It holds what cannot be rebuilt: "+
				"put it back, from a backup if need be", path)
		case !missing && fresh:
			return fmt.Errorf("--data: bank.db is missing, but %s is there. Put the log back, from a backup if "+
				"need be, or start with an empty directory", path)
		}
	}
	return nil
}

// log is the log in bank.db.
func (f *files) log() *sqlite.Log { return sqlite.NewLog(f.bank) }

// belongs makes sure that state.db is of the same bank as the log: the first log that it meets is its own.
func (f *files) belongs(ctx context.Context, head app.Head) error {
	return f.state.InTx(ctx, func(ctx context.Context) error {
		of, err := f.state.Belonging(ctx)
		switch {
		case err != nil:
			return err
		case of == "":
			return f.state.Belong(ctx, head.Incarnation)
		case of != head.Incarnation:
			return fmt.Errorf("--data: state.db is of incarnation %s of the log, but bank.db is of %s: "+
				"put back the two that belong together", of, head.Incarnation)
		}
		return nil
	})
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

func absent(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

const secretBytes = 32

// secret reads 32 random bytes from the file at path, which only its owner may read; fresh says to make it.
func secret(path string, fresh bool) ([]byte, error) {
	if fresh {
		key := [secretBytes]byte{}
		_, _ = rand.Read(key[:]) // never fails, it says
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, err
		}
		_, err = f.Write(key[:])
		return key[:], errors.Join(err, f.Sync(), f.Close())
	}
	key, err := os.ReadFile(path)
	if err == nil && len(key) != secretBytes {
		err = fmt.Errorf("%s has %d bytes, not %d", path, len(key), secretBytes)
	}
	return key, err
}
