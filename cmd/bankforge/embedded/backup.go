package embedded

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"bankforge/adapters/archive"
	"bankforge/adapters/sqlite"
	"bankforge/cmd/bankforge/keys"
)

// BackedUp is what a backup has made.
type BackedUp struct {
	archive.Manifest
	Bytes int64 // of the file
}

// Backup copies the bank in dir, also a running one, into one file, keys included. An existing file is never replaced.
func Backup(ctx context.Context, dir, file string, at time.Time) (b BackedUp, err error) {
	if _, err := os.Lstat(file); err == nil {
		return b, fmt.Errorf("backup: %s exists; it is not replaced", file)
	}
	f, err := filesToCopy(ctx, dir)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if b.Manifest, b.Bytes, err = f.backup(ctx, file, at); err != nil {
		return b, fmt.Errorf("backup: %w", err)
	}
	return b, nil
}

// filesToCopy opens what a backup holds, for reading, beside a running bank. It refuses a directory in which something
// is missing, as serve would.
func filesToCopy(ctx context.Context, dir string) (f *files, err error) {
	f = &files{paths: paths{dir}}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := f.refuseHalfRestored(); err != nil {
		return f, err
	}
	if f.bank, err = openExisting(f.paths.bank(), sqlite.BankFile); err != nil {
		return f, err
	}
	f.closers = append(f.closers, f.bank.Close)
	if f.state, err = openExisting(f.paths.state(), sqlite.StateFile); err != nil {
		return f, err
	}
	f.closers = append(f.closers, f.state.Close)
	begun, err := f.guard(ctx)
	if err != nil {
		return f, fmt.Errorf("--data: %w", err)
	}
	if !begun {
		return f, fmt.Errorf("--data: there is no bank in %s yet", dir)
	}
	if f.masterKey, err = keys.Secret(f.paths.masterKey(), false); err != nil {
		return f, fmt.Errorf("--data: %w", err)
	}
	return f, f.checkKey(ctx)
}

// backup writes the archive beside its name, and gives it the name when it is whole and on the disk.
func (f *files) backup(ctx context.Context, to string, at time.Time) (m archive.Manifest, size int64, err error) {
	out, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+".*.part") // with mode 0600
	if err != nil {
		return m, 0, err
	}
	defer func() { err = errors.Join(err, removeIfThere(out.Name())) }()
	m, err = f.archive(ctx, out, at)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return m, 0, err
	}
	info, err := os.Stat(out.Name())
	if err != nil {
		return m, 0, err
	}
	if err := nameOnce(out.Name(), to); err != nil {
		return m, 0, err
	}
	return m, info.Size(), syncDir(filepath.Dir(to))
}

// nameOnce gives a file the name to, unless that is taken. Where links are unknown, it looks before.
func nameOnce(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("%s exists; it is not replaced", to))
	}
	return os.Rename(from, to)
}

// archive writes both databases as they are at one moment, and the keys.
func (f *files) archive(ctx context.Context, out io.Writer, at time.Time) (m archive.Manifest, err error) {
	tokens, err := os.ReadFile(f.signingKey())
	if err != nil {
		return m, err
	}
	log, state, err := sqlite.Freeze(ctx, f.bank, f.state)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, log.Close(), state.Close()) }()
	head, err := log.Head(ctx)
	if err != nil {
		return m, err
	}
	m = archive.Manifest{
		Format:      archive.Format,
		Incarnation: head.Incarnation, Term: head.Term, Seq: uint64(head.Seq), Chain: hex.EncodeToString(head.Chain[:]),
		Time: at, Parts: []archive.Part{
			{Name: signingKeyName, Size: int64(len(tokens))}, {Name: masterKeyName, Size: int64(len(f.masterKey))},
			{Name: stateName, Size: state.Size()}, {Name: bankName, Size: log.Size()},
		},
	}
	return m, archive.Write(out, m, func(name string, w io.Writer) error {
		switch name {
		case bankName:
			return log.Copy(ctx, w)
		case stateName:
			return state.Copy(ctx, w)
		case signingKeyName:
			return copyBytes(w, tokens)
		default:
			return copyBytes(w, f.masterKey)
		}
	})
}

func copyBytes(w io.Writer, b []byte) error {
	_, err := io.Copy(w, bytes.NewReader(b))
	return err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir has the disk keep the names in dir.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
