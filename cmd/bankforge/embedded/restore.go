package embedded

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bankforge/adapters/archive"
	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/cmd/bankforge/keys"
	"bankforge/ports"
)

// restored are the files that a restore brings, in the order in which they come to their places.
var restored = []string{signingKeyName, masterKeyName, stateName, bankName}

// made are all that come to their places: also the log's index, which checking the log has built.
var made = append(slices.Clone(restored), indexName)

// Restored is what a restore has made of a backup.
type Restored struct{ Before, Now app.Head }

// Restoring says how a bank is restored.
type Restoring struct {
	Owner  string // who this process is, for the head of the log
	At     time.Time
	Report func(*app.VerifyReport) error // told what verifying the log has found
}

// Restore makes a bank of a backup in dir, which must be empty or missing.
func Restore(ctx context.Context, dir, file string, how Restoring) (done Restored, err error) {
	in, err := os.Open(file)
	if err != nil {
		return done, fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	isNew, err := absent(dir)
	if err != nil {
		return done, fmt.Errorf("--data: %w", err)
	}
	unlock, err := lockData(dir)
	if err != nil {
		return done, err
	}
	r := restoring{paths: paths{dir}, Restoring: how}
	err = r.all(ctx, in)
	if err != nil && isNew { // nothing is left behind
		err = errors.Join(fmt.Errorf("restore: %w", err), os.Remove(filepath.Join(dir, lockName)), unlock(), os.Remove(dir))
		return done, err
	}
	if err = errors.Join(err, unlock()); err != nil {
		return done, fmt.Errorf("restore: %w", err)
	}
	return Restored{r.before, r.now}, nil
}

// restoring is a restore on its way. Everything is made in a directory of its own, which is there until all is in its
// place: so that no other command takes half a bank for a whole one, and a restore that was cut off can be run again.
type restoring struct {
	paths
	Restoring

	manifest    archive.Manifest
	before, now app.Head
}

func (r *restoring) scratch() paths { return paths{filepath.Join(r.dir, restoringName)} }

// all refuses before it touches anything, and when it fails, takes back what it did.
func (r *restoring) all(ctx context.Context, in io.Reader) (err error) {
	if err := r.clear(); err != nil {
		return err
	}
	if err := os.Mkdir(r.scratch().dir, 0o700); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.clear())
		}
	}()
	if err := syncDir(r.dir); err != nil {
		return err
	}
	take := func(p archive.Part, part io.Reader) error { return r.take(ctx, p, part) }
	if err := archive.Read(in, r.begin, take); err != nil {
		return err
	}
	if err := r.renew(ctx); err != nil {
		return err
	}
	return r.place()
}

// clear makes sure that the directory is empty, after removing what a restore has left that did not come to its end.
func (r *restoring) clear() error {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	half := slices.Contains(names, restoringName)
	for _, name := range names {
		ours := name == lockName || half && (name == restoringName || slices.Contains(made, name))
		if !ours {
			return fmt.Errorf("%s is not empty: there is %s in it", r.dir, name)
		}
	}
	if !half {
		return nil
	}
	for _, name := range append(slices.Clone(made), restoringName) { // the mark of it goes last
		err = errors.Join(err, os.RemoveAll(filepath.Join(r.dir, name)))
	}
	return errors.Join(err, syncDir(r.dir))
}

// begin refuses what cannot become a bank here.
func (r *restoring) begin(m archive.Manifest) error {
	r.manifest = m
	var names []string
	for _, p := range m.Parts {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	if want := slices.Sorted(slices.Values(restored)); !slices.Equal(names, want) {
		return fmt.Errorf("the backup holds %s instead of %s", strings.Join(names, ", "), strings.Join(want, ", "))
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(r.dir, &disk); err != nil {
		return err
	}
	if free := disk.Bavail * uint64(disk.Bsize); free < uint64(m.Size()) {
		return fmt.Errorf("the bank needs %d bytes, and there are only %d free in %s", m.Size(), free, r.dir)
	}
	return nil
}

// take writes one part, and has the disk keep it.
func (r *restoring) take(ctx context.Context, p archive.Part, in io.Reader) error {
	path := filepath.Join(r.scratch().dir, p.Name)
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(unlessEnded{ctx, out}, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// unlessEnded writes until ctx ends.
type unlessEnded struct {
	ctx context.Context //nolint:containedctx // it lives as long as one copying
	to  io.Writer
}

// Write implements io.Writer.
func (w unlessEnded) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.to.Write(p)
}

// renew brings the tables up to date, makes sure that this is a bank and the one that the manifest tells of, and begins
// a new incarnation.
func (r *restoring) renew(ctx context.Context) (err error) {
	f := files{paths: r.scratch()}
	defer func() { err = errors.Join(err, f.Close()) }()
	if f.masterKey, err = keys.Secret(f.paths.masterKey(), false); err != nil {
		return err
	}
	if _, err := ports.LoadTokenKey(f.signingKey()); err != nil {
		return err
	}
	if err := f.open(ctx, true); err != nil {
		return err
	}
	if _, err := f.guard(ctx); err != nil {
		return err
	}
	if err := errors.Join(f.checkKey(ctx), f.state.Check(ctx)); err != nil {
		return err
	}
	if r.before, r.now, err = sqlite.Reincarnate(ctx, f.bank, f.state, r.Owner, r.At); err != nil {
		return err
	}
	m := r.manifest
	if b := r.before; b.Incarnation != m.Incarnation || b.Term != m.Term || uint64(b.Seq) != m.Seq ||
		hex.EncodeToString(b.Chain[:]) != m.Chain {
		return fmt.Errorf("bank.db ends at event %d of incarnation %s, but the backup says event %d of %s",
			b.Seq, b.Incarnation, m.Seq, m.Incarnation)
	}
	log, err := f.openLog(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	found, err := app.Verify(ctx, log)
	if err != nil && found.OK() { // it did not come far enough to say anything
		return err
	}
	return errors.Join(r.Report(&found), err)
}

// place brings the files to where they belong. What is there without its mark is whole and on the disk.
func (r *restoring) place() error {
	if err := syncDir(r.scratch().dir); err != nil {
		return err
	}
	for _, name := range made {
		if err := os.Rename(filepath.Join(r.scratch().dir, name), filepath.Join(r.dir, name)); err != nil {
			return err
		}
	}
	if err := syncDir(r.dir); err != nil {
		return err
	}
	if err := os.Remove(r.scratch().dir); err != nil {
		return err
	}
	return syncDir(r.dir)
}
